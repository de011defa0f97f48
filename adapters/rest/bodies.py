"""Bodies, read strictly: what two parsers could understand differently is refused (RFC 8259 section 4, RFC 7493).

A body over the limit is refused while it arrives, whatever Content-Length says. msgspec decides whether bytes are JSON
(UTF-8, no NaN, no lone surrogates, no number beyond a double); a second reading with the standard library finds duplicate
members, which msgspec accepts. Nesting is bounded at 100; integers beyond 64 bits are refused, since they could not be
kept exactly. Where a body has a model, pydantic checks its members and every violation is told at once.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.types import Message, Receive

from adapters.nesting import is_deeper
from adapters.rest.calls import Call
from adapters.rest.forms import FORMS
from adapters.rest.problems import ProblemError, malformed
from domain.errors import Problem

DEEPEST = 100
_CHARSET = re.compile(r'charset\s*=\s*"?(utf-8|us-ascii)"?\Z', re.IGNORECASE)
_PLACE = re.compile(r"\(byte (\d+)\)")
_LONG_INTEGER = re.compile(rb"\d{19}")
_MOST, _LEAST = 2**64 - 1, -(2**63)

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Content:
    """A body as it was understood: `value` for the operation, `canonical` for the fingerprint of an idempotency key."""

    value: Any
    canonical: Callable[[], bytes]


async def read_bytes(call: Call) -> bytes:
    """The body; raises ProblemError (413) as soon as it is known to be longer than the limit, 400 when it does not come."""
    limit = call.services.max_body_bytes
    announced = call.headers.get("content-length")
    if announced is not None and announced.isascii() and announced.isdecimal() and int(announced[:20]) > limit:
        raise _too_large(limit)
    message = await call.receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        whole: bytes = message.get("body", b"")
        if len(whole) > limit:
            raise _too_large(limit)
        return whole
    patience_s = call.services.patience_s
    try:
        async with asyncio.timeout(patience_s):
            return await _in_pieces(message, call.receive, limit)
    except TimeoutError:
        # A client that sends ever so slowly must not keep its place for ever.
        raise ProblemError(
            "malformed-request",
            f"The body did not arrive within {patience_s:g} s.",
            headers={"Connection": "close"},
        ) from None


async def _in_pieces(message: Message, receive: Receive, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while message["type"] == "http.request":
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)
        message = await receive()
    raise malformed("The connection ended before the body did.")


def _too_large(limit: int) -> ProblemError:
    # The rest of the body is still on its way; the connection cannot be used again.
    return ProblemError("payload-too-large", f"The body is longer than {limit} bytes.", headers={"Connection": "close"})


@lru_cache(maxsize=256)
def media_type(header: str | None) -> str | None:
    """The media type in lower case without parameters; a charset other than UTF-8 raises ProblemError (415)."""
    if header is None:
        return None
    name, *parameters = [part.strip() for part in header.split(";")]
    for parameter in parameters:
        if parameter.lower().startswith("charset") and not _CHARSET.match(parameter):
            raise unsupported("The text of a body is UTF-8.")
    return name.lower()


def unsupported(detail: str) -> ProblemError:
    """415."""
    return ProblemError("unsupported-media-type", detail)


def parse_json(raw: bytes) -> Any:
    """A JSON value; raises ProblemError (400, with line and column where they are known; 422 for a long integer)."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise _unreadable(raw, str(error)) from None
    except UnicodeDecodeError:
        raise malformed("The body is not valid UTF-8.") from None
    except RecursionError:
        raise _too_deep() from None
    if is_deeper(raw, DEEPEST):
        raise _too_deep()
    if b":" in raw:
        _check_members(raw)
    if _LONG_INTEGER.search(raw):
        _check_integers(value)
    return value


def _unreadable(raw: bytes, reason: str) -> ProblemError:
    found = _PLACE.search(reason)
    what = _PLACE.sub("", reason.removeprefix("JSON is malformed: ")).strip()
    if not raw.strip():
        return malformed("The body is empty; it must be JSON.")
    if found is None:
        return malformed(f"The body is not valid JSON: {what}.")
    before = raw[: int(found[1])]
    line = before.count(b"\n") + 1
    column = len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")) + 1
    place = Problem("", what, "malformed", line, column)
    return ProblemError(
        "malformed-request", f"The body is not valid JSON: {what}, line {line}, column {column}.", errors=[place]
    )


def _too_deep() -> ProblemError:
    return malformed(f"The body is nested deeper than {DEEPEST} levels.")


class _DuplicateError(ValueError):
    pass


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) > 1 and len({name for name, _ in pairs}) != len(pairs):
        names = [name for name, _ in pairs]
        raise _DuplicateError(next(name for position, name in enumerate(names) if name in names[:position]))


_MEMBERS = json.JSONDecoder(object_pairs_hook=_distinct, parse_float=lambda _: None, parse_int=lambda _: None)


def _check_members(raw: bytes) -> None:
    try:
        _MEMBERS.decode(raw.decode())
    except _DuplicateError as error:
        raise malformed(f"The member {str(error)[:60]!r} is there twice.") from None


def _check_integers(value: Any) -> None:
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        pointer, each = stack.pop()
        if isinstance(each, dict):
            stack.extend((f"{pointer}/{escape(name)}", child) for name, child in each.items())
        elif isinstance(each, list):
            stack.extend((f"{pointer}/{index}", child) for index, child in enumerate(each))
        elif isinstance(each, int) and not _LEAST <= each <= _MOST:
            raise invalid([Problem(pointer, "An integer beyond 64 bits; send it as a string.", "number")])


def escape(name: str) -> str:
    """A member name as a token of a JSON Pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def invalid(problems: list[Problem], detail: str = "The body has not the form that is asked for.") -> ProblemError:
    """422 with its places."""
    return ProblemError("invalid-input", detail, errors=problems)


def conform(model: type[Model], value: Any) -> Model:
    """The value as the model; raises ProblemError (422) with every violation and its JSON Pointer."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = [
            Problem(
                "".join(f"/{escape(str(part))}" for part in each["loc"] if part != "[key]"),
                _sentence(each),
                _code(each["type"]),
            )
            for each in error.errors(include_url=False, include_input=False)
        ]
        raise invalid(problems) from None


# pydantic speaks of Python and of patterns; clients know JSON.
_SENTENCES = {
    "extra_forbidden": "There is no such member.",
    "missing": "This member is required.",
    "string_type": "This is a string.",
    "bool_type": "This is true or false.",
    "dict_type": "This is an object.",
    "model_type": "This is an object.",
    "string_too_short": "This has at least {min_length} character(s).",
    "string_too_long": "This has at most {max_length} characters.",
    "too_long": "This has at most {max_length} members.",
}


def _sentence(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    if error["type"] == "string_pattern_mismatch" and context.get("pattern") in FORMS:
        return FORMS[context["pattern"]]
    known = _SENTENCES.get(error["type"])
    return known.format_map(context) if known else f"{error['msg'].removeprefix('Value error, ')}."


def _code(kind: str) -> str:
    return {"extra_forbidden": "unknown", "missing": "required"}.get(kind, "invalid")


@dataclass(frozen=True)
class JsonBody:
    """How an operation reads an `application/json` body. Without `model` any JSON value is taken as it is.

    `optional`: no body at all is as good as an empty object.
    """

    model: type[BaseModel] | None = None
    optional: bool = False
    description: str = ""

    async def read(self, call: Call) -> Content:
        """The body, checked. Raises ProblemError (400, 413, 415, 422)."""
        raw = await read_bytes(call)
        if self.optional and not raw:
            value: Any = {}
        else:
            if media_type(call.headers.get("content-type")) != "application/json":
                raise unsupported("Send the body as JSON, with Content-Type: application/json.")
            value = parse_json(raw)
        checked = value if self.model is None else conform(self.model, value)
        return Content(checked, lambda: canonical(value))

    def described(self) -> dict[str, Any]:
        """The request body of the OpenAPI document."""
        schema: dict[str, Any] = {} if self.model is None else {"$ref": f"#/components/schemas/{self.model.__name__}"}
        return {
            "required": not self.optional,
            "description": self.description,
            "content": {"application/json": {"schema": schema}},
        }


def canonical(value: Any) -> bytes:
    """JSON bytes with sorted members: equal values give equal bytes."""
    return msgspec.json.encode(value, order="deterministic")
