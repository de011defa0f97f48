"""Breakpoints: a small language that can do nothing but look."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.breakpoints import BreakpointError, read_breakpoint

EVENT = {
    "version": 10,
    "type": "task.failed",
    "at": "2026-01-01T00:00:00Z",
    "actor": None,
    "task": "/do/2/bookFlight",
    "run": 1,
    "attempt": 1,
    "cause": "result",
    "data": {"fault": {"status": 409, "title": "Sold out"}, "effect": "failed", "held": True, "list": ["a", {"b": 1}]},
}


@pytest.mark.parametrize(
    "text",
    [
        "type==task.failed",
        "type == task.failed",
        "type == 'task.failed'",
        'type == "task.failed"',
        "type != task.completed",
        "task == bookFlight",
        "task == /do/2/bookFlight",
        "task in [reserveCar, bookFlight]",
        "task ~ Flight",
        "actor == null",
        "actor != ada",
        "not actor",
        "version == 10",
        "attempt in [1, 2] and run == 1",
        "data.fault.status == 409",
        "data.fault.title == 'Sold out'",
        "data.fault.title ~ Sold",
        "data.held",
        "data.held == true",
        "data.held != 1",
        "data.list.0 == a",
        "data.list.1.b == 1",
        "data.list ~ a",
        "data.fault ~ status",
        "data.nothing.at.all == null",
        "type == x or task == bookFlight",
        "type == task.failed and not (task == x or task == y)",
        "not not data.held",
        "type == x and type == y or cause == result",
    ],
)
def test_what_holds(text):
    assert read_breakpoint(text)(EVENT)


@pytest.mark.parametrize(
    "text",
    [
        "type == task",
        "task == Flight",
        "version == '10'",
        "version == 11",
        "data.held == 1",
        "data.nothing",
        "data.nothing ~ x",
        "data.fault.status.more",
        "cause == result and (type == x or type == y)",
        "data.list.7 == a",
        "attempt in [2, 3]",
    ],
)
def test_what_does_not_hold(text):
    assert not read_breakpoint(text)(EVENT)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "missing"),
        ("type ==", "a value is missing"),
        ("typ == x", "there are version, type"),
        ("type.x == x", "no member"),
        ("__class__ == x", "no member"),
        ("type == x y", "one too many"),
        ("(type == x", "')' is missing"),
        ("type in x", "'[' is missing"),
        ("type in [", "a value is missing"),
        ("type in [a", "']' is missing"),
        ("type == == x", "a value must be"),
        ("type = x", "'=' at character 6 means nothing here"),
        ('type == "x', "means nothing here"),
        ("data.x == len('a')", "one too many"),
        ("not " * 60 + "type", "too deep"),
        ("(" * 1000, "too deep"),
        (r'type == "\q"', "no text"),
    ],
)
def test_what_cannot_be_read_is_told(text, says):
    with pytest.raises(BreakpointError, match=re.escape(says)):
        read_breakpoint(text)


WORDS = [
    "type",
    "data.fault.status",
    "task.failed",
    "==",
    "!=",
    "~",
    "in",
    "and",
    "or",
    "not",
    "(",
    ")",
    "[",
    "]",
    ",",
    "1",
    "'x",
]


@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.text(max_size=40))
def test_nothing_else_ever_happens(text):
    try:
        found = read_breakpoint(text)
    except BreakpointError:
        return
    assert found(EVENT) in (True, False)
    assert found({"data": {}}) in (True, False)
