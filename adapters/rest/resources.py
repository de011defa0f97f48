"""Resources of their own: a definition with `resource.path` is served as `/registrations` and `/registrations/{id}`.

Which paths there are changes with every deployment, so the router has two open patterns at its end and the paths are looked
up here. They are remembered for a second, and forgotten when a document is deployed here; another process's deployment is
seen a second later. A resource shows labels in place of statuses and nothing of how it is carried out.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapters.rest.bodies import JsonBody
from adapters.rest.calls import NO_SUCH_ID, Call, json_response, public_id
from adapters.rest.commands import answered, command
from adapters.rest.conditions import etag, not_modified
from adapters.rest.operations import Answer, Operation
from adapters.rest.orchestrations import AFTER, WAIT, awaited_status, polls, prefers_to_wait, started
from adapters.rest.parameters import text
from adapters.rest.problems import ProblemError, refusal
from adapters.rest.schemas import FINAL
from adapters.rest.services import Services
from adapters.rest.serving import Served
from application.service import Answer as Done
from application.service import Deployed, DryRun, Json, StartRequest
from domain.errors import NotFoundError

OURS = frozenset({"v1", "docs", "healthz", "readyz", "metrics", "problems"})
"""Paths that no definition can have."""
_SEGMENT = re.compile(r"[a-z][a-z0-9-]*", re.ASCII)
_REMEMBERED_S = 1.0
_FALL_BACK = frozenset({"suspended", "compensating"})
_RESOURCE = "retrace.resource"
"""Where the resource of the path lies in the scope of a request."""


class Resource(NamedTuple):
    """A path and the definition that owns it."""

    path: str
    definition: Deployed
    schema: Any
    labels: Mapping[str, str]

    def label(self, status: str) -> str:
        """The word for a status: its label; `suspended` and `compensating` may borrow that of `running`."""
        if status in self.labels:
            return self.labels[status]
        return self.labels.get("running", status) if status in _FALL_BACK else status

    def representation(self, status: Json) -> Json:
        """An orchestration as its resource shows it."""
        id_ = status["id"]
        return {
            "id": id_,
            "status": self.label(status["status"]),
            "data": status["input"],
            "output": status["output"],
            "error": status["error"],
            "links": {"self": f"/{self.path}/{id_}", "orchestration": f"/v1/orchestrations/{id_}"},
        }


class Resources:
    """The resources there are now."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._known: dict[str, Resource] = {}
        self._good_until = 0.0
        self._deployments = 0
        self._looking = asyncio.Lock()

    def at_hand(self) -> Mapping[str, Resource] | None:
        """Resources by path, if they need not be looked up."""
        now = self._services.clock().timestamp()
        return self._known if now < self._good_until <= now + _REMEMBERED_S else None

    async def all(self) -> Mapping[str, Resource]:
        """Resources by path."""
        if (known := self.at_hand()) is not None:
            return known
        async with self._looking:
            # One looks for all who came meanwhile.
            if (known := self.at_hand()) is not None:
                return known
            now, deployments = self._services.clock().timestamp(), self._deployments
            found = await self._services.definitions.resources()
            self._known = {path: Resource(path, *each) for path, each in found.items() if path not in OURS}
            if deployments == self._deployments:
                self._good_until = now + _REMEMBERED_S
            return self._known

    def forget(self) -> None:
        """Something was deployed."""
        self._good_until = 0.0
        self._deployments += 1

    async def find(self, path: str) -> Resource:
        """The resource at a path. Raises NotFoundError."""
        resource = (await self.all()).get(path) if _SEGMENT.fullmatch(path) and path not in OURS else None
        if resource is None:
            raise NotFoundError("There is nothing at this path.")
        return resource


async def _status(resource: Resource, call: Call, id_: str) -> Json:
    """The status of one of this resource. An id that is unknown and one of another resource give the same answer."""
    owner = f"{resource.definition.namespace}/{resource.definition.name}@"
    try:
        status = await awaited_status(call, id_)
    except NotFoundError:
        raise NotFoundError(NO_SUCH_ID) from None
    if not status["definition"].startswith(owner):
        raise NotFoundError(NO_SUCH_ID)
    return status


class ResourceRoute:
    """One of the two forms of path, `/{resource}` or `/{resource}/{id}`, as an ASGI application for all resources."""

    def __init__(self, resources: Resources, methods: Mapping[str, Served]) -> None:
        self._resources = resources
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. Raises HTTPException (404) where no definition has the path."""
        try:
            scope[_RESOURCE] = await self._resources.find(scope["path_params"]["resource"])
        except NotFoundError:
            raise HTTPException(404) from None
        served = self._methods.get(scope["method"])
        if served is None:
            allowed = ", ".join([*self._methods, *(["HEAD"] if "GET" in self._methods else [])])
            detail = f"{scope['method']} is not possible here; what is: {allowed}."
            refused = ProblemError("method-not-allowed", detail, headers={"Allow": allowed})
            await refusal(refused)(scope, receive, send)
            return
        await served(scope, receive, send)


class ResourceRoutes:
    """The operations of all resources. Each finds its resource in the scope of the request."""

    def __init__(self, services: Services, resources: Resources) -> None:
        self.resources = resources
        create = Served(operation("POST", "", self.create, "resource"), services)
        read = Served(operation("GET", "", self.read, "resource"), services)
        remove = Served(operation("DELETE", "", self.remove, "resource"), services)
        self.collection = ResourceRoute(resources, {"POST": create})
        self.member = ResourceRoute(resources, {"GET": read, "DELETE": remove})

    async def create(self, call: Call) -> Response:
        """POST /{resource}."""
        resource: Resource = call.scope[_RESOURCE]
        request = StartRequest(
            definition=f"{resource.definition.namespace}/{resource.definition.name}",
            input=call.body,
            actor=call.actor,
            idempotency_key=call.key,
            trace=call.trace,
            request_id=call.request_id,
        )
        id_ = await call.services.commands.start(request)
        status, code, headers = await started(call, id_)
        return json_response(resource.representation(status), code, {"Location": f"/{resource.path}/{id_}", **headers})

    async def read(self, call: Call) -> Response:
        """GET /{resource}/{id}."""
        resource: Resource = call.scope[_RESOURCE]
        status = await _status(resource, call, public_id(call.scope["path_params"]["id"]))
        headers = {"ETag": etag(status["version"])}
        if status["status"] not in FINAL:
            headers["Retry-After"] = "1"
        if not_modified(call.headers, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return json_response(resource.representation(status), 200, headers)

    async def remove(self, call: Call) -> Response:
        """DELETE /{resource}/{id}: a cancel."""
        resource: Resource = call.scope[_RESOURCE]
        id_ = public_id(call.scope["path_params"]["id"])
        await _status(resource, call, id_)
        request = await command(call, call.query.get("reason"), id_)
        result = await call.services.commands.cancel(request)
        if isinstance(result, DryRun):
            return answered(result, 200)
        return answered(Done(result.id, resource.label(result.status), result.version), 202)


REASON = text("reason", "Why; kept in the history.", longest=10_000)


def operation(method: str, path: str, endpoint: Any = None, name: str = "") -> Operation:
    """The row of one method of a resource; the same for serving and for the document."""
    headers = ("ETag", "Retry-After")
    if method == "POST":
        made = ("Location", "ETag", "Preference-Applied")
        answers = {201: Answer("Created.", headers=made), 202: Answer("Accepted.", headers=made)}
        return Operation(
            f"create_{name}",
            "POST",
            path,
            endpoint,
            "Create one",
            name,
            answers,
            problems=("not-found", "orchestration-ended"),
            request_headers=("Idempotency-Key", "Prefer"),
            body=JsonBody(),
            starts=True,
            lasts=prefers_to_wait,
        )
    if method == "GET":
        answers = {200: Answer("It.", headers=headers), 304: Answer("Unchanged.", media=())}
        return Operation(
            f"read_{name}",
            "GET",
            path,
            endpoint,
            "Read one",
            name,
            answers,
            problems=("not-found",),
            parameters=(WAIT, AFTER),
            request_headers=("If-None-Match",),
            lasts=polls,
        )
    return Operation(
        f"cancel_{name}",
        "DELETE",
        path,
        endpoint,
        "Cancel one",
        name,
        {202: Answer("Its cancel is recorded.", headers=("ETag",))},
        problems=("not-found", "orchestration-ended", "past-pivot", "version-mismatch"),
        parameters=(REASON,),
        request_headers=("If-Match",),
    )
