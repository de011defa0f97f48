"""Whether two events are the same step of the same path.

What a definition merely says about a task (that it could be undone, how long its answer is waited for, which definition it
is) may differ without another path being taken: should it ever matter, the events that come of it differ. Where a token goes
next shows in the event that follows, which tells more than the edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from domain import events as e
from domain.redeciding import bare

_MERELY_SAID: Final[dict[type[e.Event], frozenset[str]]] = {
    e.OrchestrationStarted: frozenset({"definition", "digest", "timeout_at"}),
    e.TaskScheduled: frozenset({"timeout_at", "effectful", "undoable", "pivot"}),
    e.TaskSkipped: frozenset({"to"}),
    e.TaskCompleted: frozenset({"to"}),
    e.AttemptStarted: frozenset({"timeout_s", "idempotent", "key", "compensates"}),
    e.ScopeEntered: frozenset({"timeout_at"}),
}
_INPUT: Final = frozenset({"input", "data"})


def first_difference(recorded: Sequence[e.Event], decided: Sequence[e.Event], *, other_input: bool) -> int | None:
    """Index of the first event of a decision that differs (it may be one that only one side has). `other_input`: that of the
    orchestration is not to be compared, since it was changed on purpose.
    """
    for number, (one, other) in enumerate(zip(recorded, decided, strict=False)):
        if not alike(bare(one), other, other_input=other_input):
            return number
    return None if len(recorded) == len(decided) else min(len(recorded), len(decided))


def alike(recorded: e.Event, decided: e.Event, *, other_input: bool = False) -> bool:
    """Whether the path is the same with either of them."""
    return recorded == decided or differing(recorded, decided, other_input=other_input) == []


def differing(recorded: e.Event, decided: e.Event, *, other_input: bool = False) -> list[str] | None:
    """Members in which two events of one kind take other paths; None for events of two kinds."""
    if type(recorded) is not type(decided):
        return None
    ignored = _MERELY_SAID.get(type(recorded), frozenset()) | {"basis"}
    if other_input and isinstance(recorded, e.OrchestrationStarted):
        ignored |= _INPUT
    names = [name for name in recorded.__struct_fields__ if name not in ignored]
    return [name for name in names if getattr(recorded, name) != getattr(decided, name)]


def retimed(recorded: e.Event, decided: e.Event) -> bool:
    """Whether a timer of one is due at another time than that of the other."""
    return bool(getattr(recorded, "timeout_at", None) != getattr(decided, "timeout_at", None))
