"""Carries out rollbacks: decides the plan once everything has settled, starts each undo in its turn, takes the results.

A full rollback (id ``""``) and a partial one (id: the run whose insides are undone) are the same thing with another end.
The plan is an event; starting the next undo is a consequence of the state, checked in `progress` whenever a decision has
come to rest.
"""

from __future__ import annotations

from collections.abc import Sequence

from domain import events as e
from domain.branches import outcome
from domain.commands import UndoChild
from domain.data import Env, cause_json, describe_undone, evaluate
from domain.decision import Decision, Strand
from domain.errors import Fault, fault
from domain.expressions import EvaluationFailed, Expression
from domain.failing import end, raise_incident
from domain.flow import begin, complete, continues, open_scope
from domain.plan import For, Fork, Node, Try
from domain.rollback import IF_IS_FALSE, Candidate, arrange, candidates
from domain.state import COMPENSATE, ROOT, Rollback, Run, ScopeState


def decide(d: Decision, rollback: str, scopes: Sequence[str], reason: e.Cause) -> Strand:
    """Evaluate all conditions and record the plan. One for the whole takes over what partial ones have left."""
    state = d.state
    found, left = candidates(state, scopes)
    steps: dict[str, e.UndoStep] = {}
    chosen: list[Candidate] = []
    asked = [c for c in found if condition_of(d, c.run) is not None and c.run.effect == "completed"]
    results = {}
    for candidate in asked:
        results[candidate.run.id] = yield from condition(d, candidate.run, reason)
    for candidate in found:
        run = candidate.run
        result, why = results.get(run.id, (None, None))
        if result is False:
            left.append(e.LeftBehind(run.id, IF_IS_FALSE))
            continue
        chosen.append(candidate)
        steps[run.id] = e.UndoStep(run.id, run.effect, condition=result, condition_fault=why)
    plan = arrange(chosen, steps, parallel=d.plan.parallel_undo)
    for incident in state.open_incidents() if rollback == ROOT else ():
        if incident.kind == "compensation_failed":
            d.emit(e.IncidentResolved, number=incident.number, action="superseded")
    d.emit(e.CompensationDecided, rollback=rollback, reason=reason, plan=plan, left_behind=tuple(left))


def foresee(d: Decision) -> Strand:
    """The plan of the whole as it will be once the undos that are in progress have ended well. For looking ahead only."""
    assert d.state.cause is not None
    for run in [run for run in d.state.runs.values() if run.undo.status == "running"]:
        d.emit(e.UndoCompleted, run=run.id, rollback=run.undo.rollback, output=None)
    yield from decide(d, ROOT, (ROOT,), d.state.cause)


def condition_of(d: Decision, run: Run) -> Expression | None:
    node = d.plan.nodes.get(run.pointer)  # a migration may have left a task behind that nothing undoes
    return node.compensate.if_ if node is not None and node.compensate else None


def condition(d: Decision, run: Run, reason: e.Cause | None) -> Strand:
    """(result, None), or (None, why it cannot be evaluated)."""
    expression = condition_of(d, run)
    if expression is None:
        return None, None
    env = Env(d, run.scope, run.pointer, run, d.state.raw_input(run))
    env.extra |= {"task": describe_undone(run), "error": cause_json(reason)}
    if d.state.rolling_back:
        env.extra["context"] = d.state.rollback_context
    result = (yield from evaluate([(expression, run.data)], env, "compensate.if"))[0]
    if isinstance(result, EvaluationFailed):
        return None, result.detail
    return result.value is not None and result.value is not False, None


def progress(d: Decision) -> bool:
    """Start what may begin, end what has ended. Whether anything happened."""
    state = d.state
    if state.suspended:
        return False
    for rollback in state.rollbacks_going():
        if rollback.id != ROOT and state.rolling_back:
            continue
        if rollback.ready and rollback.running < d.limits.max_undos:
            start(d, rollback, rollback.steps[rollback.ready[0]])
            return True
        if not rollback.waiting:
            _finish(d, rollback)
            return True
    return False


def start(d: Decision, rollback: Rollback, step: e.UndoStep) -> None:
    """Begin the undo of one run."""
    run = d.state.runs[step.run]
    node = d.node(run)
    number = run.undo.number + 1
    if step.condition_fault is not None:
        d.emit(e.UndoStarted, run=run.id, rollback=rollback.id, number=number)
        failed(d, run, fault("expression", f"compensate.if: {step.condition_fault}").at(run.pointer))
    elif node.compensate is not None:
        d.emit(e.UndoStarted, run=run.id, rollback=rollback.id, number=number)
        data = run.data if run.effect == "completed" else None
        scope = open_scope(d, run, node.compensate.scope.pointer, COMPENSATE, input=data)
        begin(d, scope, node.compensate.scope.start)
    else:
        assert run.child is not None
        d.emit(e.UndoStarted, run=run.id, rollback=rollback.id, number=number, child=run.child[0])
        d.send(run.child[0], UndoChild, run=run.id, fault=rollback.reason.fault)


@continues(COMPENSATE)
def succeeded(d: Decision, run: Run, node: Node, scope: ScopeState) -> Strand:
    """The scope of an undo has completed."""
    d.emit(e.UndoCompleted, run=run.id, rollback=run.undo.rollback, output=scope.output)
    return
    yield


def failed(d: Decision, run: Run, why: Fault) -> None:
    """An undo failed for good: nothing earlier in its sequence is undone until an operator has decided."""
    d.emit(e.UndoFailed, run=run.id, rollback=run.undo.rollback, fault=why)
    raise_incident(d, "compensation_failed", run, why, ("retry", "skip", "complete"), run.undo.rollback)


def _finish(d: Decision, rollback: Rollback) -> None:
    """Every step has ended."""
    state = d.state
    if rollback.id != ROOT:
        d.emit(e.RollbackFinished, rollback=rollback.id)
        run = state.runs[rollback.id]
        if run.open and run.failing is None and d.live(run.scope):
            go_on(d, run)
    elif rollback.reason.kind == "cancel" and not state.undone_by_parent:
        end(d, e.OrchestrationCancelled)
    elif rollback.steps or state.undone_by_parent:
        end(d, e.OrchestrationCompensated)
    else:
        end(d, e.OrchestrationFaulted)


def go_on(d: Decision, run: Run) -> None:
    """After a partial rollback: a fork has its winners, a ``try`` waits for its retry, runs ``catch.do``, or completes."""
    work = d.node(run).work
    if isinstance(work, For | Fork) and work.parallel is not None:
        d.spawn(complete(d, run, outcome(d, run, work)))
        return
    if run.winner is not None:
        d.spawn(complete(d, run, d.state.scopes[run.winner].output))
        return
    assert isinstance(work, Try)
    if run.due_at is not None:
        return
    assert run.fault is not None
    if work.catch.scope is not None:
        variables = {work.catch.as_: run.fault.as_json()}
        scope = open_scope(d, run, work.catch.scope.pointer, "catch", variables=variables)
        begin(d, scope, work.catch.scope.start)
    else:
        to = (work.catch.then,) if work.catch.then else None
        d.spawn(complete(d, run, run.input, to))
