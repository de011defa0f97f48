"""The two life cycles: every pair of state and trigger, and that nothing illegal can be recorded or folded."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from domain import commands as c
from domain import events as e
from domain.decision import Decision, Limits
from domain.evolve import evolve
from domain.lifecycle import (
    INITIAL,
    ORCHESTRATION,
    ORCHESTRATION_FINAL,
    RUN,
    RUN_OPEN,
    IllegalTransitionError,
    Table,
    fire_orchestration,
    fire_run,
)
from domain.state import State
from tests.support.pure_world import World, done, plan_of

AT = datetime(2026, 1, 1, tzinfo=UTC)

ALLOWED_ORCHESTRATION = {
    "pending": {"start": "running"},
    "running": {
        "suspend": "suspended",
        "roll_back": "compensating",
        "complete": "completed",
        "terminate": "terminated",
    },
    "suspended": {
        "resume": "running",
        "resume_rollback": "compensating",
        "terminate": "terminated",
    },
    "compensating": {
        "suspend": "suspended",
        "fault": "faulted",
        "compensate": "compensated",
        "cancel": "cancelled",
        "terminate": "terminated",
    },
    "completed": {"roll_back": "compensating"},
    "faulted": {},
    "compensated": {},
    "cancelled": {},
    "terminated": {},
}
"""Written a second time, by hand, so that a change of the tables is a decision."""

ALLOWED_RUN = {
    "pending": {"schedule": "scheduled", "skip": "skipped"},
    "scheduled": {
        "start": "running",
        "wait": "waiting",
        "complete": "completed",
        "fail": "failed",
        "doubt": "uncertain",
        "cancel": "cancelled",
    },
    "running": {
        "acknowledge": "waiting",
        "retry": "retrying",
        "complete": "completed",
        "fail": "failed",
        "doubt": "uncertain",
        "cancel": "cancelled",
    },
    "waiting": {
        "retry": "retrying",
        "complete": "completed",
        "fail": "failed",
        "doubt": "uncertain",
        "cancel": "cancelled",
    },
    "retrying": {
        "start": "running",
        "complete": "completed",
        "fail": "failed",
        "doubt": "uncertain",
        "cancel": "cancelled",
    },
    "completed": {"undo": "compensating"},
    "failed": {"schedule": "scheduled", "complete": "completed", "undo": "compensating"},
    "uncertain": {"schedule": "scheduled", "complete": "completed", "fail": "failed", "undo": "compensating"},
    "cancelled": {"schedule": "scheduled", "undo": "compensating"},
    "skipped": {},
    "compensating": {"undone": "compensated", "undo_failed": "compensation_failed"},
    "compensated": {},
    "compensation_failed": {"undo": "compensating", "undone": "compensated"},
}


class Subject:
    def __init__(self, status: str) -> None:
        self.status = status


def every_pair(allowed: dict[str, dict[str, str]], table: Table) -> list[tuple[str, str, str | None]]:
    triggers = dict.fromkeys(trigger for trigger, _, _ in table)
    return [(state, trigger, moves.get(trigger)) for state, moves in allowed.items() for trigger in triggers]


@pytest.mark.parametrize(("state", "trigger", "target"), every_pair(ALLOWED_ORCHESTRATION, ORCHESTRATION))
def test_every_pair_of_the_orchestration(state: str, trigger: str, target: str | None) -> None:
    _check(fire_orchestration[trigger], state, target)


@pytest.mark.parametrize(("state", "trigger", "target"), every_pair(ALLOWED_RUN, RUN))
def test_every_pair_of_a_run(state: str, trigger: str, target: str | None) -> None:
    _check(fire_run[trigger], state, target)


def _check(fire: Any, state: str, target: str | None) -> None:
    subject = Subject(state)
    if target is None:
        with pytest.raises(IllegalTransitionError):
            fire(subject)
        assert subject.status == state
    else:
        fire(subject)
        assert subject.status == target


@pytest.mark.parametrize(("allowed", "table"), [(ALLOWED_ORCHESTRATION, ORCHESTRATION), (ALLOWED_RUN, RUN)])
def test_the_pairs_name_every_state_and_trigger(allowed: dict[str, dict[str, str]], table: Table) -> None:
    assert set(allowed) == {state for _, sources, target in table for state in (*sources, target)}
    assert {trigger for moves in allowed.values() for trigger in moves} == {trigger for trigger, _, _ in table}


def test_only_a_parents_undo_leads_out_of_a_final_state() -> None:
    ways_out = {(state, t) for state in ORCHESTRATION_FINAL for t in ALLOWED_ORCHESTRATION[state]}
    assert ways_out == {("completed", "roll_back")}


def test_open_runs_are_those_that_can_complete_or_be_dropped() -> None:
    assert {state for state, moves in ALLOWED_RUN.items() if "cancel" in moves} == RUN_OPEN
    assert INITIAL not in RUN_OPEN


# Neither recorded nor folded ------------------------------------------------------------------------------------------

ILLEGAL_AT_THE_END = [
    e.OrchestrationSuspended(at=AT),
    e.OrchestrationResumed(at=AT),
    e.OrchestrationCompleted(at=AT, output=1),
    e.OrchestrationFaulted(at=AT),
    e.OrchestrationCompensated(at=AT),
    e.OrchestrationCancelled(at=AT),
    e.OrchestrationTerminated(at=AT),
    e.TaskCompleted(at=AT, run="/do/0/a#1"),
    e.TaskCancelled(at=AT, run="/do/0/a#1"),
    e.UndoCompleted(at=AT, run="/do/1/b#1"),
    e.AttemptStarted(at=AT, run="/do/0/a#1", number=2, key="k"),
    e.OrchestrationStarted(at=AT, id="x", definition="x", digest="x", input=1),
]


def finished() -> World:
    world = World(
        plan_of([{"a": {"call": "a", "if": "true"}}, {"b": {"set": {"n": 1}, "if": "false"}}]), lambda _: done()
    )
    world.start()
    assert world.root.status == "completed"
    return world


@pytest.mark.parametrize("event", ILLEGAL_AT_THE_END, ids=lambda event: event.topic)
def test_an_illegal_event_cannot_be_folded(event: e.Event) -> None:
    state = finished().root
    version = state.version
    with pytest.raises(IllegalTransitionError):
        evolve(state, event)
    assert state.version == version


@pytest.mark.parametrize("event", ILLEGAL_AT_THE_END, ids=lambda event: event.topic)
def test_an_illegal_event_cannot_be_recorded(event: e.Event) -> None:
    world = finished()
    decision = Decision(world.plan_of["o_root"], world.root, c.AddNote(at=AT, seed=b"", text=""), Limits())
    members = {name: getattr(event, name) for name in event.__struct_fields__ if name not in ("at", "actor", "cause")}
    with pytest.raises(IllegalTransitionError):
        decision.emit(type(event), **members)
    assert decision.events == []


def test_nothing_can_be_folded_before_the_start() -> None:
    with pytest.raises(IllegalTransitionError):
        evolve(State(), e.OrchestrationCompleted(at=AT, output=1))


# The page ---------------------------------------------------------------------------------------------------------------


def generator() -> ModuleType:
    path = Path(__file__).parents[2] / "docs" / "generate_state_machine.py"
    spec = importlib.util.spec_from_file_location("generate_state_machine", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current() -> None:
    module = generator()
    assert module.PAGE.read_text() == module.page(), "run: python docs/generate_state_machine.py"


def test_every_trigger_is_fired_by_some_event() -> None:
    module = generator()
    assert set(module.events_of("orchestration")) == set(fire_orchestration)
    assert set(module.events_of("run")) == set(fire_run)
