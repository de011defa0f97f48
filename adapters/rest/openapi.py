"""The OpenAPI 3.1 document, made from the same rows that are served.

Components come from the pydantic models; each definition with a resource adds two paths with the JSON Schema of its
input. The static part is made once; the whole is made again only when the resources have changed.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from adapters.rest import schemas
from adapters.rest.calls import ID, JSON
from adapters.rest.operations import Answer, Operation, problems_of
from adapters.rest.problems import MEDIA_TYPE, SLUGS, TOO_MANY
from adapters.rest.resources import Resource, operation

_REF = "#/components/schemas/{model}"
_HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Location": ("Where it is, as a relative reference.", {"type": "string", "format": "uri-reference"}),
    "ETag": ("A strong validator; of an orchestration its version.", {"type": "string"}),
    "Content-Disposition": ("A name for the file.", {"type": "string"}),
    "Link": ('The next page, rel="next".', {"type": "string"}),
    "Retry-After": ("Seconds after which it is worth coming back.", {"type": "string"}),
    "Preference-Applied": ("The preferences that were followed.", {"type": "string"}),
    "Vary": ("Accept.", {"type": "string"}),
    "Content-Location": ("The very version that was meant.", {"type": "string"}),
}
_REQUEST_HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Idempotency-Key": (
        "A string (RFC 9651) of 1 to 255 characters; a repeat gets the first answer.",
        {"type": "string", "pattern": "^[!#-~]{1,255}$"},
    ),
    "Prefer": (
        "`wait=N`, `respond-async` (RFC 7240).",
        {"type": "string", "pattern": "^(wait=[0-9]{1,2}|respond-async)$"},
    ),
    "If-Match": ("The version it must have.", {"type": "string", "pattern": '^"[0-9]{1,9}"$'}),
    "If-None-Match": ("The version that is known.", {"type": "string", "pattern": '^"[0-9a-f]{1,32}"$'}),
    "Last-Event-ID": ("The version of the last event that arrived.", {"type": "string", "pattern": "^[0-9]{1,9}$"}),
}
# Forms that a tool may parse before it looks at the schema say nothing of it.
_OF_TEXT = {each: {"type": "string"} for each in ("text/html", "text/plain", "text/vnd.mermaid", "image/svg+xml")}
_CLOUD_EVENT = {
    "type": "object",
    "description": "A CloudEvent 1.0; further attributes are extensions.",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"$ref": "#/components/schemas/EventAttribute"},
        "source": {"$ref": "#/components/schemas/EventAttribute"},
        "type": {"$ref": "#/components/schemas/EventAttribute"},
        "subject": {"$ref": "#/components/schemas/EventAttribute"},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"$ref": "#/components/schemas/EventAttribute"},
        "dataschema": {"$ref": "#/components/schemas/EventAttribute"},
        "data": {},
    },
    "additionalProperties": False,
    "patternProperties": {"^[a-z0-9]{1,20}$": {"type": ["string", "integer", "boolean"]}},
}
_ATTRIBUTE = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"}


class OpenApi:
    """The document for these operations; `of` adds the resources there are."""

    def __init__(self, operations: Iterable[Operation], version: str, *, authenticated: bool) -> None:
        self._authenticated = authenticated
        self._static: dict[str, Any] = {
            "openapi": "3.1.0",
            "info": {
                "title": "Retrace",
                "version": version,
                "description": "Long-running processes that undo what they did when a step fails.",
            },
            "paths": {},
            "components": {"schemas": _components()},
        }
        if authenticated:
            self._static["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        for each in operations:
            self._add(self._static["paths"], each)
        self._made_for: object = None
        self._encoded = b""

    def of(self, resources: Mapping[str, Resource]) -> bytes:
        """The document as JSON."""
        digests = {path: each.definition.digest for path, each in resources.items()}
        if digests != self._made_for:
            document = copy.deepcopy(self._static)
            for resource in resources.values():
                self._add_resource(document, resource)
            self._made_for, self._encoded = digests, msgspec.json.encode(document)
        return self._encoded

    def _add(self, paths: dict[str, Any], row: Operation) -> None:
        paths.setdefault(row.path, {})[row.method.lower()] = self._described(row)

    def _described(self, row: Operation) -> dict[str, Any]:
        found: dict[str, Any] = {
            "operationId": row.id,
            "summary": row.summary,
            "tags": [row.tag],
            "parameters": list(_parameters(row)),
            "responses": {str(status): _answer(answer) for status, answer in sorted(row.answers.items())},
        }
        if row.description:
            found["description"] = row.description
        if row.body is not None:
            found["requestBody"] = row.body.described()
        if self._authenticated:
            found["security"] = [] if row.open else [{"bearer": []}]
        found["responses"].update(_refusals(problems_of(row, authenticated=self._authenticated)))
        if row.body is not None:
            found["responses"][str(TOO_MANY)] = _TOO_MANY
        return found

    def _add_resource(self, document: dict[str, Any], resource: Resource) -> None:
        name, components = resource.path, document["components"]["schemas"]
        word = "".join(part.capitalize() for part in re.split("-+", name))
        schema = resource.schema if isinstance(resource.schema, (dict, bool)) else {}
        input_name, shown = f"{word}ResourceInput", f"{word}Resource"
        components[input_name] = _embedded(schema, f"#/components/schemas/{input_name}")
        components[shown] = _shown(input_name, resource)
        one = f"/{name}/{{id}}"
        for row in (operation("POST", f"/{name}", None, name), operation("GET", one, None, name)):
            described = self._described(row)
            for status in ("200", "201", "202"):
                if status in described["responses"]:
                    described["responses"][status]["content"] = _reference(shown)
            if row.method == "POST":
                described["requestBody"]["content"] = _reference(input_name)
            document["paths"].setdefault(row.path, {})[row.method.lower()] = described
        removed = self._described(operation("DELETE", one, None, name))
        cancelled = copy.deepcopy(components["CommandAnswer"])
        cancelled["properties"]["status"] = {"type": "string", "description": "A label."}
        removed["responses"]["202"]["content"] = {JSON: {"schema": cancelled}}
        document["paths"][one]["delete"] = removed


def _components() -> dict[str, Any]:
    models = [
        each
        for each in vars(schemas).values()
        if isinstance(each, type)
        and issubclass(each, BaseModel)
        and each not in {BaseModel, schemas.Body, schemas.Open}
    ]
    pairs = [(each, "validation" if issubclass(each, schemas.Body) else "serialization") for each in models]
    _, document = models_json_schema(pairs, ref_template=_REF)  # type: ignore[arg-type]  # the mode is one of two words
    found: dict[str, Any] = document["$defs"]
    return {**found, "CloudEventBody": _CLOUD_EVENT, "EventAttribute": _ATTRIBUTE}


def _embedded(schema: Any, place: str) -> Any:
    """A schema of its own as a component: its references to itself keep their meaning."""
    if isinstance(schema, dict):
        return {
            key: place + value[1:]
            if key == "$ref" and isinstance(value, str) and value.startswith("#")
            else _embedded(value, place)
            for key, value in schema.items()
            if key not in {"$schema", "$id"}
        }
    return [_embedded(each, place) for each in schema] if isinstance(schema, list) else schema


def _shown(input_name: str, resource: Resource) -> dict[str, Any]:
    members = {
        "id": {"type": "string", "pattern": f"^{ID}$"},
        "status": {"type": "string", "enum": sorted({resource.label(each) for each in schemas.STATUSES})},
        "data": {"$ref": _REF.format(model=input_name)},
        "output": {},
        "error": {"anyOf": [{"$ref": _REF.format(model="Fault")}, {"type": "null"}]},
        "links": {"type": "object", "additionalProperties": {"type": "string"}},
    }
    return {"type": "object", "required": list(members), "properties": members}


def _reference(name: str) -> dict[str, Any]:
    return {JSON: {"schema": {"$ref": _REF.format(model=name)}}}


def _parameters(row: Operation) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"\{(\w+)\}", row.path):
        default = {"type": "string", "pattern": f"^{ID}$"} if name == "id" else {"type": "string"}
        yield {"name": name, "in": "path", "required": True, "schema": row.path_schemas.get(name, default)}
    for each in row.parameters:
        schema = {"type": "array", "items": each.schema} if each.many else each.schema
        yield {"name": each.name, "in": "query", "description": each.description, "schema": schema}
    for name in row.request_headers:
        text, schema = _REQUEST_HEADERS[name]
        yield {"name": name, "in": "header", "description": text, "schema": schema}


def _answer(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        found["headers"] = {name: _header(name) for name in answer.headers}
    if answer.media:
        found["content"] = {
            each: {"schema": _schema(answer) if each == JSON else _OF_TEXT.get(each, {})} for each in answer.media
        }
    return found


def _header(name: str) -> dict[str, Any]:
    text, schema = _HEADERS[name]
    return {"description": text, "schema": schema}


def _schema(answer: Answer) -> dict[str, Any]:
    if answer.model is None:
        return {}
    models = answer.model if isinstance(answer.model, tuple) else (answer.model,)
    references = [{"$ref": _REF.format(model=each.__name__)} for each in models]
    return references[0] if len(references) == 1 else {"anyOf": references}


_TOO_MANY = {
    "description": "`overloaded`: more is begun than is brought to its end",
    "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
    "headers": {"Retry-After": _header("Retry-After")},
}


def _refusals(slugs: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status in sorted({SLUGS[slug].status for slug in slugs}):
        names = [slug for slug in slugs if SLUGS[slug].status == status]
        entry: dict[str, Any] = {
            "description": "; ".join(f"`{slug}`: {SLUGS[slug].title.lower()}" for slug in names),
            "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
        }
        if any(SLUGS[slug].retryable for slug in names):
            entry["headers"] = {"Retry-After": _header("Retry-After")}
        if status == 401:
            entry["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
        found[str(status)] = entry
    return found
