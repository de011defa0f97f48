"""One request as an operation sees it: already negotiated, parsed and authenticated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope

from adapters.rest import forms
from adapters.rest.authentication import ACTOR
from adapters.rest.fields import Fields
from adapters.rest.origin import request_id_of, trace_of
from adapters.rest.services import Services
from domain.errors import NotFoundError

JSON = "application/json"
ID = forms.ID
"""The form of a public id."""
NO_SUCH_ID = "There is no orchestration with this id."
_ID = re.compile(ID, re.ASCII)
_NONE: Mapping[str, str] = MappingProxyType({})
_OF_JSON = (b"content-type", JSON.encode())
_encode = msgspec.json.Encoder().encode


class Call:
    """What an operation works on: `accepted` is the form to answer in, `query` holds parsed parameters, `body` the checked
    body of a POST. `receive` is where the body comes from.
    """

    __slots__ = ("accepted", "actor", "body", "headers", "key", "query", "receive", "scope", "services")

    def __init__(self, scope: Scope, receive: Receive, services: Services) -> None:
        self.scope = scope
        self.receive = receive
        self.services = services
        self.headers = Fields(scope)
        self.actor: str = scope.get(ACTOR, services.actor)
        self.accepted = JSON
        self.query: dict[str, Any] = {}
        self.body: Any = None
        self.key: str | None = None

    @property
    def orchestration(self) -> str:
        """The public id in the path; what has not its form cannot exist. Raises NotFoundError."""
        return public_id(self.scope["path_params"]["id"])

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be changed."""
        return bool(self.query.get("dry_run", False))

    @property
    def trace(self) -> str | None:
        """The trace id that the request brought."""
        return trace_of(self.headers)

    @property
    def request_id(self) -> str | None:
        """The id that the request brought."""
        return request_id_of(self.headers)

    def segment(self, name: str) -> str:
        """A segment of the path; one that no database could hold raises NotFoundError."""
        value: str = self.scope["path_params"][name]
        if len(value) > 255 or "\0" in value or "\ufffd" in value:
            raise NotFoundError
        return value


def public_id(text: str) -> str:
    """The text, if it has the form of a public id; raises NotFoundError."""
    if _ID.fullmatch(text) is None:
        raise NotFoundError(NO_SUCH_ID)
    return text


class JsonResponse(Response):
    """JSON that is encoded already; its headers are put together without looking at each again."""

    def __init__(self, body: bytes, status: int, headers: Mapping[str, str]) -> None:
        self.status_code = status
        self.background = None
        self.body = body
        self.raw_headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        self.raw_headers += ((b"content-length", b"%d" % len(body)), _OF_JSON)


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] = _NONE) -> Response:
    """JSON, encoded once."""
    return JsonResponse(_encode(value), status, headers)


def next_link(call: Call, name: str, value: str | int | None) -> dict[str, str]:
    """`Link: <...>; rel="next"`: this request with another position; nothing on the last page."""
    if value is None:
        return {}
    given = parse_qsl(call.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    query = [(key, each) for key, each in given if key != name]
    return {"Link": f'<{call.scope["path"]}?{urlencode([*query, (name, value)])}>; rel="next"'}
