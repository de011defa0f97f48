"""Tasks that run a child orchestration: starting it, its end, and the undo that is asked of it.

A child lives in its parent's partition, so its start, its end and its undo are messages within one transaction. It ends
like a callout: done, a definite failure (it has undone itself), or, when it was terminated, nobody knows.
"""

from __future__ import annotations

from typing import Any

import msgspec

from domain import events as e
from domain.attempts import judge, late
from domain.commands import ReportChild, ReportResult, Start, UndoChild
from domain.data import fill
from domain.decision import Child, ChildChoice, Decision, Faulted, Question, Strand
from domain.errors import Fault, fault
from domain.failing import fail
from domain.flow import complete, starts
from domain.plan import Node
from domain.plan import Run as RunWork
from domain.state import DETACHED, Run
from domain.tasks import env_of
from domain.undoing import failed as undo_failed


@starts(RunWork)
def _run(d: Decision, run: Run, node: Node) -> Strand:
    """Start a child in the same transaction; it lives in this orchestration's partition."""
    work = node.work
    assert isinstance(work, RunWork)
    env = env_of(d, run)
    input_: Any = run.input
    if work.input is not None:
        input_ = yield from fill(work.input, run.input, env, "run.workflow.input")
    if d.state.depth + 1 > d.limits.max_depth:
        raise Faulted(fault("configuration", f"children may be nested {d.limits.max_depth} deep at most"))
    choice = ChildChoice(work.namespace, work.name, work.version)
    child = (yield [Question((run.id, "child"), choice)])[0]
    if not isinstance(child, Child):
        wanted = f"{work.namespace}/{work.name}@{work.version}"
        raise Faulted(fault("configuration", f"there is no definition {wanted}; deploy it and retry"))
    if not d.live(run.scope) or not run.open:
        return
    d.emit(
        e.AttemptStarted,
        run=run.id,
        number=run.attempts + 1,
        key=run.key or d.fresh_id(),
        arguments=input_,
        callout="child",
        function="" if work.await_ else DETACHED,
        child=(child.id, child.definition, child.digest),
    )
    d.send(
        child.id,
        Start,
        digest=child.digest,
        id=child.id,
        input=input_,
        parent=(d.state.id, run.id) if work.await_ else None,
        root=d.state.root,
        depth=d.state.depth + 1,
        trace=d.state.trace,
    )
    if not work.await_:  # of its own, so that it ends also when what is around it fails meanwhile
        d.spawn_next(complete(d, run, run.input, attempt=run.attempts))


def again_child(d: Decision, run: Run) -> Strand:
    """The delay of a retry is over: another child."""
    try:
        yield from _run(d, run, d.node(run))
    except Faulted as stop:
        fail(d, run, stop.fault)


# What children tell ---------------------------------------------------------------------------------------------------


def report_child(d: Decision, command: ReportChild) -> Strand:
    """A child ended, or answered to the request to undo itself."""
    run = d.state.runs.get(command.run)
    if run is None or run.child is None or run.child[0] != command.child:
        return
    if run.undo.child_busy:
        _undone(d, run, command)
    elif command.undone:
        return  # the undo was given up by an operator
    elif d.state.suspended and run.flying:
        result = {"child": command.child, "status": command.status, "output": command.output}
        if command.fault is not None:
            result["fault"] = msgspec.to_builtins(command.fault)
        d.emit(e.ResultRecorded, run=run.id, number=run.attempts, result=result)
    else:
        yield from child_ended(d, run, run.attempts, command)


def _undone(d: Decision, run: Run, command: ReportChild) -> None:
    """The child that has to undo itself has ended. One that was still running was cancelled, which is as good."""
    if command.status == "terminated":
        why = command.fault or fault("runtime", "the child was terminated; what it had done has to be undone by hand")
        undo_failed(d, run, why)
    elif command.undone and command.fault is not None:
        undo_failed(d, run, command.fault)
    elif command.undone or command.status != "completed":
        d.emit(e.UndoCompleted, run=run.id, rollback=run.undo.rollback)
    else:
        d.send(command.child, UndoChild, run=run.id, fault=d.state.rollbacks[run.undo.rollback].reason.fault)


def child_ended(d: Decision, run: Run, number: int, command: ReportChild) -> Strand:
    outcome, why = _outcome(command)
    result = ReportResult(
        at=d.now, seed=b"", run=run.id, number=number, outcome=outcome, output=command.output, fault=why
    )
    if not (run.open and run.flying and run.attempts == number):
        yield from late(d, run, result)
    elif run.failing is not None:
        effects: dict[str, e.Effect] = {"completed": "completed", "refused": "failed"}
        fail(d, run, run.failing, effects.get(outcome, "uncertain"), command.output, number)
    else:
        yield from judge(d, run, result)


def _outcome(command: ReportChild) -> tuple[Any, Fault | None]:
    match command.status:
        case "completed":
            return "completed", None
        case "terminated":
            return "uncertain", fault("runtime", "the child was terminated; what it had done was not undone")
        case status:
            why = command.fault or fault("cancelled", f"the child ended as {status}")
            return "refused", msgspec.structs.replace(why, instance=None)
