"""Schedules over HTTP and on the command line, on both databases."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from adapters.bootstrap import open_service
from adapters.settings import Settings
from tests.integration.cli_service import ID, FakeService, Terminal
from tests.support.service import Api

DOCUMENT = """
document: {{dsl: '1.0.3', namespace: shop, name: report, version: '{version}'}}
schedule: {schedule}
do: [{{s: {{set: {{a: '${{ $workflow.input }}'}}}}}}]
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/retrace.db"
    return str(request.getfixturevalue("fresh_postgres"))


@asynccontextmanager
async def serving(database):
    service = await open_service(Settings(database=database, partitions=2, grace=0.1), functions={}, development=True)
    try:
        transport = httpx2.ASGITransport(app=service.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", timeout=30) as http:
            yield Api(http)
    finally:
        await service.close()


@pytest.mark.anyio
async def test_the_whole_way(database):
    path = "/v1/schedules/shop/report"
    async with serving(database) as api:
        assert (await api.done("GET", "/v1/schedules"))["items"] == []
        assert (await api.http.get(path)).status_code == 404
        deployed = await api.deploy(
            DOCUMENT.format(version="1.0.0", schedule="{cron: 0 3 * * *, timezone: Europe/Berlin}")
        )
        assert deployed["http_status"] == 201
        shown = await api.done("GET", path)
        assert shown["schedule"] == {
            "cron": "0 3 * * *",
            "timezone": "Europe/Berlin",
            "overlap": "skip",
            "catch_up": "none",
        }
        assert (len(shown["next"]), shown["status"], shown["runs"]) == (5, "active", [])
        assert (await api.done("GET", "/v1/schedules"))["items"] == [shown]
        answer = await api.http.post(f"{path}/trigger", json={"reason": "a look"}, headers={"Idempotency-Key": '"k"'})
        assert answer.status_code == 202
        id_ = answer.json()["id"]
        assert answer.headers["Location"] == f"/v1/orchestrations/{id_}"
        again = await api.http.post(f"{path}/trigger", json={"reason": "a look"}, headers={"Idempotency-Key": '"k"'})
        assert again.json()["id"] == id_
        run = (await api.done("GET", path))["runs"][0]
        assert (run["id"], run["triggered_by"]) == (id_, {"actor": "anonymous", "reason": "a look"})
        assert (await api.ended(id_))["output"] == {"a": {"scheduled_for": run["scheduled_for"]}}
        paused = await api.done("POST", f"{path}/pause", json={"reason": "holidays"})
        assert (paused["status"], paused["paused"]["reason"], paused["next"]) == ("paused", "holidays", [])
    async with serving(database) as api:
        assert (await api.done("GET", path))["status"] == "paused"
        resumed = await api.done("POST", f"{path}/resume", json={"reason": "back"})
        assert (resumed["next"], resumed["resumed"]["reason"]) == (shown["next"], "back")
        assert (await api.done("GET", path))["resumed"] == resumed["resumed"]
        assert (await api.http.post("/v1/schedules/shop/other/pause")).status_code == 404


@pytest.mark.anyio
async def test_it_starts_in_real_time(database):
    async with serving(database) as api:
        await api.deploy(DOCUMENT.format(version="1.0.0", schedule="{every: {seconds: 1}}"))
        async with asyncio.timeout(30):
            while not (found := await api.done("GET", "/v1/audit/events"))["items"]:  # noqa: ASYNC110 - it is a query
                await asyncio.sleep(0.05)
        assert found["items"][0]["cause"]["kind"] == "schedule"


@pytest.mark.anyio
async def test_an_event_starts_one(database):
    async with serving(database) as api:
        await api.deploy(DOCUMENT.format(version="1.0.0", schedule="{on: {one: {with: {type: low}}}}"))
        event = {"specversion": "1.0", "type": "low", "source": "/ward", "id": "1"}
        headers = {"Content-Type": "application/cloudevents+json"}
        answer = await api.http.post("/v1/events", json=event, headers=headers)
        assert (answer.status_code, answer.json()["outcome"]) == (202, "started")
        assert (await api.http.post("/v1/events", json=event, headers=headers)).json()["outcome"] == "duplicate"
        [one] = (await api.done("GET", "/v1/orchestrations", params={"definition": "shop/report"}))["items"]
        assert (await api.ended(one["id"]))["output"]["a"][0]["id"] == "1"
        refused = await api.http.post("/v1/schedules/shop/report/trigger")
        assert (refused.status_code, refused.json()["type"]) == (422, "/problems/invalid-input")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("schedule", "pointer"),
    [
        ("{}", "/schedule"),
        ("{every: {seconds: 1}, cron: '* * * * *'}", "/schedule"),
        ("{every: {milliseconds: 10}}", "/schedule/every"),
        ("{every: '${ .a }'}", "/schedule/every"),
        ("{cron: 0 0 30 2 *}", "/schedule/cron"),
        ("{cron: 0 0 * * *, timezone: Mars/Olympus}", "/schedule/timezone"),
        ("{every: PT1H, timezone: UTC}", "/schedule/timezone"),
        ("{every: PT1H, catch_up: all}", "/schedule/catch_up"),
        ("{every: PT1H, catch_up: 0}", "/schedule/catch_up"),
        ("{after: PT1H, overlap: allow}", "/schedule/overlap"),
        ("{on: {all: [{with: {type: a}}]}}", "/schedule/on/all"),
        ("{on: {one: {with: {type: '${ true }'}}}}", "/schedule/on/one/with/type"),
        ("{on: {one: {with: {type: a}}}, catch_up: latest}", "/schedule/catch_up"),
        ("{at: noon}", "/schedule/at"),
    ],
)
async def test_documents_that_are_refused(tmp_path, schedule, pointer):
    from adapters import documents
    from domain.errors import InvalidDefinitionError

    with pytest.raises(InvalidDefinitionError) as refusal:
        documents.read_definition(DOCUMENT.format(version="1.0.0", schedule=schedule).encode(), "application/yaml")
    assert pointer in {problem.pointer for problem in refusal.value.problems}


# The command line -----------------------------------------------------------------------------------------------------

AT = "2030-01-01T02:00:00.000000Z"
SHOWN: dict[str, Any] = {
    "namespace": "shop",
    "name": "report",
    "definition": "shop/report@1.0.0",
    "schedule": {"cron": "0 3 * * *", "timezone": "Europe/Berlin", "overlap": "skip", "catch_up": "none"},
    "status": "paused",
    "paused": {"at": AT, "actor": "ann\x1b[31m", "reason": None},
    "resumed": None,
    "next": [AT],
    "waiting_for_end": False,
    "queued": None,
    "missed": 3,
    "skipped": 4,
    "runs": [{"id": ID, "scheduled_for": AT, "started_at": AT, "triggered_by": None, "links": {}}],
    "links": {},
}


@pytest.fixture
def service(httpserver, monkeypatch):
    return FakeService(httpserver, monkeypatch)


@pytest.fixture
def terminal(capsys):
    return Terminal(capsys)


def test_the_list_and_one(service, terminal):
    service.gives("GET", "/v1/schedules", {"items": [SHOWN], "next": None})
    assert terminal.json("schedules") == [SHOWN]
    assert terminal.run("schedules", "list") == 0
    assert "shop/report@1.0.0" in terminal.out
    service.gives("GET", "/v1/schedules/shop/report", SHOWN)
    assert terminal.run("schedules", "show", "shop/report") == 0
    assert ID in terminal.out
    assert "\x1b" not in terminal.out
    on = {**SHOWN, "schedule": {"on": {"any": [{"with": {"type": "a"}}]}}}
    service.gives("GET", "/v1/schedules/shop/on", on)
    assert terminal.run("schedules", "show", "shop/on") == 0
    assert 'on: {"any": [{"with": {"type": "a"}}]}' in terminal.out
    service.gives("GET", "/v1/schedules/default/x", SHOWN)
    assert terminal.json("schedules", "show", "x") == SHOWN


def test_commands(service, terminal):
    service.gives("POST", "/v1/schedules/shop/report/pause", SHOWN)
    assert terminal.run("schedules", "pause", "shop/report", "--reason", "why") == 0
    assert service.body() == {"reason": "why"}
    service.gives("POST", "/v1/schedules/shop/report/resume", SHOWN)
    assert terminal.run("schedules", "resume", "shop/report", "--reason", "back") == 0
    service.gives("POST", "/v1/schedules/shop/report/trigger", {"id": ID, "links": {}}, status=202)
    assert terminal.run("schedules", "trigger", "shop/report") == 0
    assert terminal.out.strip() == ID
