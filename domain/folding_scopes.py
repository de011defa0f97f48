"""What the events of a scope do to the state: a task list is entered, completes, fails, has settled; and what a ``try`` or
whoever opened several at once makes of that.
"""

from __future__ import annotations

from msgspec import UNSET

from domain import events as e
from domain.folding import Handler, watch
from domain.lifecycle import fire_run
from domain.state import ScopeState, State


def _scope_entered(s: State, ev: e.ScopeEntered) -> None:
    owner = s.runs[ev.run]
    if owner.status in ("scheduled", "retrying"):
        fire_run["start"](owner)
    owner.due_at = owner.more_at = None
    data = owner.input if ev.input is UNSET else ev.input
    if ev.after is not None:
        data = s.scopes[ev.after].output
    scope = ScopeState(ev.scope, ev.pointer, ev.run, ev.slot, owner.scope, data, data, dict(ev.variables))
    scope.previous = owner.scopes.get(ev.slot) or owner.earlier.get(ev.slot)
    scope.timeout_at = ev.timeout_at
    if ev.slot == "try":
        owner.first_at = owner.first_at or ev.at
        if ev.timeout_at is not None:
            watch(s, owner)
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
    if owner and scope.slot.isdigit():
        owner.done += 1
        if owner.listening:
            owner.listening.queue -= 1
            owner.listening.outputs.append(scope.output)
    s.failing.pop("s:" + scope.id, None)


def _scope_failing(s: State, ev: e.ScopeFailing) -> None:
    scope = s.scopes[ev.scope]
    scope.phase, scope.fault, scope.settle_at = "failing", ev.fault, ev.settle_at
    s.failing["s:" + ev.scope] = None
    if scope.owner is not None and scope.slot.isdigit():
        s.runs[scope.owner].lost += 1


def _scope_closed(s: State, ev: e.ScopeClosed) -> None:
    scope = s.scopes[ev.scope]
    scope.phase, scope.order = "closed", s.version + 1
    if scope.owner is not None and scope.slot.isdigit():
        s.runs[scope.owner].closed += 1
    s.failing.pop("s:" + ev.scope, None)


def _error_caught(s: State, ev: e.ErrorCaught) -> None:
    run = s.runs[ev.run]
    run.fault = ev.fault
    if ev.retry_at is not None:
        run.caught += 1
        run.due_at = ev.retry_at
        watch(s, run)
        if not ev.rollback:
            fire_run["retry"](run)


def _branches_deferred(s: State, ev: e.BranchesDeferred) -> None:
    run = s.runs[ev.run]
    if run.status == "scheduled":
        fire_run["start"](run)
    run.more_at = ev.due_at
    watch(s, run)


def _fork_won(s: State, ev: e.ForkWon) -> None:
    run = s.runs[ev.run]
    run.winner, run.settle_at = ev.scope, ev.settle_at
    s.failing["r:" + run.id] = None


HANDLERS: dict[type[e.Event], Handler] = {
    e.ScopeEntered: _scope_entered,
    e.ScopeCompleted: _scope_completed,
    e.ScopeFailing: _scope_failing,
    e.ScopeClosed: _scope_closed,
    e.ErrorCaught: _error_caught,
    e.BranchesDeferred: _branches_deferred,
    e.ForkWon: _fork_won,
}
