"""What every implementation of the port `Callouts` promises, for every kind of callout.

A *participant* behaves in one of a few ways and remembers the keys that it was called with; each kind of callout
reaches the same participant by its own road. An implementation joins by a participant of its own in `participant`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.callouts.dispatch import GRACE_S, CalloutDispatch
from adapters.callouts.functions import FunctionCallouts
from adapters.callouts.http import HttpCallouts
from adapters.callouts.network import NetworkPolicy, open_session
from adapters.callouts.openapi import OpenApiCallouts
from adapters.callouts.secrets import EnvironmentSecrets
from application.ports import Answered, Callout, CalloutResult, Callouts, Declined, Doubtful, Unusable
from domain.errors import SPEC
from retrace.functions import Function, Refused, TaskContext
from tests.integration.participants import raw_server, read_request, reset

pytestmark = pytest.mark.anyio

POLICY = NetworkPolicy(allow_loopback=True)
DOCUMENT = b'{"openapi":"3.1.0","paths":{"/act":{"post":{"operationId":"act"}}}}'


def dispatch(session, functions=None, policy=POLICY) -> CalloutDispatch:
    http = HttpCallouts(session, EnvironmentSecrets({}), max_answer_bytes=100_000)
    return CalloutDispatch(http, OpenApiCallouts(http, policy), FunctionCallouts(functions or {}))


class Participant:
    """Acts as `behaviour` says: answer, refuse, fail, hang, break, babble."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.behaviour = "answer"
        self.keys: list[tuple[str, str | None]] = []
        self.reached = asyncio.Event()
        self.url = ""

    def callout(self, timeout_s: float = 5.0, compensates: str | None = None) -> Callout:
        arguments: Any = {}
        if self.kind == "http":
            arguments = {"method": "post", "endpoint": self.url + "/act", "body": {}}
        elif self.kind == "openapi":
            arguments = {"document": {"endpoint": self.url + "/openapi.json"}, "operationId": "act"}
        kind: Literal["http", "openapi", "function"] = "function"
        if self.kind in ("http", "openapi"):
            kind = "http" if self.kind == "http" else "openapi"
        function = "act" if kind == "function" else kind
        return Callout(kind, function, arguments, "key-7", 1, timeout_s, "public-id", "/do/0/act", compensates)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_request(reader)
        if head.startswith(b"GET /openapi.json"):
            writer.write(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(DOCUMENT) + DOCUMENT
            )
            return await writer.drain()
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        self.keys.append((headers["Idempotency-Key"], headers.get("Retrace-Compensates")))
        self.reached.set()
        if self.behaviour == "hang":
            await reader.read()
        if self.behaviour == "break":
            return reset(writer)
        status = {"refuse": b"409 Conflict", "fail": b"503 Gone"}.get(self.behaviour, b"200 OK")
        body = b"<<>>" if self.behaviour == "babble" else b'{"ok":true}'
        head_out = b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        writer.write(head_out % (status, len(body)) + body)
        return await writer.drain()

    async def act(self, context: TaskContext) -> Any:
        self.keys.append((context.idempotency_key, context.compensates))
        self.reached.set()
        if self.behaviour == "hang":
            await asyncio.Event().wait()
        return self.result()

    def result(self) -> Any:
        if self.behaviour == "refuse":
            raise Refused("taken")
        if self.behaviour in ("fail", "break"):
            raise OSError("broken")
        return float("nan") if self.behaviour == "babble" else {"ok": True}


@pytest.fixture(params=["http", "openapi", "function", "function-thread"])
async def participant(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Participant, Callouts]]:
    acting = Participant(request.param)
    loop, released = asyncio.get_running_loop(), threading.Event()

    def act_in_thread(context: TaskContext) -> Any:
        acting.keys.append((context.idempotency_key, context.compensates))
        loop.call_soon_threadsafe(acting.reached.set)
        if acting.behaviour == "hang":
            released.wait(30)
        return acting.result()

    async with AsyncExitStack() as stack:
        if acting.kind in ("http", "openapi"):
            acting.url = await stack.enter_async_context(raw_server(acting.serve))
        target = act_in_thread if acting.kind == "function-thread" else acting.act
        function = Function("act", target, acting.kind != "function-thread", "test")
        callouts = dispatch(open_session(POLICY), {"act": function})
        stack.push_async_callback(callouts.close)
        stack.callback(released.set)
        yield acting, callouts


# Outcomes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [("answer", Answered), ("refuse", Declined), ("fail", Doubtful), ("break", Doubtful), ("babble", Unusable)],
)
async def test_the_class_of_the_outcome_tells_what_is_known_of_the_effect(participant, behaviour, outcome):
    acting, callouts = participant
    acting.behaviour = behaviour
    result = await callouts.send(acting.callout())
    assert type(result) is outcome
    assert len(acting.keys) == 1
    msgspec.msgpack.encode(result)


async def test_an_answer_is_the_output(participant):
    acting, callouts = participant
    assert await callouts.send(acting.callout()) == Answered({"ok": True})


async def test_no_answer_in_time_is_an_uncertain_timeout_and_comes_within_a_second(participant):
    acting, callouts = participant
    acting.behaviour = "hang"
    started = asyncio.get_running_loop().time()
    result = await callouts.send(acting.callout(timeout_s=0.3))
    assert asyncio.get_running_loop().time() - started < 1.3
    assert isinstance(result, Doubtful)
    assert (result.fault.type, result.fault.status) == (SPEC + "timeout", 408)


# Keys ------------------------------------------------------------------------------------------------------------


async def test_the_idempotency_key_arrives_and_is_the_same_when_sent_again(participant):
    acting, callouts = participant
    for _ in range(2):
        await callouts.send(acting.callout())
    assert acting.keys == [("key-7", None)] * 2


async def test_an_undo_names_what_it_undoes(participant):
    acting, callouts = participant
    await callouts.send(acting.callout(compensates="key-3"))
    assert acting.keys == [("key-7", "key-3")]


# Never raises ----------------------------------------------------------------------------------------------------


async def test_a_cancellation_from_outside_goes_through(participant):
    acting, callouts = participant
    acting.behaviour = "hang"
    sending = asyncio.create_task(callouts.send(acting.callout()))
    await acting.reached.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
HTTP = st.fixed_dictionaries(
    {"method": st.just("post") | JSON, "endpoint": st.just("http://127.0.0.1:1/{a}") | st.fixed_dictionaries(
        {"uri": st.just("http://127.0.0.1:1/"), "authentication": JSON | st.dictionaries(
            st.sampled_from(["basic", "bearer", "digest", "oauth2", "oidc", "use"]), JSON | st.fixed_dictionaries(
                {"authority": st.just("http://127.0.0.1:1/"), "grant": st.just("client_credentials")},
                optional={"client": JSON, "scopes": JSON, "audiences": JSON, "endpoints": JSON, "request": JSON,
                          "issuers": JSON}), max_size=2)})},
    optional=dict.fromkeys(("headers", "query", "body", "output", "redirect", "$input"), JSON),
)  # fmt: skip
OPENAPI = st.fixed_dictionaries(
    {"document": JSON | st.just({"endpoint": "http://127.0.0.1:1/"})},
    optional=dict.fromkeys(("operationId", "parameters", "authentication", "output", "$input"), JSON),
)


@given(kind=st.sampled_from(["http", "openapi", "function"]), arguments=JSON | HTTP | OPENAPI)
def test_no_arguments_make_it_raise_or_reach_a_participant_that_is_not_there(kind, arguments):
    async def act(n: int) -> int:
        return n

    async def send() -> CalloutResult:
        callouts = dispatch(open_session(NetworkPolicy()), {"act": Function("act", act, True, "test")}, NetworkPolicy())
        function = "act" if kind == "function" else kind
        try:
            return await callouts.send(Callout(kind, function, arguments, "k", 1, 2.0, "o", "/do/0/act"))
        finally:
            await callouts.close()

    result = asyncio.run(send())
    assert isinstance(result, Declined | Answered if kind == "function" else Declined), result


async def test_what_nobody_foresaw_is_uncertain(participant, monkeypatch):
    acting, callouts = participant

    async def broken(_: Callout) -> CalloutResult:
        raise LookupError("a defect")

    monkeypatch.setitem(callouts._senders, acting.callout().kind, broken)
    result = await callouts.send(acting.callout())
    assert isinstance(result, Doubtful)
    assert result.fault.type == SPEC + "runtime"
    assert "a defect" not in (result.fault.detail or "")


async def test_what_ignores_its_timeout_is_cut_after_the_grace(participant, monkeypatch):
    acting, callouts = participant

    async def endless(_: Callout) -> CalloutResult:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setitem(callouts._senders, acting.callout().kind, endless)
    started = asyncio.get_running_loop().time()
    assert isinstance(await callouts.send(acting.callout(timeout_s=0.05)), Doubtful)
    assert asyncio.get_running_loop().time() - started < 0.05 + GRACE_S + 0.2


# Knows -----------------------------------------------------------------------------------------------------------


async def test_knows_what_can_be_called(participant):
    _, callouts = participant
    assert callouts.knows("act")
    assert not callouts.knows("nobody")
