"""Bearer tokens (RFC 6750): who is calling.

A pure ASGI layer in front of the routes. Tokens are compared by their SHA-256, which is all the server knows of them; the
name beside it is the actor in every history. What a load balancer, a reader of problems and the static page of the
documentation need stays open; none of it tells anything about orchestrations. Whoever calls a task back shows the
token in the path instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.rest.fields import Fields
from adapters.rest.origin import with_request_id
from adapters.rest.problems import problem_response

ACTOR = "retrace.actor"
"""Where the caller's name lies in the scope of a request."""
_OPEN = frozenset({"/healthz", "/readyz", "/docs"})
_OPEN_BELOW = ("/problems/", "/v1/callbacks/")


class Authentication:
    """Sets the actor of a request, or answers 401."""

    def __init__(
        self, app: ASGIApp, tokens: Mapping[str, str] | None, actor: str, *, also_open: Iterable[str] = ()
    ) -> None:
        """`tokens`: name -> SHA-256 in hex; None lets everyone in as `actor`. `also_open`: more paths without a token."""
        self._app = app
        self._actor = actor
        self._open = _OPEN.union(also_open)
        self._names = None if tokens is None else {digest.lower(): name for name, digest in tokens.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http":
            actor = self._actor if self._names is None else self._caller(scope)
            if actor is None and scope["path"] not in self._open and not scope["path"].startswith(_OPEN_BELOW):
                await self._refuse(scope, receive, send)
                return
            scope[ACTOR] = actor or self._actor
        await self._app(scope, receive, send)

    def _caller(self, scope: Scope) -> str | None:
        given = Headers(scope=scope).getlist("authorization")
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        if scheme.lower() != "bearer" or self._names is None:
            return None
        # A digest in a dictionary: what its timing could tell is about the hash, not about the token.
        return self._names.get(sha256(token.strip().encode("latin-1")).hexdigest())

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get("authorization") is not None
        challenge = 'Bearer realm="retrace"' + (', error="invalid_token"' if given else "")
        response = problem_response(
            "unauthorized",
            "The token is not known here." if given else "A bearer token is needed.",
            headers={"WWW-Authenticate": challenge},
        )
        await with_request_id(response, Fields(scope))(scope, receive, send)
