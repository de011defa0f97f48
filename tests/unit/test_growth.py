"""A life costs the same per event however long it is: counted in lines of the core that are run, not in time."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import domain
from application.live import agenda_of, subscribers_in
from domain import commands as c
from domain import events as e
from domain.decision import AtWorkers, Limits
from domain.errors import Fault
from domain.orchestration import opened, step
from domain.plan import Plan
from domain.state import State
from tests.support.pure_world import START, plan_of

CORE = str(Path(domain.__file__).parent)
UNDONE = {"call": "f", "compensate": {"do": [{"undo": {"call": "f"}}]}}
REFUSED = {"refused": {"call": "refuse"}}


def fork(task: Any, count: int) -> Any:
    return {"fork": {"branches": [{f"b{n}": task} for n in range(count)]}}


def loop(task: Any, count: int) -> Any:
    return {"for": {"in": "$workflow.input"}, "do": [{"t": task}]}


def one_fails(task: Any, count: int) -> Any:
    """While all the others are in flight."""
    wide = fork({"do": [{"inner": task}]}, count)
    wide["fork"]["branches"].insert(0, {"b": REFUSED["refused"]})
    return wide


def one_wins(task: Any, count: int) -> Any:
    wide = fork(task, count)
    wide["fork"]["compete"] = True
    return wide


def side_by_side(task: Any, count: int) -> Any:
    return {**loop(task, count), "parallel": {}}


def a_few_at_once(task: Any, count: int) -> Any:
    return {**loop({"do": [{"inner": task}]}, count), "parallel": {"limit": 4}}


def half_of_them(task: Any, count: int) -> Any:
    """The others are cut off and undone."""
    return {**loop(task, count), "parallel": {"completion": {"at_least": count // 2}}}


def all_fail(task: Any, count: int) -> Any:
    """Each after it has done something, which is undone in the end."""
    block = {"do": [{"a": task}, REFUSED]}
    return {**loop(block, count), "parallel": {"tolerate": "all"}}


def caught(task: Any, count: int) -> Any:
    block = {"try": [{"a": task}, REFUSED], "catch": {"compensate": True}}
    return loop(block, count)


def life(plan: Plan, count: int) -> tuple[int, int]:
    """(events, lines of the core that were run)."""
    state, events, lines = State(), 0, 0
    pending: list[c.Command] = [c.Start(at=START, seed=b"0", id="o_x", input=[1] * count)]

    def traced(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return traced if frame.f_code.co_filename.startswith(CORE) else None

    before = sys.gettrace()
    sys.settrace(traced)
    try:
        while pending:
            decision = opened(plan, state, pending.pop(0), Limits(portion=20))
            questions = step(decision)
            while questions:
                assert all(isinstance(each.ask, AtWorkers) for each in questions)
                questions = step(decision, [False] * len(questions))
            agenda_of(state)
            subscribers_in(state)
            events += len(decision.events)
            if any(isinstance(event, e.BranchesDeferred) for event in decision.events):
                pending.append(c.FireTimers(at=START, seed=b"%d" % events))
            pending += [_answer(event) for event in decision.events if isinstance(event, e.AttemptStarted)]
    finally:
        sys.settrace(before)
    assert state.final
    return events, lines


def _answer(event: e.AttemptStarted) -> c.ReportResult:
    refused = event.function == "refuse"
    fault = Fault("https://test.invalid/no", 409, "No") if refused else None
    outcome: Any = "refused" if refused else "completed"
    return c.ReportResult(at=START, seed=event.key.encode(), run=event.run, number=1, outcome=outcome, fault=fault)


SHAPES = [loop, fork, one_fails, one_wins, caught, side_by_side, a_few_at_once, half_of_them, all_fail]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_four_times_as_long_costs_four_times_as_much(shape, fails):
    def per_event(count: int) -> float:
        tasks = [{"t": shape(UNDONE, count)}, *([REFUSED] if fails else [])]
        events, lines = life(plan_of(tasks), count)
        return lines / events

    assert per_event(160) < per_event(40) * 1.1
