"""A world whose participants follow a script, for tests that tell one story each."""

from __future__ import annotations

from typing import Any

from domain import commands as c
from domain import events as e
from domain.plan import Plan
from domain.state import Incident, Run, State
from tests.support.pure_world import Attempt, Result, World, done, plan_of

Script = dict[str, Result | list[Result | None] | None]


def step(name: str, compensate: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """A callout `name` that ``undo_<name>`` undoes; `compensate` adds to or replaces members of the compensation."""
    return {name: {"call": name, "compensate": {"call": f"undo_{name}", **(compensate or {})}, **members}}


def bare(name: str, **members: Any) -> dict[str, Any]:
    """A callout that nothing undoes."""
    return {name: {"call": name, **members}}


class Scripted(World):
    """`script`: the answer of each function; a list gives one per call, the last one again and again; None is silence.
    A function without a script completes with ``{"by": name}``."""

    def __init__(self, tasks: list[Any] | dict[str, Plan], script: Script | None = None, **top: Any) -> None:
        limits = {name: top.pop(name) for name in ("settle_timeout_s", "max_depth") if name in top}
        self.script: Script = script or {}
        self.calls: list[Attempt] = []
        self._asked: set[tuple[str, str, int]] = set()
        super().__init__(tasks if isinstance(tasks, dict) else plan_of(tasks, **top), self._scripted, **limits)

    def _scripted(self, attempt: Attempt) -> Result | None:
        asked = (attempt.orchestration, attempt.run, attempt.number)
        if asked in self._asked:
            return None
        self._asked.add(asked)
        self.calls.append(attempt)
        if attempt.function not in self.script:
            return done({"by": attempt.function})
        line = self.script[attempt.function]
        if isinstance(line, list):
            return line.pop(0) if len(line) > 1 else line[0]
        return line

    def start_it(self, input_: Any = None) -> State:
        return self.start(input_, name="x") if "x" in self.plans else self.start(input_)

    @property
    def called(self) -> list[str]:
        """The functions that were called, in order."""
        return [attempt.function for attempt in self.calls]

    @property
    def undone(self) -> list[str]:
        """The undos that were called, in order, without their prefix."""
        return [name.removeprefix("undo_") for name in self.called if name.startswith("undo_")]

    def call_of(self, function: str, number: int = 0) -> Attempt:
        return [attempt for attempt in self.calls if attempt.function == function][number]

    def answer_to(self, function: str, result: Result) -> None:
        """Answer the call of a function that is in flight."""
        (attempt,) = [attempt for attempt in self.flying if attempt.function == function]
        self.reply(attempt, result)

    def late(self, function: str, result: Result, number: int = 0) -> None:
        """A result for an attempt that may have been given up."""
        attempt = self.call_of(function, number)
        if attempt in self.flying:
            self.flying.remove(attempt)
        self._report(attempt, result)
        self._answer_all()

    def run(self, name: str, id_: str = "o_root") -> Run:
        """The latest run of a task."""
        return [run for run in self.states[id_].runs.values() if run.name == name][-1]

    def incident(self, id_: str = "o_root") -> Incident:
        (incident,) = self.states[id_].open_incidents()
        return incident

    def resolve(self, action: str, id_: str = "o_root", **members: Any) -> None:
        self.do(id_, c.Resolve, number=self.incident(id_).number, action=action, reason="said so", **members)

    def cancel(self, id_: str = "o_root", **members: Any) -> None:
        self.do(id_, c.Cancel, **members)

    def left_behind(self) -> dict[str, str]:
        state = self.root
        return {state.runs[left.run].name: left.why for left in state.rollbacks[""].left_behind}

    def planned(self, rollback: str = "") -> list[str]:
        state = self.root
        return [state.runs[s.run].name for s in state.rollbacks[rollback].steps]

    def recorded(self, cls: type[e.Event], id_: str = "o_root") -> list[Any]:
        return [event for event in self.history[id_] if isinstance(event, cls)]
