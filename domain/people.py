"""Tasks for people: asking, and what people say to it.

Who has a task, and whether it can still be answered, is decided here and so by the owner of the orchestration alone: of two
who claim at once the first has it, and of an answer and a deadline in the same instant the one that is decided first. The
other is told that it came too late.

A task that nobody has claimed has done nothing; of one that somebody has, nobody knows. A person's no is a definite one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from domain import events as e
from domain.asking import asked
from domain.commands import AnswerTask, ClaimTask, ReassignTask, ReleaseTask
from domain.data import fill, instant
from domain.decision import Decision, Strand
from domain.errors import Fault, NotFoundError, TaskClaimedError, TaskEndedError, fault
from domain.failing import fail
from domain.flow import complete, starts
from domain.plan import Human as Ask
from domain.plan import Node
from domain.state import COMPENSATE, ROOT, Run
from domain.state_people import Human
from domain.tasks import env_of

REMINDER: Final = "retrace.human.escalated.v1"
"""The type of the CloudEvent that reminds."""


def task_id(orchestration: str, number: int) -> str:
    """The public id of a task for people."""
    return f"{orchestration}-{number}"


@starts(Ask)
def _ask(d: Decision, run: Run, node: Node) -> Strand:
    assert isinstance(node.work, Ask)
    given = yield from fill(node.work.with_, run.input, env_of(d, run), "with")
    form = None if node.work.form is None else node.work.form.document
    d.emit(e.TaskAssigned, run=run.id, number=len(d.state.people) + 1, form=form, **asked(given, d.now))


# Who has it -----------------------------------------------------------------------------------------------------------


def claim(d: Decision, command: ClaimTask) -> None:
    """Nothing, when this person has it already. Raises NotFoundError, TaskClaimedError, TaskEndedError."""
    run, human = _open(d, command.number)
    _concerned(human, command)
    if human.assignee == command.user:
        return
    _free(human, command)
    d.emit(e.TaskClaimed, run=run.id, user=command.user)


def release(d: Decision, command: ReleaseTask) -> None:
    """Nothing, when nobody has it. Raises NotFoundError, TaskClaimedError, TaskEndedError."""
    run, human = _open(d, command.number)
    _concerned(human, command)
    if human.assignee is None:
        return
    if human.assignee != command.user:
        raise TaskClaimedError(f"{human.assignee} has the task.")
    d.emit(e.TaskReleased, run=run.id, user=command.user)


def reassign(d: Decision, command: ReassignTask) -> None:
    """Nothing, when it is as asked. Raises NotFoundError, TaskEndedError."""
    run, human = _open(d, command.number)
    candidates = None
    if command.users is not None or command.groups is not None:
        candidates = e.Candidates(tuple(command.users or ()), tuple(command.groups or ()))
    if command.assignee == human.assignee and candidates in (None, human.candidates):
        return
    d.emit(e.TaskReassigned, run=run.id, assignee=command.assignee, candidates=candidates, reason=command.reason)


def _find(d: Decision, number: int) -> tuple[Run, Human]:
    """Raises NotFoundError, or TaskEndedError for one that was asked again too often to be remembered."""
    people = d.state.people
    if not 1 <= number <= len(people):
        raise NotFoundError("There is no task with this id.")
    run = d.state.runs[people[number - 1]]
    human = run.asked(number)
    if human is None:
        raise TaskEndedError("The task was given up long ago, and asked again since.")
    return run, human


def _open(d: Decision, number: int) -> tuple[Run, Human]:
    run, human = _find(d, number)
    if human.answered is not None:
        raise TaskEndedError("The task was answered.")
    if human is not run.human:
        raise TaskEndedError("The task was given up; it was asked again under another id, or will be.")
    if not run.awaits_person or d.state.final:
        raise TaskEndedError(f"Nobody wants an answer any more: {run.fault.detail}" if run.fault else None)
    if d.state.suspended and _time_is_over(d, run):
        raise TaskEndedError("The time of the task is over, which takes effect when the orchestration goes on.")
    return run, human


def _time_is_over(d: Decision, run: Run) -> bool:
    """Whether a timeout of the task, or of what is around it up to an undo, is due: a resume looks at that first."""
    cut = [run.id]
    for scope in d.state.scope_chain(run.scope):
        if scope.slot == COMPENSATE:
            break
        cut.append(ROOT if scope.owner is None else scope.owner)
    past = d.state.pivot_passed is not None  # then the timeout of the whole cuts nothing
    kinds = ("timeout", "attempt") if past else ("timeout", "attempt", "workflow")
    return any(
        d.state.is_due((kind, key), d.now) for key in cut for kind in kinds if (kind == "workflow") == (key == ROOT)
    )


def _concerned(human: Human, command: ClaimTask | ReleaseTask | AnswerTask) -> None:
    """Raises NotFoundError for whoever has, and had, nothing to do with it."""
    had = any(step.user == command.user for step in human.handings)
    could = any(_is_among(each, command) for each in (human.candidates, *human.candidates_before))
    if not (could or had or human.assignee == command.user):
        raise NotFoundError(f"There is no task with this id for {command.user}.")


def _free(human: Human, command: ClaimTask | AnswerTask) -> None:
    """Raises TaskClaimedError when it is not for this person to take."""
    if human.assignee is not None:
        raise TaskClaimedError(f"{human.assignee} has the task.")
    if not _is_among(human.candidates, command):
        raise TaskClaimedError("The task is for others now.")


def _is_among(candidates: e.Candidates, command: ClaimTask | ReleaseTask | AnswerTask) -> bool:
    users, groups = candidates.users, candidates.groups
    return not (users or groups) or command.user in users or any(group in groups for group in command.groups)


# Answers --------------------------------------------------------------------------------------------------------------


def answer(d: Decision, command: AnswerTask) -> None:
    """Take an answer. Nothing, when it is the one that was taken. Raises NotFoundError, TaskClaimedError, TaskEndedError."""
    run, human = _find(d, command.number)
    if human.answered == command.digest:
        return
    run, human = _open(d, command.number)
    _concerned(human, command)
    if human.assignee != command.user:
        _free(human, command)
    d.emit(e.TaskAnswered, run=run.id, user=command.user, outcome=command.outcome, digest=command.digest)
    if d.state.suspended:
        result = {"outcome": command.outcome, "output": command.output, "fault": command.error, "person": True}
        kept = {name: value for name, value in result.items() if value is not None}
        d.emit(e.ResultRecorded, run=run.id, number=run.attempts, result=kept)
        return
    why = None if command.error is None else msgspec.convert(command.error, Fault)
    d.spawn(answered(d, run, command.outcome, command.output, why))


def answered(d: Decision, run: Run, outcome: str, output: Any, why: Fault | None) -> Strand:
    """What an answer means for the flow."""
    if not run.open:
        return
    if outcome == "completed":
        yield from complete(d, run, output)
    else:
        fail(d, run, why or fault("runtime", "no reason was given"), "failed")


# Time -----------------------------------------------------------------------------------------------------------------


def escalate(d: Decision, run: Run) -> None:
    """Every escalation that is due."""
    human = run.human
    while human is not None and (at := human.next_at) is not None and at <= d.now:
        step = human.escalations[human.escalated]
        for_whom = step.candidates or human.candidates
        has_it = None if step.candidates is not None else human.assignee
        event = _reminder(d, run, human, for_whom, has_it, step) if step.remind else None
        d.emit(
            e.TaskEscalated,
            run=run.id,
            step=human.escalated,
            candidates=step.candidates,
            priority=step.priority,
            event=event,
        )


def _reminder(
    d: Decision, run: Run, human: Human, candidates: e.Candidates, assignee: str | None, step: e.Escalation
) -> dict[str, Any]:
    id_ = task_id(d.state.id, human.number)
    return {
        "specversion": "1.0",
        "id": d.fresh_id(),
        "time": instant(d.now)["iso8601"],
        "source": f"/v1/orchestrations/{d.state.id}",
        "type": REMINDER,
        "subject": id_,
        "datacontenttype": "application/json",
        "data": {
            "id": id_,
            "orchestration": d.state.id,
            "task": run.name,
            "title": human.title,
            "candidates": {"users": list(candidates.users), "groups": list(candidates.groups)},
            "assignee": assignee,
            "priority": human.priority if step.priority is None else step.priority,
            "due_at": _told(human.due_at),
        },
    }


def _told(at: datetime | None) -> str | None:
    return None if at is None else str(instant(at)["iso8601"])


def unanswered(d: Decision, run: Run) -> None:
    """Nobody has answered in time."""
    why = fault("timeout", f"{run.name} was not answered in time")
    fail(d, run, why, "uncertain" if run.begun_by_person else "failed")
