"""What the REST API reads, and what it refuses before any use case is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import msgspec
import pytest
from starlette.datastructures import Headers

from adapters.rest.bodies import parse_json
from adapters.rest.conditions import Preferences, preferences, versions_asked_for
from adapters.rest.idempotency import read_key
from adapters.rest.negotiation import negotiate
from adapters.rest.parameters import read_instant
from adapters.rest.problems import ProblemError
from tests.integration.rest_scripted import ID, OTHER_ID, Scripted

pytestmark = pytest.mark.anyio
START = "/v1/orchestrations"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
async def http(scripted: Scripted) -> AsyncIterator[httpx2.AsyncClient]:
    async with scripted.client() as client:
        yield client


def problem(answer: httpx2.Response, slug: str) -> dict[str, Any]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["type"] == f"/problems/{slug}", found
    assert found["status"] == answer.status_code
    assert found["title"]
    assert found["detail"]
    return found


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"definition": "demo",}',
        b'{"definition": "demo", "input": NaN}',
        b'{"definition": "demo", "input": -Infinity}',
        b'{"definition": "demo", "input": 1e999}',
        b'{"definition": "demo", "definition": "other"}',
        b'{"definition": "demo", "input": {"a": {"b": 1, "c": 2, "b": 3}}}',
        b'{"definition": "demo", "input": {"a": 1, "\\u0061": 2}}',
        b'{"definition": "demo", "input": "\\ud800"}',
        b'{"definition": "demo", "input": {"\\udfff": 1}}',
        b'{"definition": "demo", "input": "\xff"}',
        b'{"definition": "demo", "input": "\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"definition": "demo"}',
        b'{"definition": "demo", "input": ' + b"[" * 101 + b"]" * 101 + b"}",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 100_000,
    ],
    ids=range(18),
)
async def test_json_that_two_parsers_could_read_differently_is_malformed(http, scripted, body):
    answer = await http.post(START, content=body, headers=JSON)
    assert answer.status_code == 400
    problem(answer, "malformed-request")
    assert scripted.commands.asked == []


def test_a_hundred_levels_are_read_and_one_more_is_not():
    assert parse_json(b"[" * 100 + b"]" * 100)
    with pytest.raises(ProblemError):
        parse_json(b"[" * 101 + b"]" * 101)
    wide = b"[" + b",".join([b"[]"] * 500) + b"]"
    assert len(parse_json(wide)) == 500


def test_the_same_name_in_different_objects_is_no_duplicate():
    assert parse_json(b'[{"a": 1}, {"a": {"a": 2}}]') == [{"a": 1}, {"a": {"a": 2}}]


def test_integers_that_could_not_be_kept_are_refused_with_their_place():
    with pytest.raises(ProblemError) as caught:
        parse_json(b'{"a/b": [1, 123456789012345678901234567890]}')
    assert caught.value.slug == "invalid-input"
    assert caught.value.errors[0].pointer == "/a~1b/1"
    assert parse_json(b"18446744073709551615") == 2**64 - 1
    assert parse_json(b'"1234567890123456789012345"') == "1234567890123456789012345"


async def test_malformed_json_names_line_and_column(http):
    answer = await http.post(START, content=b'{\n  "definition": }', headers=JSON)
    entry = problem(answer, "malformed-request")["errors"][0]
    assert (entry["line"], entry["column"]) == (2, 17)


async def test_a_body_over_the_limit_is_refused_by_its_length(http, scripted):
    answer = await http.post(START, content=b" " * (1024 * 1024 + 1), headers=JSON)
    assert answer.status_code == 413
    problem(answer, "payload-too-large")


async def test_a_body_without_a_length_is_refused_while_it_arrives(scripted):
    sent = 0
    answers = []

    async def receive():
        nonlocal sent
        sent += 1
        return {"type": "http.request", "body": b" " * 65_536, "more_body": True}

    async def send(message):
        answers.append((sent, message))

    scope = {
        "type": "http",
        "method": "POST",
        "path": START,
        "raw_path": START.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "headers": [(b"content-type", b"application/json")],
        "server": ("service", 80),
        "client": ("client", 1),
    }
    await scripted.app(scope, receive, send)
    read, answer = answers[0]
    assert answer["status"] == 413
    assert read == 17


async def test_a_body_of_the_allowed_size_is_read(http, scripted):
    value = "x" * (1024 * 1024 - 100)
    answer = await http.post(START, json={"definition": "demo", "input": value})
    assert answer.status_code == 201
    assert scripted.commands.asked[0].input == value


@pytest.mark.parametrize("kind", [None, "text/plain", "application/xml", "application/json; charset=latin-1", "json"])
async def test_another_media_type_is_415(http, kind):
    headers = {} if kind is None else {"Content-Type": kind}
    answer = await http.post(START, content=b'{"definition": "demo"}', headers=headers)
    assert answer.status_code == 415
    problem(answer, "unsupported-media-type")


async def test_utf8_may_be_said(http):
    headers = {"Content-Type": "application/json; charset=UTF-8"}
    answer = await http.post(START, content=b'{"definition": "demo"}', headers=headers)
    assert answer.status_code == 201


async def test_unknown_and_wrong_members_are_422_all_at_once_with_pointers(http):
    body = {"definition": "a b", "inputs": 1, "business_key": 7, "tags": {"a:b": "c", "ok": 1}}
    answer = await http.post(START, json=body)
    assert answer.status_code == 422
    pointers = {each["pointer"] for each in problem(answer, "invalid-input")["errors"]}
    assert pointers == {"/definition", "/inputs", "/business_key", "/tags/a:b", "/tags/ok"}


async def test_a_missing_member_and_a_body_that_is_no_object_are_422(http):
    missing = problem(await http.post(START, json={}), "invalid-input")["errors"]
    assert missing == [{"pointer": "/definition", "detail": "This member is required.", "code": "required"}]
    assert problem(await http.post(START, json=[1]), "invalid-input")["errors"][0]["pointer"] == ""


@pytest.mark.parametrize(
    "query",
    ["nope=1", "wait=x", "wait=61", "wait=-1", "wait=1&wait=2", "at=yesterday", "at_version=%00", "%ff=1", "wait=%ff"],
)
async def test_unknown_repeated_and_malformed_query_parameters_are_400(http, query):
    answer = await http.get(f"{START}/{ID}?{query}")
    assert answer.status_code == 400
    problem(answer, "malformed-request")


@pytest.mark.parametrize(
    "id_",
    [
        "x",
        "o_",
        "o_" + "a" * 23,
        "o_" + "a" * 21 + "-",
        "%00",
        "..%2F..",
        "%F0%9F%92%A3",
        "a" * 10_000,
        "o_%00" + "a" * 21,
    ],
)
@pytest.mark.parametrize("rest", ["", "/history", "/stream", "/rollback-plan", "/tasks"])
async def test_what_has_not_the_form_of_an_id_is_not_there(http, id_, rest):
    answer = await http.get(f"{START}/{id_}{rest}")
    assert answer.status_code == 404
    problem(answer, "not-found")


@pytest.mark.parametrize("number", ["0", "-1", "x", "1" * 30, "%00", "1.5", "²"])
async def test_a_number_of_an_incident_is_a_number(http, number):
    answer = await http.post(f"{START}/{ID}/incidents/{number}/retry", json={"reason": "again"})
    assert answer.status_code == 404


async def test_unknown_paths_and_methods_are_problems(http):
    problem(await http.get("/v2"), "not-found")
    problem(await http.get("/v1/orchestrations/"), "not-found")
    for method, path, allowed in [
        ("DELETE", START, "GET, HEAD, POST"),
        ("GET", "/v1/events", "POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("PUT", f"{START}/{ID}", "GET, HEAD"),
        ("OPTIONS", f"{START}/{ID}/cancel", "POST"),
        ("TRACE", "/docs", "GET, HEAD"),
    ]:
        answer = await http.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["Allow"] == allowed
        problem(answer, "method-not-allowed")
        assert answer.json()["detail"] == f"{method} is not possible here; what is: {allowed}."


async def test_a_query_parameter_of_another_form_is_told_with_what_was_sent(http):
    answer = await http.get("/v1/events/held?orchestration=o_x")
    problem(answer, "malformed-request")
    assert (
        "The query parameter orchestration cannot be 'o_x'. The id of an orchestration is o_" in answer.json()["detail"]
    )


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*", "application/xml, text/*;q=0.5"])
async def test_a_form_that_is_not_there_is_406(http, accept):
    answer = await http.get(f"{START}/{ID}", headers={"Accept": accept})
    assert answer.status_code == 406
    problem(answer, "not-acceptable")


def test_the_most_specific_range_decides_then_the_weight_then_the_server():
    offers = ("application/yaml", "application/json")
    assert negotiate(None, offers) == "application/yaml"
    assert negotiate("application/*", offers) == "application/yaml"
    assert negotiate("application/yaml;q=0.5, application/json", offers) == "application/json"
    assert negotiate("*/*, application/yaml;q=0", offers) == "application/json"
    assert negotiate("*/*;q=0.1, application/json;q=0.05", offers) == "application/yaml"
    for broken in ("nonsense", "application/json;q=2", "a" * 5000):
        with pytest.raises(ProblemError):
            negotiate(broken, offers)


def test_preferences_are_read_and_the_rest_ignored():
    def read(*values: str) -> Preferences:
        return preferences(Headers(raw=[(b"prefer", value.encode()) for value in values]), 60)

    assert read("wait=10") == Preferences(10)
    assert read("Respond-Async, wait=100") == Preferences(60, respond_async=True)
    assert read("respond-async", "wait=5; x=1") == Preferences(5, respond_async=True)
    assert read("wait=x, handling=lenient") == Preferences()
    assert read("wait=0").applied == "wait=0"


def test_if_match_uses_the_strong_comparison():
    def read(value: str) -> list[int] | None:
        return versions_asked_for(Headers({"If-Match": value}))

    assert read('"9"') == [9]
    assert read('W/"9"') == []
    assert read('"x", "9" , "10"') == [9, 10]
    assert read("*") is None
    with pytest.raises(ProblemError):
        read("9")


@pytest.mark.parametrize(
    ("given", "key"), [('"a b"', "a b"), ("a-1", "a-1"), (r'"a\"b\\"', 'a"b\\'), ("x" * 255, "x" * 255)]
)
def test_an_idempotency_key_is_quoted_or_bare(given, key):
    assert read_key(Headers({"Idempotency-Key": given})) == key


@pytest.mark.parametrize("given", ["", '""', "x" * 256, '"a', "a b", "\xe9", '"a";x=1', '"\x7f"'])
def test_other_idempotency_keys_are_malformed(given):
    with pytest.raises(ProblemError):
        read_key(Headers(raw=[(b"idempotency-key", given.encode("latin-1"))]))


def test_instants_are_rfc_3339():
    assert read_instant("2026-11-23T10:00:00.123456789+01:00").isoformat() == "2026-11-23T09:00:00.123456+00:00"
    for wrong in ("2026-11-23", "2026-11-23T10:00:00", "2026-02-30T10:00:00Z", "0001-01-01T00:00:00+23:59"):
        with pytest.raises(ValueError, match="RFC 3339"):
            read_instant(wrong)


# Events ----------------------------------------------------------------------------------------------------------------

EVENT = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.paid"}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}


async def test_a_structured_event_is_passed_on_as_it_is(http, scripted):
    event = {
        **EVENT,
        "time": "2026-11-23T10:00:00Z",
        "tenant": "a",
        "priority": 3,
        "data": {"amount": 5},
        "subject": None,
    }
    answer = await http.post(f"{START}/{ID}/events", content=msgspec.json.encode(event), headers=STRUCTURED)
    assert answer.status_code == 202
    assert answer.json() == {"outcome": "held", "version": 4}
    del event["subject"]
    assert scripted.commands.asked == [event]


@pytest.mark.parametrize(
    ("kind", "body", "members"),
    [
        ("application/json", b'{"a": 1}', {"data": {"a": 1}}),
        ("application/vnd.x+json", b"[1]", {"data": [1]}),
        ("text/plain; charset=utf-8", "é".encode(), {"data": "é"}),
        ("application/octet-stream", b"\x00\xff", {"data_base64": "AP8="}),
    ],
)
async def test_a_binary_event_becomes_the_same_json(http, scripted, kind, body, members):
    headers = {f"ce-{name}": value for name, value in EVENT.items()} | {"ce-note": "caf%C3%A9", "Content-Type": kind}
    answer = await http.post("/v1/events", content=body, headers=headers)
    assert answer.status_code == 202
    assert answer.json() == {"outcome": "held"}
    assert scripted.commands.asked == [{**EVENT, "note": "café", "datacontenttype": kind, **members}]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"specversion": None}, "/specversion"),
        ({"specversion": "0.3"}, "/specversion"),
        ({"id": None}, "/id"),
        ({"id": ""}, "/id"),
        ({"source": None}, "/source"),
        ({"type": 5}, "/type"),
        ({"id": "a\x00b"}, "/id"),
        ({"source": "x" * 2000}, "/source"),
        ({"time": "yesterday"}, "/time"),
        ({"time": 5}, "/time"),
        ({"Tenant": "x"}, "/Tenant"),
        ({"tenant": {}}, "/tenant"),
        ({"weight": 1.5}, "/weight"),
        ({"data": 1, "data_base64": "AA=="}, "/data_base64"),
        ({"data_base64": "?"}, "/data_base64"),
    ],
)
async def test_an_event_that_is_no_cloudevent_is_422_with_its_pointer(http, change, pointer):
    answer = await http.post("/v1/events", content=msgspec.json.encode({**EVENT, **change}), headers=STRUCTURED)
    assert answer.status_code == 422
    assert [each["pointer"] for each in problem(answer, "invalid-input")["errors"]] == [pointer]


async def test_plain_json_is_no_event(http):
    for kind in ("application/json", "text/plain"):
        answer = await http.post("/v1/events", content=b"[]", headers={"Content-Type": kind})
        assert answer.status_code == 415
        problem(answer, "unsupported-media-type")


async def test_an_event_with_duplicate_members_is_malformed(http):
    body = msgspec.json.encode(EVENT)[:-1] + b',"id":"2"}'
    problem(await http.post("/v1/events", content=body, headers=STRUCTURED), "malformed-request")


async def test_unknown_ids_of_another_form_give_the_same_answer(http):
    first = await http.post(f"{START}/nope/cancel")
    second = await http.post(f"{START}/{OTHER_ID}x/cancel")
    assert first.json() == second.json()
