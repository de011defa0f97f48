"""Resources of their own: a definition with `resource.path` is served as `/registrations` and `/registrations/{id}`.

Which paths there are changes with every deployment, so the router has two open patterns at its end and the paths are looked
up here. They are remembered for a second, and forgotten when a document is deployed here; another process's deployment is
seen a second later. A resource shows labels in place of statuses and nothing of how it is carried out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from adapters.rest.bodies import JsonBody
from adapters.rest.calls import NO_SUCH_ID, Call, json_response, public_id
from adapters.rest.commands import answered, command
from adapters.rest.conditions import etag, not_modified
from adapters.rest.operations import Answer, Operation, served
from adapters.rest.orchestrations import AFTER, WAIT, awaited_status, started
from adapters.rest.parameters import text
from adapters.rest.problems import ProblemError, refusal
from adapters.rest.schemas import FINAL
from adapters.rest.services import Services
from application.service import Answer as Done
from application.service import Deployed, DryRun, Json, StartRequest
from domain.errors import NotFoundError

OURS = frozenset({"v1", "docs", "healthz", "readyz", "metrics", "problems"})
"""Paths that no definition can have."""
_SEGMENT = re.compile(r"[a-z][a-z0-9-]*", re.ASCII)
_REMEMBERED_S = 1.0
_FALL_BACK = frozenset({"suspended", "compensating"})


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
        self._good_until: float | None = None

    async def all(self) -> Mapping[str, Resource]:
        """Resources by path."""
        now = self._services.clock().timestamp()
        if self._good_until is None or not now < self._good_until <= now + _REMEMBERED_S:
            found = await self._services.definitions.resources()
            self._known = {path: Resource(path, *each) for path, each in found.items() if path not in OURS}
            self._good_until = now + _REMEMBERED_S
        return self._known

    def forget(self) -> None:
        """Something was deployed."""
        self._good_until = None

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


def _find(resources: Resources, call: Call) -> Any:
    return resources.find(call.request.path_params["resource"])


class ResourceRoutes:
    """The operations of all resources, dispatched by path and method."""

    def __init__(self, services: Services, resources: Resources) -> None:
        self._resources = resources
        self._of_collection = {"POST": served(operation("POST", "", self.create), services)}
        self._of_member = {
            "GET": served(operation("GET", "", self.read), services),
            "DELETE": served(operation("DELETE", "", self.remove), services),
        }

    async def collection(self, request: Request) -> Response:
        """/{resource}."""
        return await self._dispatch(request, self._of_collection)

    async def member(self, request: Request) -> Response:
        """/{resource}/{id}."""
        return await self._dispatch(request, self._of_member)

    async def _dispatch(self, request: Request, methods: Mapping[str, Any]) -> Response:
        try:
            await self._resources.find(request.path_params["resource"])
        except NotFoundError:
            raise HTTPException(404) from None
        if request.method not in methods:
            allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
            detail = f"{request.method} is not possible here."
            return refusal(ProblemError("method-not-allowed", detail, headers={"Allow": allowed}))
        response: Response = await methods[request.method](request)
        return response

    async def create(self, call: Call) -> Response:
        """POST /{resource}."""
        resource = await _find(self._resources, call)
        request = StartRequest(
            definition=f"{resource.definition.namespace}/{resource.definition.name}",
            input=call.body,
            actor=call.actor,
            idempotency_key=call.key,
        )
        id_ = await call.services.commands.start(request)
        status, code, headers = await started(call, id_)
        return json_response(resource.representation(status), code, {"Location": f"/{resource.path}/{id_}", **headers})

    async def read(self, call: Call) -> Response:
        """GET /{resource}/{id}."""
        resource = await _find(self._resources, call)
        status = await _status(resource, call, public_id(call.request.path_params["id"]))
        headers = {"ETag": etag(status["version"])}
        if status["status"] not in FINAL:
            headers["Retry-After"] = "1"
        if not_modified(call.request.headers, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return json_response(resource.representation(status), 200, headers)

    async def remove(self, call: Call) -> Response:
        """DELETE /{resource}/{id}: a cancel."""
        resource = await _find(self._resources, call)
        id_ = public_id(call.request.path_params["id"])
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
            problems=("not-found",),
            request_headers=("Idempotency-Key", "Prefer"),
            body=JsonBody(),
            starts=True,
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
