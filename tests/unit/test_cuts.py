"""A cut of functions that workers carry out waits for what their rows say; of all others it is uncertain at once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from application.replay import divergences
from domain import commands as c
from domain import events as e
from domain.errors import fault
from tests.support.pure_world import Result, World, plan_of

UNDO: dict[str, Any] = {"call": "undo", "with": {"of": "${ $task.key }"}}
PACK: list[Any] = [{"pack": {"call": "pack", "with": {"n": 1}, "compensate": UNDO}}]
TIMED: list[Any] = [{"block": {"do": PACK, "timeout": {"after": {"seconds": 20}}}}]
UNSENT = Result("unsent", fault=fault("cancelled", "dropped"))  # type: ignore[arg-type]
LOST = Result("uncertain", fault=fault("cancelled", "lost"))


def cut(tasks: list[Any] = TIMED, *, remote: bool = True, **top: Any) -> World:
    """A world in which the timeout has come while `pack` was in flight."""
    world = World(plan_of(tasks, **top), lambda attempt: None if attempt.function == "pack" else Result("completed"))
    world.remote = {"pack"} if remote else set()
    world.start()
    world.pass_time(20)
    return world


def pack(world: World) -> Any:
    return next(run for run in world.root.runs.values() if run.name == "pack")


def asked(world: World) -> list[bool]:
    return [
        each for event in world.history["o_root"] if event.basis for each in event.basis.facts if each in (True, False)
    ]


@pytest.mark.parametrize("tasks", [TIMED, PACK])
@pytest.mark.parametrize(("told", "undone"), [(UNSENT, False), (LOST, True)])
def test_the_row_tells_whether_there_is_something_to_undo(tasks: list[Any], told: Result, undone: bool) -> None:
    top: dict[str, Any] = {} if tasks is TIMED else {"timeout": {"after": {"seconds": 20}}}
    world = cut(tasks, **top)
    assert pack(world).flying
    assert "compensation.decided" not in world.topics()
    world.reply(world.flying[0], told)
    assert pack(world).effect == ("uncertain" if undone else "none")
    assert (pack(world).undo.status == "completed") is undone
    assert world.root.status == ("compensated" if undone else "faulted")
    assert asked(world) == [True]


def test_a_function_of_the_process_is_uncertain_at_once() -> None:
    world = cut(remote=False)
    assert not pack(world).flying
    assert world.root.status == "compensated"
    assert asked(world) == [False]


def test_a_decision_from_before_that_was_asked_is_made_again_all_the_same() -> None:
    world = cut(remote=False)
    history: list[e.Event] = []
    for event in world.history["o_root"]:
        if event.basis is None:
            history.append(event)
            continue
        facts = tuple(each for each in event.basis.facts if not isinstance(each, bool))
        basis = msgspec.structs.replace(event.basis, facts=facts)
        history.append(msgspec.structs.replace(event, basis=basis))
    assert asked(world)
    assert not list(divergences(world.plan_of["o_root"], history))
    assert not list(divergences(world.plan_of["o_root"], world.history["o_root"]))


def test_nothing_is_asked_where_nothing_is_in_flight() -> None:
    world = World(
        plan_of([{"block": {"do": [{"w": {"wait": {"hours": 1}}}], "timeout": {"after": {"seconds": 20}}}}]),
        lambda _: None,
    )
    world.start()
    world.pass_time(20)
    assert world.root.status == "faulted"
    assert asked(world) == []


def test_patience_ends_where_no_row_tells() -> None:
    world = cut()
    world.pass_time(61)
    assert pack(world).effect == "uncertain"
    assert world.root.status == "compensated"


def test_timers_of_one_instant_are_taken_in_their_order() -> None:
    """The outer timeout is first; what is due later in the same decision finds its scope closed."""
    inner = [{"w": {"wait": {"seconds": 21}}}, {"late": {"call": "late"}}]
    branches = [{"one": {"do": PACK}}, {"two": {"do": inner}}]
    world = World(
        plan_of([{"f": {"fork": {"branches": branches}}}], timeout={"after": {"seconds": 20}}), lambda _: None
    )
    world.remote = {"pack"}
    world.start()
    world.now = world.now + (world.root.next_due() - world.now) * 2  # type: ignore[operator]
    world.do("o_root", c.FireTimers)
    assert not any(run.name == "late" for run in world.root.runs.values())
