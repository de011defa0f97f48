"""The feed of everything over HTTP: what an item says, filters, pages, lines, the live stream, the archive, damage."""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from typing import Any

import pytest
from werkzeug import Response

from adapters.rest.orchestrations import NDJSON
from adapters.rest.stream import EVENT_STREAM
from tests.support.audited import Stream, archive, feed, places, serving

pytestmark = pytest.mark.anyio
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


async def test_an_item_is_that_of_the_history_and_says_whose_it_is_and_why(api):
    started = await api.http.post(
        "/v1/orchestrations", json={"definition": "patient"}, headers={"traceparent": PARENT, "X-Request-Id": "req-1"}
    )
    assert started.headers["X-Request-Id"] == "req-1"
    id_ = started.json()["id"]
    body = {"reason": "enough"}
    await api.http.post(f"/v1/orchestrations/{id_}/cancel", json=body, headers={"X-Request-Id": "req-2"})
    await api.ended(id_)
    items, history = await feed(api), await api.history(id_)
    assert [each["version"] for each in items] == [each["version"] for each in history]
    for item, known in zip(items, history, strict=True):
        assert {name: item[name] for name in known if name != "cause"} == {
            name: value for name, value in known.items() if name != "cause"
        }
        assert (item["orchestration"], item["definition"], item["trace_id"]) == (id_, "default/patient@1.0.0", TRACE)
    assert items[0]["cause"] == {"kind": "start", "request": "req-1"}
    ending = next(each for each in items if each["type"] == "rollback.started")
    assert (ending["reason"], ending["cause"]) == ("enough", {"kind": "command", "request": "req-2"})
    assert "seed" not in json.dumps(items)


async def test_an_event_tells_the_trace_of_the_request_that_led_to_it(api):
    id_ = (await api.start("patient"))["id"]
    own = {each["trace_id"] for each in await feed(api)}
    assert len(own) == 1
    event = {"specversion": "1.0", "id": "1", "source": "/test", "type": "go"}
    headers = {"traceparent": PARENT, "Content-Type": "application/cloudevents+json"}
    await api.waiting(id_, "wait")
    await api.http.post(f"/v1/orchestrations/{id_}/events", content=json.dumps(event), headers=headers)
    await api.ended(id_)
    led = [each for each in await feed(api) if each["cause"]["kind"] == "event"]
    assert {each["trace_id"] for each in led} == {TRACE}
    assert len(led) > 2
    assert all((each["cause"]["source"], each["cause"]["id"]) == ("/test", "1") for each in led)
    # A page that begins in the middle of the decision says the same.
    middle = await feed(api, type=led[-1]["type"])
    assert [(each["trace_id"], each["cause"]) for each in middle] == [(TRACE, led[-1]["cause"])]


async def test_callouts_carry_the_trace_of_their_orchestration(api, httpserver):
    seen: list[str] = []

    def answer(request):
        seen.append(request.headers["traceparent"])
        return Response("{}", content_type="application/json")

    httpserver.expect_request("/").respond_with_handler(answer)
    call = f"{{call: http, with: {{method: get, endpoint: '{httpserver.url_for('/')}'}}}}"
    await api.deploy(
        f"document: {{dsl: '1.0.3', namespace: default, name: caller, version: '1.0.0'}}\ndo: [{{a: {call}}}, {{b: {call}}}]"
    )
    for headers in ({"traceparent": PARENT}, {}, {"traceparent": "nonsense"}):
        started = await api.http.post("/v1/orchestrations", json={"definition": "caller"}, headers=headers)
        id_ = started.json()["id"]
        assert (await api.ended(id_))["status"] == "completed"
        (trace,) = {each["trace_id"] for each in await feed(api, orchestration=id_)}
        assert (trace == TRACE) == ("00-" in headers.get("traceparent", ""))
        assert {each[3:35] for each in seen} == {trace}
        assert len({each[36:52] for each in seen}) == 2, "a span each"
        seen.clear()


async def test_filters(api):
    parcels = [(await api.start("shop/parcel", {"city": city}))["id"] for city in ("Faro", "Porto")]
    patient = (await api.start("patient"))["id"]
    for id_ in parcels:
        await api.ended(id_)
    await api.waiting(patient, "wait")
    everything = await feed(api)

    def those(holds: Any) -> list[tuple[str, int]]:
        return sorted(places([each for each in everything if holds(each)]))

    async def given(**query: Any) -> list[tuple[str, int]]:
        return sorted(places(await feed(api, **query)))

    assert await given(type="task.*") == those(lambda each: each["type"].startswith("task."))
    assert await given(type="task.scheduled,orchestration.*") == those(
        lambda each: each["type"] == "task.scheduled" or each["type"].startswith("orchestration.")
    )
    assert await given(type=["task.completed", "listen.started"]) == those(
        lambda each: each["type"] in ("task.completed", "listen.started")
    )
    assert await given(type="no.such") == await given(type="nothing.*") == []
    assert await given(definition="shop/parcel") == those(lambda each: each["orchestration"] in parcels)
    assert await given(definition="shop/parcel@9.9.9") == []
    assert await given(definition="patient", type="task.*") == those(
        lambda each: each["orchestration"] == patient and each["type"].startswith("task.")
    )
    assert places(await feed(api, orchestration=patient)) == [
        (patient, version) for version in range(1, len(those(lambda each: each["orchestration"] == patient)) + 1)
    ]
    assert await given(orchestration="o_" + "a" * 22) == []
    assert await given(actor="anonymous") == those(lambda each: each["actor"] == "anonymous")
    assert await given(actor="nobody") == []
    middle = sorted(each["at"] for each in everything)[len(everything) // 2]
    assert await given(since=middle) == those(lambda each: each["at"] >= middle)
    assert await given(until=middle) == those(lambda each: each["at"] <= middle)
    assert await given(since=middle, until=middle) == those(lambda each: each["at"] == middle)
    first, last = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"
    assert await given(since=first) == await given(until=last) == sorted(places(everything))
    assert await given(until=first) == await given(since=last) == []
    assert len((await api.http.get("/v1/audit/export", params={"until": last})).text) > 1000


@pytest.mark.parametrize(
    "query",
    ["after=nope", "type=A", "type=*.x", "orchestration=x", "since=now", "limit=0", "unknown=1", "definition=a/b/c"],
)
async def test_what_cannot_be_read_is_refused(api, query):
    for accept in ("application/json", NDJSON, EVENT_STREAM):
        answer = await api.http.get(f"/v1/audit/events?{query}", headers={"Accept": accept})
        assert answer.status_code == 400
        assert answer.json()["type"] == "/problems/malformed-request"


async def test_a_cursor_belongs_to_its_feed(api):
    id_ = (await api.start("patient"))["id"]
    page = await api.done("GET", "/v1/audit/events", params={"orchestration": id_})
    answer = await api.http.get("/v1/audit/events", params={"after": page["resume"]})
    assert answer.status_code == 400


async def test_a_page_resumes_later(api):
    await api.ended((await api.start("shop/parcel", {"city": "Faro"}))["id"])
    first = await api.done("GET", "/v1/audit/events", params={"limit": 500})
    assert first["next"] is None
    second = (await api.start("shop/parcel", {"city": "Porto"}))["id"]
    await api.ended(second)
    found = await feed(api, after=first["resume"])
    assert {each["orchestration"] for each in found} == {second}


async def test_lines_are_everything_until_now(api):
    for city in ("Faro", "Porto"):
        await api.ended((await api.start("shop/parcel", {"city": city}))["id"])
    answer = await api.http.get("/v1/audit/events", headers={"Accept": NDJSON})
    assert answer.headers["Content-Type"] == NDJSON
    assert [json.loads(line) for line in answer.text.splitlines()] == await feed(api)
    head = await api.http.head("/v1/audit/events", headers={"Accept": NDJSON})
    assert (head.status_code, head.content) == (200, b"")


async def test_what_is_archived_is_still_there(database):
    async with serving(database) as (node, api):
        await api.ended((await api.start("shop/parcel", {"city": "Faro"}))["id"])
        id_ = (await api.start("patient"))["id"]
        await api.waiting(id_, "wait")
        before = await feed(api)
        await archive(node)
        assert await feed(api) == before
    async with serving(database) as (node, api):
        found = await feed(api, definition="shop/parcel")
        assert found == [each for each in before if each["definition"].startswith("shop/")]
        middle = sorted(each["at"] for each in before)[1]
        assert await feed(api, since=middle) == [each for each in before if each["at"] >= middle]


@contextmanager
def tampering(database: str):
    connection = sqlite3.connect(database.removeprefix("sqlite:///"))
    try:
        with connection:
            yield connection
    finally:
        connection.close()


async def test_what_is_damaged_is_told_and_does_not_stop_the_feed(tmp_path):
    database = f"sqlite:///{tmp_path}/retrace.db"
    async with serving(database) as (node, api):
        await api.ended((await api.start("shop/parcel", {"city": "Faro"}))["id"])
        archived = await feed(api)
        await archive(node)
        id_ = (await api.start("patient"))["id"]
        await api.waiting(id_, "wait")
        whole = await feed(api)
        await node.projector.caught_up()
    with tampering(database) as connection:
        connection.execute("UPDATE archive SET content = x'01'")
        connection.execute(
            "UPDATE events SET state = x'c1' WHERE state_hash IS NULL AND topic IN ('listen.started', 'orchestration.started')"
        )
    async with serving(database) as (_, api):
        found = await feed(api)
        unreadable = [each for each in found if each.get("unreadable")]
        assert sorted(places(found)) == sorted(places(whole))
        assert len(unreadable) == len(archived) + 2
        assert all(each["orchestration"] and each["data"] == {} for each in unreadable)
        assert places(await feed(api, type="listen.*")) == [
            place for place, each in zip(places(found), found, strict=True) if each["type"] == "listen.started"
        ]


async def test_the_live_stream_goes_on_and_resumes(served):
    _, api = served
    app = api.http._transport.app
    await api.ended((await api.start("shop/parcel", {"city": "Faro"}))["id"])
    known = await feed(api)
    async with Stream(app, "/v1/audit/events") as stream:
        sent = await stream.next(len(known))
        assert [json.loads(each["data"]) for each in sent] == known
        assert [each["event"] for each in sent] == [each["type"] for each in known]
        id_ = (await api.start("patient"))["id"]
        await api.waiting(id_, "wait")
        new = [each for each in await feed(api) if each["orchestration"] == id_]
        assert [json.loads(each["data"]) for each in await stream.next(len(new))] == new
    async with Stream(app, "/v1/audit/events", {"Last-Event-ID": sent[2]["id"]}) as stream:
        again = await stream.next(len(known) - 3 + len(new))
        assert [json.loads(each["data"]) for each in again] == [*known, *new][3:]
    async with Stream(app, f"/v1/audit/events?orchestration={id_}&type=note.*") as stream:
        await api.done("POST", f"/v1/orchestrations/{id_}/notes", json={"text": "hello"})
        (note,) = await stream.next(1)
        assert json.loads(note["data"])["data"] == {"text": "hello"}
