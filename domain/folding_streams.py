"""What the order of event streams does to the state: numbers come, wait for their turn, are skipped.

An event that is next sets free those parked behind it, up to the next gap: they are held from then on, in the order of their
numbers, as if they had arrived at that moment.
"""

from __future__ import annotations

from datetime import datetime

from domain import events as e
from domain.folding import Handler
from domain.state import State
from domain.state_streams import Held, Order, Stream, text_of


def take_place(s: State, ev: e.EventReceived) -> None:
    """An event of a stream, where it is new."""
    if ev.outcome in ("duplicate", "late") or ev.stream is None or ev.number is None:
        return
    stream, text = s.streams[ev.stream], text_of(ev.per)
    order = stream.orders.setdefault(text, stream.order(ev.per))
    if ev.outcome == "parked":
        order.parked[ev.number] = Held(ev.source, ev.id, ev.event, ev.at)
        s.parked += 1
    else:
        _go_on(s, order, ev.number + 1)
    _wait(stream, text, ev.gap_at)


def _go_on(s: State, order: Order, number: int) -> None:
    while (held := order.parked.pop(number, None)) is not None:
        s.held.append(held)
        s.parked -= 1
        number += 1
    order.next = number


def _wait(stream: Stream, text: str, gap_at: datetime | None) -> None:
    if gap_at is None:
        stream.gaps.pop(text, None)
    else:
        stream.gaps[text] = gap_at


def _gap_skipped(s: State, ev: e.GapSkipped) -> None:
    stream, text = s.streams[ev.stream], text_of(ev.per)
    order = stream.orders[text]
    if order.skipped and order.skipped[-1][1] == ev.first - 1:
        order.skipped[-1] = (order.skipped[-1][0], ev.last)
    else:
        order.skipped.append((ev.first, ev.last))
    _go_on(s, order, ev.last + 1)
    _wait(stream, text, ev.gap_at)


def _opened(s: State, ev: e.StreamOpened) -> None:
    if ev.stream in s.streams:
        s.streams[ev.stream].type = ev.type
    else:
        s.streams[ev.stream] = Stream(ev.type, ev.first)
    for name in ev.listens:
        listening = s.runs[name].listening
        if listening is not None and ev.stream not in listening.streams:
            listening.streams = (*listening.streams, ev.stream)


def _closed(s: State, ev: e.StreamClosed) -> None:
    for order in s.streams.pop(ev.stream).orders.values():
        s.held += [order.parked[number] for number in sorted(order.parked)]
        s.parked -= len(order.parked)


HANDLERS: dict[type[e.Event], Handler] = {
    e.StreamOpened: _opened,
    e.StreamClosed: _closed,
    e.GapSkipped: _gap_skipped,
}
