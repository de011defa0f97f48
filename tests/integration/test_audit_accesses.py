"""Who reads what is written down: pages soon, what lasts before anything is given away; and the chains can be checked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.rest.orchestrations import NDJSON
from adapters.sql.accesses import SqlAccesses
from application.accesses import breaks
from domain.errors import StorageAwayError
from tests.support.audited import Stream, feed, serving

pytestmark = pytest.mark.anyio


async def accesses(api, **query: Any) -> list[dict[str, Any]]:
    """Oldest first, by pages."""
    found: list[dict[str, Any]] = []
    while True:
        page = await api.done("GET", "/v1/audit/accesses", params={"limit": 2, **query})
        found += page["items"]
        if page["next"] is None:
            return found[::-1]
        query["cursor"] = page["next"]


async def test_what_was_read_is_told_with_caller_filters_and_count(api):
    id_ = (await api.start("shop/parcel", {"city": "Faro"}))["id"]
    await api.ended(id_)
    assert await accesses(api) == [], "a status is looked at without a record"
    items = await feed(api, type="task.*", limit=500)
    headers = {"X-Request-Id": "req-7"}
    await api.http.get(f"/v1/orchestrations/{id_}/history?limit=2", headers=headers)
    await api.http.get("/v1/audit/events", params={"orchestration": id_}, headers={"Accept": NDJSON})
    exported = await api.http.get("/v1/audit/export", params={"since": "2020-01-01T00:00:00Z"})
    found = await accesses(api)
    assert [(each["what"], each["step"]) for each in found] == [
        ("feed", "read"),
        ("history", "read"),
        ("feed", "began"),
        ("feed", "ended"),
        ("export", "began"),
        ("export", "ended"),
    ]
    page, history, began, ended, export_began, export_ended = found
    assert (page["actor"], page["filters"], page["events"]) == (
        "anonymous",
        {"type": [["task.*"]], "limit": 500},
        len(items),
    )
    assert (history["orchestration"], history["request_id"], history["events"]) == (id_, "req-7", 2)
    assert (began["id"], began["events"], began["orchestration"]) == (ended["id"], None, id_)
    assert ended["events"] > 0
    lines = [json.loads(line) for line in exported.text.splitlines()]
    assert export_ended["events"] == sum(each["kind"] == "event" for each in lines) == lines[-1]["events"]
    assert export_began["filters"] == {"since": "2020-01-01T00:00:00Z"}
    assert await accesses(api, what="history") == [history]
    assert await accesses(api, orchestration=id_) == [history, began, ended]
    assert await accesses(api, actor="nobody") == []


async def test_a_bundle_is_written_down_before_it_is_given(api, monkeypatch):
    id_ = (await api.start("shop/parcel", {"city": "Faro"}))["id"]
    await api.ended(id_)
    bundle = await api.done("GET", f"/v1/orchestrations/{id_}/bundle", params={"redact": "city"})
    (found,) = await accesses(api)
    assert (found["what"], found["step"], found["orchestration"]) == ("bundle", "read", id_)
    assert (found["events"], found["filters"]) == (len(bundle["history"]), {"redact": ["city"]})

    async def fail(*_: Any) -> Any:
        raise StorageAwayError("the database is away")

    monkeypatch.setattr(SqlAccesses, "append", fail)
    assert (await api.http.get(f"/v1/orchestrations/{id_}/bundle")).status_code == 503


async def test_the_chain_is_given_in_its_order(api):
    for _ in range(3):
        await feed(api)
    (first, *rest) = await accesses(api)
    page = await api.done("GET", "/v1/audit/accesses", params={"chain": first["chain"]})
    assert page["items"] == [first, *rest]
    assert [each["number"] for each in page["items"]] == [1, 2, 3]
    after = {"chain": first["chain"], "number_after": 1, "limit": 1}
    assert (await api.done("GET", "/v1/audit/accesses", params=after))["items"] == rest[:1]


async def test_nothing_is_exported_that_cannot_be_written_down(api, monkeypatch):
    await api.ended((await api.start("shop/parcel", {"city": "Faro"}))["id"])

    async def fail(*_: Any) -> Any:
        raise StorageAwayError("the database is away")

    with monkeypatch.context() as broken:
        broken.setattr(SqlAccesses, "append", fail)
        for path in ("/v1/audit/export", "/v1/audit/events"):
            answer = await api.http.get(path, headers={"Accept": NDJSON})
            assert answer.status_code == 503
        page = await feed(api)
        assert page, "single pages wait for the database"
    assert [each["what"] for each in await accesses(api)] == ["feed"], "and are written when it is back"


async def test_pages_are_refused_when_too_many_wait(api, monkeypatch):
    monkeypatch.setattr("application.access_book._MOST_WAITING", 0)
    answer = await api.http.get("/v1/audit/events")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/overloaded")


async def test_a_live_stream_is_written_down_at_its_beginning_and_its_end(served):
    _, api = served
    app = api.http._transport.app
    await api.ended((await api.start("shop/parcel", {"city": "Faro"}))["id"])
    async with Stream(app, "/v1/audit/events?type=orchestration.*") as stream:
        await stream.next(2)
        (began,) = await accesses(api)
        assert (began["step"], began["events"]) == ("began", None)
    began, ended = await accesses(api)
    assert (ended["id"], ended["step"], ended["events"]) == (began["id"], "ended", 2)


async def test_what_waits_is_written_when_the_service_stops(database):
    async with serving(database) as (_, api):
        await feed(api)
    async with serving(database) as (_, api):
        assert [each["what"] for each in await accesses(api)] == ["feed"]


async def test_two_nodes_show_the_same_feed_and_the_same_accesses(fresh_postgres):
    """Nothing stays behind on the node that was asked."""
    async with serving(fresh_postgres) as (one, first), serving(fresh_postgres) as (other, second):
        assert one is not other
        for api in (first, second):
            id_ = (await api.start("shop/parcel", {"city": "Faro"}))["id"]
            await api.ended(id_)
        assert await feed(first) == await feed(second)
        page = await first.done("GET", "/v1/audit/events", params={"limit": 3})
        rest = await feed(second, after=page["next"])
        assert [*page["items"], *rest] == await feed(first)
        await one.audit.book.flush()
        await other.audit.book.flush()
        assert await accesses(first) == await accesses(second)
        for chain in range(4):
            assert list(breaks(chain, await one.world.storage.accesses.chain(chain))) == []
