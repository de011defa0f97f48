"""What events from and to the outside do to the state: CloudEvents that a ``listen`` waits for or that an ``emit`` sends."""

from __future__ import annotations

from domain import events as e
from domain.folding import Handler, watch
from domain.folding_streams import take_place
from domain.lifecycle import fire_run
from domain.state import Listening, State
from domain.state_streams import Held


def _listen_started(s: State, ev: e.ListenStarted) -> None:
    run = s.runs[ev.run]
    fire_run["wait"](run)
    watch(s, run)
    expected = [dict(each) for each in ev.expected]
    run.listening = Listening(ev.types, expected, [], set(), set(), 0, [], streams=ev.streams)


def _event_received(s: State, ev: e.EventReceived) -> None:
    name = f"{ev.source} {ev.id}"
    if name in s.seen:
        s.repeats += 1
        return
    s.seen[name] = ev.digest
    if ev.outcome == "held":
        s.held.append(Held(ev.source, ev.id, ev.event, ev.at))
    if ev.stream is not None:
        take_place(s, ev)


def _event_consumed(s: State, ev: e.EventConsumed) -> None:
    listening = s.runs[ev.run].listening
    assert listening is not None
    if ev.until:
        listening.until_matched.add(ev.filter)
    else:
        listening.values.append(ev.value)
        listening.queue += 1
        listening.matched.add(ev.filter)
        if 0 <= ev.filter < len(listening.expected):
            for known in listening.expected:
                for name, value in ev.correlated.items():
                    if known.get(name) is None and name in known:
                        known[name] = value
    listening.done = listening.done or ev.done
    s.held = [held for held in s.held if (held.source, held.id) != (ev.source, ev.id)]


def _event_emitted(s: State, ev: e.EventEmitted) -> None:
    """It is in the outbox, so it is done, whatever becomes of the task."""
    run = s.runs[ev.run]
    run.effect = "completed"
    run.output = run.data = ev.event
    s.emitted += 1


HANDLERS: dict[type[e.Event], Handler] = {
    e.ListenStarted: _listen_started,
    e.EventReceived: _event_received,
    e.EventConsumed: _event_consumed,
    e.EventEmitted: _event_emitted,
}
