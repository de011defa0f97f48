"""What the REST API answers to what the use cases say: refusals, preferences, conditions, idempotency, authentication."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256

import httpx2
import pytest

from adapters.rest.app import OPERATIONS
from adapters.rest.problems import SLUGS
from application.service import Answer
from domain import errors
from tests.integration.rest_scripted import ID, Scripted, status_of

pytestmark = pytest.mark.anyio
START = "/v1/orchestrations"
BODY = {"definition": "demo"}


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
async def http(scripted: Scripted) -> AsyncIterator[httpx2.AsyncClient]:
    async with scripted.client() as client:
        yield client


def refuse(scripted: Scripted, error: Exception) -> None:
    def script(_: object) -> None:
        raise error

    scripted.commands.script = script


RESOLVED = {"current_status": "compensating"}
REFUSALS = [
    (errors.NotFoundError(), 404, {}),
    (errors.OutsideLifeError(), 400, {}),
    (errors.InvalidDefinitionError([errors.Problem("/do", "wrong", "x", 3, 4)]), 422, {}),
    (errors.DefinitionExistsError(), 409, {}),
    (errors.BusinessKeyInUseError(ID), 409, {"orchestration": ID}),
    (errors.IdempotencyKeyReusedError(), 422, {}),
    (errors.IdempotencyKeyInUseError(), 409, {"retryable": True}),
    (errors.EventIdReusedError(), 409, {}),
    (errors.TaskClaimedError(), 409, {}),
    (errors.TaskEndedError(), 409, {}),
    (errors.OrchestrationEndedError("completed"), 409, {"current_status": "completed"}),
    (errors.PastPivotError(), 409, {}),
    (errors.IncidentResolvedError("compensating", "Incident 1 was resolved before: skip."), 409, RESOLVED),
    (errors.VersionMismatchError(), 412, {}),
    (errors.StaleTokenError(), 409, {}),
    (errors.OverloadedError(retry_after_s=7), 503, {"retryable": True}),
    (errors.OwnershipLostError(), 503, {"retryable": True}),
    (errors.TooManyRequestsError(), 429, {"retryable": True, "status": 429}),
]


@pytest.mark.parametrize(("error", "status", "members"), REFUSALS, ids=lambda each: type(each).__name__)
async def test_every_refusal_is_the_problem_of_its_code(http, scripted, error, status, members):
    refuse(scripted, error)
    answer = await http.post(START, json=BODY)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    found = answer.json()
    assert found["type"] == f"/problems/{error.code}"
    assert found["detail"] == error.detail
    assert members.items() <= found.items()


def test_no_error_of_the_domain_lacks_a_slug():
    def tree(kind: type[errors.RetraceError]) -> list[type[errors.RetraceError]]:
        return [kind, *(each for child in kind.__subclasses__() for each in tree(child))]

    assert {each.code for each in tree(errors.RetraceError)} <= set(SLUGS)


def test_the_slugs_are_the_contract():
    assert set(SLUGS) == {
        "malformed-request",
        "content-missing",
        "invalid-input",
        "invalid-definition",
        "definition-exists",
        "not-found",
        "method-not-allowed",
        "not-acceptable",
        "unsupported-media-type",
        "payload-too-large",
        "business-key-in-use",
        "idempotency-key-in-use",
        "idempotency-key-reused",
        "event-id-reused",
        "fork-conflict",
        "orchestration-ended",
        "past-pivot",
        "version-mismatch",
        "stale-token",
        "task-claimed",
        "task-ended",
        "unauthorized",
        "overloaded",
        "internal",
    }


@pytest.mark.parametrize("kind", [errors.OverloadedError, errors.TooManyRequestsError])
async def test_overload_says_when_to_come_back(http, scripted, kind):
    refuse(scripted, kind(retry_after_s=7))
    assert (await http.post(START, json=BODY)).headers["Retry-After"] == "7"


async def test_a_database_that_is_away_is_told_to_come_back_to(http, scripted):
    refuse(scripted, errors.StorageAwayError("secret path"))
    answer = await http.post(START, json=BODY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    found = answer.json()
    assert (found["type"], found["retryable"]) == ("/problems/overloaded", True)
    assert "not certain" in found["detail"]
    assert "secret" not in answer.text


async def test_places_in_a_definition_keep_line_and_column(http, scripted):
    refuse(scripted, errors.InvalidDefinitionError([errors.Problem("/do", "wrong", "x", 3, 4)]))
    found = (await http.post(START, json=BODY)).json()
    assert found["errors"] == [{"pointer": "/do", "detail": "wrong", "code": "x", "line": 3, "column": 4}]


async def test_violations_of_the_input_are_placed_in_the_body(http, scripted):
    refuse(scripted, errors.InvalidInputError([errors.Problem("/city", "is required", "schema")]))
    found = (await http.post(START, json=BODY)).json()
    assert found["errors"][0]["pointer"] == "/input/city"


@pytest.mark.parametrize("error", [RuntimeError("secret path"), errors.StorageError("secret path")])
async def test_the_unexpected_is_internal_with_a_reference_and_nothing_else(http, scripted, error):
    refuse(scripted, error)
    answer = await http.post(START, json=BODY)
    assert answer.status_code == 500
    assert answer.json()["type"] == "/problems/internal"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


# Starting and reading --------------------------------------------------------------------------------------------------


async def test_a_start_answers_201_with_location_etag_and_links(http, scripted):
    answer = await http.post(START, json={**BODY, "tags": {"team": "a"}, "business_key": "k"})
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{START}/{ID}"
    assert answer.headers["ETag"] == '"3"'
    found = answer.json()
    assert found["id"] == ID
    assert found["links"] == {
        "self": f"{START}/{ID}",
        "history": f"{START}/{ID}/history",
        "stream": f"{START}/{ID}/stream",
        "events": f"{START}/{ID}/events",
        "held_events": f"/v1/events/held?orchestration={ID}",
        "cancel": f"{START}/{ID}/cancel",
    }
    asked = scripted.commands.asked[0]
    assert (asked.tags, asked.business_key, asked.actor, asked.idempotency_key) == (
        {"team": "a"},
        "k",
        "anonymous",
        None,
    )


async def test_prefer_wait_waits_for_the_end_and_says_so(http, scripted):
    answer = await http.post(START, json=BODY, headers={"Prefer": "wait=100"})
    assert answer.status_code == 201
    assert answer.headers["Preference-Applied"] == "wait=60"
    assert scripted.queries.waits == [(60, None)]


async def test_respond_async_is_202_unless_it_ended_while_we_waited(http, scripted):
    answer = await http.post(START, json=BODY, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert answer.headers["Location"]
    scripted.queries.current = status_of(status="completed")
    assert (await http.post(START, json=BODY, headers={"Prefer": "respond-async, wait=5"})).status_code == 201


async def test_a_status_has_its_version_as_etag_and_says_when_to_come_back(http, scripted):
    answer = await http.get(f"{START}/{ID}")
    assert (answer.headers["ETag"], answer.headers["Retry-After"]) == ('"3"', "1")
    scripted.queries.current = status_of(status="completed", version=9)
    answer = await http.get(f"{START}/{ID}")
    assert answer.headers["ETag"] == '"9"'
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize("tag", ['"3"', 'W/"3"', '"1", "3"', "*"])
async def test_if_none_match_gives_304_without_a_body(http, tag):
    answer = await http.get(f"{START}/{ID}", headers={"If-None-Match": tag})
    assert answer.status_code == 304
    assert answer.headers["ETag"] == '"3"'
    assert answer.content == b""


async def test_another_tag_gives_the_status(http):
    assert (await http.get(f"{START}/{ID}", headers={"If-None-Match": '"2"'})).status_code == 200


async def test_a_long_poll_waits_for_a_version(http, scripted):
    await http.get(f"{START}/{ID}?wait=20&after=3")
    await http.get(f"{START}/{ID}?wait=20")
    await http.get(f"{START}/{ID}?after=3")
    assert scripted.queries.waits == [(20, 3), (20, None)]


@pytest.mark.parametrize(
    "query", ["at_version=1&at=2026-11-23T10:00:00Z", "at_version=1&wait=5", "at_version=1&after=2"]
)
async def test_the_past_is_not_waited_for(http, query):
    assert (await http.get(f"{START}/{ID}?{query}")).status_code == 400


async def test_head_is_get_without_a_body(http):
    got, answer = await http.get(f"{START}/{ID}"), await http.head(f"{START}/{ID}")
    assert answer.status_code == 200
    assert answer.content == b""
    assert answer.headers == got.headers
    assert (await http.head(f"{START}/{ID}/stream")).headers["Content-Type"].startswith("text/event-stream")


# Commands --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("cancel", {"reason": "r", "override_pivot": True}, 202),
        ("terminate", {"reason": "r"}, 200),
        ("suspend", {}, 200),
        ("resume", None, 200),
        ("incidents/1/retry", {"reason": "r"}, 200),
        ("incidents/1/skip", {"reason": "r"}, 200),
        ("incidents/1/complete", {"reason": "r", "output": {"a": 1}}, 200),
        ("incidents/1/fail", {"reason": "r"}, 200),
        ("notes", {"text": "hello"}, 201),
    ],
)
async def test_commands_answer_id_status_and_version_with_etag(http, scripted, path, body, status):
    content = {} if body is None else {"json": body}
    answer = await http.post(f"{START}/{ID}/{path}", headers={"If-Match": '"3"'}, **content)
    assert answer.status_code == status
    assert answer.json() == {"id": ID, "status": "running", "version": 4}
    assert answer.headers["ETag"] == '"4"'
    asked = scripted.commands.asked[0]
    assert (asked.if_match, asked.dry_run, asked.actor) == (3, False, "anonymous")
    assert asked.reason == (None if path == "notes" else (body or {}).get("reason"))
    dry = await http.post(f"{START}/{ID}/{path}?dry_run=true", **content)
    assert dry.status_code == 200
    assert dry.json() == {"version": 3, "events": [{"type": "orchestration.cancelled", "data": {}}]}


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": None}, {"reason": 5}])
async def test_an_incident_is_not_resolved_without_a_reason(http, scripted, body):
    answer = await http.post(f"{START}/{ID}/incidents/1/skip", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/reason"
    assert scripted.commands.asked == []


@pytest.mark.parametrize(("given", "asked"), [('"2", "3"', 3), ('"7"', 7), ("*", None)])
async def test_if_match_becomes_the_version_that_is_asked_for(http, scripted, given, asked):
    await http.post(f"{START}/{ID}/cancel", headers={"If-Match": given})
    assert scripted.commands.asked[0].if_match == asked


@pytest.mark.parametrize("given", ['W/"3"', '"x"', '"1", "2"'])
async def test_a_condition_that_no_version_satisfies_tells_the_version_there_is(http, scripted, given):
    answer = await http.post(f"{START}/{ID}/cancel", headers={"If-Match": given})
    assert answer.status_code == 412
    assert 'the tag of a version is "3"' in answer.json()["detail"]
    assert scripted.commands.asked == []


async def test_a_broken_condition_is_not_ignored(http, scripted):
    assert (await http.post(f"{START}/{ID}/cancel", headers={"If-Match": "3"})).status_code == 400
    assert scripted.commands.asked == []


async def test_a_note_says_where_it_is(http):
    answer = await http.post(f"{START}/{ID}/notes", json={"text": "hello"})
    assert answer.headers["Location"] == f"{START}/{ID}/history?after=3&limit=1"


# Idempotency-Key -------------------------------------------------------------------------------------------------------


async def test_a_repeat_gets_the_stored_answer(http, scripted):
    first = await http.post(START, json={**BODY, "input": {"a": 1, "b": 2}}, headers={"Idempotency-Key": '"k 1"'})
    scripted.queries.current = status_of(status="completed", version=9)
    again = await http.post(
        START,
        content=b'{"input": {"b": 2, "a": 1}, "definition": "demo"}',
        headers={"Idempotency-Key": '"k 1"', "Content-Type": "application/json"},
    )
    assert again.status_code == first.status_code == 201
    assert again.content == first.content
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["ETag"] == '"3"'
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert [each.idempotency_key for each in scripted.commands.asked] == ["k 1"]


async def test_the_bare_form_is_the_same_key(http, scripted):
    await http.post(START, json=BODY, headers={"Idempotency-Key": '"k1"'})
    assert (await http.post(START, json=BODY, headers={"Idempotency-Key": "k1"})).headers["Idempotency-Replayed"]


@pytest.mark.parametrize(
    ("path", "body"),
    [(START, {"definition": "other"}), (f"{START}/{ID}/cancel", BODY), (f"{START}/{ID}/notes", {"text": "x"})],
)
async def test_the_key_with_another_request_is_422(http, path, body):
    await http.post(START, json=BODY, headers={"Idempotency-Key": "k"})
    answer = await http.post(path, json=body, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 422


async def test_a_reused_key_is_its_own_problem(http):
    await http.post(START, json=BODY, headers={"Idempotency-Key": "k"})
    answer = await http.post(START, json={**BODY, "input": 1}, headers={"Idempotency-Key": "k"})
    assert answer.json()["type"] == "/problems/idempotency-key-reused"


async def test_a_dry_run_is_another_request_than_the_command(http):
    await http.post(f"{START}/{ID}/cancel?dry_run=true", headers={"Idempotency-Key": "k"})
    answer = await http.post(f"{START}/{ID}/cancel", headers={"Idempotency-Key": "k"})
    assert answer.json()["type"] == "/problems/idempotency-key-reused"


@pytest.mark.parametrize(
    "error",
    [
        errors.OutsideLifeError(),
        errors.InvalidInputError([]),
        errors.OverloadedError(),
        errors.StorageError(),
        errors.StorageAwayError(),
        RuntimeError("x"),
    ],
)
async def test_answers_that_say_nothing_lasting_are_not_kept(http, scripted, error):
    refuse(scripted, error)
    assert (await http.post(START, json=BODY, headers={"Idempotency-Key": "k"})).status_code in {400, 422, 500, 503}
    scripted.commands.script = lambda _: None
    answer = await http.post(START, json=BODY, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 201
    assert "Idempotency-Replayed" not in answer.headers


async def test_a_lasting_refusal_is_kept(http, scripted):
    refuse(scripted, errors.OrchestrationEndedError("completed"))
    first = await http.post(f"{START}/{ID}/cancel", headers={"Idempotency-Key": "k"})
    scripted.commands.script = lambda _: None
    again = await http.post(f"{START}/{ID}/cancel", headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.content) == (409, first.content)
    assert again.headers["Content-Type"] == "application/problem+json"


async def test_one_in_progress_is_awaited(http, scripted):
    patient = Scripted(idempotency_wait_s=5.0)
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        entered.set()
        await release.wait()

    patient.commands.script = lambda _: slow()
    async with patient.client() as client:
        first = asyncio.create_task(client.post(START, json=BODY, headers={"Idempotency-Key": "k"}))
        await entered.wait()
        second = asyncio.create_task(client.post(START, json=BODY, headers={"Idempotency-Key": "k"}))
        release.set()
        assert (await second).content == (await first).content
    assert len(patient.commands.asked) == 1


async def test_one_that_stays_in_progress_is_409(http, scripted):
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        entered.set()
        await release.wait()

    scripted.commands.script = lambda _: slow()
    first = asyncio.create_task(http.post(START, json=BODY, headers={"Idempotency-Key": "k"}))
    await entered.wait()
    answer = await http.post(START, json=BODY, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/idempotency-key-in-use"
    release.set()
    assert (await first).status_code == 201


@pytest.mark.parametrize(
    ("path", "body", "stale_s", "code"),
    [(START, BODY, 4, 201), (f"{START}/{ID}/notes", {"text": "x"}, 60, 201), (f"{START}/{ID}/cancel", {}, 60, 202)],
    ids=["start", "note", "cancel"],
)
async def test_a_request_that_died_is_taken_over_a_start_soon_anything_else_after_a_minute(
    http, scripted, path, body, stale_s, code
):
    async def die() -> None:
        raise asyncio.CancelledError

    scripted.commands.script = lambda _: die()
    with pytest.raises(asyncio.CancelledError):
        await http.post(path, json=body, headers={"Idempotency-Key": "k"})
    scripted.commands.script = lambda _: None
    scripted.later(stale_s - 1)
    assert (await http.post(path, json=body, headers={"Idempotency-Key": "k"})).status_code == 409
    scripted.later(1)
    assert (await http.post(path, json=body, headers={"Idempotency-Key": "k"})).status_code == code
    assert len(scripted.commands.asked) == 2


async def test_events_take_keys_too(http, scripted):
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
    headers = {"Idempotency-Key": "k", "Content-Type": "application/cloudevents+json"}
    for _ in range(2):
        answer = await http.post("/v1/events", json=event, headers=headers)
        assert answer.status_code == 202
    assert len(scripted.commands.asked) == 1


# Who is calling --------------------------------------------------------------------------------------------------------

TOKENS = {"alice": sha256(b"a-token").hexdigest(), "bob": sha256(b"b-token").hexdigest().upper()}


async def test_without_a_token_of_this_server_nobody_comes_in():
    guarded = Scripted(tokens=TOKENS)
    async with guarded.client() as client:
        for headers in (
            {},
            {"Authorization": "Bearer nope"},
            {"Authorization": "Basic a-token"},
            {"Authorization": ""},
        ):
            for path in (f"{START}/{ID}", "/openapi.json", "/nowhere", START):
                answer = await client.get(path, headers=headers)
                assert answer.status_code == 401
                assert answer.json()["type"] == "/problems/unauthorized"
                assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="retrace"')
        for path in ("/healthz", "/readyz", "/problems/unauthorized", "/docs"):
            assert (await client.get(path)).status_code == 200


async def test_the_name_of_the_token_is_the_actor_and_the_scope_of_its_keys():
    guarded = Scripted(tokens=TOKENS)
    async with guarded.client() as client:
        for token in ("a-token", "b-token", "a-token"):
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "k"}
            assert (await client.post(START, json=BODY, headers=headers)).status_code == 201
    assert [each.actor for each in guarded.commands.asked] == ["alice", "bob"]


# Running it ------------------------------------------------------------------------------------------------------------


async def test_health_does_not_depend_on_readiness(http, scripted):
    scripted.readiness = {"ready": False, "database": "sqlite"}
    assert (await http.get("/healthz")).json()["status"] == "ok"
    answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["database"] == "sqlite"
    scripted.readiness = RuntimeError("secret")
    answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert "secret" not in answer.text
    scripted.readiness = {"ready": True, "partitions": 16}
    assert (await http.get("/readyz")).json() == {"ready": True, "partitions": 16}
    scripted.services.closing.set()
    assert (await http.get("/readyz")).status_code == 503


@pytest.mark.parametrize("slug", SLUGS)
async def test_every_problem_is_explained(http, slug):
    page = await http.get(f"/problems/{slug}", headers={"Accept": "text/html"})
    assert page.headers["Content-Type"].startswith("text/html")
    assert SLUGS[slug].title in page.text
    explained = (await http.get(f"/problems/{slug}")).json()
    assert (explained["type"], explained["status"]) == (f"/problems/{slug}", SLUGS[slug].status)


async def test_there_is_no_other_problem(http):
    assert (await http.get("/problems/nope")).status_code == 404


async def test_the_documentation_needs_nothing_from_elsewhere(http):
    answer = await http.get("/docs")
    assert answer.status_code == 200
    assert "http://" not in answer.text
    assert "https://" not in answer.text
    assert "connect-src 'self'" in answer.headers["Content-Security-Policy"]


def test_what_stays_open_is_known():
    assert {each.path for each in OPERATIONS if each.open} == {
        "/healthz",
        "/readyz",
        "/problems/{slug}",
        "/v1/callbacks/{token}",
        "/v1/callbacks/{token}/fail",
    }


# Streams ---------------------------------------------------------------------------------------------------------------


async def test_events_are_sent_with_their_version_and_type_and_silence_as_a_comment(http, scripted):
    scripted.queries.items = [{"version": 1, "type": "a.b"}, {}, {"version": 2, "type": "c.d", "data": {"t": "x\ny"}}]
    answer = await http.get(f"{START}/{ID}/stream", headers={"Accept": "text/event-stream"})
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.text.split("\n\n") == [
        ":",
        'id: 1\nevent: a.b\ndata: {"version":1,"type":"a.b"}',
        ":",
        'id: 2\nevent: c.d\ndata: {"version":2,"type":"c.d","data":{"t":"x\\ny"}}',
        "",
    ]


async def test_whoever_has_seen_the_end_gets_204(http, scripted):
    scripted.queries.current = status_of(status="completed", version=3)
    assert (await http.get(f"{START}/{ID}/stream", headers={"Last-Event-ID": "3"})).status_code == 204
    assert (await http.get(f"{START}/{ID}/stream", headers={"Last-Event-ID": "2"})).status_code == 200
    assert (await http.get(f"{START}/{ID}/stream", headers={"Last-Event-ID": "x"})).status_code == 400


async def test_a_child_command_answer_is_what_the_use_case_says(http, scripted):
    scripted.commands.script = lambda request: Answer(request.id, "compensating", 12)
    answer = await http.post(f"{START}/{ID}/cancel")
    assert (answer.json()["status"], answer.headers["ETag"]) == ("compensating", '"12"')
