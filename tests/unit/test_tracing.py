"""Traces: what is read from a request, what an orchestration and its children have, what a callout sends on."""

from __future__ import annotations

import msgspec
import pytest
from starlette.responses import Response

from adapters.rest.fields import Fields
from adapters.rest.origin import request_id_of, trace_of, with_request_id
from application import tracing
from domain import commands as c
from domain.events import OrchestrationStarted
from tests.support.pure_world import plan_of
from tests.support.scripted import Scripted

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


def fields(*pairs: tuple[str, str]) -> Fields:
    return Fields({"type": "http", "headers": [(name.encode(), value.encode()) for name, value in pairs]})


def test_the_trace_of_a_request():
    assert trace_of(fields(("traceparent", f"00-{TRACE}-{PARENT}-01"))) == TRACE
    assert trace_of(fields(("traceparent", f" 00-{TRACE}-{PARENT}-00 "))) == TRACE
    assert trace_of(fields(("traceparent", f"01-{TRACE}-{PARENT}-01-more"))) == TRACE, "of a later version"
    assert trace_of(fields()) is None


@pytest.mark.parametrize(
    "given",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-0g",
    ],
)
def test_what_is_no_traceparent_is_passed_over(given):
    assert trace_of(fields(("traceparent", given))) is None


def test_two_are_none():
    assert trace_of(fields(*[("traceparent", f"00-{TRACE}-{PARENT}-01")] * 2)) is None
    assert request_id_of(fields(("x-request-id", "a"), ("x-request-id", "b"))) is None


@pytest.mark.parametrize(
    ("given", "is_one"), [("a", True), ("!~" * 64, True), ("", False), ("a" * 129, False), ("a b", False)]
)
def test_the_id_of_a_request_is_said_back_if_it_is_one(given, is_one):
    headers = fields(("x-request-id", given))
    assert request_id_of(headers) == (given if is_one else None)
    answer = with_request_id(Response(), headers)
    assert answer.headers.get("X-Request-Id") == (given if is_one else None)


def family(trace: str | None) -> Scripted:
    child = {"run": {"workflow": {"namespace": "test", "name": "child", "version": "1.0.0"}}}
    small = msgspec.structs.replace(plan_of([{"a": {"call": "a"}}]), name="child", digest="sha256:child")
    world = Scripted({"x": plan_of([{"c": child}]), "child": small}, {"a": None})
    world.start(name="x", **({} if trace is None else {"trace": trace}))
    return world


@pytest.mark.parametrize("trace", [None, TRACE])
def test_children_are_in_the_trace_of_the_topmost(trace):
    world = family(trace)
    assert len(world.states) == 2
    traces = {tracing.trace_of(state) for state in world.states.values()}
    assert len(traces) == 1
    assert trace in (None, *traces)
    for history in world.history.values():
        first = history[0]
        assert isinstance(first, OrchestrationStarted)
        assert tracing.trace_of_start(first) in traces
    assert all(len(each) == 32 and int(each, 16) for each in traces)


def test_what_a_request_brings_stands_on_what_it_led_to():
    world = Scripted([{"a": {"call": "a"}}], {"a": None})
    world.start_it()
    world.do("o_root", c.Cancel, trace=TRACE, request_id="r-1")
    bases = [event.basis for event in world.history["o_root"] if event.basis is not None]
    assert [(each.trace, each.request_id) for each in bases] == [(None, None), (TRACE, "r-1")]


def test_each_attempt_has_a_span_of_its_own():
    sent = [tracing.traceparent(TRACE, key, attempt) for key in ("k", "l") for attempt in (1, 2)]
    assert len(set(sent)) == 4
    for each in sent:
        assert trace_of(fields(("traceparent", each))) == TRACE
    assert tracing.traceparent(TRACE, "k", 1) == sent[0]
