"""Moves tokens through a plan: entering a task, completing it, leaving a scope, and where an error goes.

One mechanism for every kind of task. What is particular to a kind is registered with `starts` (how its work begins) and
`continues` (what happens when a scope that it opened has ended); see `domain.tasks`, `domain.attempts`,
`domain.children` and `domain.listening`. What has to wait until everything inside has settled is in `domain.settling`.

The order of a task: ``if`` (on the raw input, before anything else, as the standard has it), ``input.schema``,
``input.from``, the work, ``output.as``, ``output.schema``, ``export.as``, ``export.schema``, ``then``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from msgspec import UNSET

from domain import events as e
from domain.data import Env, duration_s, fill, truth, validate
from domain.decision import Decision, Faulted, Strand
from domain.errors import fault
from domain.failing import (
    abandon,
    begin_settling,
    end,
    fail,
    fail_composite,
    propagate,
    raise_incident,
    start_rollback,
    uncaught,
)
from domain.plan import END, EXIT, Call, Join, Listen, Node
from domain.state import COMPENSATE, ROOT, Run, ScopeState

Starter = Callable[[Decision, Run, Node], Strand | None]
"""Begins the work of a task. None: all that can be done now is done, and nothing had to be asked."""
Continuation = Callable[[Decision, Run, Node, ScopeState], Strand]
S = TypeVar("S", bound=Starter)

_STARTERS: dict[type, Starter] = {}
_CONTINUATIONS: dict[type | str, Continuation] = {}


def starts(work: type) -> Callable[[S], S]:
    """Registers how a kind of task begins."""

    def register(function: S) -> S:
        _STARTERS[work] = function
        return function

    return register


def continues(work: type | str) -> Callable[[Continuation], Continuation]:
    """Registers what a composite does when a scope that it opened has completed; COMPENSATE for the scope of an undo."""

    def register(function: Continuation) -> Continuation:
        _CONTINUATIONS[work] = function
        return function

    return register


# Into a task ----------------------------------------------------------------------------------------------------------


def enter(d: Decision, scope: str, pointer: str, after: str | None) -> Strand:
    """A token reaches a task."""
    state, node = d.state, d.plan.nodes[pointer]
    if isinstance(node.work, Join) and _joined(d, scope, pointer):
        return
    name = _run_id(d, scope, pointer)
    if len(d.events) >= d.limits.max_events:
        schedule(d, node, scope, name, after)
        _overrun(d, state.runs[name])
        return
    if node.prepares:
        yield from _prepare(d, scope, node, name, after)
    else:
        schedule(d, node, scope, name, after)
        if (work := begin_work(d, state.runs[name], node)) is not None:
            yield from work


def _prepare(d: Decision, scope: str, node: Node, name: str, after: str | None) -> Strand:
    """What stands between the token and the work: ``if``, the input, the timeout."""
    state = d.state
    raw = state.runs[after].data if after else state.scopes[scope].input
    env = Env(d, scope, node.pointer, None, raw, name)
    try:
        if node.if_ is not None and not (yield from truth(node.if_, raw, env, "if")):
            _skip(d, scope, node, name, after)
            return
        yield from validate(node.input_schema, raw, env, "input.schema")
        data: Any = UNSET
        if node.input_from is not None:
            data = yield from fill(node.input_from, raw, env, "input.from")
        timeout_at = None
        if node.timeout is not None and not isinstance(node.work, Call):
            env.extra["input"] = current = raw if data is UNSET else data
            length = yield from duration_s(node.timeout, current, env, "timeout")
            timeout_at = d.in_s(length)
    except Faulted as stop:
        schedule(d, node, scope, name, after)
        fail(d, state.runs[name], stop.fault)
        return
    schedule(d, node, scope, name, after, data=data, timeout_at=timeout_at)
    if (work := begin_work(d, state.runs[name], node)) is not None:
        yield from work


def _skip(d: Decision, scope: str, node: Node, name: str, after: str | None) -> None:
    """Its ``if`` is false: the raw input goes on to the next task in line, whatever ``then`` says."""
    if name in d.state.runs:
        name = d.fresh_run(node.pointer)
    to = node.skip_to or node.then
    d.emit(e.TaskSkipped, run=name, scope=scope, name=node.name, kind=node.kind, after=after, to=_targets(to))
    go(d, scope, to, name)


def _overrun(d: Decision, run: Run) -> None:
    """Far too many events in one decision: nothing inside may catch that, or the loop would go on."""
    number = d.limits.max_events
    why = fault("runtime", f"{number} events without a pause: a loop needs a wait, or the collection is too large")
    why, outermost = why.at(run.pointer), run
    for around in d.state.scope_chain(run.scope):
        if around.slot == COMPENSATE or around.owner is None:
            break
        outermost = d.state.runs[around.owner]
    if outermost is run:
        fail(d, run, why)
    else:
        fail_composite(d, outermost, why, cut=False)


def begin_work(d: Decision, run: Run, node: Node) -> Strand | None:
    """What the task is for begins; a fault on the way is the run's."""
    try:
        work = _STARTERS[type(node.work)](d, run, node)
    except Faulted as stop:
        fail(d, run, stop.fault)
        return None
    return None if work is None else _working(d, run, work)


def _working(d: Decision, run: Run, work: Strand) -> Strand:
    try:
        yield from work
    except Faulted as stop:
        fail(d, run, stop.fault)


def schedule(
    d: Decision,
    node: Node,
    scope: str,
    name: str,
    after: str | None,
    *,
    data: Any = UNSET,
    timeout_at: datetime | None = None,
) -> None:
    """Record that a token reached a task. `data`: the transformed input, if anything transforms it."""
    event = e.TaskScheduled(
        at=d.now,
        actor=d.actor,
        cause=d.cause,
        run=name,
        scope=scope,
        name=node.name,
        kind=node.kind,
        after=after,
        input=data,
        timeout_at=timeout_at,
        effectful=node.effectful,
        undoable=node.undoable,
        pivot=node.pivot,
    )
    d.record(event)


def _run_id(d: Decision, scope: str, pointer: str) -> str:
    """A fresh run, or, when the scope repeats another, the one there that did not complete."""
    state = d.state
    found = state.scopes[scope]
    if found.previous is not None and pointer not in found.runs:
        earlier = state.earlier(scope, pointer)
        if earlier is not None and earlier.status in ("failed", "uncertain", "cancelled"):
            return earlier.id
    return d.fresh_run(pointer)


def _joined(d: Decision, scope: str, pointer: str) -> bool:
    """Whether the token ends here because an earlier one already waits in this join."""
    waiting = d.state.scopes[scope].runs.get(pointer)
    if waiting is None or not d.state.runs[waiting].open:
        return False
    d.emit(e.TokenJoined, run=waiting)
    run = d.state.runs[waiting]
    work = d.node(run).work
    assert isinstance(work, Join)
    if run.joined + 1 >= work.tokens:
        d.spawn(complete(d, run, run.input), scope)
    return True


# Out of a task --------------------------------------------------------------------------------------------------------


def complete(d: Decision, run: Run, raw: Any, to: tuple[str, ...] | None = None, attempt: int | None = None) -> Strand:
    """The work is done: transform, record, go on. An error in here faults the flow; what was done stays done."""
    node = d.node(run)
    data, context = UNSET, UNSET
    if node.transforms:
        try:
            data, context = yield from _transformed(d, run, node, raw)
        except Faulted as stop:
            fail(d, run, stop.fault, "completed" if run.effectful or attempt is not None else "none", raw, attempt)
            return
    completed(d, run, raw, to, attempt, data, context)


def completed(
    d: Decision,
    run: Run,
    raw: Any,
    to: tuple[str, ...] | None = None,
    attempt: int | None = None,
    data: Any = UNSET,
    context: Any = UNSET,
) -> None:
    """Nothing has to be transformed any more: record, go on."""
    if not run.open and not run.held:
        return  # settled while the answer was being looked at
    live = d.live(run.scope)
    targets = (to if to is not None else _targets(d.node(run).then)) if live else ()
    event = e.TaskCompleted(
        at=d.now,
        actor=d.actor,
        cause=d.cause,
        run=run.id,
        attempt=attempt,
        output=raw,
        data=data,
        context=context,
        to=targets,
    )
    d.record(event)
    if run.pivot and d.state.cancel_pending is not None:
        reason, actor, override = d.state.cancel_pending
        if override:
            start_rollback(d, e.Cause("cancel", text=reason, actor=actor))
            return
        d.emit(e.CancelDropped)
    for target in targets:
        go(d, run.scope, target, run.id)


def _transformed(d: Decision, run: Run, node: Node, raw: Any) -> Strand:
    """(transformed output, new ``$context``), each UNSET where nothing changes it."""
    env = Env(d, run.scope, run.pointer, run, d.state.raw_input(run))
    env.extra["task_output"] = raw
    data: Any = UNSET
    context: Any = UNSET
    if node.output_as is not None:
        data = yield from fill(node.output_as, raw, env, "output.as")
    current = raw if data is UNSET else data
    yield from validate(node.output_schema, current, env, "output.schema")
    if node.export_as is not None:
        env.extra["output"] = current
        context = yield from fill(node.export_as, current, env, "export.as")
        yield from validate(node.export_schema, context, env, "export.schema")
    return data, context


def _targets(then: str) -> tuple[str, ...]:
    return (then,)


def go(d: Decision, scope: str, to: str, after: str) -> None:
    """Move a token along an edge, if its scope is (and in its turn still will be) live."""
    if to == EXIT:
        if d.state.scopes[scope].tokens <= 0:
            d.spawn(_exit(d, scope, after), scope)
    elif to != END:
        d.spawn(enter(d, scope, to, after), scope)
    elif d.live(scope):
        _end(d, scope, after)


def _exit(d: Decision, scope: str, after: str | None) -> Strand:
    """The last token has left a scope."""
    found = d.state.scopes[scope]
    if found.owner is None:
        yield from finish(d, after)
        return
    owner = d.state.runs[found.owner]
    node = d.node(owner)
    output: Any = UNSET
    context: Any = UNSET
    if isinstance(node.work, Listen) and found.slot != COMPENSATE:
        raw = d.state.runs[after].data if after else found.input
        env = Env(d, scope, node.pointer, owner, raw)
        try:
            if node.work.foreach_output is not None:
                output = yield from fill(node.work.foreach_output, raw, env, "foreach.output.as")
            if node.work.foreach_export is not None:
                env.extra["output"] = current = raw if output is UNSET else output
                context = yield from fill(node.work.foreach_export, current, env, "foreach.export.as")
        except Faulted as stop:
            propagate(d, scope, stop.fault.at(node.pointer), owner)
            return
    d.emit(e.ScopeCompleted, scope=scope, after=after, output=output, context=context)
    # From here on it is the owner that goes on: its strand lives as long as the scope around the owner, not this one.
    if found.slot == COMPENSATE:
        d.spawn_next(_CONTINUATIONS[COMPENSATE](d, owner, node, found))
    else:
        d.spawn_next(_CONTINUATIONS[type(node.work)](d, owner, node, found), owner.scope)


def _end(d: Decision, scope: str, after: str) -> None:
    """``then: end``: the whole orchestration, or the whole undo when inside one."""
    state = d.state
    undo = next((s for s in state.scope_chain(scope) if s.slot == COMPENSATE), None)
    if undo is not None:
        for name in [n for n in state.open if state.inside(state.runs[n].scope, undo.id)]:
            abandon(d, state.runs[name], fault("cancelled", "the undo ended"))
        d.spawn(_exit(d, undo.id, after), undo.id)
        return
    d.emit(e.EndingStarted, after=after, settle_at=d.settle_at)
    begin_settling(d, (ROOT,), cut=False)


def finish(d: Decision, after: str | None) -> Strand:
    """The root scope is done: the orchestration completes, unless its output cannot be made."""
    state, plan = d.state, d.plan
    output = raw = state.runs[after].data if after else state.scopes[ROOT].input
    try:
        if plan.output_as is not None or plan.output_schema is not None:
            env = Env(d, ROOT, "/output", None, raw)
            if plan.output_as is not None:
                output = yield from fill(plan.output_as, raw, env, "output.as")
            yield from validate(plan.output_schema, output, env, "output.schema")
    except Faulted as stop:
        why = stop.fault.at("/output")
        if state.pivot_passed is not None:
            raise_incident(d, "after_pivot", None, why, ("retry", "skip", "complete"))
        else:
            uncaught(d, why, None)
        return
    end(d, e.OrchestrationCompleted, output=output)


def pass_over(d: Decision, run: Run) -> None:
    """An operator lets the token of a held run go on with the raw input; what is known of its effect stays."""
    raw, targets = d.state.raw_input(run), _targets(d.node(run).then)
    d.emit(e.TaskCompleted, run=run.id, output=raw, passed_over=True, to=targets)
    for target in targets:
        go(d, run.scope, target, run.id)


# Scopes ----------------------------------------------------------------------------------------------------------------


def open_scope(d: Decision, run: Run, pointer: str, slot: str, **members: Any) -> str:
    """Enter a scope on behalf of a run and set its first token going."""
    scope = f"{run.id}.{slot}.{run.entries + 1}"
    event = e.ScopeEntered(
        at=d.now, actor=d.actor, cause=d.cause, scope=scope, pointer=pointer, run=run.id, slot=slot, **members
    )
    d.record(event)
    return scope


def begin(d: Decision, scope: str, start: str | None) -> None:
    """The first token of a scope; an empty scope completes with its input."""
    d.spawn(_exit(d, scope, None) if start is None else enter(d, scope, start, None), scope)
