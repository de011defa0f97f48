"""The short way: hot operations are found in two dictionaries instead of the router's list of patterns.

An operation is hot when its row says so; its path has no parameter, or one at its end. What is found here is the very
object that the router would have found. Everything else, and every refusal of a path or a method, is the router's.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.rest.resources import ResourceRoutes
from adapters.rest.serving import Served


class Front:
    """In front of the router."""

    def __init__(self, router: ASGIApp, operations: Iterable[Served], resources: ResourceRoutes) -> None:
        self._router = router
        self._resources = resources
        self._whole: dict[str, dict[str, ASGIApp]] = {}
        """By path, then by method."""
        self._members: dict[str, tuple[str, dict[str, ASGIApp]]] = {}
        """By the path before its last segment: the name of the parameter, and operations by method."""
        for served in operations:
            row = served.operation
            before, _, last = row.path.rpartition("/")
            if last.startswith("{"):
                self._members.setdefault(before, (last.strip("{}"), {}))[1][row.method] = served
            else:
                self._whole.setdefault(row.path, {})[row.method] = served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        await (self._found(scope) or self._router)(scope, receive, send)

    def _found(self, scope: Scope) -> ASGIApp | None:
        path, method = scope["path"], scope["method"]
        if (methods := self._whole.get(path)) is not None:
            return methods.get(method)
        before, _, last = path.rpartition("/")
        if not last:
            return None
        if before in self._members:
            name, methods = self._members[before]
            scope["path_params"] = {name: last}
            return methods.get(method)
        return self._of_resource(scope, before, last)

    def _of_resource(self, scope: Scope, before: str, last: str) -> ASGIApp | None:
        known = self._resources.resources.at_hand() or {}
        if before == "" and last in known:
            scope["path_params"] = {"resource": last}
            return self._resources.collection
        if before[1:] in known:
            scope["path_params"] = {"resource": before[1:], "id": last}
            return self._resources.member
        return None
