"""The aggregate: `decide`, the one entry of the domain.

``decide(plan, state, command, facts)`` gives the events that a command leads to, or the questions whose answers are still
needed; asked again with more facts it gives the same or the next. It is pure: the live engine, dry runs, replay and the
tests use the same function with other facts. The engine, which owns its states, uses `opened` and `step` below to spare
the copy that `decide` makes of the state.
"""

from __future__ import annotations

import copy
from typing import Any

import msgspec
from msgspec import UNSET

from domain import commands as c
from domain import events as e
from domain.attempts import again, replay_recorded, report, report_child
from domain.data import Env, duration_s, fill, validate
from domain.decision import Decision, Faulted, Limits, Question, Strand
from domain.errors import (
    IncidentResolvedError,
    InvalidInputError,
    NotFoundError,
    OrchestrationEndedError,
    PastPivotError,
    Problem,
    fault,
)
from domain.failing import fail, fail_composite, fail_scope, raise_incident, start_rollback, uncaught
from domain.flow import begin, begin_work, complete, finish, pass_over, schedule
from domain.listening import offer_held, receive
from domain.plan import Plan, Try
from domain.plan import Run as RunWork
from domain.settling import settle
from domain.state import ROOT, Incident, Run, ScopeState, State
from domain.tasks import enter_try


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


def decide(plan: Plan, state: State, command: c.Command, facts: Facts, limits: Limits | None = None) -> Decided | Needs:
    """Decide on a copy of the state. Raises a `RetraceError` when the command is refused."""
    decision = opened(plan, copy.deepcopy(state), command, limits or Limits())
    questions = step(decision)
    while questions:
        if any(question.key not in facts for question in questions):
            return Needs(tuple(questions))
        questions = step(decision, [facts[question.key] for question in questions])
    return Decided(tuple(decision.events), tuple(decision.messages), decision.state)


def opened(plan: Plan, state: State, command: c.Command, limits: Limits) -> Decision:
    """Begin a decision on this very state."""
    decision = Decision(plan, state, command, limits, _CAUSES.get(type(command)))
    _HANDLERS[type(command)](decision, command)
    return decision


def step(decision: Decision, answers: list[Any] | None = None) -> list[Question]:
    """Go on until facts are needed, or (no questions) everything has come to rest."""
    questions = decision.advance(answers)
    while not questions and settle(decision):
        questions = decision.advance()
    if not questions and decision.state.final and any(isinstance(event, _ENDINGS) for event in decision.events):
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


# Commands ----------------------------------------------------------------------------------------------------------------


def _start(d: Decision, command: c.Start) -> None:
    d.spawn(_starting(d, command))


def _starting(d: Decision, command: c.Start) -> Strand:
    """`input.schema` that fails refuses a start by a client; a child's is a fault of the parent's task."""
    plan = d.plan
    env = Env(_before(d, command), ROOT, "/input", None, command.input)
    why = None
    data: Any = UNSET
    timeout_at = None
    try:
        if plan.input_schema is not None:
            yield from validate(plan.input_schema, command.input, env, "input.schema")
        if plan.input_from is not None:
            data = yield from fill(plan.input_from, command.input, env, "input.from")
        if plan.timeout is not None:
            length = yield from duration_s(plan.timeout, command.input, env, "timeout")
            timeout_at = d.in_s(length)
    except Faulted as stop:
        why = stop.fault
    d.emit(
        e.OrchestrationStarted,
        id=command.id,
        definition=plan.reference,
        digest=plan.digest,
        input=command.input,
        data=data,
        business_key=command.business_key,
        tags=command.tags,
        request=command.request,
        parent=command.parent,
        root=command.root,
        depth=command.depth,
        timeout_at=timeout_at,
    )
    if why is not None:
        uncaught(d, why.at("/input"), None)
    else:
        begin(d, ROOT, plan.root.start)


def _fire(d: Decision, command: c.FireTimers) -> None:
    if d.state.final or d.state.suspended:
        return
    for when, kind, key in sorted(d.state.due(), key=lambda timer: timer[0]):
        if when <= d.now:
            d.spawn(_timer(d, kind, key))


def _timer(d: Decision, kind: str, key: str) -> Strand:
    """A timer is due; what went before may have made it void."""
    state = d.state
    if not any(k == kind and n == key and when <= d.now for when, k, n in state.due()):
        return
    run = state.runs.get(key)
    if kind == "workflow":
        late = fault("timeout", "the orchestration took longer than its timeout").at("/timeout")
        if state.pivot_passed is not None:
            raise_incident(d, "after_pivot", None, late, ("skip",))
        else:
            start_rollback(d, e.Cause("timeout", fault=late), cut=True)
    elif kind == "settle":
        _give_up(d, key)
    elif run is None:
        return
    elif kind == "attempt":
        why = fault("timeout", f"this attempt of {run.name} took longer than its limit").at(run.pointer)
        fail_scope(d, run.scopes["try"], why, cut=True)
    elif kind == "timeout" and run.kind in ("listen", "wait") and not run.entries:
        fail(d, run, fault("timeout", f"{run.name} took longer than its timeout"))
    elif kind == "timeout":
        why = fault("timeout", f"{run.name} took longer than its timeout")
        fail_composite(d, run, why.at(run.pointer), cut=True)
        if run.child is not None and run.flying:
            d.send(run.child[0], c.Cancel, reason="its parent's task timed out")
        elif isinstance(d.node(run).work, RunWork):
            fail(d, run, why)
    elif run.status == "waiting":
        yield from complete(d, run, run.input)
    elif isinstance(d.node(run).work, Try):
        yield from enter_try(d, run, d.node(run))
    else:
        yield from again(d, run)


def _give_up(d: Decision, key: str) -> None:
    """Settling took too long: what is still in flight is uncertain."""
    why = fault("timeout", "no answer while the orchestration settled")
    for run in list(d.state.settling(key)):
        if run.failing is not None and d.live(run.scope):
            fail(d, run, run.failing, "uncertain", None, run.attempts)
        else:
            d.emit(e.TaskUncertain, run=run.id, attempt=run.attempts, fault=why.at(run.pointer))


def _cancel(d: Decision, command: c.Cancel) -> None:
    state = d.state
    if state.final:
        raise OrchestrationEndedError(state.status)
    if state.pivot_passed is not None and not command.override_pivot and not (state.rolling_back or state.ending):
        raise PastPivotError
    if state.suspended:
        _resume(d, c.Resume(at=command.at, seed=command.seed, reason=command.reason), lift=True)
    if state.rolling_back or state.ending:
        return
    pivot = state.undecided_pivot
    if pivot is None or (command.override_pivot and not pivot.open):
        start_rollback(d, e.Cause("cancel", text=command.reason, actor=command.actor))
    elif state.cancel_pending is None or (command.override_pivot and not state.cancel_pending[2]):
        d.emit(e.CancelRequested, reason=command.reason, override_pivot=command.override_pivot)


def _terminate(d: Decision, command: c.Terminate) -> None:
    state = d.state
    if state.status == "terminated":
        return
    if state.final:
        raise OrchestrationEndedError(state.status)
    for name in state.open:
        run = state.runs[name]
        if run.child is not None and run.flying:
            d.send(run.child[0], c.Terminate, reason="its parent was terminated")
    for rollback in state.rollbacks.values():
        for undo in rollback.steps:
            run = state.runs[undo.run]
            if run.undo.child_busy and run.child is not None:
                d.send(run.child[0], c.Terminate, reason="its parent was terminated")
    d.emit(e.OrchestrationTerminated, reason=command.reason)


def _suspend(d: Decision, command: c.Suspend) -> None:
    if d.state.final:
        raise OrchestrationEndedError(d.state.status)
    if not d.state.suspended:
        d.emit(e.OrchestrationSuspended, reason=command.reason)


def _resume(d: Decision, command: c.Resume, *, lift: bool = False) -> None:
    """Handle what was recorded and what has become due meanwhile, in the order of its time."""
    state = d.state
    if state.final:
        raise OrchestrationEndedError(state.status)
    if not state.suspended:
        return
    recorded = list(state.recorded)
    due = [timer for timer in state.due() if timer[0] <= d.now and not lift]
    d.emit(e.OrchestrationResumed, reason=command.reason)
    late = [(r.at, 0, replay_recorded(d, state.runs[r.run], r.number, r.result)) for r in recorded]
    late += [(when, 1, _timer(d, kind, key)) for when, kind, key in due]
    d.spawn(_one_by_one([strand for _, _, strand in sorted(late, key=lambda entry: entry[:2])]))
    d.spawn(offer_held(d))


def _one_by_one(strands: list[Strand]) -> Strand:
    for strand in strands:
        yield from strand


def _resolve(d: Decision, command: c.Resolve) -> None:
    state = d.state
    if not 1 <= command.number <= len(state.incidents):
        raise NotFoundError(f"There is no incident {command.number}.")
    incident = state.incidents[command.number - 1]
    if incident.resolved is not None:
        raise IncidentResolvedError(f"Incident {command.number} was resolved before ({incident.resolved}).")
    if command.action not in incident.actions:
        allowed = ", ".join(incident.actions)
        raise InvalidInputError([Problem("/action", f"this incident allows: {allowed}", "not-allowed")])
    if state.final and incident.kind != "late_result":  # to have taken note of that is possible at any time
        raise OrchestrationEndedError(state.status)
    if state.suspended and incident.kind in ("uncertain_pivot", "after_pivot"):
        raise InvalidInputError([Problem("/action", "suspended: resume first, then resolve", "suspended")])
    resolved = {"number": command.number, "action": command.action, "reason": command.reason, "output": command.output}
    d.emit(e.IncidentResolved, **resolved)
    run = state.runs[incident.run] if incident.run else None
    if incident.kind == "compensation_failed" and run is not None:
        _resolve_undo(d, incident, run, command)
    elif run is not None and run.held and d.live(run.scope):
        _resolve_run(d, run, command)
    elif run is None and incident.kind == "after_pivot" and "retry" in incident.actions:
        _resolve_output(d, command)


def _resolve_undo(d: Decision, incident: Incident, run: Run, command: c.Resolve) -> None:
    """For a retry the event is enough: the step may start again as soon as nothing is suspended."""
    if command.action == "skip":
        d.emit(e.UndoSkipped, run=run.id, rollback=incident.rollback, reason=command.reason or "")
    elif command.action == "complete":
        d.emit(e.UndoCompleted, run=run.id, rollback=incident.rollback, by_hand=True, output=command.output)


def _resolve_run(d: Decision, run: Run, command: c.Resolve) -> None:
    """A token that was held: try again, go on with an output, go on without, or fail after all."""
    match command.action:
        case "retry":
            d.spawn(_repeat(d, run))
        case "complete":
            d.spawn(complete(d, run, command.output))
        case "skip":
            pass_over(d, run)
        case _:
            why = run.fault or fault("runtime", "an operator decided that it failed")
            fail(d, run, why, "failed")


def _resolve_output(d: Decision, command: c.Resolve) -> None:
    """All is done, but the output of the orchestration could not be made, and there is no way back."""
    state = d.state
    in_root = (run for run in state.runs.values() if run.scope == ROOT and run.order)
    last = state.ending or max(in_root, key=lambda run: run.order).id
    if command.action == "retry":
        d.spawn(finish(d, last))
    else:
        d.emit(
            e.OrchestrationCompleted, output=command.output if command.action == "complete" else state.runs[last].data
        )


def _repeat(d: Decision, run: Run) -> Strand:
    """Another attempt of a run whose token was held, under the same key."""
    data: Any = UNSET if run.input is d.state.raw_input(run) else run.input
    schedule(d, d.node(run), run.scope, run.id, run.after, input=data)
    yield from begin_work(d, run)


def _note(d: Decision, command: c.AddNote) -> None:
    d.emit(e.NoteAdded, text=command.text)


def _poison(d: Decision, command: c.ReportPoison) -> None:
    if not d.state.final and not any(i.kind == "poison" for i in d.state.open_incidents()):
        raise_incident(d, "poison", None, fault("runtime", command.detail), ("retry",))


def _undo_child(d: Decision, command: c.UndoChild) -> None:
    """From the parent: undo yourself; the one way out of `completed`."""
    state = d.state
    parent = state.parent[0] if state.parent else ""
    refusal = None
    if state.pivot_passed is not None:
        refusal = fault("runtime", "the child is past its pivot and cannot be undone")
    elif state.status == "terminated":
        refusal = fault("runtime", "the child was terminated; what it had done has to be undone by hand")
    if refusal is not None:
        d.send(parent, c.ReportChild, run=command.run, child=state.id, status=state.status, fault=refusal, undone=True)
    elif state.status == "completed":
        start_rollback(d, e.Cause("error", fault=command.fault, text="undone by its parent"))
    elif state.final:
        d.send(parent, c.ReportChild, run=command.run, child=state.id, status=state.status, undone=True)
    else:  # it will tell when it has ended
        _cancel(d, c.Cancel(at=command.at, seed=command.seed, reason="undone by its parent"))


_HANDLERS: dict[type[c.Command], Any] = {
    c.Start: _start,
    c.ReportResult: lambda d, command: d.spawn(report(d, command)),
    c.FireTimers: _fire,
    c.ReceiveEvent: lambda d, command: d.spawn(receive(d, command)),
    c.Cancel: _cancel,
    c.Terminate: _terminate,
    c.Suspend: _suspend,
    c.Resume: _resume,
    c.Resolve: _resolve,
    c.AddNote: _note,
    c.ReportPoison: _poison,
    c.ReportChild: lambda d, command: d.spawn(report_child(d, command)),
    c.UndoChild: _undo_child,
}

_CAUSES: dict[type[c.Command], str] = {
    c.Start: "start",
    c.ReportResult: "result",
    c.FireTimers: "timer",
    c.ReceiveEvent: "event",
    c.ReportChild: "child",
    c.UndoChild: "parent",
}


def _before(d: Decision, command: c.Start) -> Decision:
    """Something to look around in while the orchestration has no first event yet: an empty root scope."""
    empty = State(id=command.id, input=command.input, started_at=d.now, context={})
    empty.scopes[ROOT] = ScopeState(ROOT, d.plan.root.pointer, None, "root", None)
    return Decision(d.plan, empty, command, d.limits)
