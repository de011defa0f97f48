"""Branches side by side, whatever their number, limit, completion, tolerance, answers and the order of those.

Each branch begins at most once, never are more in progress than the limit, exactly as many complete as are wanted, and what
the others did is undone, newest first.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from domain import commands as c
from domain import events as e
from domain.state import ScopeState, State
from tests.support.pure_world import Attempt, World, done, doubt, plan_of, refused

FIRST = {"call": "first", "with": {"i": "${ $item }"}, "compensate": {"call": "undo", "with": {"i": "${ .i }"}}}
SECOND = {"call": "second", "with": {"i": "${ $item }"}}


class Shape(msgspec.Struct, frozen=True):
    """A fan-out: `answers` are those of the second call of each branch."""

    answers: list[str]
    limit: int | None
    need: int | None
    tolerate: int | None

    @property
    def spare(self) -> int:
        most = len(self.answers) - (self.need or 0)
        return most if self.tolerate is None else min(most, self.tolerate)

    def parallel(self) -> dict[str, Any]:
        found: dict[str, Any] = {} if self.limit is None else {"limit": self.limit}
        if self.need is not None:
            found["completion"] = {"at_least": self.need}
        return {**found, "tolerate": "all" if self.tolerate is None else self.tolerate}


shapes = st.builds(
    Shape,
    st.lists(st.sampled_from(["done"] * 3 + ["refused", "doubt"]), max_size=16),
    st.none() | st.integers(1, 12),
    st.none() | st.integers(1, 12),
    st.none() | st.integers(0, 6),
)


class Watched(World):
    """Looks after each decision how many branches are in progress."""

    shape: Shape
    most = 0

    def _decide(self, id_: str, command: c.Command) -> list[e.Event]:
        events = super()._decide(id_, command)
        going = [scope for scope in branches(self.root) if scope.phase in ("active", "failing")]
        if not any(run.winner or run.failing for run in self.root.runs.values()):
            self.most = max(self.most, len(going))
        return events


def branches(state: State) -> list[ScopeState]:
    return [scope for scope in state.scopes.values() if scope.slot.isdigit()]


def started(shape: Shape, portion: int) -> Watched:
    task = {"for": {"in": "."}, "parallel": shape.parallel(), "do": [{"a": FIRST}, {"b": SECOND}]}
    world = Watched(plan_of([{"each": task}]), lambda _: None, portion=portion)
    world.shape = shape
    world.start(list(range(len(shape.answers))))
    return world


def answered(shape: Shape, attempt: Attempt) -> Any:
    if attempt.function != "second":
        return done(attempt.arguments)
    answer = shape.answers[attempt.arguments["i"]]
    return {"done": done({"i": attempt.arguments["i"]}), "refused": refused(), "doubt": doubt()}[answer]


def drive(world: Watched, data: st.DataObject) -> None:
    while world.flying:
        attempt = world.flying[data.draw(st.integers(0, len(world.flying) - 1))]
        world.reply(attempt, answered(world.shape, attempt))


def check_undone(state: State, kept: set[int]) -> None:
    """All that was done outside the kept branches is undone, newest first."""
    firsts = [run for run in state.runs.values() if run.name == "a"]
    for run in firsts:
        branch = int(state.scopes[run.scope].slot)
        undone = run.undo.status == "completed"
        assert undone == (run.effect in ("completed", "uncertain") and branch not in kept), (branch, run.undo.status)
    for rollback in state.rollbacks.values():
        orders = [state.runs[step.run].order for step in rollback.steps]
        assert orders == sorted(orders, reverse=True)


@given(shapes, st.integers(1, 9), st.data())
def test_a_fan_out_ends_as_it_should(shape, portion, data):
    world = started(shape, portion)
    drive(world, data)
    state, total = world.root, len(shape.answers)
    assert state.final
    begun = [scope.slot for scope in branches(state)]
    assert begun == [str(number) for number in range(len(begun))], "each once, in the order of the items"
    assert world.most <= (shape.limit or total)
    dones = [int(scope.slot) for scope in branches(state) if scope.phase == "done"]
    failed = shape.answers.count("refused") + shape.answers.count("doubt")
    if shape.spare < 0:
        assert (state.status, begun) == ("faulted", [])
    elif state.status == "completed":
        assert len(dones) == (total - failed if shape.need is None else shape.need)
        outputs = [{"i": number} for number in dones]
        if shape.need is None:
            assert [each for each in state.output if "i" in each] == outputs
            assert [n for n, each in enumerate(state.output) if "error" in each] == sorted(
                set(range(total)) - set(dones)
            )
        else:
            assert state.output == outputs
        check_undone(state, set(dones))
    else:
        assert failed > shape.spare
        assert state.status in ("faulted", "compensated")
        check_undone(state, set())


@given(shapes, st.integers(1, 9), st.integers(0, 30), st.data())
def test_a_cancel_at_any_moment_undoes_all_of_it(shape, portion, steps, data):
    world = started(shape, portion)
    for _ in range(steps):
        if not world.flying:
            break
        attempt = world.flying[data.draw(st.integers(0, len(world.flying) - 1))]
        world.reply(attempt, answered(shape, attempt))
    if not world.root.final:
        ended = ("compensated", "faulted") if world.root.rolling_back else ("cancelled",)
        world.do("o_root", c.Cancel)
        begun = len(branches(world.root))
        drive(world, data)
        assert world.root.status in ended
        assert len(branches(world.root)) == begun, "nothing begins any more"
        check_undone(world.root, set())
