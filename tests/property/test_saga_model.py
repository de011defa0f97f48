"""Every saga of up to six steps against a model written from the rules (`tests.support.saga_model`).

What is covered, and why that is everything:

*Sequences.* A step that refuses or is uncertain ends the way forward, so a saga is determined by where it fails (step 1 to
6, or nowhere) and how (refuses, uncertain); outcomes of later steps cannot matter, since they never run, which is itself
asserted; a shorter saga is a longer one whose tail never runs. Undos matter only for the steps that are undone: with a
refusal at step k there are k - 1 of them, with an uncertain step k. Every combination of works, fails once, fails for
good: (3^0 + ... + 3^5) + (3^1 + ... + 3^6) = 1,456 sagas, and those that complete. When an undo fails for good an operator skips, retries or completes it: up to four steps with every
combination of these (5^k), beyond with the three in turn.

*What is undone.* `compensate.after` completed, uncertain, attempted or no compensation at all, every combination for
sagas of three steps, with every outcome.

*Forks.* Two branches of one to three steps with one step before them: every order in which answers can come until the
first failure, every outcome of the answer still in flight then. Undos in a plan form one sequence, whose combinations the
sequences above exhaust; so here each single undo deviates, and up to two steps a branch each pair of undos.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from domain import commands as c
from domain.plan import Plan
from domain.rollback import outcome as rollback_outcome
from tests.support.pure_world import Attempt, Result, World, done, doubt, plan_of, refused
from tests.support.saga_model import (
    FAILS_FOR_GOOD,
    Ended,
    Outcome,
    Promise,
    Step,
    Undoing,
    has_something_to_undo,
    promise,
)

FINE: Outcome = "succeeds"
ANSWERS: dict[Outcome, Result] = {"succeeds": done({"ok": True}), "refuses": refused(), "uncertain": doubt()}
BASIC: tuple[Undoing, ...] = ("ok", "once", "skip")
ALL: tuple[Undoing, ...] = ("ok", "once", "skip", "retry", "complete")


class Saga:
    """Runs one saga and writes down which undo was called, in order."""

    def __init__(self, plan: Plan, outcomes: dict[str, Outcome], undoing: dict[str, Undoing]) -> None:
        self.outcomes, self.undoing = outcomes, undoing
        self.forward: list[str] = []
        self.called: list[str] = []
        self.undone: list[str] = []
        self.keys: dict[str, set[str]] = {}
        self.by_hand = False
        self.world = World(plan, self._answer)
        self.world.start()

    def _answer(self, attempt: Attempt) -> Result | None:
        name = attempt.function
        if not name.startswith("undo_"):
            if name not in self.outcomes:
                return None
            self.forward.append(name)
            return ANSWERS[self.outcomes[name]]
        name = name.removeprefix("undo_")
        self.called.append(name)
        self.keys.setdefault(name, set()).add(attempt.key)
        first = self.called.count(name) == 1
        how = self.undoing[name]
        if how == "once" and first:
            return doubt()
        if how in ("skip", "complete") or (how == "retry" and first):
            return refused()
        self.undone.append(name)
        return done()

    def check(self, promised: Promise) -> None:
        """The world goes on, an operator resolves what stops, and everything is as promised."""
        world = self.world
        for stop in promised.stops_at:
            world.pass_time(30)
            (incident,) = world.root.open_incidents()
            assert incident.kind == "compensation_failed"
            assert incident.run is not None
            assert world.root.runs[incident.run].name == stop
            assert world.root.status == "compensating"
            assert self.called[-1] == stop, "nothing earlier is undone meanwhile"
            world.do("o_root", c.Resolve, number=incident.number, action=self.undoing[stop], reason="said so")
        world.pass_time(60)
        state = world.root
        assert state.status == promised.status
        assert not state.open_incidents()
        assert not state.open
        assert world.flying == []
        assert self.called == promised.called
        assert len(self.undone) == len(set(self.undone)), "undone at most once"
        assert all(len(keys) == 1 for keys in self.keys.values()), "one key for all attempts of an undo"
        assert rollback_outcome(state) == promised.outcome
        rollback = state.rollbacks.get("")
        if rollback is not None:
            assert [state.runs[step.run].name for step in rollback.steps] == promised.plan
            assert {state.runs[left.run].name for left in rollback.left_behind} == promised.left_behind
        effects = {name for name in self.forward if self.outcomes[name] != "refuses"}
        if promised.status == "compensated":
            by_hand = {name for name in promised.plan if self.undoing[name] in ("skip", "complete")}
            remaining = effects - set(self.undone) - by_hand
            assert remaining == promised.left_behind, "effects done minus effects undone"


def task(step: Step) -> dict[str, Any]:
    body: dict[str, Any] = {"call": step.name}
    if step.after is not None:
        body["compensate"] = {"call": f"undo_{step.name}", "after": step.after}
    return {step.name: body}


@cache
def sequence(steps: tuple[Step, ...]) -> Plan:
    return plan_of([task(step) for step in steps])


def in_sequence(steps: tuple[Step, ...], outcomes: tuple[Outcome, ...]) -> list[Ended]:
    """The steps that run: up to the first that does not succeed."""
    ended = []
    for step, outcome in zip(steps, outcomes, strict=True):
        ended.append(Ended(step, outcome))
        if outcome != "succeeds":
            break
    return ended


def run_sequence(steps: tuple[Step, ...], outcomes: tuple[Outcome, ...], undoing: dict[str, Undoing]) -> None:
    ended = in_sequence(steps, outcomes)
    saga = Saga(sequence(steps), dict(zip((s.name for s in steps), outcomes, strict=True)), undoing)
    saga.check(promise(ended, undoing))
    assert saga.forward == [each.step.name for each in ended], "nothing runs after the failure"


def undoings(ended: list[Ended], choices: tuple[Undoing, ...]) -> Iterator[dict[str, Undoing]]:
    names = [each.step.name for each in ended if has_something_to_undo(each.step, each.outcome)]
    for combination in itertools.product(choices, repeat=len(names)):
        yield dict(zip(names, combination, strict=True))


SIX = tuple(Step(f"s{number}") for number in range(1, 7))
OPERATOR: tuple[Undoing, ...] = ("skip", "retry", "complete")


@pytest.mark.parametrize("kind", ["refuses", "uncertain"])
@pytest.mark.parametrize("failing", range(1, 7))
def test_sequence_of_six(failing: int, kind: Outcome) -> None:
    """Fails at each step in each way, with every combination of undos."""
    outcomes: tuple[Outcome, ...] = (*[FINE] * (failing - 1), kind, *[FINE] * (6 - failing))
    turn = itertools.cycle(OPERATOR)
    for undoing in undoings(in_sequence(SIX, outcomes), BASIC):
        run_sequence(SIX, outcomes, {n: next(turn) if how in FAILS_FOR_GOOD else how for n, how in undoing.items()})


def test_sequence_that_completes_undoes_nothing() -> None:
    for length in range(1, 7):
        run_sequence(SIX[:length], (FINE,) * length, {})


@pytest.mark.parametrize("kind", ["refuses", "uncertain"])
@pytest.mark.parametrize("length", range(1, 5))
def test_every_choice_of_an_operator(length: int, kind: Outcome) -> None:
    """The last of up to four steps fails; each undo works, is retried, or is skipped, retried or completed by hand."""
    steps = SIX[:length]
    outcomes: tuple[Outcome, ...] = (*[FINE] * (length - 1), kind)
    for undoing in undoings(in_sequence(steps, outcomes), ALL):
        run_sequence(steps, outcomes, undoing)


@pytest.mark.parametrize("afters", [*itertools.product([None, "completed", "uncertain", "attempted"], repeat=3)])
def test_every_extent_of_compensation(afters: tuple[str | None, ...]) -> None:
    steps = tuple(Step(f"s{number}", after) for number, after in enumerate(afters, 1))
    every: tuple[Outcome, ...] = ("succeeds", "refuses", "uncertain")
    seen = set()
    for outcomes in itertools.product(every, repeat=3):
        ended = in_sequence(steps, outcomes)
        if (history := tuple(ended)) in seen:
            continue  # steps after the failing one never run
        seen.add(history)
        for undoing in undoings(ended, BASIC):
            run_sequence(steps, outcomes, undoing)


# Forks ------------------------------------------------------------------------------------------------------------------


@cache
def fork(lengths: tuple[int, int], *, parallel: bool) -> Plan:
    branches = [
        {f"branch{b}": {"do": [task(Step(f"{'ab'[b]}{number}")) for number in range(1, length + 1)]}}
        for b, length in enumerate(lengths)
    ]
    top: dict[str, Any] = {"compensation": {"order": "parallel"}} if parallel else {}
    return plan_of([task(Step("first")), {"both": {"fork": {"branches": branches}}}], **top)


def orders(a: int, b: int) -> Iterator[str]:
    """Every way in which `a` answers of one branch and `b` of the other can follow each other."""
    for places in itertools.combinations(range(a + b), a):
        yield "".join("a" if place in places else "b" for place in range(a + b))


def forked(lengths: tuple[int, int]) -> Iterator[list[Ended]]:
    """Every history: answers in every order up to the first failure, then whatever the answer in flight says."""
    kinds: tuple[Outcome, ...] = ("refuses", "uncertain")
    every: tuple[Outcome, ...] = ("succeeds", *kinds)
    for done_a, done_b in itertools.product(range(lengths[0] + 1), range(lengths[1] + 1)):
        for order in orders(done_a, done_b):
            before = [Ended(Step("first"), "succeeds"), *_named(order)]
            for failing, kind in itertools.product("ab", kinds):
                made = {"a": done_a, "b": done_b}
                if made[failing] == lengths["ab".index(failing)]:
                    continue
                other = "b" if failing == "a" else "a"
                failed = Ended(_step(failing, made[failing] + 1), kind)
                if made[other] == lengths["ab".index(other)]:
                    yield [*before, failed]
                    continue
                for last in every:
                    yield [*before, failed, Ended(_step(other, made[other] + 1), last)]


def _step(branch: str, number: int) -> Step:
    return Step(f"{branch}{number}", branch="ab".index(branch))


def _named(order: str) -> list[Ended]:
    return [Ended(_step(branch, order[: i + 1].count(branch)), "succeeds") for i, branch in enumerate(order)]


def deviating(ended: list[Ended], *, pairs: bool) -> Iterator[dict[str, Undoing]]:
    """All undos work; each one (and each pair) fails once or for good."""
    names = [each.step.name for each in ended if has_something_to_undo(each.step, each.outcome)]
    smooth: dict[str, Undoing] = dict.fromkeys(names, "ok")
    yield smooth
    others: tuple[Undoing, ...] = ("once", "skip")
    for name, how in itertools.product(names, others):
        yield smooth | {name: how}
    for pair in itertools.combinations(names, 2) if pairs else ():
        for first, second in itertools.product(others, repeat=2):
            yield smooth | {pair[0]: first, pair[1]: second}


def run_fork(plan: Plan, ended: list[Ended], undoing: dict[str, Undoing]) -> Saga:
    saga = Saga(plan, {"first": "succeeds"}, undoing)
    for each in ended[1:]:
        (attempt,) = [a for a in saga.world.flying if a.function == each.step.name]
        saga.forward.append(each.step.name)
        saga.world.reply(attempt, ANSWERS[each.outcome])
        saga.outcomes[each.step.name] = each.outcome
    return saga


@pytest.mark.parametrize("lengths", [(1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (3, 3)], ids=str)
def test_two_branches(lengths: tuple[int, int]) -> None:
    """Branches are undone interleaved as they ended."""
    plan = fork(lengths, parallel=False)
    for ended in forked(lengths):
        for undoing in deviating(ended, pairs=max(lengths) <= 2):
            run_fork(plan, ended, undoing).check(promise(ended, undoing))


@pytest.mark.parametrize("lengths", [(1, 1), (1, 2), (2, 2), (2, 3)], ids=str)
def test_two_branches_undone_in_parallel(lengths: tuple[int, int]) -> None:
    """Each branch in reverse; a failing undo stops its own branch and what is older than the fork, nothing else."""
    plan = fork(lengths, parallel=True)
    for ended in forked(lengths):
        names = [each.step.name for each in ended if has_something_to_undo(each.step, each.outcome)]
        for stuck in [None, *names]:
            undoing: dict[str, Undoing] = {name: "skip" if name == stuck else "ok" for name in names}
            saga = run_fork(plan, ended, undoing)
            _check_parallel(saga, promise(ended, undoing), stuck)


def _check_parallel(saga: Saga, promised: Promise, stuck: str | None) -> None:
    world = saga.world
    world.pass_time(30)
    by_branch = {b: [name for name in promised.plan if name[0] == b] for b in "ab"}
    before_fork = ["first"] if stuck is None else []
    for branch, planned in by_branch.items():
        reached = planned[: planned.index(stuck) + 1] if stuck in planned else planned
        assert [name for name in saga.called if name[0] == branch] == reached
    if stuck != "first":
        assert [name for name in saga.called if name == "first"] == before_fork
    if stuck is not None:
        (incident,) = world.root.open_incidents()
        world.do("o_root", c.Resolve, number=incident.number, action="skip", reason="said so")
    state = world.root
    assert state.status == promised.status
    assert rollback_outcome(state) == promised.outcome
    assert saga.called[-1] == "first"
    assert sorted(saga.called) == sorted(promised.plan)
