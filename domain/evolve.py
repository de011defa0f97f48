"""Event -> state. The only code that writes a `State`; the same live, in replay and in time travel.

Never reads the plan, the clock or anything else outside the event. Every handler fires the triggers of
`domain.lifecycle` first, so an event that the life cycle does not allow cannot be folded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from domain import events as e
from domain.lifecycle import IllegalTransitionError, fire_orchestration, fire_run
from domain.state import ROOT, Held, Incident, Listening, Recorded, Rollback, Run, ScopeState, State, UndoStatus


def evolve(state: State, event: e.Event) -> State:
    """Fold one event into the state (in place) and return it."""
    HANDLERS[type(event)](state, event)
    state.version += 1
    state.updated_at = event.at
    return state


# The orchestration --------------------------------------------------------------------------------------------------


def _started(s: State, ev: e.OrchestrationStarted) -> None:
    fire_orchestration["start"](s)
    s.id, s.definition, s.digest = ev.id, ev.definition, ev.digest
    s.input = ev.input
    s.context = {}
    s.business_key, s.tags, s.request = ev.business_key, dict(ev.tags), ev.request
    s.parent, s.root, s.depth = ev.parent, ev.root or ev.id, ev.depth
    s.timeout_at, s.started_at = ev.timeout_at, ev.at
    data = ev.input if ev.data is UNSET else ev.data
    s.scopes[ROOT] = ScopeState(ROOT, "/do", None, "root", None, data, data)


def _suspended(s: State, ev: e.OrchestrationSuspended) -> None:
    fire_orchestration["suspend"](s)


def _resumed(s: State, ev: e.OrchestrationResumed) -> None:
    fire_orchestration["resume_rollback" if s.rolling_back else "resume"](s)
    for recorded in s.recorded:  # in flight until their results are handled, so that settling awaits them
        run = s.runs[recorded.run]
        if run.open and run.attempts == recorded.number:
            _fly(s, run, flying=True)
    s.recorded = []


def _cancel_requested(s: State, ev: e.CancelRequested) -> None:
    s.cancel_pending = (ev.reason, ev.actor, ev.override_pivot)


def _cancel_dropped(s: State, ev: e.CancelDropped) -> None:
    s.cancel_pending = None


def _ending(s: State, ev: e.EndingStarted) -> None:
    s.ending, s.settle_at = ev.after, ev.settle_at


def _completed(s: State, ev: e.OrchestrationCompleted) -> None:
    fire_orchestration["complete"](s)
    s.output, s.ended_at = ev.output, ev.at


def _end(trigger: str) -> Callable[[State, Any], None]:
    def handler(s: State, ev: e.Event) -> None:
        fire_orchestration[trigger](s)
        s.ended_at = ev.at
        if ROOT in s.rollbacks:
            s.rollbacks[ROOT].finished = True
        if trigger == "terminate":
            for recorded in s.recorded:  # nobody will handle them any more, but they tell what happened
                run = s.runs[recorded.run]
                if run.open and run.attempts == recorded.number:
                    _weaken(run, _told(recorded.result))
            for name in list(s.open):
                _cut_off(s, s.runs[name], ev)

    return handler


def _told(result: dict[str, Any]) -> e.Effect:
    """What a recorded result says of the world."""
    told = result.get("outcome") or result.get("status")
    if told in ("completed", "unusable"):
        return "completed"
    return "uncertain" if told in ("uncertain", "terminated") else "failed"


def _cut_off(s: State, run: Run, ev: e.Event) -> None:
    """Nothing more is done about this run; of an attempt in flight nobody knows."""
    doubtful = run.flying or run.effect == "uncertain"
    if run.flying:
        run.doubts = [*run.doubts, run.attempts]
        _weaken(run, "uncertain")
    fire_run["doubt" if doubtful else "cancel"](run)
    _close(s, run, ev)


def _nothing(s: State, ev: e.Event) -> None:
    """Recorded for people; the state does not depend on it."""


# Runs -----------------------------------------------------------------------------------------------------------------


def _new_run(s: State, ev: e.TaskScheduled | e.TaskSkipped) -> Run:
    pointer, _, number = ev.run.rpartition("#")
    run = Run(ev.run, pointer, int(number), ev.name, ev.kind, ev.scope, after=ev.after, started_at=ev.at)
    run.scopes = {}
    s.runs[ev.run] = run
    s.counts[pointer] = max(run.number, s.counts.get(pointer, 0))
    return run


def _scheduled(s: State, ev: e.TaskScheduled) -> None:
    run = s.runs.get(ev.run) or _new_run(s, ev)
    fire_run["schedule"](run)
    run.scope, run.after = ev.scope, ev.after
    run.input = s.raw_input(run) if ev.input is UNSET else ev.input
    run.timeout_at, run.effectful, run.undoable, run.pivot = ev.timeout_at, ev.effectful, ev.undoable, ev.pivot
    run.fault = run.failing = run.winner = run.due_at = run.ended_at = run.first_at = run.listening = None
    run.caught, run.base, run.held = 0, run.attempts, False
    run.undo.status = "armed" if ev.undoable else "none"
    s.scopes[ev.scope].runs[run.pointer] = run.id
    s.open[run.id] = None


def _skipped(s: State, ev: e.TaskSkipped) -> None:
    run = _new_run(s, ev)
    fire_run["skip"](run)
    run.input = run.output = run.data = s.raw_input(run)
    run.ended_at, run.order = ev.at, s.version + 1
    scope = s.scopes[ev.scope]
    scope.runs[run.pointer] = run.id
    _move(scope, ev.to)


def _move(scope: ScopeState, to: tuple[str, ...]) -> None:
    scope.tokens += sum(1 for target in to if target.startswith("/")) - 1


def _fly(s: State, run: Run, *, flying: bool) -> None:
    s.flying += int(flying) - int(run.flying)
    run.flying = flying


def _close(s: State, run: Run, ev: e.Event) -> None:
    """The run's token leaves it."""
    s.open.pop(run.id, None)
    s.failing.pop("r:" + run.id, None)
    _fly(s, run, flying=False)
    run.due_at = run.timeout_at = run.settle_at = None
    run.ended_at, run.order = ev.at, s.version + 1


def _attempt_started(s: State, ev: e.AttemptStarted) -> None:
    run = s.runs[ev.run]
    fire_run["start"](run)
    run.attempts, run.key, run.request = ev.number, ev.key, ev
    run.first_at = run.first_at or ev.at
    run.due_at = None
    run.child = ev.child
    _fly(s, run, flying=True)
    if ev.compensates is not None and (undone := s.undoing(run.scope)):
        s.runs[undone].undo.attempts += 1


def _weaken(run: Run, effect: e.Effect) -> None:
    """Doubt is not cleared by a later refusal, and what was done stays done."""
    rank = ("none", "failed", "uncertain", "completed")
    if rank.index(effect) > rank.index(run.effect):
        run.effect = effect


def _attempt_failed(s: State, ev: e.AttemptFailed) -> None:
    run = s.runs[ev.run]
    fire_run["retry"](run)
    _weaken(run, ev.effect)
    if ev.effect == "uncertain":
        run.doubts = [*run.doubts, ev.number]
    run.fault, run.due_at = ev.fault, ev.retry_at
    _fly(s, run, flying=False)


def _task_completed(s: State, ev: e.TaskCompleted) -> None:
    run = s.runs[ev.run]
    if not (run.open or run.held):
        raise IllegalTransitionError(f"{ev.run} has ended as {run.status} and is not held")
    fire_run["complete"](run)
    run.output = ev.output
    run.data = ev.output if ev.data is UNSET else ev.data
    run.fault = None
    run.held = False
    if not ev.passed_over:
        run.effect, run.doubts = "completed", []
    if ev.context is not UNSET:
        s.context = ev.context
    _close(s, run, ev)
    _move(s.scopes[run.scope], ev.to)
    if run.pivot and run.effect == "completed":
        s.pivot_passed = run.id


def _ended_badly(trigger: str) -> Callable[[State, Any], None]:
    def handler(s: State, ev: Any) -> None:
        run = s.runs[ev.run]
        had_token, was_held = run.open or run.held, run.held
        fire_run[trigger](run)
        run.held = trigger != "cancel" and ev.held
        if trigger == "fail":
            _weaken(run, ev.effect)
            if was_held:
                run.effect, run.doubts = ev.effect, []  # an operator knows
            if ev.effect == "completed":
                run.output, run.data, run.doubts = ev.output, ev.output, []
            if run.pivot and run.effect == "completed":
                s.pivot_passed = run.id
        elif trigger == "doubt":
            if run.flying:
                run.doubts = [*run.doubts, run.attempts]
            _weaken(run, "uncertain")
        if trigger != "cancel":
            run.fault = ev.fault
        _close(s, run, ev)
        if had_token and not run.held:
            s.scopes[run.scope].tokens -= 1

    return handler


def _failing(s: State, ev: e.TaskFailing) -> None:
    run = s.runs[ev.run]
    run.failing, run.settle_at = ev.fault, ev.settle_at
    s.failing["r:" + run.id] = None


def _token_joined(s: State, ev: e.TokenJoined) -> None:
    run = s.runs[ev.run]
    run.joined += 1
    s.scopes[run.scope].tokens -= 1


def _loop_started(s: State, ev: e.LoopStarted) -> None:
    s.runs[ev.run].items = ev.items


def _wait_started(s: State, ev: e.WaitStarted) -> None:
    run = s.runs[ev.run]
    fire_run["wait"](run)
    run.due_at = ev.due_at


# Scopes -----------------------------------------------------------------------------------------------------------------


def _scope_entered(s: State, ev: e.ScopeEntered) -> None:
    owner = s.runs[ev.run]
    if owner.status in ("scheduled", "retrying"):
        fire_run["start"](owner)
    owner.due_at = None
    data = owner.input if ev.input is UNSET else ev.input
    if ev.after is not None:
        data = s.scopes[ev.after].output
    scope = ScopeState(ev.scope, ev.pointer, ev.run, ev.slot, owner.scope, data, data, dict(ev.variables))
    scope.previous = owner.scopes.get(ev.slot)
    scope.runs = {}
    scope.timeout_at = ev.timeout_at
    if ev.slot == "try":
        owner.first_at = owner.first_at or ev.at
    owner.scopes[ev.slot] = ev.scope
    owner.entries += 1
    s.scopes[ev.scope] = scope


def _scope_completed(s: State, ev: e.ScopeCompleted) -> None:
    scope = s.scopes[ev.scope]
    scope.phase, scope.order = "done", s.version + 1
    scope.output = s.runs[ev.after].data if ev.after else scope.input
    if ev.output is not UNSET:
        scope.output = ev.output
    if ev.context is not UNSET:
        s.context = ev.context
    owner = s.runs[scope.owner] if scope.owner else None
    if owner and owner.listening and scope.slot.isdigit():
        owner.listening.queue -= 1
        owner.listening.outputs.append(scope.output)
    s.failing.pop("s:" + scope.id, None)


def _scope_failing(s: State, ev: e.ScopeFailing) -> None:
    scope = s.scopes[ev.scope]
    scope.phase, scope.fault, scope.settle_at = "failing", ev.fault, ev.settle_at
    s.failing["s:" + ev.scope] = None


def _scope_closed(s: State, ev: e.ScopeClosed) -> None:
    scope = s.scopes[ev.scope]
    scope.phase, scope.order = "closed", s.version + 1
    s.failing.pop("s:" + ev.scope, None)


def _error_caught(s: State, ev: e.ErrorCaught) -> None:
    run = s.runs[ev.run]
    run.fault = ev.fault
    if ev.retry_at is not None:
        run.caught += 1
        run.due_at = ev.retry_at
        if not ev.rollback:
            fire_run["retry"](run)


def _fork_won(s: State, ev: e.ForkWon) -> None:
    run = s.runs[ev.run]
    run.winner, run.settle_at = ev.scope, ev.settle_at
    s.failing["r:" + run.id] = None


# Events from and to the outside -----------------------------------------------------------------------------------------


def _listen_started(s: State, ev: e.ListenStarted) -> None:
    run = s.runs[ev.run]
    fire_run["wait"](run)
    run.listening = Listening(ev.types, [dict(expected) for expected in ev.expected], [], set(), set(), 0, [])


def _event_received(s: State, ev: e.EventReceived) -> None:
    s.seen[f"{ev.source} {ev.id}"] = ev.digest
    if ev.outcome == "held":
        s.held.append(Held(ev.source, ev.id, ev.event))


def _event_consumed(s: State, ev: e.EventConsumed) -> None:
    listening = s.runs[ev.run].listening
    assert listening is not None
    if ev.until:
        listening.until_matched.add(ev.filter)
    else:
        listening.values.append(ev.value)
        listening.queue += 1
        listening.matched.add(ev.filter)
        if 0 <= ev.filter < len(listening.expected):
            for known in listening.expected:
                for name, value in ev.correlated.items():
                    if known.get(name) is None and name in known:
                        known[name] = value
    listening.done = listening.done or ev.done
    s.held = [held for held in s.held if (held.source, held.id) != (ev.source, ev.id)]


def _event_emitted(s: State, ev: e.EventEmitted) -> None:
    """It is in the outbox, so it is done, whatever becomes of the task."""
    run = s.runs[ev.run]
    run.effect = "completed"
    run.output = run.data = ev.event
    s.emitted += 1


# Rollback -----------------------------------------------------------------------------------------------------------------


def _rollback_started(s: State, ev: e.RollbackStarted) -> None:
    s.undone_by_parent = s.status == "completed"
    fire_orchestration["roll_back"](s)
    s.rolling_back, s.cause, s.settle_at = True, ev.reason, ev.settle_at
    s.ended_at = None
    s.fault = ev.reason.fault
    s.cancel_pending = s.ending = None
    s.rollback_context = s.context
    s.recorded = []
    for run in s.runs.values():
        run.held = False
    s.scopes[ROOT].phase = "failing"
    s.failing["s:"] = None


def _compensation_decided(s: State, ev: e.CompensationDecided) -> None:
    n = len(ev.plan)
    context = s.rollback_context if ev.rollback == ROOT else s.context
    s.rollbacks[ev.rollback] = Rollback(
        ev.rollback, ev.reason, ev.plan, ev.left_behind, [None] * n, [False] * n, context
    )
    for step in ev.plan:
        undo = s.runs[step.run].undo
        undo.status, undo.rollback = "scheduled", ev.rollback
    s.failing.pop("s:" if ev.rollback == ROOT else "", None)
    if ev.rollback == ROOT:
        s.settle_at = None


def _step(s: State, ev: Any) -> tuple[Rollback, int] | None:
    rollback = s.rollbacks.get(ev.rollback)
    index = rollback.index(ev.run) if rollback else None
    return (rollback, index) if rollback is not None and index is not None else None


def _undo_started(s: State, ev: e.UndoStarted) -> None:
    run = s.runs[ev.run]
    fire_run["undo"](run)
    run.undo.status, run.undo.number, run.undo.fault = "running", ev.number, None
    run.undo.child_busy = ev.child is not None
    if found := _step(s, ev):
        found[0].started[found[1]] = True


def _undo_completed(s: State, ev: e.UndoCompleted) -> None:
    run = s.runs[ev.run]
    fire_run["undone"](run)
    _undo_ended(s, run, ev, "completed", "done")


def _undo_failed(s: State, ev: e.UndoFailed) -> None:
    run = s.runs[ev.run]
    fire_run["undo_failed"](run)
    run.undo.child_busy = False
    run.undo.status, run.undo.fault = "failed", ev.fault


def _undo_skipped(s: State, ev: e.UndoSkipped) -> None:
    _undo_ended(s, s.runs[ev.run], ev, "skipped", "skipped")


def _undo_ended(s: State, run: Run, ev: e.UndoCompleted | e.UndoSkipped, status: UndoStatus, how: str) -> None:
    run.undo.status, run.undo.fault, run.undo.child_busy = status, None, False
    if found := _step(s, ev):
        found[0].ended[found[1]] = how


def _plan_corrected(s: State, ev: e.PlanCorrected) -> None:
    run = s.runs[ev.run]
    run.effect = ev.effect
    if ev.effect == "completed":
        run.output = run.data = ev.output
    rollback = _concerned(s, ev.run)
    if rollback is None:
        return
    left = tuple(left for left in rollback.left_behind if left.run != ev.run)
    rollback.left_behind = (*left, e.LeftBehind(ev.run, ev.why)) if ev.why else left
    index = rollback.index(ev.run)
    if index is None and ev.added:
        _add_step(s, rollback, e.UndoStep(ev.run, ev.effect, (), ev.condition, ev.condition_fault))
    elif index is not None and ev.dropped:
        rollback.ended[index] = "void"
        run.undo.status = "armed" if run.undoable else "none"
    elif index is not None:
        told = {"outcome": ev.effect, "condition": ev.condition, "condition_fault": ev.condition_fault}
        _replace_step(rollback, index, **told)


def _concerned(s: State, run: str) -> Rollback | None:
    """The rollback in progress that has this run in its plan or has left it behind; else that of the whole."""
    going = [rollback for rollback in s.rollbacks.values() if not rollback.finished]
    for rollback in going:
        if rollback.index(run) is not None or any(left.run == run for left in rollback.left_behind):
            return rollback
    return next((rollback for rollback in going if rollback.id == ROOT), None)


def _replace_step(rollback: Rollback, index: int, **members: Any) -> None:
    changed = msgspec.structs.replace(rollback.steps[index], **members)
    rollback.steps = (*rollback.steps[:index], changed, *rollback.steps[index + 1 :])


def _add_step(s: State, rollback: Rollback, step: e.UndoStep) -> None:
    """After all that is newer or has begun, before all that is older: safe in every kind of plan."""
    new, run = len(rollback.steps), s.runs[step.run]
    older = {i for i, known in enumerate(rollback.steps) if not rollback.started[i] and _order(s, known) < run.order}
    first = tuple(i for i in range(new) if i not in older)
    for i in older:
        _replace_step(rollback, i, after=(*rollback.steps[i].after, new))
    rollback.steps = (*rollback.steps, msgspec.structs.replace(step, after=first))
    rollback.ended.append(None)
    rollback.started.append(False)
    run.undo.status, run.undo.rollback = "scheduled", rollback.id


def _order(s: State, step: e.UndoStep) -> int:
    return s.runs[step.run].order


def _rollback_finished(s: State, ev: e.RollbackFinished) -> None:
    s.rollbacks[ev.rollback].finished = True
    run = s.runs[ev.rollback]
    if run.due_at is not None and run.status == "running":
        fire_run["retry"](run)


# Exceptions from the rule ---------------------------------------------------------------------------------------------------


def _incident_raised(s: State, ev: e.IncidentRaised) -> None:
    if ev.kind == "after_pivot" and ev.run is None:
        s.timeout_at = None
    s.incidents.append(Incident(ev.number, ev.kind, ev.run, ev.fault, ev.rollback, ev.actions, ev.at))


def _incident_resolved(s: State, ev: e.IncidentResolved) -> None:
    """Another try of an undo is a step that has not started; a condition that cannot be evaluated is not asked again."""
    incident = s.incidents[ev.number - 1]
    incident.resolved = ev.action
    if incident.run is not None and ev.action == "superseded":
        s.runs[incident.run].held = False
    if incident.kind == "compensation_failed" and incident.run is not None and ev.action == "retry":
        rollback = s.rollbacks[incident.rollback]
        index = rollback.index(incident.run)
        if index is not None:
            rollback.started[index] = False
            s.runs[incident.run].undo.status = "scheduled"
            _replace_step(rollback, index, condition_fault=None)


def _result_late(s: State, ev: e.ResultLate) -> None:
    run = s.runs[ev.run]
    run.doubts = [] if ev.effect == "completed" else [number for number in run.doubts if number != ev.number]
    if run.open and ev.effect == "completed":
        run.effect, run.output, run.data = ev.effect, ev.output, ev.output


def _result_recorded(s: State, ev: e.ResultRecorded) -> None:
    run = s.runs[ev.run]
    s.recorded.append(Recorded(ev.at, ev.run, ev.number, ev.result))
    _fly(s, run, flying=False)


HANDLERS: dict[type[e.Event], Callable[[State, Any], None]] = {
    e.OrchestrationStarted: _started,
    e.OrchestrationSuspended: _suspended,
    e.OrchestrationResumed: _resumed,
    e.CancelRequested: _cancel_requested,
    e.CancelDropped: _cancel_dropped,
    e.EndingStarted: _ending,
    e.OrchestrationCompleted: _completed,
    e.OrchestrationFaulted: _end("fault"),
    e.OrchestrationCompensated: _end("compensate"),
    e.OrchestrationCancelled: _end("cancel"),
    e.OrchestrationTerminated: _end("terminate"),
    e.NoteAdded: _nothing,
    e.TaskScheduled: _scheduled,
    e.TaskSkipped: _skipped,
    e.AttemptStarted: _attempt_started,
    e.AttemptFailed: _attempt_failed,
    e.TaskCompleted: _task_completed,
    e.TaskFailed: _ended_badly("fail"),
    e.TaskUncertain: _ended_badly("doubt"),
    e.TaskCancelled: _ended_badly("cancel"),
    e.TaskFailing: _failing,
    e.TokenJoined: _token_joined,
    e.LoopStarted: _loop_started,
    e.WaitStarted: _wait_started,
    e.ScopeEntered: _scope_entered,
    e.ScopeCompleted: _scope_completed,
    e.ScopeFailing: _scope_failing,
    e.ScopeClosed: _scope_closed,
    e.ErrorCaught: _error_caught,
    e.ForkWon: _fork_won,
    e.ListenStarted: _listen_started,
    e.EventReceived: _event_received,
    e.EventConsumed: _event_consumed,
    e.EventEmitted: _event_emitted,
    e.RollbackStarted: _rollback_started,
    e.CompensationDecided: _compensation_decided,
    e.UndoStarted: _undo_started,
    e.UndoCompleted: _undo_completed,
    e.UndoFailed: _undo_failed,
    e.UndoSkipped: _undo_skipped,
    e.PlanCorrected: _plan_corrected,
    e.RollbackFinished: _rollback_finished,
    e.IncidentRaised: _incident_raised,
    e.IncidentResolved: _incident_resolved,
    e.ResultRecorded: _result_recorded,
    e.ResultLate: _result_late,
}
