"""What refusals say: in words of HTTP and JSON, never of Python, and with what to do next.

Slugs, statuses and pointers are tested elsewhere; a person who reads `detail` should need nothing else.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from retrace.functions import load_functions
from tests.support.service import Api, running_service

pytestmark = pytest.mark.anyio

START = "/v1/orchestrations"
TRIP = """
document: {dsl: '1.0.3', namespace: travel, name: trip, version: '1.0.0'}
resource: {path: trips}
do:
  - hotel:
      set: {booked: true}
      compensate: {call: close}
  - rest: {listen: {to: {one: {with: {type: go}}}}}
"""
PARENT = """
document: {dsl: '1.0.3', namespace: travel, name: agency, version: '1.0.0'}
do:
  - trip: {run: {workflow: {namespace: travel, name: trip, version: '1.0.0'}}}
"""
SCHEMA = """
document: {dsl: '1.0.3', namespace: travel, name: strict, version: '1.0.0'}
input: {schema: {document: {type: object}}}
do:
  - a: {set: {x: 1}}
"""


FUNCTIONS = """
from retrace import Refused, function

@function("close")
def close():
    raise Refused("ruin", "the hotel is a ruin")
"""


@pytest.fixture
async def api(tmp_path) -> AsyncIterator[Api]:
    file = tmp_path / "functions.py"
    file.write_text(FUNCTIONS)
    async with running_service(tmp_path, load_functions(file)) as running:
        for document in (PARENT, TRIP, SCHEMA):
            assert (await running.deploy(document))["http_status"] == 201
        yield running


async def told(api: Api, url: str, body: Any, kind: str = "application/json") -> tuple[dict[str, Any], dict[str, str]]:
    """The problem, and its details by pointer."""
    answer = await api.http.post(url, json=body, headers={"Content-Type": kind})
    assert answer.status_code >= 400
    problem = answer.json()
    details = {each["pointer"]: each["detail"] for each in problem.get("errors", ())}
    for text in (problem["detail"], *details.values()):
        assert not re.search(r"\bNone\b|<class|Field required|valid dictionary|\^", text), text
    return problem, details


async def with_incident(api: Api) -> str:
    status = await api.start("travel/trip")
    await api.done("POST", f"{START}/{status['id']}/cancel")
    await api.reached(status["id"], lambda now: now["incidents"])
    return str(status["id"])


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({}, "/definition", "This member is required."),
        ([], "", "This is an object."),
        ({"definition": 3}, "/definition", "This is a string."),
        ({"definition": "a b"}, "/definition", "namespace/name@version"),
        ({"definition": "travel/strict", "business_key": "k" * 256}, "/business_key", "at most 255 characters"),
        ({"definition": "travel/strict", "business_key": ""}, "/business_key", "at least 1 character"),
        ({"definition": "travel/strict", "tags": {str(n): "" for n in range(51)}}, "/tags", "at most 50 members"),
        ({"definition": "travel/strict", "tags": {"a:b": ""}}, "/tags/a:b", "no colon"),
        ({"definition": "travel/strict", "tags": 1}, "/tags", "This is an object."),
        ({"definition": "travel/strict", "input": None}, "/input", "null is not of type 'object'"),
        ({"definition": "travel/strict", "input": True}, "/input", "true is not of type 'object'"),
    ],
)
async def test_a_body_is_complained_about_in_words_of_json(api, body, pointer, words):
    _, details = await told(api, START, body)
    assert words in details[pointer]


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ({"type": 3}, "The attribute type is a string."),
        ({"id": ""}, "The attribute id is not empty."),
        ({"subject": 1}, "The attribute subject is a string."),
        ({"source": ""}, "The attribute source is not empty."),
    ],
)
async def test_an_event_is_complained_about_in_words_of_json(api, member, words):
    event = {"specversion": "1.0", "id": "1", "source": "/x", "type": "go", **member}
    _, details = await told(api, "/v1/events", event, "application/cloudevents+json")
    assert details == {f"/{next(iter(member))}": words}


async def test_an_unknown_query_parameter_is_answered_with_those_there_are(api):
    answer = await api.http.get(f"{START}?state=running")
    assert "those here are status, definition," in answer.json()["detail"]
    answer = await api.http.get("/healthz?x=1")
    assert "there are none here" in answer.json()["detail"]
    answer = await api.http.get(f"{START}?definition=!")
    assert "namespace/name@version" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ("trip", "no definition trip in the namespace default; did you mean travel/trip?"),
        ("travel/trip@2.0.0", "no version 2.0.0 of travel/trip; there is 1.0.0."),
        ("travel/cruise", "no definition travel/cruise; deploy it first."),
        ("cruise", "no definition default/cruise; deploy it first."),
    ],
)
async def test_a_definition_that_is_not_there_is_answered_with_the_nearest(api, definition, words):
    problem, _ = await told(api, START, {"definition": definition})
    assert (problem["status"], words in problem["detail"]) == (404, True), problem["detail"]


async def test_a_path_that_is_taken_names_its_owner_once(api):
    answer = await api.deploy(TRIP.replace("name: trip", "name: other"))
    (error,) = answer["errors"]
    assert error["detail"] == "The resource path trips belongs to the definition travel/trip."
    assert error["pointer"] == "/resource/path"


async def test_what_came_later_is_not_called_missing(api):
    agency = await api.deploy(PARENT)
    assert (agency["http_status"], agency["warnings"]) == (200, [])
    listed = (await api.done("GET", "/v1/definitions?namespace=travel&name=agency"))["items"]
    assert listed[0]["warnings"] == []


async def test_an_incident_that_was_resolved_tells_how_and_where_it_stands_now(api):
    id_ = await with_incident(api)
    url = f"{START}/{id_}/incidents/1"
    await api.done("POST", f"{url}/skip", json={"reason": "nobody answers"})
    await api.ended(id_)
    problem, _ = await told(api, f"{url}/retry", {"reason": "again"})
    assert problem["type"] == "/problems/orchestration-ended"
    assert problem["current_status"] == "cancelled"
    how = r"Incident 1 was resolved before: skip by anonymous at \d{4}-\S+Z, because: nobody answers"
    assert re.fullmatch(how, problem["detail"]), problem["detail"]


async def test_an_action_that_an_incident_does_not_allow_is_answered_with_those_it_does(api):
    id_ = await with_incident(api)
    problem, details = await told(api, f"{START}/{id_}/incidents/1/fail", {"reason": "x"})
    assert problem["detail"] == "Incident 1 cannot be resolved with fail."
    assert details == {"": "it allows: retry, skip, complete"}
    problem, _ = await told(api, f"{START}/{id_}/incidents/0/skip", {"reason": "x"})
    assert "no incident with this number" in problem["detail"]
    _, details = await told(api, f"{START}/{id_}/incidents/1/skip", {"reason": " "})
    assert "not blank" in details["/reason"]


async def test_a_dry_run_names_the_tasks_it_would_touch(api):
    status = await api.start("travel/trip")
    would = await api.done("POST", f"{START}/{status['id']}/cancel?dry_run=true")
    cancelled = next(each for each in would["events"] if each["type"] == "task.cancelled")
    assert (cancelled["task"], cancelled["run"]) == ("/do/1/rest", 1)
    assert "task" not in would["events"][0], "the rollback itself is about no task"
