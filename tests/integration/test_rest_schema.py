"""The OpenAPI document and the service agree: requests made from the document, right ones and wrong ones, never meet a
5xx, a status or a form that it does not tell, or a body without the schema it promises.

Schemathesis makes the requests. Ids in paths are mostly replaced by real ones, so that more than 404 is seen; waiting is
cut to nothing, so that no test waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import requests
import schemathesis
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, assume, given, settings
from hypothesis.errors import InvalidArgument, Unsatisfiable
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from adapters.rest import app
from tests.integration.test_rest_service import GREETING, PATIENT
from tests.support.projected import SAMPLES
from tests.support.service import Api, running_service

ADDRESS = "http://127.0.0.1:8080"
EXAMPLES = 10
AGREED = [
    checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]


class Running:
    """A service in an event loop of its own, with an orchestration that waits and one that has ended."""

    def __init__(self, portal: BlockingPortal, api: Api) -> None:
        self._portal = portal
        self._api = api
        self.ended = portal.call(self._ended)
        self.document: dict[str, Any] = portal.call(api.done, "GET", "/openapi.json")

    async def _ended(self) -> str:
        for document in (GREETING, PATIENT):
            assert (await self._api.deploy(document))["http_status"] == 201
        status = await self._api.start("shop/greeting", {"city": "Rome"})
        return str((await self._api.ended(status["id"]))["id"])

    def waiting(self) -> str:
        """A new orchestration that waits for an event."""
        return str(self._portal.call(self._api.start, "patient")["id"])

    def send(self, request: requests.PreparedRequest) -> httpx2.Response | None:
        """The answer; None for what the client itself cannot send."""

        async def sent() -> httpx2.Response | None:
            body: Any = request.body
            url = str(request.url).removeprefix(ADDRESS)
            headers: Any = {name: value for name, value in request.headers.items() if name.lower() != "content-length"}
            try:
                return await self._api.http.request(str(request.method), url, content=body, headers=headers)
            except httpx2.InvalidURL:
                return None

        return self._portal.call(sent)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(
            running_service(tmp_path_factory.mktemp("schema"), projections=SAMPLES)
        ) as api,
    ):
        yield Running(portal, api)


NAMES = [each.id for each in app.OPERATIONS] + [
    f"{what}_{path}" for path in ("greetings", "patients") for what in ("create", "read", "cancel")
]


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("name", NAMES)
def test_the_service_does_what_the_document_says(running: Running, name: str, mode: GenerationMode) -> None:
    document = schemathesis.openapi.from_dict(running.document)
    operation = document.find_operation_by_id(name)

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def agree(case: Any) -> None:
        _make_real(case, running)
        request = requests.Request(**case.as_transport_kwargs(base_url=ADDRESS)).prepare()
        response = running.send(request)
        assume(response is not None)
        case.validate_response(response, checks=AGREED)

    try:
        agree()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # nothing about this operation can be wrong
    except InvalidArgument:
        assert mode is GenerationMode.NEGATIVE


def test_what_the_client_itself_cannot_send_is_not_judged(running: Running) -> None:
    request = requests.Request("GET", f"{ADDRESS}/v1/orchestrations?tag=a:{'x' * 70_000}").prepare()
    assert running.send(request) is None


def test_no_operation_is_left_out(running: Running) -> None:
    found = {each["operationId"] for path in running.document["paths"].values() for each in path.values()}
    assert found == set(NAMES)


def _make_real(case: Any, running: Running) -> None:
    if "id" in case.path_parameters and len(str(case.path_parameters["id"])) == len(running.ended):
        lasting = case.method == "GET" or case.path.startswith("/greetings")
        case.path_parameters["id"] = running.ended if lasting else running.waiting()
    if case.path.startswith("/v1/projections/") and case.method != "DELETE":
        case.path_parameters["name"] = "counted"
    if "namespace" in case.path_parameters:
        case.path_parameters.update(namespace="shop", name="greeting")
        if len(str(case.path_parameters.get("version", ""))) % 2:
            case.path_parameters["version"] = "latest"
    if str((case.query or {}).get("wait", "")).isdigit():
        case.query["wait"] = 0
    if str((case.headers or {}).get("Prefer", "")).startswith("wait="):
        case.headers["Prefer"] = "wait=0"
