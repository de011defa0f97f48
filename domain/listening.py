"""Waiting for events: which listen wants an event, what it makes of it, and when it has had enough.

One event serves every listen that waits at that moment. An event that no listen wants is held (at most a number of them)
and offered, oldest first, to each listen that begins later. A filter whose expression fails does not match. Events of a
stream are offered in the order of their numbers (`domain.streams`).
"""

from __future__ import annotations

from typing import Any

from domain import events as e
from domain.commands import ReceiveEvent
from domain.data import evaluate, fill, same, value
from domain.decision import Decision, Faulted, Strand
from domain.errors import EventIdReusedError, OrchestrationEndedError, OverloadedError
from domain.expressions import Evaluated, Expression
from domain.failing import fail
from domain.flow import begin, complete, continues, open_scope, starts
from domain.plan import EventFilter, Listen, Node, Strategy
from domain.state import Run, ScopeState
from domain.state_streams import Held
from domain.streams import concerning, gap_at, out_of_turn, place_of, received, repeated, room, turn_of
from domain.tasks import env_of

Match = tuple[int, bool, dict[str, Any]]
"""(index of the filter, whether it belongs to ``until``, what was correlated)."""


@starts(Listen)
def _listen(d: Decision, run: Run, node: Node) -> Strand:
    work = node.work
    assert isinstance(work, Listen)
    env = env_of(d, run)
    expected: list[dict[str, Any]] = []
    for item in work.to.filters:
        values: dict[str, Any] = {}
        for name, _, expect in item.correlate:
            values[name] = None if expect is None else (yield from fill(expect, run.input, env, f"correlate.{name}"))
        expected.append(values)
    strategies = [work.to, work.to.until_events] if work.to.until_events else [work.to]
    types = tuple(dict.fromkeys(f.event_type for strategy in strategies for f in strategy.filters or (EventFilter(),)))
    streams = (yield from concerning(d, work, [*d.state.streams])) if d.state.streams else ()
    d.emit(e.ListenStarted, run=run.id, types=types, expected=tuple(expected), streams=streams)
    d.beginning |= {run.id}
    offered: dict[int, Held] = {}
    while (held := _another(d, offered)) is not None:
        if run.listening is None or run.listening.done or not run.open:
            break
        match = yield from _match(d, run, work.to, held.event)
        if match is not None and held in d.state.held:  # another listen that begins in this decision may have taken it
            yield from _consume(d, run, work, held.event, match)
    d.beginning -= {run.id}


def _another(d: Decision, offered: dict[int, Held]) -> Held | None:
    """The oldest held event that was not offered yet; while one is offered others may be set free, or taken."""
    for held in d.state.held:
        if id(held) not in offered:
            offered[id(held)] = held
            return held
    return None


def receive(d: Decision, command: ReceiveEvent) -> Strand:
    """An event from outside arrives."""
    state, event = d.state, command.event
    known = state.seen.get(f"{event['source']} {event['id']}")
    if known is not None:
        if known != command.digest:
            raise EventIdReusedError
        yield from repeated(d, command)
        return
    if state.final:
        raise OrchestrationEndedError(state.status)
    place = (yield from place_of(d, event)) if state.streams else None
    turn = "next" if place is None else turn_of(d, place)
    if place is not None and turn != "next":
        out_of_turn(d, command, place, turn)
        return
    takers: list[tuple[Run, Listen, Match]] = []
    for run, work in listening(d):
        match = yield from _match(d, run, work.to, event)
        if match is not None:
            takers.append((run, work, match))
    if not takers and not command.hold and place is None:
        return
    consumed = bool(takers) and not state.suspended  # while suspended it is recorded and nothing is decided
    if not consumed and (kept := len(state.held) + state.parked) >= room(d, place):
        held = f"{kept} events are held for it already and no task of it waits for one"
        raise OverloadedError(f"{held}; send this one again when its turn has come")
    parked = state.parked
    at = None if place is None else gap_at(d, place, "next")
    received(d, command, "matched" if consumed else "held", place, at)
    if consumed:
        for run, work, match in takers:
            yield from _consume(d, run, work, event, match)
    if state.parked < parked and not state.suspended:
        yield from offer_held(d)


def offer_held(d: Decision) -> Strand:
    """Events that came while suspended, or before their turn, may be wanted.

    Only one strand offers at a time, and none to a listen that is just looking by itself: an event would be taken twice, or
    by an `until` that does not know of the one before. Both see what is set free while they wait for an answer.
    """
    if d.offering:
        return
    d.offering = True
    offered: dict[int, Held] = {}
    while (held := _another(d, offered)) is not None:
        for run, work in listening(d):
            if run.id in d.beginning:
                continue
            match = yield from _match(d, run, work.to, held.event)
            if match is not None:
                yield from _consume(d, run, work, held.event, match)
    d.offering = False


def listening(d: Decision) -> list[tuple[Run, Listen]]:
    """The listens that may still take events, in the order in which they began."""
    found: list[tuple[Run, Listen]] = []
    for run in d.state.attended():
        if run.listening is not None and not run.listening.done and d.live(run.scope):
            work = d.node(run).work
            assert isinstance(work, Listen)
            found.append((run, work))
    return found


def _match(d: Decision, run: Run, to: Strategy, event: dict[str, Any]) -> Strand:
    """The first filter that wants the event, those of ``until`` first; None when none does."""
    listening = run.listening
    assert listening is not None
    if to.until_events is not None:
        if not to.until_events.filters:
            return -1, True, {}
        for number, item in enumerate(to.until_events.filters):
            if number not in listening.until_matched and (yield from _wants(d, run, item, event, {})) is not None:
                return number, True, {}
    if not to.filters:
        return (-1, False, {}) if to.mode == "any" else None
    for number, item in enumerate(to.filters):
        if to.mode == "all" and number in listening.matched:
            continue
        correlated = yield from _wants(d, run, item, event, listening.expected[number])
        if correlated is not None:
            return number, False, correlated
    return None


def _wants(d: Decision, run: Run, item: EventFilter, event: dict[str, Any], expected: dict[str, Any]) -> Strand:
    """What the filter correlates from the event, or None when it does not match."""
    for name, wanted in item.attributes:
        if not isinstance(wanted, Expression) and not same(event.get(name), wanted):
            return None
    env = env_of(d, run)
    conditions = [(w, event.get(name)) for name, w in item.attributes if isinstance(w, Expression)]
    sources = [(source, event) for _, source, _ in item.correlate]
    results = yield from evaluate([*conditions, *sources], env, "listen.filter")
    for result in results[: len(conditions)]:
        if not isinstance(result, Evaluated) or result.value is None or result.value is False:
            return None
    correlated: dict[str, Any] = {}
    for (name, _, _), result in zip(item.correlate, results[len(conditions) :], strict=True):
        if not isinstance(result, Evaluated) or result.value is None:
            return None
        if expected.get(name) is not None and not same(expected[name], result.value):
            return None
        correlated[name] = result.value
    return correlated


def _consume(d: Decision, run: Run, work: Listen, event: dict[str, Any], match: Match) -> Strand:
    """Record that the listen took the event, and go on if it has had enough."""
    number, until, correlated = match
    listening = run.listening
    if listening is None or listening.done or not run.open:
        return
    read = event if work.read == "envelope" else event.get("data", event.get("data_base64"))
    done = False
    if until:
        assert work.to.until_events is not None
        matched = len(listening.until_matched | {number})
        done = work.to.until_events.mode != "all" or matched == len(work.to.until_events.filters)
    elif work.to.mode == "all":
        done = len(listening.matched | {number}) == len(work.to.filters)
    elif work.to.mode == "one" or (work.to.until is None and work.to.until_events is None):
        done = True
    elif work.to.until is not None:
        try:
            result = yield from value(work.to.until, [*listening.values, read], env_of(d, run), "listen.until")
        except Faulted as stop:
            fail(d, run, stop.fault)
            return
        done = result is not None and result is not False
    d.emit(
        e.EventConsumed,
        run=run.id,
        source=event["source"],
        id=event["id"],
        filter=number,
        value=None if until else read,
        until=until,
        correlated=correlated,
        done=done,
    )
    yield from _advance(d, run, work)


def _advance(d: Decision, run: Run, work: Listen) -> Strand:
    """With ``foreach``: the next turn, one after the other. Otherwise complete once done."""
    listening = run.listening
    assert listening is not None
    iterates = work.scope or work.foreach_output or work.foreach_export
    turn = len(listening.outputs)
    busy = iterates and (current := run.scopes.get(str(turn))) and d.state.scopes[current].phase == "active"
    if iterates and listening.queue and not busy:
        variables = {work.item: listening.values[turn], work.at: turn}
        if work.scope is not None:
            scope = open_scope(d, run, work.scope.pointer, str(turn), variables=variables)
            begin(d, scope, work.scope.start)
        else:  # nothing to do with the event but to transform it
            pointer = f"{run.pointer}/foreach"
            scope = open_scope(d, run, pointer, str(turn), input=listening.values[turn], variables=variables)
            begin(d, scope, None)
    elif listening.done and not (iterates and (busy or listening.queue)):
        yield from complete(d, run, list(listening.outputs if iterates else listening.values))


@continues(Listen)
def _turned(d: Decision, run: Run, node: Node, scope: ScopeState) -> Strand:
    assert isinstance(node.work, Listen)
    yield from _advance(d, run, node.work)
