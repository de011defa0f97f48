"""How an orchestration begins: input and timeout are checked and evaluated, then the first token is set going.

Input that cannot be used ends it at once, as an error of its own. (A start by a client was checked against ``input.schema``
before it came here and never gets that far.)
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from domain import commands as c
from domain import events as e
from domain.data import Env, duration_s, fill, validate
from domain.decision import Decision, Faulted, Strand
from domain.failing import uncaught
from domain.flow import begin
from domain.plan import Plan
from domain.state import ROOT, ScopeState, State
from domain.streams import open_streams


def start(d: Decision, command: c.Start) -> None:
    d.spawn(_starting(d, command))


def _starting(d: Decision, command: c.Start) -> Strand:
    plan = d.plan
    why = None
    data: Any = UNSET
    timeout_at = None
    try:
        if plan.input_schema or plan.input_from or plan.timeout:
            env = before(d, plan, command)
            yield from validate(plan.input_schema, command.input, env, "input.schema")
            if plan.input_from is not None:
                data = yield from fill(plan.input_from, command.input, env, "input.from")
            if plan.timeout is not None:
                length = yield from duration_s(plan.timeout, command.input, env, "timeout")
                timeout_at = d.in_s(length)
    except Faulted as stop:
        why = stop.fault
    started = e.OrchestrationStarted(
        at=d.now,
        actor=d.actor,
        cause=d.cause,
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
        trace=command.trace,
        scheduled_for=command.scheduled_for,
    )
    d.record(started)
    if why is not None:
        uncaught(d, why.at("/input"), None)
    else:
        if plan.streams:
            open_streams(d)
        begin(d, ROOT, plan.root.start)


def before(d: Decision, plan: Plan, command: c.Start | c.Fork) -> Env:
    """What can be seen while the orchestration has no first event yet: an empty root scope."""
    empty = State(id=command.id, input=command.input, started_at=d.now, context={})
    empty.scopes[ROOT] = ScopeState(ROOT, plan.root.pointer, None, "root", None)
    return Env(Decision(plan, empty, command, d.limits), ROOT, "/input", None, command.input)
