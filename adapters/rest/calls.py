"""One request as an operation sees it: already negotiated, parsed and authenticated."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from adapters.rest.authentication import ACTOR
from adapters.rest.services import Services
from domain.errors import NotFoundError

JSON = "application/json"
ID = r"o_[0-9A-Za-z]{22}"
"""The form of a public id."""
NO_SUCH_ID = "There is no orchestration with this id."
_ID = re.compile(ID, re.ASCII)
_encode = msgspec.json.Encoder().encode


class Call:
    """What an operation works on. `query` holds parsed parameters, `body` the checked body of a POST."""

    __slots__ = ("accepted", "actor", "body", "key", "query", "request", "services")

    def __init__(self, request: Request, services: Services, accepted: str, query: dict[str, Any]) -> None:
        self.request = request
        self.services = services
        self.accepted = accepted
        self.query = query
        self.actor: str = request.scope.get(ACTOR, services.actor)
        self.body: Any = None
        self.key: str | None = None

    @property
    def orchestration(self) -> str:
        """The public id in the path; what has not its form cannot exist. Raises NotFoundError."""
        return public_id(self.request.path_params["id"])

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be changed."""
        return bool(self.query.get("dry_run", False))

    def segment(self, name: str) -> str:
        """A segment of the path; one that no database could hold raises NotFoundError."""
        value: str = self.request.path_params[name]
        if len(value) > 255 or "\0" in value or "\ufffd" in value:
            raise NotFoundError
        return value


def public_id(text: str) -> str:
    """The text, if it has the form of a public id; raises NotFoundError."""
    if _ID.fullmatch(text) is None:
        raise NotFoundError(NO_SUCH_ID)
    return text


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON, encoded once."""
    return Response(_encode(value), status, headers, JSON)


def next_link(call: Call, name: str, value: str | int | None) -> dict[str, str]:
    """`Link: <...>; rel="next"`: this request with another position; nothing on the last page."""
    if value is None:
        return {}
    query = [(key, each) for key, each in call.request.query_params.multi_items() if key != name]
    return {"Link": f'<{call.request.url.path}?{urlencode([*query, (name, value)])}>; rel="next"'}
