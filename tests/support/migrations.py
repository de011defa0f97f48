"""Orchestrations that answer when they are told to, for tests that migrate them half-way."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from domain import commands as c
from domain import events as e
from domain.errors import InvalidInputError
from domain.plan import Plan
from tests.support.forks import another, known_to
from tests.support.pure_world import Attempt, Result, done
from tests.support.scripted import Scripted

NAMES = ["a", "b", "c", "l", "r", "d", "turn", "side", "z"]


class Slow(Scripted):
    """Answers nothing by itself. `plain`: what each function answers when `finish` or `advanced` asks it to."""

    def __init__(self, tasks: list[Any], plain: dict[str, Result] | None = None) -> None:
        self.plain = plain or {}
        super().__init__(copy.deepcopy(tasks), dict.fromkeys([*NAMES, "mend", *[f"undo_{name}" for name in NAMES]]))

    def go_on(self) -> None:
        """One answer, or, when nobody is asked, some time."""
        if self.flying:
            self.reply(self.flying[0], self._answer(self.flying[0]))
        else:
            self.pass_time(60)

    def _answer(self, attempt: Attempt) -> Result:
        return self.plain.get(attempt.function) or done({"by": attempt.function})


def advanced(world: Slow, decisions: int) -> Slow:
    """The world after so many answers and waits, or at its end."""
    world.start_it()
    for _ in range(decisions):
        if world.root.final:
            break
        world.go_on()
    return world


def finish(world: Slow) -> None:
    """To the end, or to where an operator is needed."""
    for _ in range(60):
        if world.root.final:
            return
        world.go_on()


def migrated(world: Scripted, tasks: list[Any], **members: Any) -> e.OrchestrationMigrated:
    """Let it go on under a version with these tasks."""
    digest = known_to(world, another(world.plan_of["o_root"], tasks))
    [event] = world.do("o_root", c.Migrate, to=digest, **members)
    assert isinstance(event, e.OrchestrationMigrated)
    return event


def refusals(world: Scripted, plan: Plan, mapping: dict[str, str] | None = None) -> list[str]:
    """Codes of the reasons for which a migration is refused; nothing is changed."""
    before = copy.deepcopy(world.root)
    with pytest.raises(InvalidInputError) as refusal:
        world.do("o_root", c.Migrate, to=known_to(world, plan), mapping=mapping or {})
    assert world.root == before
    return [problem.code for problem in refusal.value.problems]
