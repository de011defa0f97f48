"""What the rules of rollback promise for a saga, computed without the engine.

Written from the rules alone: it knows the order in which steps ended and what each of them did to the world, and says
which effects are undone, in which order, where an undo that fails for good stops everything, and how it all ends. It
shares no code with the domain, so that the two can be wrong together only by chance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["succeeds", "refuses", "uncertain"]
Undoing = Literal["ok", "once", "skip", "retry", "complete"]
"""``ok`` at once, ``once`` fails once and is retried by itself; the others fail for good, and this is what the operator
then chooses."""

FAILS_FOR_GOOD = frozenset({"skip", "retry", "complete"})


@dataclass(frozen=True)
class Step:
    """One step. `after`: its ``compensate.after``; None: it has no compensation. `branch`: of the fork, if in one."""

    name: str
    after: str | None = "uncertain"
    branch: int | None = None


@dataclass(frozen=True)
class Ended:
    """A step that ended, and how."""

    step: Step
    outcome: Outcome


@dataclass
class Promise:
    """What must be seen. `called`: calls of undos, in order, those repeated by a retry included once per call."""

    status: str
    plan: list[str]
    left_behind: set[str]
    outcome: str | None
    called: list[str] = field(default_factory=list)
    stops_at: list[str] = field(default_factory=list)
    """The steps whose undo raises an incident, in order."""


def has_something_to_undo(step: Step, outcome: Outcome) -> bool:
    """Completed and uncertain runs that declare ``compensate``; ``compensate.after`` may say otherwise."""
    if step.after is None:
        return False
    covered: dict[str, set[Outcome]] = {
        "completed": {"succeeds"},
        "uncertain": {"succeeds", "uncertain"},
        "attempted": {"succeeds", "uncertain", "refuses"},
    }
    return outcome in covered[step.after]


def leaves_something(step: Step, outcome: Outcome) -> bool:
    """An effect, or a doubt, that nothing undoes."""
    return outcome != "refuses" and not has_something_to_undo(step, outcome)


def promise(ended: list[Ended], undoing: dict[str, Undoing]) -> Promise:
    """For steps that ended in this order, undone in sequence; the last failure is why there is a rollback."""
    if all(each.outcome == "succeeds" for each in ended):
        return Promise("completed", [], set(), None)
    plan = [each.step.name for each in reversed(ended) if has_something_to_undo(each.step, each.outcome)]
    left = {each.step.name for each in ended if leaves_something(each.step, each.outcome)}
    skipped = [name for name in plan if undoing[name] == "skip"]
    outcome = "partial" if left or skipped else "complete" if plan else "none"
    promised = Promise("compensated" if plan else "faulted", plan, left, outcome)
    for name in plan:
        promised.called.append(name)
        if undoing[name] in ("once", "retry"):
            promised.called.append(name)
        if undoing[name] in FAILS_FOR_GOOD:
            promised.stops_at.append(name)
    return promised
