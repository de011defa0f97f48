"""Streams in the whole service: sent and published events, what is told of them, restarts, and the lists of what is held."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.service import Api, running_service

pytestmark = pytest.mark.anyio
HEADERS = {"Content-Type": "application/cloudevents+json"}
PAPERS = """
document: {dsl: '1.0.3', namespace: test, name: papers, version: '1.0.0'}
streams:
  papers:
    with: {type: paper, subject: '${ . == $workflow.input.for }'}
    order: {by: sequence}
    gap: {after: {milliseconds: GAP}, then: THEN}
do:
  - collect:
      listen:
        to:
          any: [{with: {type: paper, subject: '${ . == $workflow.input.for }'}}]
          until: ${ length == 3 }
"""
PATIENT = PAPERS.replace("GAP", "3600000").replace("THEN", "fault")


def paper(number: Any, for_: str = "ada", named: str = "") -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": named or f"{for_}-{number}",
        "source": "/papers",
        "type": "paper",
        "subject": for_,
        "sequence": number,
        "data": number,
    }


async def sent(api: Api, id_: str, number: Any, **more: Any) -> str:
    event = paper(number, **more)
    return str((await api.done("POST", f"/v1/orchestrations/{id_}/events", json=event, headers=HEADERS))["outcome"])


async def published(api: Api, number: Any, **more: Any) -> str:
    return str((await api.done("POST", "/v1/events", json=paper(number, **more), headers=HEADERS))["outcome"])


async def begun(api: Api, document: str = PATIENT, for_: str = "ada") -> str:
    deployed = await api.deploy(document)
    assert (deployed["http_status"] in (200, 201), deployed["warnings"]) == (True, [])
    id_ = str((await api.start("test/papers", {"for": for_}))["id"])
    await api.waiting(id_, "collect")
    return id_


async def test_what_is_told_of_sent_events(tmp_path):
    async with running_service(tmp_path) as api:
        id_ = await begun(api)
        outcomes = [await sent(api, id_, number) for number in ("3", "1", "1")]
        outcomes += [
            await sent(api, id_, 1, named="again"),
            await sent(api, id_, 0),
            await sent(api, id_, 3, named="b"),
        ]
        assert outcomes == ["parked", "matched", "duplicate", "duplicate", "late", "duplicate"]
        (entry,) = (await api.status(id_))["waiting_for"]
        (missing,) = entry["missing"]
        assert missing.pop("due_at") is not None
        assert missing == {"stream": "papers", "key": None, "numbers": [2], "total": 1, "parked": 1}
        history = await api.history(id_)
        told = [
            (each["data"]["number"], each["data"]["outcome"]) for each in history if each["type"] == "event.received"
        ]
        assert told == [
            (3, "parked"),
            (1, "matched"),
            (1, "duplicate"),
            (1, "duplicate"),
            (0, "late"),
            (3, "duplicate"),
        ]
        assert await sent(api, id_, 2) == "matched"
        assert (await api.ended(id_))["output"] == ["1", 2, "3"]
        refused = await api.http.post(f"/v1/orchestrations/{id_}/events", json=paper(4), headers=HEADERS)
        assert refused.status_code == 409


async def test_an_event_without_a_number_is_refused_with_its_place(tmp_path):
    async with running_service(tmp_path) as api:
        id_ = await begun(api)
        event = paper("first")
        refused = await api.http.post(f"/v1/orchestrations/{id_}/events", json=event, headers=HEADERS)
        assert (refused.status_code, refused.json()["type"]) == (422, "/problems/invalid-input")
        assert [each["pointer"] for each in refused.json()["errors"]] == ["/sequence"]
        assert await published(api, "first", named="other") == "held"  # it is for nobody here


async def test_published_events_go_to_the_stream_before_a_task_waits_and_before_it_begins(tmp_path):
    async with running_service(tmp_path) as api:
        assert await published(api, 2) == "held"
        id_ = await begun(api)
        assert [await published(api, number) for number in (3, 2, 1)] == ["parked", "duplicate", "matched"]
        status = await api.ended(id_)
        assert (status["status"], status["output"]) == ("completed", [1, 2, 3])
        assert await published(api, 4) == "held"


async def test_of_many_each_has_its_own(tmp_path):
    async with running_service(tmp_path) as api:
        ids = {name: await begun(api, for_=name) for name in ("ada", "bob", "eve")}
        for number in (3, 1, 2):
            for name in ids:
                await published(api, number, for_=name)
        for id_ in ids.values():
            assert (await api.ended(id_))["output"] == [1, 2, 3]


@pytest.mark.parametrize(("then", "status"), [("fault", "faulted"), ("continue", "running")])
async def test_a_deadline_survives_a_restart(tmp_path, then, status):
    document = PAPERS.replace("GAP", "400").replace("THEN", then)
    async with running_service(tmp_path) as api:
        id_ = await begun(api, document)
        assert await sent(api, id_, 2) == "parked"
    async with running_service(tmp_path) as api:
        found = await api.reached(
            id_, lambda found: not found["waiting_for"] or found["waiting_for"][0]["missing"][0]["numbers"] == [3]
        )
        assert found["status"] == status
        if then == "fault":
            assert found["error"]["type"] == "https://retrace.invalid/errors/event-gap"
        else:
            assert [each["data"]["first"] for each in await api.history(id_) if each["type"] == "gap.skipped"] == [1]
            assert await sent(api, id_, 1) == "late"


async def test_what_was_turned_away_is_offered_when_there_is_room(tmp_path):
    document = PATIENT.replace("length == 3", "length == 1010")
    async with running_service(tmp_path) as api:
        id_ = await begun(api, document)
        for number in range(2, 1002):
            assert await sent(api, id_, number) == "parked"
        full = await api.http.post(f"/v1/orchestrations/{id_}/events", json=paper(1002), headers=HEADERS)
        assert (full.status_code, full.json()["type"]) == (503, "/problems/overloaded")
        for number in range(1002, 1011):
            assert await published(api, number) == "held"
        assert await sent(api, id_, 1) == "matched"
        status = await api.ended(id_)
        assert status["output"] == list(range(1, 1011))


async def test_the_list_of_what_is_held_for_anybody(tmp_path):
    async with running_service(tmp_path) as api:
        for number in (1, 2, 3):
            await published(api, number, for_="nobody")
        page = await api.done("GET", "/v1/events/held", params={"limit": 2})
        assert [each["id"] for each in page["items"]] == ["nobody-1", "nobody-2"]
        first = page["items"][0]
        assert "data" not in first["attributes"]
        assert first["attributes"]["sequence"] == 1
        assert (first["type"], first["source"], first["orchestration"], first["parked"]) == (
            "paper",
            "/papers",
            None,
            None,
        )
        assert first["received_at"] < first["expires_at"]
        rest = await api.done("GET", "/v1/events/held", params={"limit": 2, "cursor": page["next"]})
        assert ([each["id"] for each in rest["items"]], rest["next"]) == (["nobody-3"], None)
        for query, count in (
            ({"type": "paper"}, 3),
            ({"type": "x"}, 0),
            ({"source": "/papers"}, 3),
            ({"source": "/x"}, 0),
        ):
            assert len((await api.done("GET", "/v1/events/held", params=query))["items"]) == count
        for cursor in ("x", page["next"][:-2]):
            assert (await api.http.get("/v1/events/held", params={"cursor": cursor})).status_code == 400


async def test_the_list_of_what_an_orchestration_keeps(tmp_path):
    async with running_service(tmp_path) as api:
        id_ = await begun(api)
        for number in (4, 3):
            await sent(api, id_, number)
        await api.done("POST", f"/v1/orchestrations/{id_}/events", json={**paper(1), "type": "other"}, headers=HEADERS)
        query = {"orchestration": id_}
        page = await api.done("GET", "/v1/events/held", params=query)
        places = [each["parked"] and each["parked"]["number"] for each in page["items"]]
        assert places == [None, 3, 4]
        assert page["items"][1]["parked"] == {"stream": "papers", "key": None, "number": 3}
        assert {each["orchestration"] for each in page["items"]} == {id_}
        part = await api.done("GET", "/v1/events/held", params={**query, "limit": 1, "type": "paper"})
        rest = await api.done(
            "GET", "/v1/events/held", params={**query, "limit": 1, "type": "paper", "cursor": part["next"]}
        )
        assert [part["items"][0]["id"], rest["items"][0]["id"], rest["next"]] == ["ada-3", "ada-4", None]
        await api.done("POST", f"/v1/orchestrations/{id_}/terminate", json={})
        assert (await api.done("GET", "/v1/events/held", params=query))["items"] == []
        missing = await api.http.get("/v1/events/held", params={"orchestration": "o_" + "z" * 22})
        assert missing.status_code == 404


async def test_what_is_parked_is_listed_for_one_and_found_by_its_outcome(tmp_path):
    async with running_service(tmp_path) as api:
        id_ = await begun(api)
        assert await published(api, 3) == "parked"
        assert (await api.done("GET", "/v1/events/held"))["items"] == []
        found = await api.done("GET", "/v1/audit/events", params={"type": "event.received"})
        parked = [each["orchestration"] for each in found["items"] if each["data"]["outcome"] == "parked"]
        assert parked == [id_]
        page = await api.done("GET", "/v1/events/held", params={"orchestration": id_})
        assert [each["parked"]["number"] for each in page["items"]] == [3]
        described = (await api.http.get("/openapi.json")).json()["paths"]["/v1/events/held"]["get"]["description"]
        assert "without `orchestration`" in " ".join(described.split()).lower()


BEGUN_BY_ONE = """
document: {dsl: '1.0.3', namespace: test, name: begun-by-one, version: '1.0.0'}
schedule: {on: {one: {with: {type: first}}}}
streams:
  papers: {with: {source: /papers, subject: '${ . == $workflow.input[0].subject }'}}
do:
  - collect:
      listen:
        to: {any: [{with: {source: /papers, subject: '${ . == $workflow.input[0].subject }'}}], until: length == 3}
"""


async def test_an_event_that_starts_a_definition_is_the_first_of_its_stream_too(tmp_path):
    async with running_service(tmp_path) as api:
        assert (await api.deploy(BEGUN_BY_ONE))["warnings"] == []
        assert await published(api, 3) == "held"
        first = {**paper(1), "type": "first"}
        assert (await api.done("POST", "/v1/events", json=first, headers=HEADERS))["outcome"] == "matched"
        await published(api, 2)
        (found,) = (await api.done("GET", "/v1/orchestrations", params={"definition": "test/begun-by-one"}))["items"]
        assert (await api.ended(found["id"]))["output"] == [1, 2, 3]
