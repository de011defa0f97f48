"""What-if against what really happens: the same facts give the same path, other facts the path of a world that has them.

Definitions and stories are those of the property tests of every orchestration.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from application.what_if_record import Record
from application.what_if_result import brief, result
from domain import events as e
from domain.evolve import evolve
from domain.plan import Plan
from domain.redeciding import bare
from domain.state import State
from tests.property.test_any_orchestration import OUTCOMES, CarefulWorld, bring_to_an_end, moves, plans, play, tasks
from tests.support.pure_world import Attempt, Result, World, done, doubt, plan_of, refused
from tests.support.what_if import Change, walked

EXAMPLES = int(os.environ.get("STORIES", "200"))
CHANGED = {"completed": done({"n": 7}), "refused": refused(), "uncertain": doubt()}
Name = tuple[str, int]


@settings(max_examples=EXAMPLES)
@given(plans(), st.lists(moves, max_size=25), st.booleans())
def test_nothing_changed_is_the_same_path(
    plans: dict[str, Plan], story: list[tuple[str, int, Any]], to_the_end: bool
) -> None:
    world = CarefulWorld(plans)
    world.start(name="x")
    for move in story:
        play(world, move)
    if to_the_end:
        bring_to_an_end(world)
    for id_, state in world.states.items():
        again = msgspec.structs.replace(world.plan_of[id_], digest="sha256:again")
        for plan in (world.plan_of[id_], again):
            course = walked(world, plan, id_=id_)
            told = brief(course)
            assert (told["outcome"], told["status"]) == ("same", state.status), told
            msgspec.json.encode(result(course))


@settings(max_examples=EXAMPLES // 2)
@given(plans(), plans(), st.lists(moves, max_size=15), st.booleans(), st.sampled_from(sorted(CHANGED)))
def test_whatever_the_other_definition_it_ends_with_a_verdict(
    plans: dict[str, Plan], others: dict[str, Plan], story: list[tuple[str, int, Any]], assume: bool, outcome: Any
) -> None:
    """Nothing that two definitions have to do with each other; still every course is one that the domain allows."""
    world = CarefulWorld(plans)
    world.start(name="x")
    for move in story:
        play(world, move)
    other = msgspec.structs.replace(others["x"], digest="sha256:other")
    assumed = {pointer: {"n": 1} for pointer in other.nodes} if assume else {}
    changes = (Change(task="t0", outcome=outcome, output={"n": 2}),)
    for supposed in ({"assume": assumed}, {"assume": assumed, "changes": changes}, {"input": {"n": 5}}):
        course = walked(world, other, **supposed)
        assert course.broken is None or "goes on and on" in course.broken, course.broken
        told = msgspec.json.decode(msgspec.json.encode(result(course)))
        assert told["outcome"] == brief(course)["outcome"]
        again = State()
        for event in course.events:
            evolve(again, event)
        assert again.status == told["status"]


class Answering(World):
    """Every participant answers at once; what is not in `answers` is done. Time passes in steps, an event comes in between."""

    def __init__(
        self, plan: Plan, answers: dict[Name, Result], outcomes: list[str], change: Change | None = None
    ) -> None:
        self.given = answers
        self._outcomes = outcomes
        self._change = change
        super().__init__(plan, self._answered, settle_timeout_s=20.0)

    def _answered(self, attempt: Attempt) -> Result:
        name = (attempt.run, attempt.number)
        run = self.root.runs[attempt.run]
        undo = self.root.undoing(run.scope) is not None
        change = self._change
        if undo:
            return done()
        if change is not None and (change.task, change.run) == (run.pointer, run.number):
            return CHANGED[change.outcome]
        if self._outcomes:
            self.given.setdefault(name, OUTCOMES[self._outcomes.pop()])
        return self.given.get(name, done({"n": 1}))

    def play(self) -> None:
        self.start()
        for number, seconds in enumerate((1.37, 4.11, 40.93)):
            self.pass_time(seconds)
            if not self.root.final:
                self.receive("go", id=f"go-{number}")
        self.pass_time(1000)


def comparable(events: list[e.Event]) -> list[Any]:
    """All but what is drawn."""
    drawn = {"key": "", "compensates": None}
    return [
        msgspec.structs.replace(bare(each), **(drawn if isinstance(each, e.AttemptStarted) else {})) for each in events
    ]


@settings(max_examples=EXAMPLES)
@given(
    tasks(2, pivots=True, child=False),
    st.booleans(),
    st.lists(st.sampled_from([*["done"] * 3, "refused", "doubt", "unusable", "busy"]), max_size=12),
    st.integers(0, 11),
    st.sampled_from(sorted(CHANGED)),
)
def test_another_outcome_leads_where_it_would_have_led(
    body: list[Any], parallel: bool, outcomes: list[str], which: int, outcome: Any
) -> None:
    top = {"compensation": {"order": "parallel"}} if parallel else {}
    plan = plan_of(body, **top)
    answers: dict[Name, Result] = {}
    world = Answering(plan, answers, list(outcomes))
    world.play()
    runs = [world.root.runs[each.run] for each in world.history["o_root"] if isinstance(each, e.AttemptStarted)]
    runs = [run for run in runs if world.root.undoing(run.scope) is None]
    if not runs:
        return
    run = runs[which % len(runs)]
    given = CHANGED[outcome]
    error = given.fault.as_json() if given.fault else None
    change = Change(task=run.pointer, run=run.number, outcome=outcome, output=given.output, error=error)
    really = Answering(plan, answers, [], change)
    really.play()
    assume = {pointer: {"n": 1} for pointer in plan.nodes}
    course = walked(world, changes=(change,), assume=assume)
    told, happened = brief(course), comparable(really.history["o_root"])
    if received(really) - received(world) or unanswered(world):
        return  # the record ended before all events had come, or does not tell what came too late
    assert told["outcome"] != "cannot_continue", told
    assert comparable(course.events) == happened


def unanswered(world: World) -> bool:
    record = Record(None, world.history["o_root"])
    sent = [each for each in record.history if isinstance(each, e.AttemptStarted)]
    return any(found is not None and not found.told for found in (record.sent(each.run, each.number) for each in sent))


def received(world: World) -> set[str]:
    return {each.id for each in world.history["o_root"] if isinstance(each, e.EventReceived)}
