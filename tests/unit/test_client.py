"""The client: what it sends for each call, what it makes of answers and problems. The server is a function."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from retrace.client import Client, RetraceProblem

Handler = Callable[[httpx2.Request], httpx2.Response]


class Server:
    """Answers in the order given, and remembers what was asked."""

    def __init__(self, *answers: httpx2.Response) -> None:
        self.answers = list(answers)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return self.answers.pop(0)

    def client(self, **options: Any) -> Client:
        return Client("http://service.test", transport=httpx2.MockTransport(self), **options)

    @property
    def only(self) -> httpx2.Request:
        (request,) = self.requests
        return request

    def body(self) -> Any:
        return json.loads(self.only.content)


def status(value: str, version: int = 1) -> httpx2.Response:
    return httpx2.Response(200, json={"id": "o_1", "status": value, "version": version})


def test_a_start_sends_what_was_given_and_no_more():
    server = Server(httpx2.Response(201, json={"id": "o_1", "status": "running", "version": 1}))
    started = server.client(token="secret").start(
        "travel/trip", {"city": "Lisbon"}, idempotency_key='a"b\\c', wait_s=45
    )
    assert started["id"] == "o_1"
    assert (server.only.method, server.only.url.path) == ("POST", "/v1/orchestrations")
    assert server.body() == {"definition": "travel/trip", "input": {"city": "Lisbon"}}
    assert server.only.headers["Authorization"] == "Bearer secret"
    assert server.only.headers["Idempotency-Key"] == r'"a\"b\\c"'
    assert server.only.headers["Prefer"] == "wait=45"
    assert server.only.extensions["timeout"]["read"] > 45


def test_a_plain_start_has_neither_key_nor_preference():
    server = Server(httpx2.Response(201, json={}))
    server.client().start("trip", business_key="b", tags={"team": "x"})
    assert server.body() == {"definition": "trip", "business_key": "b", "tags": {"team": "x"}}
    assert not {"idempotency-key", "prefer", "authorization"} & set(server.only.headers)


def test_a_rehearsal_sends_a_name_or_a_document():
    server = Server(httpx2.Response(200, json={"scenarios": []}), httpx2.Response(200, json={"scenarios": []}))
    client = server.client()
    assert client.rehearse("trip", {"city": "Rome"}, outputs={"pay": 1}, limit=5) == {"scenarios": []}
    client.rehearse({"do": []})
    assert [(request.url.path, json.loads(request.content)) for request in server.requests] == [
        ("/v1/rehearsals", {"definition": "trip", "input": {"city": "Rome"}, "outputs": {"pay": 1}, "limit": 5}),
        ("/v1/rehearsals", {"definition": {"do": []}}),
    ]


def test_a_status_of_the_past_is_asked_for_by_version_or_instant():
    server = Server(status("running"), status("running"))
    client = server.client()
    client.get("o_1", at_version=7)
    client.get("o_1", at="2026-01-01T00:00:00Z")
    assert [dict(request.url.params) for request in server.requests] == [
        {"at_version": "7"},
        {"at": "2026-01-01T00:00:00Z"},
    ]


def test_wait_polls_from_version_to_version_until_the_end():
    server = Server(status("running", 3), status("compensating", 5), status("compensated", 9))
    assert server.client(clock=lambda: 0.0).wait("o_1", timeout_s=20)["status"] == "compensated"
    assert [dict(request.url.params) for request in server.requests] == [
        {},
        {"wait": "20", "after": "3"},
        {"wait": "20", "after": "5"},
    ]


def test_wait_never_asks_for_more_than_the_server_holds():
    server = Server(status("running"), status("completed"))
    server.client(clock=lambda: 0.0).wait("o_1", timeout_s=3600)
    assert server.requests[1].url.params["wait"] == "60"


def test_wait_gives_up_when_its_time_is_over():
    ticks = iter([0.0, 1.0, 31.0])
    server = Server(status("running"), status("suspended"))
    with pytest.raises(TimeoutError, match="o_1 is still suspended after 30 s"):
        server.client(clock=lambda: next(ticks)).wait("o_1", timeout_s=30)


def test_a_history_is_read_page_by_page():
    server = Server(
        httpx2.Response(200, json={"items": [{"version": 3}, {"version": 4}], "next_after": 4}),
        httpx2.Response(200, json={"items": [{"version": 5}], "next_after": None}),
    )
    events = server.client().history("o_1", after=2, limit=2)
    assert [event["version"] for event in events] == [3, 4, 5]
    assert [request.url.params["after"] for request in server.requests] == ["2", "4"]


@pytest.mark.parametrize("command", ["cancel", "terminate", "suspend", "resume"])
def test_a_command_is_posted_with_its_reason(command):
    server = Server(httpx2.Response(202, json={"id": "o_1", "status": "running", "version": 2}))
    assert getattr(server.client(), command)("o_1", "because")["version"] == 2
    assert (server.only.method, server.only.url.path) == ("POST", f"/v1/orchestrations/o_1/{command}")
    assert server.body() == {"reason": "because"}


def test_a_cancel_past_the_pivot_says_so():
    server = Server(httpx2.Response(202, json={}))
    server.client().cancel("o_1", override_pivot=True)
    assert server.body() == {"override_pivot": True}


def test_an_id_cannot_leave_its_place_in_the_path():
    server = Server(status("running"))
    server.client().get("../definitions?x=1")
    assert server.only.url.raw_path == b"/v1/orchestrations/..%2Fdefinitions%3Fx%3D1"


def test_an_event_is_sent_as_a_structured_cloudevent():
    server = Server(httpx2.Response(202, json={"outcome": "matched", "version": 4}))
    answer = server.client().send_event("o_1", {"id": "1", "source": "/s", "type": "paid", "data": {"a": 1}})
    assert answer == {"outcome": "matched", "version": 4}
    assert server.only.headers["Content-Type"] == "application/cloudevents+json"
    assert server.body() == {"specversion": "1.0", "id": "1", "source": "/s", "type": "paid", "data": {"a": 1}}


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        ("document:\n  dsl: 1.0.0\n", "application/yaml"),
        (b'{"document": {}}', "application/json"),
        ({"document": {}}, "application/json"),
    ],
)
def test_a_definition_is_sent_as_what_it_is(document, media_type):
    server = Server(httpx2.Response(201, json={"name": "trip"}))
    assert server.client().deploy(document)["name"] == "trip"
    assert server.only.url.path == "/v1/definitions"
    assert server.only.headers["Content-Type"] == media_type


def test_a_problem_comes_with_its_members():
    members = {
        "type": "/problems/business-key-in-use",
        "title": "Business key in use",
        "status": 409,
        "detail": "taken",
        "retryable": False,
        "orchestration": "o_2",
        "errors": [{"pointer": "/business_key", "detail": "taken", "code": "in-use"}],
    }
    with pytest.raises(RetraceProblem) as caught:
        Server(httpx2.Response(409, json=members)).client().start("trip")
    problem = caught.value
    assert (problem.slug, problem.status, problem.detail, problem.retryable) == (
        "business-key-in-use", 409, "taken", False,
    )  # fmt: skip
    assert problem.members["orchestration"] == "o_2"
    assert problem.errors[0]["pointer"] == "/business_key"
    assert str(problem) == "409 Business key in use: taken"


@pytest.mark.parametrize("content", [b"<html>Bad Gateway</html>", b"", b'"text"'])
def test_an_answer_that_is_no_problem_document_still_becomes_one(content):
    answer = httpx2.Response(502, content=content, headers={"Retry-After": "7"})
    with pytest.raises(RetraceProblem, match="502 Bad Gateway") as caught:
        Server(answer).client().get("o_1")
    assert caught.value.type == "about:blank"
    assert caught.value.retry_after_s == 7


def test_a_lost_connection_stays_a_lost_connection():
    def lost(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadError("gone", request=request)

    with Client("http://service.test", transport=httpx2.MockTransport(lost)) as client, pytest.raises(httpx2.ReadError):
        client.get("o_1")
