"""What a course that has left the recorded path can expect from outside, and when.

An attempt is answered as its recorded counterpart was, after the same delay, if it asks for the same. A change goes before
the record; what the record does not know is assumed where that was allowed (an undo always succeeds), else it is *unknown*,
and the course ends there. Events and commands of people come at their recorded instants.
"""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

import msgspec

from application.what_if_record import Record, Sent, Told, same_call
from application.what_if_suppositions import Suppositions, result_of
from domain import commands as c
from domain import events as e
from domain.errors import SPEC, fault
from domain.plan import Plan
from domain.state import DETACHED, Run, State

Source = Literal["record", "change", "assumption"]
_SENT_SINCE: Final = 1 << 40
_TIMEOUT: Final = SPEC + "timeout"
_CANCELLED: Final = fault("cancelled", "supposed: it was cancelled and undid itself")


class Expected(NamedTuple):
    """A command to come. `rank` orders what comes at one instant: what was under way when the paths parted, as it was
    recorded; then the answers to what was sent since, in the order of sending.
    """

    at: datetime
    rank: int
    number: int
    command: c.Command
    source: Source


class Unknown(msgspec.Struct, frozen=True):
    """Why it cannot be said how the course goes on: `reason` without values, `why` with them."""

    run: str
    reason: str
    why: str


class Expectations:
    """What is still to come, in its order."""

    def __init__(self, record: Record, plan: Plan, supposed: Suppositions) -> None:
        self._record = record
        self._plan = plan
        self._supposed = supposed
        self._heap: list[Expected] = []
        self._number = 0
        self.unknown: list[Unknown] = []
        self.assumptions: dict[str, None] = {}
        self.doubtful: dict[tuple[str, int], Unknown] = {}
        """Attempts whose recorded answer does not count, since it would be waited for longer."""
        self._given_up: set[tuple[str, int]] = set()
        """Attempts whose recorded answer comes too late."""
        self.repeats: set[tuple[str, int]] = set()
        """Attempts that ask for just what a recorded one asked."""

    def next(self) -> Expected | None:
        """What comes next, which stays."""
        return self._heap[0] if self._heap else None

    def take(self) -> Expected:
        """What comes next, which goes."""
        return heapq.heappop(self._heap)

    def expect(self, at: datetime, command: c.Command, source: Source, rank: int | None = None) -> None:
        """A command will come at an instant."""
        self._number += 1
        rank = _SENT_SINCE if rank is None else rank
        command = msgspec.structs.replace(command, at=at)
        heapq.heappush(self._heap, Expected(at, rank, self._number, command, source))

    # What the record has left -----------------------------------------------------------------------------------------

    def the_rest(self, version: int, parted: int, state: State) -> None:
        """All that came with decisions from `version` on: from outside, and for attempts sent before version `parted`."""
        for place, command in self._record.from_outside(version):
            self.expect(command.at, command, "record", place)
        for run in state.runs.values():
            for number in range(1, run.attempts + 1):
                sent = self._record.sent(run.id, number)
                if sent is not None and sent.version < parted:
                    self._still_to_come(state, run, sent, version)

    def _still_to_come(self, state: State, run: Run, sent: Sent, version: int) -> None:
        key = (run.id, sent.event.number)
        self.repeats.add(key)
        if key in self.doubtful and run.flying and run.attempts == sent.event.number:
            self.unknown.append(self.doubtful[key])
        if key in self.doubtful or key in self._given_up:
            return
        told = [each for each in sent.told if each.version >= version]
        if sent.event.child is not None:
            told = self._record.children_told(sent.event.child[0], version - 1)
        change = self._supposed.change_of(state, run)
        if change is not None and (sent.event.child is None or run.flying):
            event, number = sent.event, sent.event.number
            for each in told:
                seed, at = each.command.seed, each.command.at
                self.expect(at, result_of(change, run, number, at, seed, event.callout), "change", each.version)
            if not told and run.flying and run.attempts == number:
                self.expect(event.at, result_of(change, run, number, event.at, _seed(event), event.callout), "change")
            return
        if not told and run.flying and run.attempts == sent.event.number:
            self._stays_silent(run)
        for each in told:
            self.expect(each.command.at, each.command, "record", each.version)

    # Attempts ---------------------------------------------------------------------------------------------------------

    def sent(self, event: e.AttemptStarted, state: State) -> None:
        """An attempt was sent on the new path: what will be heard of it?"""
        run = state.runs[event.run]
        name = self._record.counterpart(self._plan, state, run)
        recorded = self._record.sent(name, event.number) if name else None
        same = recorded is not None and same_call(recorded.event, event)
        if same:
            self.repeats.add((event.run, event.number))
        change = self._supposed.change_of(state, run)
        if change is not None:
            told = self._told(recorded)
            at = event.at + (recorded.delay(told[0]) if recorded and told else timedelta())
            seed = told[0].command.seed if told else _seed(event)
            self.expect(at, result_of(change, run, event.number, at, seed, event.callout), "change")
        elif event.function == DETACHED:
            return
        elif recorded is not None and same:
            self._as_recorded(event, run, recorded)
        else:
            self._without_record(event, state, run, recorded)

    def _stays_silent(self, run: Run) -> None:
        """Its recorded counterpart had no answer either: not yet, or none that was waited for any more."""
        if self._record.state.final:
            self.assumptions[f"{run.name} does not answer, since no answer of it was recorded"] = None

    def _told(self, recorded: Sent | None) -> list[Told]:
        if recorded is None or recorded.event.child is None:
            return recorded.told if recorded else []
        return self._record.children_told(recorded.event.child[0], recorded.version)[:1]

    def _as_recorded(self, event: e.AttemptStarted, run: Run, recorded: Sent) -> None:
        told = self._told(recorded)
        if not told:
            self._stays_silent(run)
            return
        if event.child is None and self.in_other_time(event, recorded):
            if (doubt := self.doubtful.get((event.run, event.number))) is not None:
                self.unknown.append(doubt)
            return
        for each in told:
            members = {"child": event.child[0]} if event.child else {}
            command = msgspec.structs.replace(each.command, run=run.id, **members)
            self.expect(event.at + recorded.delay(each), command, "record")

    def in_other_time(self, event: e.AttemptStarted, recorded: Sent) -> bool:
        """Whether its recorded answer does not count, because it would be waited for longer or not as long. It is either
        given up then, which is expected from now on, or `doubtful`.
        """
        if event.timeout_s == recorded.event.timeout_s or not recorded.told:
            return False
        told, key, name = recorded.told[0], (event.run, event.number), _name(event.run)
        command, took = told.command, recorded.delay(told)
        assert isinstance(command, c.ReportResult)
        if event.timeout_s < recorded.event.timeout_s:
            limit = timedelta(seconds=event.timeout_s)
            if took <= limit:
                return False
            given = f"the {event.timeout_s:g} s that it is given here"
            self.assumptions[f"{name} took {took.total_seconds():g} s, longer than {given}"] = None
            late = fault("timeout", f"no answer within {event.timeout_s:g} s")
            result = c.ReportResult(
                at=event.at, seed=command.seed, run=event.run, number=event.number, outcome="uncertain", fault=late
            )
            self.expect(event.at + limit, result, "assumption")
            self._given_up.add(key)
            return True
        if command.outcome != "uncertain" or command.fault is None or command.fault.type != _TIMEOUT:
            return False
        reason = f"would wait longer for {name}; the record does not say what it would have answered"
        given = f"{event.timeout_s:g} s instead of {recorded.event.timeout_s:g} s"
        self.doubtful[key] = Unknown(event.run, reason, f"would wait longer for {name} ({given}); {_SILENCE}")
        return True

    def _without_record(self, event: e.AttemptStarted, state: State, run: Run, recorded: Sent | None) -> None:
        """Nobody knows; unless something may be assumed."""
        undone = state.undoing(run.scope)
        assumed, output = (True, None) if undone is not None else self._supposed.assumed_for(run)
        if not assumed:
            self.unknown.append(_unknown(event, run, recorded))
            return
        if undone is not None:
            self.assumptions[f"the undo of {state.runs[undone].name} succeeds"] = None
        else:
            self.assumptions[f"{run.name} completes with the output that was given"] = None
        if event.child is None:
            command: c.Command = c.ReportResult(
                at=event.at, seed=_seed(event), run=run.id, number=event.number, outcome="completed", output=output
            )
        else:
            command = c.ReportChild(
                at=event.at, seed=_seed(event), run=run.id, child=event.child[0], status="completed", output=output
            )
        self.expect(event.at, command, "assumption")

    # Children ---------------------------------------------------------------------------------------------------------

    def message(self, message: c.Message, state: State, at: datetime) -> None:
        """What a child will answer to what it is told on the new path."""
        command = message.command
        run = next((each for each in state.runs.values() if each.child and each.child[0] == message.to), None)
        if run is None:
            return
        if isinstance(command, c.UndoChild):
            self._undo_of_child(run, state, command, at)
        elif isinstance(command, c.Cancel):
            self._forget_child(message.to)
            self.assumptions[f"the child {run.name} undoes itself"] = None
            told = c.ReportChild(
                at=at, seed=command.seed, run=run.id, child=message.to, status="cancelled", fault=_CANCELLED
            )
            self.expect(at, told, "assumption")

    def _undo_of_child(self, run: Run, state: State, command: c.UndoChild, at: datetime) -> None:
        assert run.child is not None
        name = self._record.counterpart(self._plan, state, run)
        recorded = self._record.state.runs[name] if name else None
        began = self._record.undo_began(name) if name else None
        if recorded is not None and recorded.child is not None and began is not None:
            started = self._record.history[began - 1].at
            for told in self._record.children_told(recorded.child[0], began - 1):
                reply = msgspec.structs.replace(told.command, run=run.id, child=run.child[0])
                self.expect(at + (told.command.at - started), reply, "record")
                return
        self.assumptions[f"the undo of {run.name} succeeds"] = None
        done = c.ReportChild(
            at=at, seed=command.seed, run=run.id, child=run.child[0], status="compensated", undone=True
        )
        self.expect(at, done, "assumption")

    def _forget_child(self, child: str) -> None:
        kept = [entry for entry in self._heap if not _is_of(entry.command, child)]
        heapq.heapify(kept)
        self._heap = kept


_SILENCE: Final = "the record does not say what it answers"


def _is_of(command: c.Command, child: str) -> bool:
    return isinstance(command, c.ReportChild) and command.child == child


def _unknown(event: e.AttemptStarted, run: Run, recorded: Sent | None) -> Unknown:
    what = f"start a child for {run.name}" if event.child else f"call {run.name}"
    arguments = event.arguments
    if isinstance(arguments, dict):
        arguments = {name: value for name, value in arguments.items() if name != "$input"}
    shown = msgspec.json.encode(arguments).decode()
    shown = shown if len(shown) <= 300 else f"{shown[:299]}…"
    if recorded is None:
        again = f" (attempt {event.number})" if event.number > 1 else ""
        return Unknown(event.run, f"would {what}{again}; {_SILENCE}", f"would {what}{again} with {shown}; {_SILENCE}")
    other = f"would {what} with other arguments than recorded; {_SILENCE}"
    return Unknown(event.run, other, f"would {what} with {shown}, other arguments than recorded; {_SILENCE}")


def _name(run: str) -> str:
    return run.rpartition("#")[0].rpartition("/")[2]


def _seed(event: e.AttemptStarted) -> bytes:
    """For an answer that nobody gave: the same each time that is asked."""
    return event.key.encode()
