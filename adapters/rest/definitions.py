"""Definitions: deploying documents and reading them back, as sent or as JSON, and as diagrams."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, cast

import msgspec
from starlette.responses import Response

from adapters.rest.bodies import Content, media_type, parse_json, read_bytes, unsupported
from adapters.rest.calls import JSON, Call, json_response, next_link
from adapters.rest.conditions import not_modified
from adapters.rest.negotiation import negotiate
from adapters.rest.operations import Answer, Operation
from adapters.rest.parameters import CURSOR, DRY_RUN, LIMIT, Parameter, text
from adapters.rest.problems import error_member, malformed
from adapters.rest.schemas import Definition, DefinitionCheck, DefinitionList
from application.service import Deployed
from domain.errors import Problem

YAML = "application/yaml"
SVG = "image/svg+xml"
_PLAIN, _MERMAID = "text/plain", "text/vnd.mermaid"
_TAG = "Definitions"
_PATH = "/v1/definitions"
# Pictures and documents come from authors; a browser that opens one must not run anything in it.
_INERT = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "X-Content-Type-Options": "nosniff",
}

MediaType = Literal["application/yaml", "application/json"]


@dataclass(frozen=True)
class DocumentBody:
    """A document as bytes with its media type. JSON is read strictly first; everything else the use case reports."""

    async def read(self, call: Call) -> Content:
        """(bytes, media type). Raises ProblemError (400, 413, 415)."""
        raw = await read_bytes(call)
        kind = media_type(call.headers.get("content-type"))
        if kind not in {YAML, JSON}:
            raise unsupported(f"A definition is {YAML} or {JSON}.")
        if kind == JSON:
            parse_json(raw)
        else:
            _check_text(raw)
        return Content((raw, kind), lambda: f"{kind}\n".encode() + raw)

    def described(self) -> dict[str, Any]:
        """The request body of the OpenAPI document."""
        document = {"type": "object", "description": "A CNCF Serverless Workflow DSL 1.0 document."}
        return {"required": True, "content": {YAML: {"schema": {"type": "string"}}, JSON: {"schema": document}}}


def _check_text(raw: bytes) -> None:
    try:
        raw.decode()
    except UnicodeDecodeError:
        raise malformed("The document is not UTF-8.") from None


async def deploy(call: Call) -> Response:
    """POST /v1/definitions."""
    document, kind = cast("tuple[bytes, MediaType]", call.body)
    if call.dry_run:
        errors, warnings = await call.services.definitions.check(document, kind)
        members = {"valid": not errors, "errors": _entries(errors), "warnings": _entries(warnings)}
        return json_response(members)
    deployed = await call.services.definitions.deploy(document, kind)
    return json_response(representation(deployed), 201 if deployed.created else 200, {"Location": location(deployed)})


def representation(deployed: Deployed) -> dict[str, Any]:
    """A deployed version as clients see it."""
    members = msgspec.structs.asdict(deployed)
    del members["created"]
    members["warnings"] = [
        {"pointer": each.pointer, "line": each.line, "column": each.column, "detail": each.detail, "code": each.code}
        for each in deployed.warnings
    ]
    return members


def _entries(problems: list[Problem]) -> list[dict[str, Any]]:
    return [error_member(each) for each in problems]


def location(deployed: Deployed) -> str:
    """The path of a version."""
    return f"{_PATH}/{deployed.namespace}/{deployed.name}/{deployed.version}"


async def list_(call: Call) -> Response:
    """GET /v1/definitions."""
    namespace, name = call.query.get("namespace"), call.query.get("name")
    found = await call.services.definitions.list(namespace=namespace, name=name)
    cursor = call.query.get("cursor")
    if cursor is not None:
        places = [location(each) for each in found]
        if cursor not in places:
            raise malformed("This cursor is not one that this service gave; start again without it.")
        found = found[places.index(cursor) + 1 :]
    limit = call.query.get("limit", 100)
    page = found[:limit]
    following = sealed(location(page[-1])) if len(found) > limit else None
    members = {"items": [representation(each) for each in page], "next": following}
    return json_response(members, 200, next_link(call, "cursor", following))


def sealed(place: str) -> str:
    """A cursor: the place of the last item, in characters that a URL leaves alone."""
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _read_cursor(given: str) -> str:
    try:
        return base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        raise ValueError("is not one that this service gave") from None


def _segments(call: Call) -> tuple[str, str, str]:
    return call.segment("namespace"), call.segment("name"), call.segment("version")


async def get(call: Call) -> Response:
    """GET /v1/definitions/{namespace}/{name}/{version}: the document as sent; JSON where only that is accepted."""
    namespace, name, version = _segments(call)
    deployed, document, sent_as, value = await call.services.definitions.document(namespace, name, version)
    # A client that takes both alike gets the document as it was sent.
    kind = negotiate(call.headers.get("accept"), (YAML, JSON) if sent_as == YAML else (JSON, YAML))
    # JSON is YAML as it stands; the other way round the parsed value is written as JSON.
    body = msgspec.json.encode(value) if kind == JSON and sent_as != JSON else document
    tag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Vary": "Accept", "Content-Location": location(deployed), **_INERT}
    if version != "latest":
        del headers["Content-Location"]
    if not_modified(call.headers, tag):
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, kind)


async def diagram(call: Call) -> Response:
    """GET .../diagram."""
    namespace, name, version = _segments(call)
    kind: Literal["mermaid", "svg"] = "svg" if call.accepted == SVG else "mermaid"
    picture = await call.services.definitions.diagram(namespace, name, version, kind)
    return Response(picture, 200, {"Vary": "Accept", **_INERT}, call.accepted)


_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_SEGMENTS = {
    "namespace": {"type": "string", "pattern": f"^{_WORD}$"},
    "name": {"type": "string", "pattern": f"^{_WORD}$"},
    "version": {
        "type": "string",
        "pattern": "^[0-9A-Za-z.+-]{1,100}$",
        "description": "`latest`: the highest release.",
    },
}

OPERATIONS = (
    Operation(
        "deployDefinition",
        "POST",
        _PATH,
        deploy,
        "Deploy a definition",
        _TAG,
        {
            200: Answer(
                "This very document was deployed before; or what a dry run found.",
                (Definition, DefinitionCheck),
                headers=("Location",),
            ),
            201: Answer("Deployed.", Definition, headers=("Location",)),
        },
        problems=("invalid-definition", "definition-exists"),
        parameters=(DRY_RUN,),
        request_headers=("Idempotency-Key",),
        body=DocumentBody(),
    ),
    Operation(
        "listDefinitions",
        "GET",
        _PATH,
        list_,
        "The latest version of every definition, or all versions of one",
        _TAG,
        {200: Answer("A page of definitions.", DefinitionList, headers=("Link",))},
        parameters=(
            text("namespace", "Only of this namespace.", longest=255),
            text("name", "Only of this name; with namespace all versions.", longest=255),
            Parameter("cursor", _read_cursor, CURSOR.schema, CURSOR.description),
            LIMIT,
        ),
    ),
    Operation(
        "getDefinition",
        "GET",
        f"{_PATH}/{{namespace}}/{{name}}/{{version}}",
        get,
        "A document as it was sent",
        _TAG,
        {
            200: Answer("The document.", media=(YAML, JSON), headers=("ETag", "Vary", "Content-Location")),
            304: Answer("Unchanged.", media=()),
        },
        problems=("not-found",),
        request_headers=("If-None-Match",),
        produces=(YAML, JSON),
        path_schemas=_SEGMENTS,
    ),
    Operation(
        "getDiagram",
        "GET",
        f"{_PATH}/{{namespace}}/{{name}}/{{version}}/diagram",
        diagram,
        "A picture of a definition",
        _TAG,
        {200: Answer("Mermaid text, or SVG.", media=(_PLAIN, _MERMAID, SVG), headers=("Vary",))},
        problems=("not-found",),
        produces=(_PLAIN, _MERMAID, SVG),
        path_schemas=_SEGMENTS,
    ),
)
