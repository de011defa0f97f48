"""A history read as what it was: one decision after the other, each of which can be made again from its basis.

`steps` cuts a history into decisions; `redecide` makes one of them again, on the state before it, with the recorded answers.
The same version of a definition under the same code gives the same events; where it does not, code or record has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from domain import commands as c
from domain import events as e
from domain.basis import COMMANDS, value_at
from domain.decision import AtWorkers, Child, ChildChoice, Decision, Limits, Question, Validation
from domain.expressions import Evaluated, EvaluationFailed
from domain.orchestration import opened, step
from domain.plan import Plan
from domain.state import State


class NotRedecidedError(Exception):
    """The decision takes another way than the recorded one: it asks what was not asked, or does not ask what was."""


class Step(msgspec.Struct, frozen=True):
    """One decision of a history: `version` is that of its first event. `limits` held when it was made."""

    version: int
    events: tuple[e.Event, ...]
    limits: Limits

    @property
    def basis(self) -> e.Basis:
        basis = self.events[0].basis
        assert basis is not None
        return basis

    @property
    def begins(self) -> str | None:
        """Digest of the definition that an orchestration begins under with this decision, if it is its first."""
        first = self.events[0]
        return first.digest if isinstance(first, e.Beginning) else None

    @property
    def migrated(self) -> e.OrchestrationMigrated | None:
        """The move to another version of the definition in this decision, if there is one."""
        return next((event for event in self.events[:2] if isinstance(event, e.OrchestrationMigrated)), None)

    def plans(self, state: State, plan_of: Callable[[str], Plan]) -> tuple[Plan, Plan | None]:
        """The plan that it was decided by on the state before it, and the one that it moves to, if it does."""
        moved = self.migrated
        return plan_of(self.begins or state.digest), None if moved is None else plan_of(moved.digest)

    def command(self) -> c.Command:
        """The command that was decided."""
        first, basis = self.events[0], self.basis
        told: dict[str, Any] = {
            "at": first.at,
            "seed": basis.seed,
            "actor": first.actor,
            "trace": basis.trace,
            "request_id": basis.request_id,
        }
        if basis.command is not None:
            members = {name: value_at(value, self.events) for name, value in basis.command.items() if name != "is"}
            return msgspec.convert(told | members, COMMANDS[basis.command["is"]])
        match first:
            case e.OrchestrationStarted():
                members = {name: getattr(first, name) for name in _OF_STARTS}
                return c.Start(**told, **members)
            case e.OrchestrationForked():
                members = {name: getattr(first, name) for name in _OF_FORKS}
                moved = self.migrated
                more: dict[str, Any] = {} if moved is None else {"to": moved.digest, "mapping": moved.mapping}
                return c.Fork(**told, **members, **more)
            case e.OrchestrationMigrated(digest=to, mapping=mapping, reason=reason):
                return c.Migrate(**told, to=to, mapping=mapping, reason=reason)
            case e.TaskCompleted(cause="result"):
                number = first.attempt or 0
                return c.ReportResult(**told, run=first.run, number=number, outcome="completed", output=first.output)
            case _:
                return c.FireTimers(**told)

    def answers(self, asked: int, questions: Sequence[Question]) -> tuple[list[Any], int]:
        """(the recorded answers, how many facts of the decision are used up now). `asked`: how many were before. Raises
        NotRedecidedError.
        """
        found: list[Any] = []
        for question in questions:
            if isinstance(question.ask, AtWorkers) and not isinstance(self._fact(asked), bool):
                found.append(False)  # from before that was asked: whatever was in flight counted as sent
                continue
            found.append(self._answer(asked, question))
            asked += 1
        return found, asked

    def _fact(self, number: int) -> Any:
        facts = self.basis.facts
        return facts[number] if number < len(facts) else None

    def _answer(self, number: int, question: Question) -> Any:
        facts = self.basis.facts
        if number >= len(facts):
            raise NotRedecidedError(f"it asks for {question.key[1]} of {question.key[0]}, which was never asked")
        stored = facts[number]
        match question.ask:
            case Validation() | AtWorkers():
                return stored
            case ChildChoice():
                return None if stored is None else Child(*stored)
            case _:
                return EvaluationFailed(stored) if isinstance(stored, str) else Evaluated(value_at(stored, self.events))


_OF_FORKS = ("id", "origin", "prefix", "reason", "input", "business_key", "tags", "request", "remarks")
_OF_STARTS = ("id", "input", "business_key", "tags", "request", "parent", "root", "depth", "scheduled_for")


def steps(history: Iterable[e.Event]) -> Iterator[Step]:
    """The decisions of a whole history, the first event first."""
    found: list[e.Event] = []
    version, limits = 1, Limits()
    for event in history:
        if event.basis is not None and found:
            yield Step(version, tuple(found), limits)
            version += len(found)
            found = []
        if event.basis is not None and event.basis.limits is not None:
            limits = msgspec.convert(event.basis.limits, Limits)
        found.append(event)
    if found:
        yield Step(version, tuple(found), limits)


def redecide(plan: Plan, state: State, recorded: Step, *, to: Plan | None = None) -> Decision:
    """Make a decision again, by the plans of `Step.plans`. It changes `state`, like the decision did; after an error the
    state is of no use. Raises NotRedecidedError, or the `RetraceError` with which the command is refused now.
    """
    decision = opened(plan, state, recorded.command(), recorded.limits, to=to)
    questions = step(decision)
    asked = 0
    while questions:
        answers, asked = recorded.answers(asked, questions)
        questions = step(decision, answers)
    if asked < len(recorded.basis.facts):
        raise NotRedecidedError(f"it asks {asked} questions where {len(recorded.basis.facts)} were asked")
    return decision


def bare(event: e.Event) -> e.Event:
    """An event without the basis: what two decisions are compared by."""
    return event if event.basis is None else msgspec.structs.replace(event, basis=None)
