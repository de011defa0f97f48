"""The REST API over the real service: what clients see of definitions, orchestrations, lists, histories and resources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.support.service import Api, running_service

pytestmark = pytest.mark.anyio

GREETING = """
document: {dsl: '1.0.3', namespace: shop, name: greeting, version: '1.0.0'}
resource: {path: greetings, labels: {running: Pending, completed: Done, cancelled: Withdrawn}}
input:
  schema:
    document: {type: object, required: [city], properties: {city: {type: string}}, additionalProperties: false}
do:
  - greet: {set: {text: '${ .city }'}}
"""
PATIENT = """
document: {dsl: '1.0.3', namespace: default, name: patient, version: '1.0.0'}
resource: {path: patients, labels: {running: Waiting}}
do:
  - wait: {listen: {to: {one: {with: {type: go}}}}}
"""


@pytest.fixture
async def api(tmp_path) -> AsyncIterator[Api]:
    async with running_service(tmp_path) as running:
        for document in (GREETING, PATIENT):
            assert (await running.deploy(document))["http_status"] == 201
        yield running


async def slug(answer: Any) -> str:
    assert answer.headers["Content-Type"] == "application/problem+json"
    return str(answer.json()["type"]).removeprefix("/problems/")


# Definitions -----------------------------------------------------------------------------------------------------------


async def test_a_definition_is_deployed_once(api):
    yaml = {"Content-Type": "application/yaml"}
    document = GREETING.replace("1.0.0", "1.1.0").encode()
    first = await api.http.post("/v1/definitions", content=document, headers=yaml)
    assert first.status_code == 201
    assert first.headers["Location"] == "/v1/definitions/shop/greeting/1.1.0"
    found = first.json()
    assert set(found) == {"namespace", "name", "version", "digest", "resource", "created_at", "warnings"}
    assert found["digest"].startswith("sha256:")
    again = await api.http.post("/v1/definitions", content=document, headers=yaml)
    assert (again.status_code, again.json()) == (200, found)
    other = await api.http.post("/v1/definitions", content=document.replace(b"greet:", b"hail:"), headers=yaml)
    assert (other.status_code, await slug(other)) == (409, "definition-exists")


async def test_an_invalid_definition_lists_every_problem_with_its_place(api):
    text = GREETING.replace("do:", "nonsense: 1\ndo:").replace("set:", "sett:")
    answer = await api.http.post("/v1/definitions", content=text.encode(), headers={"Content-Type": "application/yaml"})
    assert (answer.status_code, await slug(answer)) == (422, "invalid-definition")
    assert len(answer.json()["errors"]) >= 2
    assert all({"pointer", "detail", "code", "line", "column"} <= set(each) for each in answer.json()["errors"])


async def test_a_dry_run_stores_nothing(api):
    yaml = {"Content-Type": "application/yaml"}
    text = GREETING.replace("1.0.0", "9.0.0")
    good = await api.http.post("/v1/definitions?dry_run=true", content=text.encode(), headers=yaml)
    assert (good.status_code, good.json()) == (200, {"valid": True, "errors": [], "warnings": []})
    bad = await api.http.post("/v1/definitions?dry_run=true", content=b"do: 1", headers=yaml)
    assert bad.status_code == 200
    assert bad.json()["valid"] is False
    assert bad.json()["errors"]
    assert (await api.http.get("/v1/definitions/shop/greeting/9.0.0")).status_code == 404


async def test_a_definition_has_a_media_type(api):
    answer = await api.http.post("/v1/definitions", content=GREETING.encode(), headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    twice = b'{"document": {}, "document": {}}'
    answer = await api.http.post("/v1/definitions", content=twice, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


async def test_a_document_is_given_back_as_sent_or_as_json(api):
    path = "/v1/definitions/shop/greeting/1.0.0"
    sent = await api.http.get(path)
    assert sent.text == GREETING
    assert (sent.headers["Content-Type"], sent.headers["Vary"]) == ("application/yaml", "Accept")
    as_json = await api.http.get(path, headers={"Accept": "application/json"})
    assert as_json.json()["document"]["name"] == "greeting"
    assert as_json.headers["ETag"] != sent.headers["ETag"]
    assert (await api.http.get(path, headers={"If-None-Match": sent.headers["ETag"]})).status_code == 304


async def test_latest_is_the_highest_release(api):
    for version in ("1.10.0", "1.9.0", "2.0.0-rc.1"):
        await api.deploy(GREETING.replace("1.0.0", version))
    answer = await api.http.get("/v1/definitions/shop/greeting/latest")
    assert answer.headers["Content-Location"] == "/v1/definitions/shop/greeting/1.10.0"


async def test_definitions_are_listed_by_their_latest_version_and_one_by_all(api):
    await api.deploy(GREETING.replace("1.0.0", "1.1.0"))
    found = await api.done("GET", "/v1/definitions")
    assert [(each["name"], each["version"]) for each in found["items"]] == [("patient", "1.0.0"), ("greeting", "1.1.0")]
    found = await api.done("GET", "/v1/definitions?namespace=shop&name=greeting")
    assert [each["version"] for each in found["items"]] == ["1.1.0", "1.0.0"]


async def test_definitions_are_paged_by_link(api):
    first = await api.http.get("/v1/definitions?limit=1")
    assert first.headers["Link"].endswith('; rel="next"')
    path = first.headers["Link"].partition(">")[0][1:]
    second = await api.http.get(path)
    assert [each["name"] for each in second.json()["items"]] == ["greeting"]
    assert second.json()["next"] is None
    assert "Link" not in second.headers
    assert (await api.http.get("/v1/definitions?cursor=nope")).status_code == 400


async def test_a_diagram_is_mermaid_or_svg(api):
    path = "/v1/definitions/shop/greeting/latest/diagram"
    text = await api.http.get(path)
    assert text.text.startswith("flowchart")
    svg = await api.http.get(path, headers={"Accept": "image/svg+xml"})
    assert svg.headers["Content-Type"].startswith("image/svg+xml")
    assert svg.text.startswith("<svg")
    assert "sandbox" in svg.headers["Content-Security-Policy"]


@pytest.mark.parametrize("segment", ["x", "%00", "..", "a" * 10_000, "%F0%9F%92%A3", "%ff"])
async def test_there_are_no_other_definitions(api, segment):
    for path in (f"{segment}/greeting/1.0.0", f"shop/{segment}/1.0.0", f"shop/greeting/{segment}"):
        assert (await api.http.get(f"/v1/definitions/{path}")).status_code == 404


# Orchestrations --------------------------------------------------------------------------------------------------------


async def test_a_start_that_does_not_fit_creates_nothing(api):
    answer = await api.http.post("/v1/orchestrations", json={"definition": "shop/greeting", "input": {"city": 1}})
    assert (answer.status_code, await slug(answer)) == (422, "invalid-input")
    assert answer.json()["errors"][0]["pointer"] == "/input/city"
    assert (await api.done("GET", "/v1/orchestrations"))["items"] == []
    answer = await api.http.post("/v1/orchestrations", json={"definition": "nope"})
    assert (answer.status_code, await slug(answer)) == (404, "not-found")


async def test_the_business_key_of_an_unfinished_orchestration_is_taken(api):
    body = {"definition": "patient", "business_key": "k"}
    first = await api.done("POST", "/v1/orchestrations", json=body)
    answer = await api.http.post("/v1/orchestrations", json=body)
    assert (answer.status_code, await slug(answer)) == (409, "business-key-in-use")
    assert answer.json()["orchestration"] == first["id"]


async def test_the_same_key_starts_once_also_at_the_same_time(api):
    async def start() -> Any:
        body = {"definition": "patient"}
        return await api.http.post("/v1/orchestrations", json=body, headers={"Idempotency-Key": "once"})

    answers = await asyncio.gather(*(start() for _ in range(10)))
    assert {each.status_code for each in answers} == {201}
    assert len({each.json()["id"] for each in answers}) == 1
    assert sum("Idempotency-Replayed" in each.headers for each in answers) == 9


async def test_the_past_is_shown_and_what_lies_outside_is_400(api):
    started = await api.start("patient")
    path = f"/v1/orchestrations/{started['id']}"
    assert (await api.done("GET", f"{path}?at_version=1"))["version"] == 1
    assert (await api.done("GET", path, params={"at": started["updated_at"]}))["id"] == started["id"]
    for query in ("at_version=0", "at_version=99", "at=2000-01-01T00:00:00Z", "at=2999-01-01T00:00:00Z"):
        answer = await api.http.get(f"{path}?{query}")
        assert (answer.status_code, await slug(answer)) == (400, "malformed-request")


async def test_a_long_poll_answers_at_the_next_version(api):
    started = await api.start("patient")
    status = await api.waiting(started["id"], "wait")
    path = f"/v1/orchestrations/{started['id']}"
    poll = asyncio.create_task(api.http.get(path, params={"wait": 30, "after": status["version"]}))
    await api.done("POST", f"{path}/notes", json={"text": "hello"})
    assert (await poll).json()["version"] == status["version"] + 1


async def test_the_list_filters_and_pages(api):
    for number in range(3):
        body = {"definition": "patient", "tags": {"n": f"a:{number}"}, "business_key": f"k{number}"}
        await api.done("POST", "/v1/orchestrations", json=body)
    done = await api.start("shop/greeting", {"city": "Rome"})
    await api.ended(done["id"])

    async def listed(query: str) -> list[str]:
        found = await api.done("GET", f"/v1/orchestrations?{query}")
        assert {"items", "next", "as_of", "lag_ms"} == set(found)
        return [each["business_key"] or "greeting" for each in found["items"]]

    # The view follows the log: what was just committed is seen a moment later.
    for _ in range(5000):
        if len(await listed("limit=10")) == 4 and await listed("status=completed"):
            break
    assert await listed("definition=patient&tag=n:a:1") == ["k1"]
    assert await listed("business_key=k2") == ["k2"]
    assert await listed("status=completed") == ["greeting"]
    assert len(await listed("status=completed&status=running")) == 4
    assert await listed("started_before=2000-01-01T00:00:00Z") == []
    assert await listed("has_incident=true") == []
    first = await api.http.get("/v1/orchestrations?definition=patient&limit=2")
    second = await api.http.get(first.headers["Link"].partition(">")[0][1:])
    assert [each["business_key"] for page in (first, second) for each in page.json()["items"]] == ["k2", "k1", "k0"]
    assert (await api.http.get("/v1/orchestrations?cursor=nope")).status_code == 400


async def test_a_page_of_large_events_ends_before_its_limit_and_nothing_is_missing(api):
    started = await api.start("patient")
    path = f"/v1/orchestrations/{started['id']}"
    for number in range(70):
        event = {"specversion": "1.0", "id": str(number), "source": "test", "type": "large", "data": "x" * 80_000}
        headers = {"Content-Type": "application/cloudevents+json"}
        await api.done("POST", f"{path}/events", content=msgspec.json.encode(event), headers=headers)
    version = (await api.status(started["id"]))["version"]
    pages: list[list[Any]] = []
    after: int | None = 0
    while after is not None:
        page = await api.done("GET", f"{path}/history", params={"limit": 500, "after": after})
        assert len(msgspec.json.encode(page)) < 2_000_000
        pages.append(page["items"])
        after = page["next_after"]
    assert len(pages) > 1
    assert [each["version"] for items in pages for each in items] == list(range(1, version + 1))
    lines = await api.http.get(f"{path}/history", headers={"Accept": "application/x-ndjson"})
    assert len(lines.text.splitlines()) == version


async def test_a_history_has_no_gap_as_pages_and_as_lines(api):
    started = await api.start("shop/greeting", {"city": "Rome"})
    status = await api.ended(started["id"])
    path = f"/v1/orchestrations/{started['id']}/history"
    items: list[Any] = []
    position: str | None = f"{path}?limit=1"
    while position:
        page = await api.http.get(position)
        items += page.json()["items"]
        position = page.headers["Link"].partition(">")[0][1:] if "Link" in page.headers else None
    assert [each["version"] for each in items] == list(range(1, status["version"] + 1))
    lines = await api.http.get(path, headers={"Accept": "application/x-ndjson"})
    assert lines.headers["Content-Type"].startswith("application/x-ndjson")
    assert [msgspec.json.decode(line) for line in lines.content.splitlines()] == items
    after = await api.http.get(f"{path}?after=1", headers={"Accept": "application/x-ndjson"})
    assert len(after.content.splitlines()) == len(items) - 1


async def test_a_stream_ends_with_the_orchestration_and_resumes(api):
    started = await api.start("shop/greeting", {"city": "Rome"})
    status = await api.ended(started["id"])
    path = f"/v1/orchestrations/{started['id']}/stream"
    text = (await api.http.get(path)).text
    versions = [int(line.removeprefix("id: ")) for line in text.splitlines() if line.startswith("id: ")]
    assert versions == list(range(1, status["version"] + 1))
    later = await api.http.get(path, headers={"Last-Event-ID": "2"})
    assert "id: 2\n" not in later.text
    assert "id: 3\n" in later.text
    seen = await api.http.get(path, headers={"Last-Event-ID": str(status["version"])})
    assert (seen.status_code, seen.content) == (204, b"")


async def test_commands_are_conditional_and_repeatable(api):
    started = await api.start("patient")
    status = await api.waiting(started["id"], "wait")
    path = f"/v1/orchestrations/{started['id']}"
    stale = await api.http.post(f"{path}/suspend", headers={"If-Match": '"1"'})
    assert (stale.status_code, await slug(stale)) == (412, "version-mismatch")
    dry = await api.done("POST", f"{path}/cancel?dry_run=true")
    assert dry["version"] == status["version"]
    assert dry["events"]
    first = await api.http.post(f"{path}/suspend", headers={"If-Match": f'"{status["version"]}"'})
    assert (first.status_code, first.json()["status"]) == (200, "suspended")
    again = await api.http.post(f"{path}/suspend")
    assert (again.status_code, again.json()) == (200, first.json())
    assert (await api.done("POST", f"{path}/resume"))["status"] == "running"
    cancelled = await api.http.post(f"{path}/cancel", json={"reason": "changed my mind"})
    assert cancelled.status_code == 202
    await api.ended(started["id"])
    late = await api.http.post(f"{path}/suspend")
    assert (late.status_code, await slug(late)) == (409, "orchestration-ended")
    assert late.json()["current_status"] == "cancelled"
    note = await api.http.post(f"{path}/notes", json={"text": "for the record"})
    assert note.status_code == 201
    found = (await api.http.get(note.headers["Location"])).json()["items"][0]
    assert found["data"]["text"] == "for the record"


async def test_an_event_is_held_matched_and_known_again(api):
    started = await api.start("patient")
    await api.waiting(started["id"], "wait")
    path = f"/v1/orchestrations/{started['id']}/events"
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "go", "data": {"n": 1}}
    headers = {"Content-Type": "application/cloudevents+json"}
    assert (await api.done("POST", path, json={**event, "type": "other"}, headers=headers))["outcome"] == "held"
    again = await api.http.post(path, json=event, headers=headers)
    assert (again.status_code, await slug(again)) == (409, "event-id-reused")
    matched = await api.done("POST", path, json={**event, "id": "2"}, headers=headers)
    assert matched["outcome"] == "matched"
    await api.ended(started["id"])
    assert (await api.done("POST", path, json={**event, "id": "2"}, headers=headers))["outcome"] == "duplicate"
    late = await api.http.post(path, json={**event, "id": "3"}, headers=headers)
    assert (late.status_code, await slug(late)) == (409, "orchestration-ended")
    published = await api.done("POST", "/v1/events", json={**event, "id": "4"}, headers=headers)
    assert published == {"outcome": "held"}


async def test_unknown_ids_are_404_everywhere(api):
    for id_ in ("o_" + "z" * 22, "nope"):
        path = f"/v1/orchestrations/{id_}"
        answers = [
            await api.http.get(f"{path}{rest}") for rest in ("", "/history", "/tasks", "/stream", "/rollback-plan")
        ]
        answers += [await api.http.post(f"{path}/{rest}") for rest in ("cancel", "terminate", "suspend", "resume")]
        answers.append(await api.http.post(f"{path}/notes", json={"text": "x"}))
        answers.append(await api.http.get(f"/greetings/{id_}"))
        answers.append(await api.http.delete(f"/greetings/{id_}"))
        assert {each.status_code for each in answers} == {404}
        assert len({each.content for each in answers}) == 1


# Resources -------------------------------------------------------------------------------------------------------------


async def test_a_resource_is_created_read_and_found_under_the_same_id(api):
    created = await api.http.post(
        "/greetings", json={"city": "Rome"}, headers={"Prefer": "wait=10", "Idempotency-Key": "r"}
    )
    assert created.status_code == 201
    found = created.json()
    assert created.headers["Location"] == f"/greetings/{found['id']}"
    assert (found["status"], found["data"], found["output"]) == ("Done", {"city": "Rome"}, {"text": "Rome"})
    assert set(found) == {"id", "status", "data", "output", "error", "links"}
    read = await api.http.get(created.headers["Location"])
    assert (read.json(), read.headers["ETag"]) == (found, created.headers["ETag"])
    assert (
        await api.http.get(created.headers["Location"], headers={"If-None-Match": read.headers["ETag"]})
    ).status_code == 304
    assert (await api.status(found["id"]))["status"] == "completed"
    again = await api.http.post(
        "/greetings", json={"city": "Rome"}, headers={"Prefer": "wait=10", "Idempotency-Key": "r"}
    )
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (found, "true")


async def test_the_body_of_a_resource_is_the_input(api):
    answer = await api.http.post("/greetings", json={"town": "Rome"})
    assert (answer.status_code, await slug(answer)) == (422, "invalid-input")
    assert (await api.http.post("/greetings", content=b"{}")).status_code == 415
    assert (await api.http.post("/patients", json=[1])).status_code == 201


async def test_suspended_borrows_the_label_of_running_and_delete_cancels(api):
    found = (await api.http.post("/patients", json={})).json()
    path = f"/patients/{found['id']}"
    await api.done("POST", f"/v1/orchestrations/{found['id']}/suspend")
    assert (await api.done("GET", path))["status"] == "Waiting"
    stale = await api.http.delete(path, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    removed = await api.http.delete(f"{path}?reason=enough")
    assert removed.status_code == 202
    assert removed.headers["ETag"] == f'"{removed.json()["version"]}"'
    await api.ended(found["id"])
    assert (await api.done("GET", path))["status"] == "cancelled"
    assert "enough" in str(await api.history(found["id"]))


async def test_an_id_of_another_resource_is_not_there(api):
    found = (await api.http.post("/patients", json={})).json()
    for answer in (await api.http.get(f"/greetings/{found['id']}"), await api.http.delete(f"/greetings/{found['id']}")):
        assert (answer.status_code, await slug(answer)) == (404, "not-found")


async def test_resources_have_their_methods_and_no_others(api):
    for method, path, allowed in (
        ("GET", "/greetings", "POST"),
        ("PUT", "/greetings/o_" + "a" * 22, "GET, DELETE, HEAD"),
    ):
        answer = await api.http.request(method, path)
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
        assert answer.json()["detail"].endswith(f" is not possible here; what is: {allowed}.")
    assert (await api.http.post("/nothing-here", json={})).status_code == 404
    assert (await api.http.post("/v1", json={})).status_code == 404


async def test_new_starts_take_the_latest_version(api):
    await api.deploy(PATIENT.replace("1.0.0", "1.1.0"))
    found = (await api.http.post("/patients", json={})).json()
    assert (await api.status(found["id"]))["definition"] == "default/patient@1.1.0"


# The document ----------------------------------------------------------------------------------------------------------


async def test_the_document_has_every_resource_with_its_schema(api):
    first = await api.http.get("/openapi.json")
    document = first.json()
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]["/greetings/{id}"]) == {"get", "delete"}
    schema = document["components"]["schemas"]["GreetingsResourceInput"]
    assert schema["required"] == ["city"]
    assert (await api.http.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})).status_code == 304
    await api.deploy(GREETING.replace("shop", "bar").replace("greetings", "salutes"))
    assert "/salutes" in (await api.http.get("/openapi.json")).json()["paths"]


async def test_every_operation_has_an_id_of_its_own(api):
    document = (await api.http.get("/openapi.json")).json()
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))
    assert {"startOrchestration", "getOrchestration", "cancelOrchestration", "create_greetings"} <= set(ids)
