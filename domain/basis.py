"""What a decision was made from, recorded so that it can be made again: the *basis*, on the first event of each decision.

State and definition are known from elsewhere; the basis has the rest: the seed, the answers to what the decision asked of the
outside, and of the command whatever its events do not tell. A value that one of the events holds anyway is recorded as the
place where it stands, so that data is not stored twice. `domain.redeciding` is the way back.

It also tells where a decision begins: events without a basis belong to the decision of the event before them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from domain import commands as c
from domain import events as e
from domain.decision import Child, Limits
from domain.expressions import Evaluated, EvaluationFailed

_TOLD: Final = frozenset({"at", "seed", "actor", "trace", "request_id"})
_BULKY: Final = ("output", "data", "input", "context", "arguments", "items", "event", "value", "fault")
"""Members of events that hold what may be large."""
_BULKY_OF: Final = {cls: tuple(name for name in _BULKY if name in cls.__struct_fields__) for cls in e.TOPICS.values()}
COMMANDS: Final[dict[str, type[c.Command]]] = {
    "result": c.ReportResult,
    "callback": c.ReportCallback,
    "event": c.ReceiveEvent,
    "cancel": c.Cancel,
    "terminate": c.Terminate,
    "suspend": c.Suspend,
    "resume": c.Resume,
    "resolve": c.Resolve,
    "note": c.AddNote,
    "poison": c.ReportPoison,
    "claim": c.ClaimTask,
    "release": c.ReleaseTask,
    "reassign": c.ReassignTask,
    "answer": c.AnswerTask,
    "child": c.ReportChild,
    "undo": c.UndoChild,
}
"""Names under which commands are recorded; those of `Start`, `Fork`, `Migrate` and `FireTimers` are told by their events."""
_NAMES: Final = {cls: name for name, cls in COMMANDS.items()}
_MEMBERS: Final = {
    cls: [(each.name, each.default) for each in msgspec.structs.fields(cls) if each.name not in _TOLD]
    for cls in COMMANDS.values()
}
"""Member and default of each command; to ask msgspec every time costs more than the whole decision."""
_DEFAULT_LIMITS: Final = Limits()


def record_basis(
    command: c.Command, events: Sequence[e.Event], answers: Sequence[Any] = (), limits: Limits | None = None
) -> None:
    """Give the first of the events that a decision led to (at least one) its basis. `answers`: to all it asked, in the order
    in which it did; `limits`: where they may be others than before.
    """
    members: dict[str, Any] | None = None
    if not told_by(command, events):
        members = {"is": _NAMES[type(command)]}
        for name, default in _MEMBERS[type(command)]:
            value = getattr(command, name)
            if value != default:
                members[name] = _placed(value, events)
    basis = e.Basis(
        seed=command.seed,
        facts=tuple([_recorded(answer, events) for answer in answers]) if answers else (),
        command=members,
        limits=None if limits is None else _differences(limits),
        trace=command.trace,
        request_id=command.request_id,
    )
    # Frozen for everyone else: nobody has seen it yet but the state that it was folded into, which reads no basis.
    msgspec.structs.force_setattr(events[0], "basis", basis)


def told_by(command: c.Command, events: Sequence[e.Event]) -> bool:
    """Whether the events tell the whole command."""
    if isinstance(command, c.ReportResult):
        first = events[0]
        return (
            command.outcome == "completed"
            and isinstance(first, e.TaskCompleted)
            and first.output is command.output
            and first.attempt == command.number
            and first.run == command.run
        )
    return type(command) not in _NAMES


def _differences(limits: Limits) -> dict[str, Any]:
    members = msgspec.structs.asdict(limits)
    return {name: value for name, value in members.items() if value != getattr(_DEFAULT_LIMITS, name)}


def _recorded(answer: Any, events: Sequence[e.Event]) -> Any:
    """An answer as it is stored; what it means depends on what was asked."""
    match answer:
        case Evaluated(value):
            return _placed(value, events)
        case EvaluationFailed(detail):
            return detail
        case Child(id_, definition, digest):
            return [id_, definition, digest]
        case _:
            return answer


def _placed(value: Any, events: Sequence[e.Event]) -> Any:
    """[the value], or where it stands: [index of an event of the decision, its member]."""
    if isinstance(value, dict | list | str | msgspec.Struct) and value:
        for index, name, found in _values(events):
            if found is value:
                return [index, name]
    return [value]


def _values(events: Sequence[e.Event]) -> Iterator[tuple[int, str, Any]]:
    for index, event in enumerate(events):
        for name in _BULKY_OF[type(event)]:
            found = getattr(event, name)
            if found is not None:
                yield index, name, found


def value_at(placed: list[Any], events: Sequence[e.Event]) -> Any:
    """What `_placed` recorded."""
    return placed[0] if len(placed) == 1 else getattr(events[placed[0]], placed[1])
