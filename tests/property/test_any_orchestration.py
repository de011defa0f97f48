"""Whatever the definition, the answers, their order and the moments of commands: the invariants of every orchestration.

Definitions are random small trees (calls, waits, listens, ``do``, ``fork``, ``for``, ``try`` with retry and partial
rollback, pivots, children, ``then: end``); the story is a random list of answers, duplicates, late results, time passing,
suspend, resume, cancel, terminate and decisions of an operator. After each step the invariants hold, and at the end, once
everyone answers and every incident is decided, everything comes to an end.
"""

from __future__ import annotations

import copy
import os
from collections import Counter
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.stored_events import EventMapper
from domain import commands as c
from domain import events as e
from domain.errors import RetraceError
from domain.lifecycle import RUN_OPEN
from domain.orchestration import Decided, Facts, decide
from domain.plan import Plan
from domain.redeciding import bare
from domain.state import COMPENSATE, State
from tests.support.pure_world import Attempt, Result, World, done, doubt, plan_of, refused, unusable

OUTCOMES = {
    "done": done({"n": 1}),
    "refused": refused(),
    "doubt": doubt(),
    "unusable": unusable("raw"),
    "busy": refused(429),
}


STATES = EventMapper().states


class CarefulWorld(World):
    """Decides everything twice, in two ways, once of them on a state from a snapshot; checks the invariants after each
    decision.
    """

    def __init__(self, plans: dict[str, Plan]) -> None:
        super().__init__(plans, lambda attempt: None, settle_timeout_s=20.0, portion=2, max_undos=2)
        self.ever: list[Attempt] = []
        self.refusing = False
        self.did: set[tuple[str, str]] = set()

    def reply(self, attempt: Attempt, result: Result) -> None:
        run = self.states[attempt.orchestration].runs[attempt.run]
        if result.outcome in ("completed", "unusable") and run.flying and run.attempts == attempt.number:
            self.did.add((attempt.orchestration, attempt.run))
        super().reply(attempt, result)

    def _decide(self, id_: str, command: c.Command) -> list[e.Event]:
        before = from_snapshot(self.states.get(id_) or State())
        was = copy.deepcopy(self.states.get(id_) or State())
        assert from_snapshot(was) == was
        facts: Facts = {}
        try:
            decided = decide(self.plan_of[id_], before, command, facts, self.limits)
            while not isinstance(decided, Decided):
                for question in decided.questions:
                    facts.setdefault(question.key, super()._fact(question))
                decided = decide(self.plan_of[id_], before, command, facts, self.limits)
        except RetraceError:
            assert before == was
            self.refusing = True
            raise
        self._known = facts
        flying = len(self.flying)
        events = super()._decide(id_, command)
        assert tuple(map(bare, events)) == decided.events, "a decision in steps is the same decision"
        self.ever += self.flying[flying:]
        self._check(self.states[id_], was, events)
        return events

    def _fact(self, question: Any) -> Any:
        return self._known[question.key]

    def _check(self, state: State, was: State, events: list[e.Event]) -> None:
        assert state.flying == sum(run.flying for run in state.runs.values())
        assert set(state.open) == {run.id for run in state.runs.values() if run.status in RUN_OPEN}
        assert not (state.final and state.open), "nothing is open after the end"
        going = not (state.final or state.rolling_back or state.ending)
        for scope in state.scopes.values() if going else ():
            around = state.runs[scope.owner] if scope.owner else None
            if scope.phase == "active" and (around is None or around.open or scope.slot == COMPENSATE):
                here = [run for run in state.runs.values() if run.scope == scope.id and (run.open or run.held)]
                assert scope.tokens == len(here), scope.id
        if was.suspended and state.suspended:
            assert not any(isinstance(event, e.AttemptStarted | e.UndoStarted) for event in events)
        if was.rolling_back:
            for event in events:
                if isinstance(event, e.AttemptStarted):
                    assert state.undoing(state.runs[event.run].scope), "nothing goes forward in a rollback"


def from_snapshot(state: State) -> State:
    """The state as it comes back from being stored, nothing of it looked at yet."""
    packing = STATES.pack(state)
    while True:
        try:
            next(packing)
        except StopIteration as done:
            return STATES.unpack(done.value)


def nothing_is_forgotten(world: CarefulWorld) -> None:
    """What participants said they did is known, and after a rollback it is undone or stands in `left_behind`."""
    for id_, state in world.states.items():
        overruled = {i.run for i in state.incidents if i.resolved == "fail"}
        for run in state.runs.values():
            if (id_, run.id) in world.did and run.id not in overruled and state.status != "terminated":
                assert run.effect == "completed", f"{run.id} was done"
        if state.status not in ("faulted", "compensated", "cancelled"):
            continue
        left = {entry.run for entry in state.rollbacks[""].left_behind}
        for run in state.runs.values():
            ended = run.undo.status in ("completed", "skipped") or run.id in left
            if run.effectful and run.effect in ("completed", "uncertain") and not ended:
                around = [state.runs[s.owner] for s in state.scope_chain(run.scope) if s.owner]
                replaced = any(owner.undoable and owner.effect == "completed" for owner in around)
                assert replaced or state.undoing(run.scope), f"{run.id} was neither undone nor left behind"


def undos_are_in_order_and_once(world: World) -> None:
    for id_, history in world.history.items():
        counts = Counter(event.run for event in history if isinstance(event, e.UndoCompleted))
        assert not counts or max(counts.values()) == 1
        effects: dict[str, str] = {}
        ended: dict[str, int] = {}
        for number, event in enumerate(history):
            if isinstance(event, e.TaskCompleted | e.TaskFailed | e.TaskUncertain | e.TaskCancelled):
                ended[event.run] = number
            match event:
                case e.AttemptStarted():
                    effects.setdefault(event.run, "attempted")
                case e.TaskCompleted():
                    effects[event.run] = "completed"
                case e.TaskUncertain():
                    effects[event.run] = "uncertain"
                case e.AttemptFailed(effect="uncertain"):
                    effects[event.run] = "uncertain"
                case e.TaskFailed(effect="completed"):
                    effects[event.run] = "completed"
                case e.CompensationDecided() if not world.plan_of[id_].parallel_undo:
                    ends = [ended[step.run] for step in event.plan]
                    assert ends == sorted(ends, reverse=True), "reverse order of the events that ended the runs"
                    assert all(step.after == ((i - 1,) if i else ()) for i, step in enumerate(event.plan))
                case e.UndoStarted():
                    run = world.states[id_].runs[event.run]
                    known = effects.get(event.run)
                    assert known is not None, "no undo without an effect or a doubt"
                    assert known != "attempted" or run.undoable == "attempted" or run.effect == "completed"


def has_a_reason(world: World, id_: str) -> bool:
    """Why an orchestration that has not ended does not go on: a timer, an answer, an event, an operator, a child."""
    state = world.states[id_]
    if state.final or state.suspended or state.next_due() is not None or state.open_incidents():
        return True
    if any(attempt.orchestration == id_ for attempt in world.flying):
        return True
    if any(state.runs[name].listening is not None for name in state.open):
        return True
    children = [run.child[0] for run in state.runs.values() if run.child and (run.flying or run.undo.child_busy)]
    return any(not world.states[child].final for child in children)


# Definitions -----------------------------------------------------------------------------------------------------------


@st.composite
def calls(draw: st.DrawFn, *, pivot: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = {"call": draw(st.sampled_from(["f", "g"]))}
    if draw(st.booleans()):
        body["compensate"] = draw(undos())
        if draw(st.booleans()):
            body["compensate"]["after"] = draw(st.sampled_from(["completed", "uncertain", "attempted"]))
        if draw(st.integers(0, 5)) == 0:
            body["compensate"]["if"] = draw(st.sampled_from([".n == 1", "false", "error", ".n"]))
    if draw(st.integers(0, 3)) == 0:
        body["retry"] = {"delay": {"seconds": 2}, "limit": {"attempt": {"count": 2}}}
    if draw(st.integers(0, 7)) == 0:
        body["output"] = {"as": draw(st.sampled_from([".n", "error"]))}
    if pivot:
        body["pivot"] = True
    return body


UNDOS: list[dict[str, Any]] = [
    {"call": "undo"},
    {"do": [{"u1": {"call": "undo"}}, {"u2": {"call": "undo"}}]},
    {"do": [{"u1": {"wait": {"seconds": 1}}}]},
    {"fork": {"branches": [{"x": {"call": "undo"}}, {"y": {"call": "undo"}}]}},
]


def undos() -> st.SearchStrategy[dict[str, Any]]:
    return st.integers(0, len(UNDOS) - 1).map(lambda number: copy.deepcopy(UNDOS[number]))


def tasks(depth: int, *, pivots: bool, child: bool) -> st.SearchStrategy[list[Any]]:
    return st.lists(task(depth, pivots=pivots, child=child), min_size=1, max_size=3).map(
        lambda bodies: [{f"t{number}": body} for number, body in enumerate(bodies)]
    )


@st.composite
def side_by_side(draw: st.DrawFn, most: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if draw(st.booleans()):
        found["limit"] = draw(st.integers(1, 3))
    if draw(st.booleans()):
        found["completion"] = draw(st.sampled_from(["all", "first", {"at_least": min(2, most)}]))
    if draw(st.booleans()):
        found["tolerate"] = draw(st.sampled_from(["all", 0, 1]))
    return found


@st.composite
def task(draw: st.DrawFn, depth: int, *, pivots: bool, child: bool) -> dict[str, Any]:
    kinds = ["call"] * 4 + ["wait", "raise", "end", "listen"]
    kinds += ["pivot"] if pivots else []
    kinds += ["child"] if child else []
    kinds += ["do", "fork", "compete", "for", "turns", "branches", "try", "try"] if depth else []
    kind = draw(st.sampled_from(kinds))
    inner: dict[str, Any] = {"depth": depth - 1, "child": child}
    body: dict[str, Any]
    match kind:
        case "call" | "pivot":
            return draw(calls(pivot=kind == "pivot"))
        case "wait":
            return {"wait": {"seconds": 3}}
        case "raise":
            return {"raise": {"error": {"type": "https://test.invalid/own", "status": 418}}}
        case "end":
            return {"set": {"n": 2}, "then": "end"}
        case "listen":
            return {"listen": {"to": {"one": {"with": {"type": "go"}}}}}
        case "child":
            body = {"run": {"workflow": {"namespace": "test", "name": "child", "version": "1.0.0"}}}
        case "do":
            body = {"do": draw(tasks(**inner, pivots=pivots))}
        case "fork" | "compete":
            count = draw(st.integers(1, 3))
            branches = [{f"b{n}": {"do": draw(tasks(**inner, pivots=False))}} for n in range(count)]
            body = {"fork": {"branches": branches, "compete": kind == "compete"}}
        case "branches":
            count = draw(st.integers(1, 4))
            branches = [{f"b{n}": draw(task(**inner, pivots=False))} for n in range(count)]
            body = {"fork": {"branches": branches}, "parallel": draw(side_by_side(count))}
        case "turns":
            count = draw(st.integers(0, 5))
            turns = draw(tasks(**inner, pivots=False))
            body = {"for": {"in": f"[range({count})]"}, "parallel": draw(side_by_side(3)), "do": turns}
        case "for":
            body = {"for": {"in": "[1, 2]"}, "do": draw(tasks(**inner, pivots=False))}
        case _:
            catch: dict[str, Any] = {"compensate": draw(st.booleans())}
            if draw(st.booleans()):
                catch["retry"] = {"delay": {"seconds": draw(st.integers(0, 2))}, "limit": {"attempt": {"count": 2}}}
            if draw(st.booleans()):
                catch["do"] = draw(tasks(**inner, pivots=False))
            if draw(st.integers(0, 3)) == 0:
                catch["errors"] = {"with": {"status": 409}}
            body = {"try": draw(tasks(**inner, pivots=pivots)), "catch": catch}
    if draw(st.integers(0, 4)) == 0:
        body["timeout"] = {"after": {"seconds": draw(st.integers(1, 30))}}
    if draw(st.integers(0, 3)) == 0:
        body["compensate"] = draw(undos())
    return body


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Plan]:
    top: dict[str, Any] = {}
    if draw(st.booleans()):
        top["compensation"] = {"order": "parallel"}
    if draw(st.integers(0, 3)) == 0:
        top["timeout"] = {"after": {"seconds": draw(st.integers(5, 60))}}
    root = plan_of(draw(tasks(2, pivots=True, child=True)), **top)
    child = plan_of(draw(tasks(1, pivots=True, child=False)))
    child = msgspec.structs.replace(child, name="child", digest="sha256:child")
    return {"x": root, "child": child}


# The story --------------------------------------------------------------------------------------------------------------

moves = st.one_of(
    st.tuples(st.just("answer"), st.integers(0, 5), st.sampled_from(["done"] * 4 + sorted(OUTCOMES))),
    st.tuples(st.just("again"), st.integers(0, 20), st.sampled_from(sorted(OUTCOMES))),
    st.tuples(st.just("time"), st.sampled_from([0, 1, 2, 5, 30, 100]), st.none()),
    st.tuples(st.just("event"), st.just(0), st.none()),
    st.tuples(
        st.sampled_from(["cancel", "cancel", "override", "suspend", "suspend", "resume", "resume", "terminate"]),
        st.integers(0, 3),
        st.none(),
    ),
    st.tuples(st.just("resolve"), st.integers(0, 3), st.sampled_from(["retry", "skip", "complete", "fail"])),
)


def play(world: CarefulWorld, move: tuple[str, int, Any]) -> None:
    kind, number, detail = move
    ids = list(world.states)
    id_ = ids[number % len(ids)]
    try:
        match kind:
            case "answer" if world.flying:
                world.reply(world.flying[number % len(world.flying)], OUTCOMES[detail])
            case "again" if world.ever:
                attempt = world.ever[number % len(world.ever)]
                if attempt not in world.flying:
                    world._report(attempt, OUTCOMES[detail])
            case "time":
                world.pass_time(number)
                for state in world.states.values():
                    due = state.next_due()
                    assert due is None or due > world.now, "no timer stays due"
            case "event":
                for other in ids:
                    world.receive("go", id_=other)
            case "cancel" | "override":
                world.do(id_, c.Cancel, override_pivot=kind == "override")
            case "suspend":
                world.do(id_, c.Suspend)
            case "resume":
                world.do(id_, c.Resume)
            case "terminate" if number == 0:
                world.do(id_, c.Terminate)
            case "resolve":
                incidents = [(i, s) for i, s in world.states.items() if s.open_incidents()]
                if incidents:
                    other, state = incidents[number % len(incidents)]
                    incident = state.open_incidents()[0]
                    world.do(other, c.Resolve, number=incident.number, action=detail, reason="said so")
    except RetraceError:
        assert world.refusing, "only refusals, and they change nothing"
    world.refusing = False


def bring_to_an_end(world: CarefulWorld) -> None:
    """Everyone answers, every incident is decided, all the time in the world passes."""
    for _ in range(300):
        if all(state.final for state in world.states.values()):
            return
        for id_, state in list(world.states.items()):
            if state.suspended:
                play(world, ("resume", list(world.states).index(id_), None))
        while world.flying:
            world.reply(world.flying[0], OUTCOMES["done"])
        for id_, state in list(world.states.items()):
            for incident in state.open_incidents():
                action = next(a for a in ("skip", "complete") if a in incident.actions)
                if not state.final and incident.resolved is None:
                    world.do(id_, c.Resolve, number=incident.number, action=action, reason="enough", output={})
            if not state.final:
                world.receive("go", id_=id_)
        world.pass_time(60)
    unfinished = {id_: (s.status, list(s.open)) for id_, s in world.states.items() if not s.final}
    raise AssertionError(f"never ends: {unfinished}")


@settings(max_examples=int(os.environ.get("STORIES", "600")))
@given(plans(), st.lists(moves, max_size=25))
def test_any_story(plans: dict[str, Plan], story: list[tuple[str, int, Any]]) -> None:
    world = CarefulWorld(plans)
    world.start(name="x")
    for move in story:
        play(world, move)
        for id_ in world.states:
            assert has_a_reason(world, id_), f"{id_} rests without a reason"
    undos_are_in_order_and_once(world)
    bring_to_an_end(world)
    undos_are_in_order_and_once(world)
    nothing_is_forgotten(world)
