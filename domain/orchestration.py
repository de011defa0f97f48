"""The aggregate: `decide`, the one entry of the domain.

``decide(plan, state, command, facts)`` gives the events that a command leads to, or the questions whose answers are still
needed; asked again with more facts it gives the same or the next. It is pure: the live engine, dry runs, replay and the
tests use the same function with other facts. The engine, which owns its states, uses `opened` and `step` below to spare
the copy that `decide` makes of the state.
"""

from __future__ import annotations

import copy
from typing import Any, Final

import msgspec

from domain import commands as c
from domain import events as e
from domain.attempts import report
from domain.callbacks import take
from domain.children import report_child
from domain.decision import Decision, Limits, Question
from domain.due import fire
from domain.forking import fork
from domain.listening import receive
from domain.migrating import migrate
from domain.people import answer, claim, reassign, release
from domain.plan import Plan
from domain.resolving import poison, resolve
from domain.settling import settle
from domain.starting import start
from domain.state import State
from domain.stopping import cancel, resume, suspend, terminate, undo_child


class Decided(msgspec.Struct, frozen=True):
    """The events, in order; `messages` go to other orchestrations of the family in the same transaction."""

    events: tuple[e.Event, ...]
    messages: tuple[c.Message, ...]
    state: State


class Needs(msgspec.Struct, frozen=True):
    """Facts without which nothing can be decided."""

    questions: tuple[Question, ...]


Facts = dict[tuple[str, str], Any]
"""Question.key -> answer."""


def decide(
    plan: Plan, state: State, command: c.Command, facts: Facts, limits: Limits | None = None, *, to: Plan | None = None
) -> Decided | Needs:
    """Decide on a copy of the state. `to` as for `opened`. Raises a `RetraceError` when the command is refused."""
    decision = opened(plan, copy.deepcopy(state), command, limits or Limits(), to=to)
    questions = step(decision)
    while questions:
        if any(question.key not in facts for question in questions):
            return Needs(tuple(questions))
        questions = step(decision, [facts[question.key] for question in questions])
    return Decided(tuple(decision.events), tuple(decision.messages), decision.state)


def opened(plan: Plan, state: State, command: c.Command, limits: Limits, *, to: Plan | None = None) -> Decision:
    """Begin a decision on this very state. `to`: the plan of `commands.target_of`, if the command has one; at the end the
    decision's `plan` is that of the state.
    """
    scheduled = isinstance(command, c.Start) and command.scheduled_for is not None
    cause = BY_SCHEDULE if scheduled else _CAUSES.get(type(command))
    decision = Decision(plan, state, command, limits, cause, to)
    _HANDLERS[type(command)](decision, command)
    return decision


def step(decision: Decision, answers: list[Any] | None = None) -> list[Question]:
    """Go on until facts are needed, or (no questions) everything has come to rest."""
    questions = decision.advance(answers)
    while not questions and settle(decision):
        questions = decision.advance()
    state = decision.state
    awaited = not questions and state.parent is not None and state.final
    if awaited and any(isinstance(event, _ENDINGS) for event in decision.events):
        _tell_parent(decision)
    return questions


_ENDINGS = (
    e.OrchestrationCompleted,
    e.OrchestrationFaulted,
    e.OrchestrationCompensated,
    e.OrchestrationCancelled,
    e.OrchestrationTerminated,
)


def _tell_parent(d: Decision) -> None:
    state = d.state
    if state.parent is None:
        return
    parent, run = state.parent
    why = state.fault if state.status != "completed" else None
    undone = state.undone_by_parent
    if undone and state.status == "compensated":
        why = None
    d.send(
        parent,
        c.ReportChild,
        run=run,
        child=state.id,
        status=state.status,
        output=state.output,
        fault=why,
        undone=undone,
    )


def _note(d: Decision, command: c.AddNote) -> None:
    d.emit(e.NoteAdded, text=command.text)


_HANDLERS: dict[type[c.Command], Any] = {
    c.Start: start,
    c.Fork: fork,
    c.Migrate: migrate,
    c.ReportResult: report,
    c.ReportCallback: take,
    c.FireTimers: fire,
    c.ReceiveEvent: lambda d, command: d.spawn(receive(d, command)),
    c.Cancel: cancel,
    c.Terminate: terminate,
    c.Suspend: suspend,
    c.Resume: resume,
    c.Resolve: resolve,
    c.AddNote: _note,
    c.ReportPoison: poison,
    c.ClaimTask: claim,
    c.ReleaseTask: release,
    c.ReassignTask: reassign,
    c.AnswerTask: answer,
    c.ReportChild: lambda d, command: d.spawn(report_child(d, command)),
    c.UndoChild: undo_child,
}

BY_SCHEDULE: Final = "schedule"
_CAUSES: dict[type[c.Command], str] = {
    c.Start: "start",
    c.Fork: "fork",
    c.ReportResult: "result",
    c.ReportCallback: "callback",
    c.FireTimers: "timer",
    c.ReceiveEvent: "event",
    c.ReportChild: "child",
    c.UndoChild: "parent",
}
