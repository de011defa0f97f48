"""How OpenAPI writes parameter values into a request: ``style`` and ``explode``, Swagger's ``collectionFormat``.

No maintained library writes requests from OpenAPI descriptions without generating code (openapi-core reads and
validates them), so the table of "Parameter Object, style values" is implemented here. Values are plain text; encoding
is the caller's business, but for path parameters, which are percent-encoded here because their delimiters are not.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import quote

from adapters.callouts.exchange import UnsentError
from adapters.callouts.uris import scalar_text
from domain.errors import fault

_DEFAULT_STYLE = {"query": "form", "cookie": "form", "path": "simple", "header": "simple"}
_DELIMITER = {"form": ",", "simple": ",", "spaceDelimited": " ", "pipeDelimited": "|", "tabDelimited": "\t"}
_COLLECTIONS = {
    "csv": ("form", False),
    "ssv": ("spaceDelimited", False),
    "tsv": ("tabDelimited", False),
    "pipes": ("pipeDelimited", False),
    "multi": ("form", True),
}


class Writing(NamedTuple):
    """How one parameter is written."""

    name: str
    place: str
    style: str
    explode: bool


def writing_of(parameter: dict[str, Any], *, is_swagger: bool) -> Writing:
    """The rules of a parameter of a document, defaults filled in."""
    name, place = str(parameter.get("name")), str(parameter.get("in"))
    if is_swagger:
        style, explode = _COLLECTIONS.get(parameter.get("collectionFormat", "csv"), ("form", False))
        return Writing(name, place, "simple" if place in ("path", "header") else style, explode)
    style = parameter.get("style") or _DEFAULT_STYLE.get(place, "form")
    return Writing(name, place, style, bool(parameter.get("explode", style == "form")))


def pairs_of(writing: Writing, value: Any) -> list[tuple[str, str]]:
    """Name and text of a query, cookie or form parameter; several pairs where it is exploded. Raises UnsentError."""
    name, style, explode = writing.name, writing.style, writing.explode
    if isinstance(value, dict):
        if style == "deepObject":
            return [(f"{name}[{key}]", _plain(writing, each)) for key, each in value.items()]
        if explode:
            return [(key, _plain(writing, each)) for key, each in value.items()]
        return [(name, _joined(writing, _flat(value)))]
    if isinstance(value, list):
        if explode:
            return [(name, _plain(writing, each)) for each in value]
        return [(name, _joined(writing, value))]
    return [(name, _plain(writing, value))]


def path_text(writing: Writing, value: Any) -> str:
    """A path parameter, percent-encoded. Raises UnsentError."""
    name, style, explode = quote(writing.name, safe=""), writing.style, writing.explode

    def encoded(each: Any) -> str:
        return quote(_plain(writing, each), safe="")

    prefix = {"label": ".", "matrix": ";"}.get(style, "")
    if isinstance(value, dict) and explode:
        members = [f"{quote(key, safe='')}={encoded(each)}" for key, each in value.items()]
        return prefix + (prefix or ",").join(members)
    items = [encoded(each) for each in (_flat(value) if isinstance(value, dict) else _listed(value))]
    if style == "matrix":
        return "".join(f";{name}={each}" for each in items) if explode else f";{name}={','.join(items)}"
    # With "label" the dot also separates when exploded; otherwise it only leads.
    return prefix + ("." if style == "label" and explode else ",").join(items)


def header_text(writing: Writing, value: Any) -> str:
    """A header parameter (always style ``simple``). Raises UnsentError."""
    if isinstance(value, dict) and writing.explode:
        return ",".join(f"{key}={_plain(writing, each)}" for key, each in value.items())
    return ",".join(_plain(writing, each) for each in (_flat(value) if isinstance(value, dict) else _listed(value)))


def _joined(writing: Writing, values: list[Any]) -> str:
    return _DELIMITER.get(writing.style, ",").join(_plain(writing, each) for each in values)


def _flat(value: dict[str, Any]) -> list[Any]:
    return [part for pair in value.items() for part in pair]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _plain(writing: Writing, value: Any) -> str:
    if isinstance(value, (dict, list)):
        raise UnsentError(
            fault("configuration", f"the {writing.place} parameter {writing.name!r} is nested too deeply for its style")
        )
    return scalar_text(value)
