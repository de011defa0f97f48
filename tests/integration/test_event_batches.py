"""Several CloudEvents in one request: each has an outcome of its own, in order, and none keeps the others out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.rest.cloudevents import MOST_IN_BATCH
from application.commands import OrchestrationCommands
from application.service import EventOutcome
from domain.errors import OverloadedError
from tests.support.service import Api, running_service

pytestmark = pytest.mark.anyio

BATCH = {"Content-Type": "application/cloudevents-batch+json"}
WAITING = """
document: {dsl: '1.0.3', namespace: shop, name: waiting, version: '1.0.0'}
do:
  - w: {listen: {to: {all: [{with: {type: paid}}, {with: {type: sent}}]}}}
"""


@pytest.fixture
async def api(tmp_path) -> AsyncIterator[Api]:
    async with running_service(tmp_path) as running:
        assert (await running.deploy(WAITING))["http_status"] == 201
        yield running


def event(id_: str, type_: str = "other", **more: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": id_, "source": "/shop", "type": type_, **more}


async def sent(api: Api, events: Any, url: str = "/v1/events", **headers: str) -> Any:
    answer = await api.http.post(url, content=json.dumps(events), headers={**BATCH, **headers})
    assert answer.status_code == 202, answer.text
    return answer.json()["items"]


async def test_each_event_has_its_outcome_in_order(api):
    id_ = (await api.start("shop/waiting"))["id"]
    await api.waiting(id_, "w")
    items = await sent(
        api,
        [event("1", "paid"), {"id": "2"}, event("1", "paid"), event("1", "sent"), event("3", "sent"), event("4"), 5],
    )
    assert [each.get("outcome") for each in items] == ["matched", None, "duplicate", None, "matched", "held", None]
    refused = [each["problem"] for each in items if "problem" in each]
    assert [(each["type"], each["status"]) for each in refused] == [
        ("/problems/invalid-input", 422),
        ("/problems/event-id-reused", 409),
        ("/problems/invalid-input", 422),
    ]
    assert {each["pointer"] for each in refused[0]["errors"]} == {"/specversion", "/source", "/type"}
    assert not any(each.get("retryable") for each in refused)
    assert (await api.ended(id_))["status"] == "completed"
    assert [each.get("outcome") for each in await sent(api, [event("1", "paid"), event("9")])] == ["duplicate", "held"]


async def test_for_one_orchestration(api):
    id_ = (await api.start("shop/waiting"))["id"]
    url = f"/v1/orchestrations/{id_}/events"
    items = await sent(api, [event("1", "paid"), event("2", "sent"), event("2", "sent")], url)
    assert [each["outcome"] for each in items] == ["matched", "matched", "duplicate"] or items[0]["outcome"] == "held"
    await api.ended(id_)
    items = await sent(api, [event("1", "paid"), event("7", "paid")], url)
    assert items[0]["outcome"] == "duplicate"
    assert items[1]["problem"]["current_status"] == "completed"
    missing = await api.http.post(url.replace(id_, "o_" + "0" * 22), content=json.dumps([event("1")]), headers=BATCH)
    assert missing.status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"{}", 422),
        (b'"x"', 422),
        (b'[{"id": "1", "id": "2"}]', 400),
        (json.dumps([event(f"{n}") for n in range(MOST_IN_BATCH + 1)]).encode(), 422),
    ],
    ids=["no JSON", "an object", "a text", "twice", "too many"],
)
async def test_what_is_no_batch_is_refused_as_a_whole(api, body, status):
    answer = await api.http.post("/v1/events", content=body, headers=BATCH)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_empty_batch_and_a_long_one(api):
    assert await sent(api, []) == []
    items = await sent(api, [event(f"{n}") for n in range(MOST_IN_BATCH)])
    assert [each["outcome"] for each in items] == ["held"] * MOST_IN_BATCH


async def test_a_repeat_under_one_key_is_answered_alike(api):
    first = await sent(api, [event("1"), {}], **{"Idempotency-Key": "k"})
    assert await sent(api, [event("1"), {}], **{"Idempotency-Key": "k"}) == first
    other = await api.http.post("/v1/events", content="[]", headers={**BATCH, "Idempotency-Key": "k"})
    assert other.status_code == 422


async def test_an_overload_leaves_the_rest_for_another_try(api, monkeypatch):
    asked: list[str] = []

    async def publish(_self: Any, event: dict[str, Any], **_: Any) -> EventOutcome:
        asked.append(event["id"])
        if event["id"] == "2":
            raise OverloadedError
        return EventOutcome("held")

    monkeypatch.setattr(OrchestrationCommands, "publish_event", publish)
    items = await sent(api, [event("1"), event("2"), event("3"), {}])
    assert asked == ["1", "2"]
    assert [each.get("outcome") or each["problem"].get("retryable", False) for each in items] == [
        "held",
        True,
        True,
        False,
    ]
