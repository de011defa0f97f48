"""Whatever the definition: its rehearsal ends, and each scenario is what the domain does in a world of its own when
participants, events and the clock behave as the script says.

The second world is driven apart from the rehearsal (`tests.support.pure_world`, which stores and folds every event twice);
the two histories must be the same, event by event.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from datetime import datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.expressions.inline import InlineJq
from adapters.expressions.schemas import JsonSchemas
from application.rehearsal_course import Course
from application.rehearsal_report import as_json
from application.rehearsal_script import Mishap, Place, Script, fault_of
from application.rehearsal_stage import Stage
from application.rehearsing import Found, Request, rehearse
from domain import commands as c
from domain.decision import ChildChoice
from domain.plan import Listen, Plan
from domain.state import Run, State
from tests.property.test_any_orchestration import plans
from tests.simulation.programs import Author
from tests.support.pure_world import Attempt, Result, World, compile_yaml, done

ANSWER = {"n": 1}


def rehearsed(plan: Plan, children: dict[str, Plan]) -> Found:
    """With everything given, so that nothing has to be assumed."""
    outputs = {pointer: ANSWER for each in (plan, *children.values()) for pointer in each.nodes}
    request = Request(plan=plan, children=children, outputs=outputs, input={}, most_scenarios=60)
    return asyncio.run(rehearse(request, InlineJq(), JsonSchemas()))


class SecondWorld(World):
    """Plays one script. Orchestrations are named by the order in which they begin."""

    def __init__(self, stage: Stage, script: Script, names: list[str]) -> None:
        super().__init__({}, self._answers)
        self.limits = stage.limits
        self.stage = stage
        self.script = script
        self.names = names

    def play(self, input_: Any) -> None:
        self.plans = {"x": self.stage.plan}
        self.start(input_, id_=self.names[0])
        for _ in range(50_000):
            if not (self._event() or self._time()):
                return
        raise AssertionError("never comes to rest")

    def _decide(self, id_: str, command: c.Command) -> Any:
        state = self.states.get(id_) or State()
        plan = self.plan_of[id_]
        choices = [
            choice
            for choice in self.script.choices
            if choice.digest == plan.digest and (choice.kind == "undo_if" or choice.pointer not in state.counts)
        ]
        untouched = plan
        if choices:
            nodes = {each.pointer: self.stage.plan_of(plan.digest, (each,)).nodes[each.pointer] for each in choices}
            self.plan_of[id_] = msgspec.structs.replace(plan, nodes=plan.nodes | nodes)
        try:
            return super()._decide(id_, command)
        finally:
            self.plan_of[id_] = untouched

    def _fact(self, question: Any) -> Any:
        if isinstance(question.ask, ChildChoice):
            plan = self.stage.child(question.ask.namespace, question.ask.name, question.ask.version)
            self.plans[plan.digest] = plan
            self.plans[question.ask.name] = plan
            return super()._fact(question)
        return super()._fact(question)

    def _mishap(self, id_: str, run: str) -> Mishap | None:
        number = list(self.states).index(id_)
        return self.script.mishap(Place(self.names[number], run)) if number < len(self.names) else None

    def _awaited(self, attempt: Attempt) -> bool:
        run = self.states[attempt.orchestration].runs[attempt.run]
        return run.open and run.flying and run.attempts == attempt.number

    def _answers(self, attempt: Attempt) -> Result | None:
        mishap = self._mishap(attempt.orchestration, attempt.run)
        if not self._awaited(attempt) or (mishap is not None and mishap.outcome == "timed_out"):
            return None
        if mishap is not None:
            return self._result(attempt, mishap)
        urgent = [self._mishap(a.orchestration, a.run) for a in self.flying if self._awaited(a)]
        return None if any(m is not None and m.outcome != "timed_out" for m in urgent) else done(ANSWER)

    def _result(self, attempt: Attempt, mishap: Mishap) -> Result:
        run = self.states[attempt.orchestration].runs[attempt.run]
        assert run.request is not None
        kind = run.request.callout
        name = attempt.function if kind == "function" else run.name
        outcome: Any = "refused" if mishap.outcome == "refused" else "uncertain"
        return Result(outcome, fault=fault_of(mishap, kind, name))

    def _event(self) -> bool:
        for id_, state in self.states.items():
            for run in state.attended():
                waits = run.open and run.listening is not None and not run.listening.done and not state.final
                if waits and self._mishap(id_, run.id) is None:
                    before = len(self.history[id_])
                    self.receive(self._type(id_, run), ANSWER, id_=id_)
                    if len(self.history[id_]) > before:
                        return True
        return False

    def _type(self, id_: str, run: Run) -> str:
        work = self.plan_of[id_].nodes[run.pointer].work
        assert isinstance(work, Listen)
        assert run.listening is not None
        open_ = [f for n, f in enumerate(work.to.filters) if n not in run.listening.matched or work.to.mode != "all"]
        return str(open_[0].event_type)

    def _time(self) -> bool:
        silent: list[tuple[datetime, Attempt]] = []
        for attempt in self.flying:
            request = self.states[attempt.orchestration].runs[attempt.run].request
            if self._awaited(attempt) and request is not None:
                silent.append((request.at + timedelta(seconds=request.timeout_s), attempt))
        due = [(when, id_) for id_, state in self.states.items() if (when := state.next_due()) is not None]
        first = min([when for when, _ in silent] + [when for when, _ in due], default=None)
        if first is None:
            return False
        self.now = max(self.now, first)
        for when, attempt in silent:
            if when == first:
                mishap = self._mishap(attempt.orchestration, attempt.run)
                assert mishap is not None
                self.reply(attempt, self._result(attempt, mishap))
                return True
        self.do(next(id_ for when, id_ in due if when == first), c.FireTimers)
        return True


def told(history: list[Any]) -> list[tuple[Any, ...]]:
    """What happened, without ids and instants."""
    names = ("run", "scope", "effect", "held", "number", "kind", "slot", "plan", "left_behind", "to", "status")
    return [(event.topic, *(getattr(event, name, None) for name in names)) for event in history]


def agrees(course: Course, input_: Any) -> None:
    world = SecondWorld(course.stage, course.script, list(course.states))
    world.play(input_)
    assert len(world.history) == len(course.states)
    for mine, theirs in zip(course.states, world.history, strict=True):
        assert told([event for id_, event in course.log if id_ == mine]) == told(world.history[theirs])


@settings(max_examples=int(os.environ.get("REHEARSALS", "60")), deadline=None)
@given(st.integers(0, 1 << 32))
def test_every_scenario_agrees_with_the_domain_in_another_world(seed):
    chance = random.Random(seed)
    author = Author(chance, ("child",))
    child = _plan(Author(chance).definition("child"))
    plan = _plan(author.definition("parent"))
    found = rehearsed(plan, {child.reference: child})
    as_json(found)
    assert found.courses
    for course in found.courses:
        if course.rest != "endless":
            agrees(course, found.input)


@settings(max_examples=int(os.environ.get("REHEARSALS", "60")), deadline=None)
@given(plans())
def test_every_scenario_agrees_also_where_expressions_fail_and_undos_are_composites(drawn):
    found = rehearsed(drawn["x"], {drawn["child"].reference: drawn["child"]})
    as_json(found)
    for course in found.courses:
        if course.rest != "endless":
            agrees(course, found.input)


@settings(max_examples=int(os.environ.get("REHEARSALS", "60")), deadline=None)
@given(plans())
def test_with_nothing_given_a_rehearsal_ends_and_its_report_is_json(drawn):
    request = Request(plan=drawn["x"], most_scenarios=60)
    report = as_json(asyncio.run(rehearse(request, InlineJq(), JsonSchemas())))
    assert json.loads(json.dumps(report)) == report


def _plan(document: dict[str, Any]) -> Plan:
    return compile_yaml(msgspec.json.encode(document).decode())
