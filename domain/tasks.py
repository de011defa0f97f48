"""The kinds of task that need nothing from outside: set, switch, raise, wait, emit, do, fork, for, try, split, join."""

from __future__ import annotations

from typing import Any

from domain import events as e
from domain.branches import branch_done, start_branches
from domain.data import Env, duration_s, evaluate, fill, instant, truth, value, value_of
from domain.decision import Decision, Faulted, Strand
from domain.errors import Fault, fault
from domain.failing import before_cutting, begin_settling, fail
from domain.flow import begin, complete, continues, open_scope, starts
from domain.plan import Do, Emit, For, Fork, Join, Node, Raise, Set, Split, Switch, Try, Wait
from domain.state import COMPENSATE, Run, ScopeState


def env_of(d: Decision, run: Run) -> Env:
    return Env(d, run.scope, run.pointer, run, d.state.raw_input(run))


@starts(Set)
def _set(d: Decision, run: Run, node: Node) -> Strand:
    assert isinstance(node.work, Set)
    result = yield from fill(node.work.value, run.input, env_of(d, run), "set")
    yield from complete(d, run, result)


@starts(Switch)
def _switch(d: Decision, run: Run, node: Node) -> Strand:
    """The first case that holds, else the default, else where the task itself goes."""
    assert isinstance(node.work, Switch)
    conditions = [(case, case.when) for case in node.work.cases if case.when is not None]
    env = env_of(d, run)
    results = yield from evaluate([(when, run.input) for _, when in conditions], env, "when")
    target = next((case.then for case in node.work.cases if case.when is None), node.then)
    for (case, _), result in zip(conditions, results, strict=True):
        found = value_of(result, f"switch.{case.name}.when")
        if found is not None and found is not False:
            target = case.then
            break
    yield from complete(d, run, run.input, (target,))


@starts(Raise)
def _raise(d: Decision, run: Run, node: Node) -> Strand:
    assert isinstance(node.work, Raise)
    error = yield from fill(node.work.error, run.input, env_of(d, run), "raise.error")
    raise Faulted(_fault(error))


def _fault(error: Any) -> Fault:
    valid = isinstance(error, dict) and isinstance(error.get("type"), str) and type(error.get("status")) is int
    if not valid:
        return fault("expression", "raise.error did not give an object with a type and a status")
    texts: dict[str, Any] = {k: str(error[k]) for k in ("title", "detail", "instance") if error.get(k) is not None}
    return Fault(error["type"], error["status"], **texts)


@starts(Wait)
def _wait(d: Decision, run: Run, node: Node) -> Strand:
    assert isinstance(node.work, Wait)
    length = yield from duration_s(node.work.duration, run.input, env_of(d, run), "wait")
    d.emit(e.WaitStarted, run=run.id, due_at=d.in_s(length))


@starts(Emit)
def _emit(d: Decision, run: Run, node: Node) -> Strand:
    """Complete as soon as the event is in the outbox, which is the same commit."""
    assert isinstance(node.work, Emit)
    attributes = yield from fill(node.work.event, run.input, env_of(d, run), "emit.event.with")
    event = {"specversion": "1.0", "id": d.fresh_id(), "time": instant(d.now)["iso8601"], **attributes}
    for name in ("source", "type", "id"):
        if not isinstance(event.get(name), str) or not event[name]:
            raise Faulted(fault("validation", f"emit.event.with.{name} must be a string that is not empty"))
    if "data" in event and "datacontenttype" not in event:
        event["datacontenttype"] = "application/json"
    d.emit(e.EventEmitted, run=run.id, event=event)
    yield from complete(d, run, event)


# Composites -------------------------------------------------------------------------------------------------------------


@starts(Do)
def _do(d: Decision, run: Run, node: Node) -> Strand:
    assert isinstance(node.work, Do)
    members: dict[str, Any] = {}
    if node.work.arguments is not None:
        members["input"] = yield from fill(node.work.arguments, run.input, env_of(d, run), "with")
    scope = open_scope(d, run, node.work.scope.pointer, "do", **members)
    begin(d, scope, node.work.scope.start)


@continues(Do)
def _done(d: Decision, run: Run, node: Node, scope: ScopeState) -> Strand:
    yield from complete(d, run, scope.output)


@starts(Fork)
def _fork(d: Decision, run: Run, node: Node) -> Strand:
    assert isinstance(node.work, Fork)
    if node.work.parallel is not None:
        yield from start_branches(d, run, node.work)
        return
    if not node.work.branches:
        yield from complete(d, run, [])
    for number, branch in enumerate(node.work.branches):
        scope = open_scope(d, run, branch.pointer, str(number))
        begin(d, scope, branch.start)


@continues(Fork)
def _branch_done(d: Decision, run: Run, node: Node, scope: ScopeState) -> Strand:
    assert isinstance(node.work, Fork)
    if node.work.parallel is not None:
        yield from branch_done(d, run, node.work, scope)
        return
    if node.work.compete:
        others = [other for other in run.scopes.values() if other != scope.id]
        yield from before_cutting(d, others)
        if run.winner is None and d.live(run.scope) and run.open:
            d.emit(e.ForkWon, run=run.id, scope=scope.id, settle_at=d.settle_at)
            begin_settling(d, others, cut=True)
        return
    scopes = d.state.scopes
    # From the last: branches mostly end in their order, and a wide fork must not be counted through at each end.
    if any(scopes[name].phase != "done" for slot, name in reversed(run.scopes.items()) if slot != COMPENSATE):
        return
    yield from complete(d, run, [scopes[run.scopes[str(n)]].output for n in range(len(node.work.branches))])


@starts(For)
def _for(d: Decision, run: Run, node: Node) -> Strand:
    assert isinstance(node.work, For)
    items = yield from value(node.work.in_, run.input, env_of(d, run), "for.in")
    if not isinstance(items, list):
        raise Faulted(fault("expression", "for.in did not give an array"))
    d.emit(e.LoopStarted, run=run.id, items=items, parallel=node.work.parallel is not None)
    if node.work.parallel is not None:
        yield from start_branches(d, run, node.work)
        return
    yield from _turn(d, run, node.work, 0, None)


def _turn(d: Decision, run: Run, work: For, index: int, previous: ScopeState | None) -> Strand:
    """Enter the next turn, or complete with the output of the last one."""
    assert run.items is not None
    current = previous.output if previous else run.input
    if index >= len(run.items):
        yield from complete(d, run, current)
        return
    variables = {work.each: run.items[index], work.at: index}
    if work.while_ is not None:
        env = env_of(d, run)
        env.extra.update(variables)
        if not (yield from truth(work.while_, current, env, "while")):
            yield from complete(d, run, current)
            return
    after = previous.id if previous else None
    scope = open_scope(d, run, work.scope.pointer, str(index), after=after, variables=variables)
    begin(d, scope, work.scope.start)


@continues(For)
def _turned(d: Decision, run: Run, node: Node, scope: ScopeState) -> Strand:
    assert isinstance(node.work, For)
    if node.work.parallel is not None:
        yield from branch_done(d, run, node.work, scope)
        return
    try:
        yield from _turn(d, run, node.work, int(scope.slot) + 1, scope)
    except Faulted as stop:
        fail(d, run, stop.fault)


@starts(Try)
def enter_try(d: Decision, run: Run, node: Node) -> Strand:
    """The first time, or once more."""
    assert isinstance(node.work, Try)
    retry, timeout_at = node.work.catch.retry, None
    try:
        if retry is not None and retry.attempt_timeout is not None:
            length = yield from duration_s(
                retry.attempt_timeout, run.input, env_of(d, run), "retry.limit.attempt.duration"
            )
            timeout_at = d.in_s(length)
    except Faulted as stop:
        fail(d, run, stop.fault)
        return
    scope = open_scope(d, run, node.work.scope.pointer, "try", timeout_at=timeout_at)
    begin(d, scope, node.work.scope.start)


@continues(Try)
def _tried(d: Decision, run: Run, node: Node, scope: ScopeState) -> Strand:
    assert isinstance(node.work, Try)
    to = (node.work.catch.then,) if scope.slot == "catch" and node.work.catch.then else None
    yield from complete(d, run, scope.output, to)


# Several tokens in one scope ----------------------------------------------------------------------------------------------


@starts(Split)
def _split(d: Decision, run: Run, node: Node) -> Strand:
    assert isinstance(node.work, Split)
    yield from complete(d, run, run.input, node.work.targets)


@starts(Join)
def _join(d: Decision, run: Run, node: Node) -> Strand:
    """The first token opens the join and waits; `domain.flow` counts the others."""
    assert isinstance(node.work, Join)
    if node.work.tokens <= 1:
        yield from complete(d, run, run.input)
