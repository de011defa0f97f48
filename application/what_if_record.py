"""A history as the script of another course: what came from outside, when, and what each attempt was answered.

Decisions are cut apart by `domain.redeciding`. Attempts are found by their run (``<pointer>#<number>``) or, where another
definition has the task at another place, by name and number. Nothing of this is looked at before it is needed: a course that
stays on the recorded path asks for the steps alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any

import msgspec

from domain import commands as c
from domain import events as e
from domain.evolve import evolve
from domain.plan import Plan
from domain.redeciding import Step, steps
from domain.state import Run, State

_PIECE = 200
_OF_TASKS = (c.ReportResult, c.ReportChild)
Identity = tuple[str | None, str, int]
"""(the task that it undoes, its own name, number of its run)."""


class Told(msgspec.Struct, frozen=True):
    """What became known of an attempt, in the decision of a version."""

    version: int
    command: c.ReportResult | c.ReportChild


class Sent(msgspec.Struct):
    """A recorded attempt. `told` is empty when its result was never recorded."""

    version: int
    event: e.AttemptStarted
    told: list[Told] = []

    def delay(self, told: Told) -> timedelta:
        """How long after it was sent that became known."""
        return told.command.at - self.event.at


class Record:
    """One history, and the plan by which it was decided (None where that is not known any more)."""

    def __init__(self, plan: Plan | None, history: Sequence[e.Event]) -> None:
        """`history` must have an event, and its decisions their bases."""
        self.plan = plan
        self.history = history
        self.steps: list[Step] = list(steps(history))
        self._state: State | None = None
        self._commands: list[tuple[int, c.Command]] | None = None

    def look_through(self) -> Iterator[None]:
        """Find out all that is asked below, in small pieces, so that others have their turn with a long history."""
        if self._state is None:
            state = State()
            for number, event in enumerate(self.history, 1):
                evolve(state, event)
                if number % _PIECE == 0:
                    yield
            self._state = state
        if self._commands is None:
            commands: list[tuple[int, c.Command]] = []
            for number, each in enumerate(self.steps, 1):
                commands.append((each.version, each.command()))
                if number % _PIECE == 0:
                    yield
            self._commands = commands

    @property
    def state(self) -> State:
        """What all of it folds to."""
        deque(self.look_through(), maxlen=0)
        assert self._state is not None
        return self._state

    def event(self, version: int) -> e.Event | None:
        """The event of a version, if there is one."""
        return self.history[version - 1] if version <= len(self.history) else None

    # Attempts and their answers ---------------------------------------------------------------------------------------

    def sent(self, run: str, number: int) -> Sent | None:
        """A recorded attempt."""
        return self._sent.get((run, number))

    def children_told(self, child: str, after: int) -> list[Told]:
        """What a child reported in decisions after a version."""
        return [told for told in self._of_children.get(child, ()) if told.version > after]

    def undo_began(self, run: str, after: int = 0) -> int | None:
        """The version in which the undo of a run began, after another version."""
        for version, event in enumerate(self.history[after:], after + 1):
            if isinstance(event, e.UndoStarted) and event.run == run:
                return version
        return None

    def counterpart(self, plan: Plan, state: State, run: Run) -> str | None:
        """The recorded run of the same task as a run under another plan: at the same place; or, for a task that has another
        place there, the only one with its name and number.
        """
        wanted, places = identity(state, run), self.plan.nodes if self.plan else {}
        here = self.state.runs.get(run.id)
        if here is not None and identity(self.state, here) == wanted:
            return here.id
        if run.pointer in places:
            return None  # it has this place in the recorded definition too, and was not reached there
        moved = [found for found in self._by_identity.get(wanted, ()) if found.pointer not in plan.nodes]
        rivals = [place for place in plan.nodes if place not in places and _end(place) == _end(run.pointer)]
        return moved[0].id if len(moved) == 1 and len(rivals) == 1 else None

    @cached_property
    def _by_identity(self) -> dict[Identity, list[Run]]:
        found: dict[Identity, list[Run]] = {}
        for run in self.state.runs.values():
            found.setdefault(identity(self.state, run), []).append(run)
        return found

    @cached_property
    def _sent(self) -> dict[tuple[str, int], Sent]:
        found: dict[tuple[str, int], Sent] = {}
        for version, event in enumerate(self.history, 1):
            if isinstance(event, e.AttemptStarted):
                found[event.run, event.number] = Sent(version, event, [])
        for version, command in self.commands:
            if isinstance(command, c.ReportResult) and (command.run, command.number) in found:
                found[command.run, command.number].told.append(Told(version, command))
        return found

    @cached_property
    def _of_children(self) -> dict[str, list[Told]]:
        found: dict[str, list[Told]] = {}
        for version, command in self.commands:
            if isinstance(command, c.ReportChild):
                found.setdefault(command.child, []).append(Told(version, command))
        return found

    # Everything from outside ------------------------------------------------------------------------------------------

    @property
    def commands(self) -> list[tuple[int, c.Command]]:
        """(version of the decision, its command), all of them."""
        deque(self.look_through(), maxlen=0)
        assert self._commands is not None
        return self._commands

    def from_outside(self, version: int) -> Iterator[tuple[int, c.Command]]:
        """What came from outside in decisions from this version on: events, commands of people and of the parent. Neither
        timers, which have a clock of their own, nor answers, which belong to attempts.
        """
        for place, command in self.commands:
            if place >= version and not isinstance(command, (*_OF_TASKS, c.FireTimers, c.Start)):
                yield place, command


def identity(state: State, run: Run) -> Identity:
    """What a run is called, whatever its place in the document."""
    undone = state.undoing(run.scope)
    return (state.runs[undone].name if undone else None), run.name, run.number


def _end(pointer: str) -> str:
    """What names a task at the end of its pointer; a compensation has the name of what it undoes."""
    around, _, name = pointer.rpartition("/")
    return name if name != "compensate" else f"{around.rpartition('/')[2]}/{name}"


def same_call(one: e.AttemptStarted, other: e.AttemptStarted) -> bool:
    """Whether two attempts ask for the same thing of the same participant."""
    return (
        one.callout == other.callout
        and one.function == other.function
        and _asked(one) == _asked(other)
        and [each[:2] for each in one.deferred] == [each[:2] for each in other.deferred]
    )


def _asked(event: e.AttemptStarted) -> Any:
    """The arguments as they reach the participant: the task's input counts where the address is a template."""
    arguments = event.arguments
    if isinstance(arguments, dict) and "$input" in arguments and "{" not in str(arguments.get("endpoint")):
        return {name: value for name, value in arguments.items() if name != "$input"}
    return arguments
