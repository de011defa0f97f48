"""What a gap in a stream leads to when it has lasted too long, as the definition says: an error, or going on without.

The deadline is a view of the state, like every timer, and is there only while a ``listen`` waits for events of the stream;
one that begins to wait later finds it due. Events that still come are taken up to that moment, so whichever is first wins.
"""

from __future__ import annotations

from typing import Final

from domain import events as e
from domain.decision import Decision, Strand
from domain.errors import OURS, Fault
from domain.failing import fail, fail_composite
from domain.listening import listening, offer_held
from domain.plan import EventStream
from domain.state import Run
from domain.state_streams import Order
from domain.streams import concerning

_NAMED: Final = 10


def overdue(d: Decision, run: Run) -> Strand:
    """The gaps that a listen has waited long enough for: those that may be skipped first."""
    waits = run.listening
    assert waits is not None
    due = [(name, text) for name in waits.streams for text, at in d.state.gaps_of(name).items() if at <= d.now]
    skipped = [each for each in due if d.plan.streams[each[0]].gap_then == "continue"]
    for name, text in skipped:
        _skip(d, d.plan.streams[name], d.state.streams[name].orders[text])
    if skipped:
        yield from offer_held(d)
    for name, text in due:
        if (name, text) not in skipped and run.open and not waits.done:
            _fail(d, run, d.plan.streams[name], d.state.streams[name].orders[text])
            return


def _skip(d: Decision, stream: EventStream, order: Order) -> None:
    first, last = order.next, min(order.parked) - 1
    number, left = last + 1, len(order.parked)
    while number in order.parked:
        number, left = number + 1, left - 1
    again = d.in_s(stream.gap_s) if left and stream.gap_s is not None else None
    d.emit(e.GapSkipped, stream=stream.name, per=order.key, first=first, last=last, gap_at=again)


def _fail(d: Decision, run: Run, stream: EventStream, order: Order) -> None:
    numbers, all_ = order.lacks(_NAMED), order.lacking
    named = ", ".join(map(str, numbers)) + (f" and {all_ - len(numbers)} more" if all_ > len(numbers) else "")
    of = "" if order.key is None else f" of {order.key}"
    detail = f"the stream {stream.name}{of} lacks {named}, and {len(order.parked)} wait behind"
    why = Fault(OURS + "event-gap", 408, "Event Gap", detail)
    if run.entries:
        fail_composite(d, run, why.at(run.pointer), cut=False)
    else:
        fail(d, run, why)


def reopen(d: Decision) -> Strand:
    """The definition is another one: its streams go on where they were, by name; what has no order now is set free."""
    closed = [name for name in d.state.streams if name not in d.plan.streams]
    for name in closed:
        d.emit(e.StreamClosed, stream=name)
    for stream in d.plan.streams.values():
        known = d.state.streams.get(stream.name)
        if known is None or known.type != stream.event_type:
            listens: list[str] = []
            for run, work in listening(d):
                if (yield from concerning(d, work, [stream.name])):
                    listens.append(run.id)
            d.emit(
                e.StreamOpened,
                stream=stream.name,
                type=stream.event_type,
                first=stream.first,
                listens=tuple(listens),
            )
    if closed and not d.state.suspended:
        yield from offer_held(d)
