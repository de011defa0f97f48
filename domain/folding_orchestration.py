"""What the events of a whole orchestration do to its state: start, suspension, cancels that wait, the ways it ends."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from domain import events as e
from domain.folding import Handler, close, finish, fly, weaken
from domain.lifecycle import fire_orchestration, fire_run
from domain.state import ROOT, Run, ScopeState, State


def _started(s: State, ev: e.OrchestrationStarted) -> None:
    fire_orchestration["start"](s)
    s.id, s.definition, s.digest = ev.id, ev.definition, ev.digest
    s.input = ev.input
    s.context = {}
    s.business_key, s.tags, s.request = ev.business_key, dict(ev.tags), ev.request
    s.parent, s.root, s.depth = ev.parent, ev.root or ev.id, ev.depth
    s.timeout_at, s.started_at, s.trace = ev.timeout_at, ev.at, ev.trace
    data = ev.input if ev.data is UNSET else ev.data
    s.scopes[ROOT] = ScopeState(ROOT, "/do", None, "root", None, data, data)


def _suspended(s: State, ev: e.OrchestrationSuspended) -> None:
    fire_orchestration["suspend"](s)


def _resumed(s: State, ev: e.OrchestrationResumed) -> None:
    fire_orchestration["resume_rollback" if s.rolling_back else "resume"](s)
    for recorded in s.recorded:  # in flight until their results are handled, so that settling awaits them
        run = s.runs[recorded.run]
        if run.open and run.attempts == recorded.number:
            fly(s, run, flying=True)
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


def _end(trigger: str) -> Handler:
    def handler(s: State, ev: e.Event) -> None:
        fire_orchestration[trigger](s)
        s.ended_at = ev.at
        if ROOT in s.rollbacks:
            finish(s, ROOT)
        if trigger == "terminate":
            for recorded in s.recorded:  # nobody will handle them any more, but they tell what happened
                run = s.runs[recorded.run]
                if run.open and run.attempts == recorded.number:
                    weaken(run, _told(run, recorded.result))
            for name in list(s.open):
                _cut_off(s, s.runs[name], ev)

    return handler


def _told(run: Run, result: dict[str, Any]) -> e.Effect:
    """What a recorded result says of the world; an acknowledgement says nothing."""
    acknowledged = run.request is not None and run.request.callback and "callback" not in result
    told = result.get("outcome") or result.get("status")
    if told in ("completed", "unusable"):
        return "uncertain" if acknowledged else "completed"
    return "uncertain" if told in ("uncertain", "terminated") else "failed"


def _cut_off(s: State, run: Run, ev: e.Event) -> None:
    """Nothing more is done about this run; of an attempt in flight nobody knows."""
    unanswered = run.flying or run.awaits_callback
    doubtful = unanswered or run.effect == "uncertain"
    if unanswered:
        run.doubts = [*run.doubts, run.attempts]
        weaken(run, "uncertain")
    fire_run["doubt" if doubtful else "cancel"](run)
    close(s, run, ev)


def _nothing(s: State, ev: e.Event) -> None:
    """Recorded for people; the state does not depend on it."""


HANDLERS: dict[type[e.Event], Handler] = {
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
}
