"""One course of an orchestration and its children, decided by the real domain in a world where nobody is called.

The clock stands still while anything can happen at once: mishaps first, then answers in the order of sending, then awaited
events; then it jumps to the next timer or to the end of a request that stays without an answer. Everything that happened is
in one log, so a course can be forked: fold a prefix of the log, go on with another script. That is how hundreds of scenarios
share the way to the point where they part (`Mark`).
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from application.rehearsal_facts import Answers, Assumption
from application.rehearsal_plans import accepting
from application.rehearsal_script import Choice, Place, Script, fault_of
from application.rehearsal_stage import Stage
from domain import commands as c
from domain import events as e
from domain.errors import RetraceError
from domain.evolve import evolve
from domain.orchestration import opened, step
from domain.plan import Listen, Node, Plan
from domain.state import Run, State

ROOT_ID = "o_rehearsal"
_START = datetime(2026, 1, 1, tzinfo=UTC)
_MOST_STEPS = 20_000
_MOST_ATTEMPTS = 100
_MOST_RUNS = 1_000
_MOST_EVENTS = 20
"""Awaited events that one ``listen`` is given."""

Rest = Literal["final", "operator", "waits", "endless"]
"""How a course comes to rest: ended; an incident is open; something never comes; it was stopped since it goes on for ever."""


class Flight(msgspec.Struct, frozen=True):
    """A request that nobody sent."""

    place: Place
    number: int
    name: str
    kind: str
    deadline: datetime


class Mark(msgspec.Struct, frozen=True):
    """A point from which a course may go on in another way, just before a run meets its fate."""

    place: Place
    digest: str
    kind: Literal["callout", "undo", "listen", "human"]
    length: int
    """Of the log."""
    count: int
    now: datetime
    flying: tuple[Flight, ...]
    assumed: int


class Course:
    """`start` it, or `fork` another and let that `go_on`; then read `log`, `states`, `marks`, `assumed` and `rest`.

    States are folded from the log when they are looked at after `forget`: a thousand of them would take much memory.
    """

    def __init__(self, stage: Stage, answers: Answers, script: Script) -> None:
        self.stage = stage
        self.script = script
        self.now = _START
        self.log: list[tuple[str, e.Event]] = []
        self._states: dict[str, State] | None = {}
        self.digests: dict[str, str] = {ROOT_ID: stage.digest}
        self.marks: list[Mark] = []
        self.assumed: list[Assumption] = []
        self.flying: dict[Place, Flight] = {}
        """In the order of sending."""
        self.endless: str | None = None
        """Why it was stopped."""
        self._answers = answers
        self._seen: set[Place] = set()
        self._count = 0
        self._steps = 0

    @property
    def states(self) -> dict[str, State]:
        """By id, in the order in which they began."""
        if self._states is None:
            self._states = {}
            for id_, event in self.log:
                evolve(self._states.setdefault(id_, State()), event)
        return self._states

    def forget(self) -> None:
        """Keep only the log."""
        self._states = None

    @property
    def root(self) -> State:
        return self.states[ROOT_ID]

    async def start(self, input_: Any) -> None:
        """From the beginning to the rest."""
        await self._do(ROOT_ID, c.Start, id=ROOT_ID, input=input_)
        await self.go_on()

    def fork(self, mark: Mark, script: Script) -> Course:
        """Another course that shares everything up to the mark."""
        other = Course(self.stage, self._answers, script)
        other.now, other._count, other.flying = mark.now, mark.count, {flight.place: flight for flight in mark.flying}
        other.log = self.log[: mark.length]
        other.assumed = self.assumed[: mark.assumed]
        other.forget()
        for state in other.states.values():
            other.digests[state.id] = state.digest
            other._seen |= {Place(state.id, run) for run in state.runs}
        return other

    async def go_on(self) -> None:
        """Until nothing can happen any more."""
        while self.endless is None and await self._next():
            self._steps += 1
            if self._steps % 64 == 0:
                await asyncio.sleep(0)  # a node has other things to do as well
            if self._steps > _MOST_STEPS:
                self.endless = "it goes on and on"

    @property
    def rest(self) -> Rest:
        if self.endless is not None:
            return "endless"
        if any(state.open_incidents() for state in self.states.values()):
            return "operator"
        return "final" if self.root.final else "waits"

    # What happens next --------------------------------------------------------------------------------------------------

    async def _next(self) -> bool:
        """Let one thing happen. Whether there was any."""
        flight = self._first_mishap() or self._first_answer()
        if flight is not None:
            await self._report(flight)
            return True
        return await self._bring_event() or await self._let_answer() or await self._let_time_pass()

    def _first_mishap(self) -> Flight | None:
        places = {mishap.place for mishap in self.script.mishaps if mishap.outcome != "timed_out"} & self.flying.keys()
        if not places:
            return None
        found = (flight for place, flight in self.flying.items() if place in places)
        return next(filter(self._awaited, found), None)

    def _first_answer(self) -> Flight | None:
        given_up = []
        found = None
        for place, flight in self.flying.items():
            if self.script.mishap(place) is None:
                if self._awaited(flight):
                    found = flight
                    break
                given_up.append(place)
        for place in given_up:
            del self.flying[place]
        return found

    def _awaited(self, flight: Flight) -> bool:
        """Whether its result would still be taken; one that was given up stays without an answer here."""
        run = self.states[flight.place.orchestration].runs[flight.place.run]
        return run.open and run.flying and run.attempts == flight.number

    async def _report(self, flight: Flight) -> None:
        mishap = self.script.mishap(flight.place)
        members: dict[str, Any]
        if mishap is None:
            node = self.node(flight.place)
            members = {"outcome": "completed", "output": self.stage.answer_of(node)}
        else:
            outcome = "refused" if mishap.outcome == "refused" else "uncertain"
            members = {"outcome": outcome, "fault": fault_of(mishap, flight.kind, flight.name)}
        run, number = flight.place.run, flight.number
        del self.flying[flight.place]
        request = self.states[flight.place.orchestration].runs[run].request
        if mishap is None and request is not None and request.callback:  # what its call answers says nothing
            await self._do(flight.place.orchestration, c.ReportCallback, run=run, digest=b"rehearsal", **members)
            return
        await self._do(flight.place.orchestration, c.ReportResult, run=run, number=number, **members)

    async def _bring_event(self) -> bool:
        """The event that the first listen waits for, unless the script withholds it."""
        for id_, state in list(self.states.items()):
            for run in state.attended() if not state.final else ():
                place = Place(id_, run.id)
                if _hungry(run) and self.script.mishap(place) is None and await self._bring(place, run):
                    return True
        return False

    async def _bring(self, place: Place, run: Run) -> bool:
        node = self.node(place)
        assert isinstance(node.work, Listen)
        index, until = _wanted(run, node.work)
        strategy = node.work.to.until_events if until else node.work.to
        assert strategy is not None
        wanted = strategy.filters[index] if index < len(strategy.filters) else None
        id_ = f"event-{self._count + 1}"
        literal = {
            name: value for name, value in (wanted.attributes if wanted else ()) if not hasattr(value, "program")
        }
        data = self.stage.answer_of(node)
        event = {"specversion": "1.0", "source": "rehearsal", "type": "made-up", "data": data, **literal, "id": id_}
        conditions = [name for name, value in (wanted.attributes if wanted else ()) if name not in literal]
        conditions += [name for name, *_ in (wanted.correlate if wanted else ())]
        if conditions:
            why = f"the awaited event is made up, and matches by {', '.join(conditions)}"
            self.assumed.append(Assumption(self.digests[place.orchestration], run.pointer, "listen", "an event", why))
        before = len(self.log)
        altered = accepting(node, index, id_, until=until)
        digest = msgspec.msgpack.encode(id_)
        await self._do(place.orchestration, c.ReceiveEvent, altered=altered, event=event, digest=digest, hold=False)
        return len(self.log) > before

    async def _let_answer(self) -> bool:
        """The first person who is asked answers, or says no; where the script says that nobody does, time passes."""
        for id_, state in list(self.states.items()):
            for run in state.attended() if not state.final else ():
                mishap = self.script.mishap(place := Place(id_, run.id))
                if run.human is None or not run.awaits_person or (mishap and mishap.outcome == "timed_out"):
                    continue
                node, human = self.node(place), run.human
                user = human.assignee or next(iter(human.candidates.users), "somebody")
                members: dict[str, Any] = {
                    "number": human.number,
                    "user": user,
                    "groups": list(human.candidates.groups),
                }
                if mishap is None:
                    members |= {"outcome": "completed", "output": self.stage.answer_of(node)}
                else:
                    why = fault_of(mishap, "human", run.name)
                    members |= {"outcome": "refused", "error": msgspec.to_builtins(why)}
                await self._do(id_, c.AnswerTask, digest=b"rehearsal", **members)
                return True
        return False

    async def _let_time_pass(self) -> bool:
        """Jump to whatever is next: the end of a request without an answer, or a timer."""
        timers = [(when, id_) for id_, state in self.states.items() if (when := state.next_due()) is not None]
        timer = min(timers, key=lambda entry: entry[0], default=None)
        silent = filter(self._awaited, self.flying.values())
        flight = min(silent, key=lambda each: each.deadline, default=None)
        if flight is not None and (timer is None or flight.deadline <= timer[0]):
            self.now = max(self.now, flight.deadline)
            await self._report(flight)
        elif timer is not None:
            self.now = max(self.now, timer[0])
            await self._do(timer[1], c.FireTimers)
        return flight is not None or timer is not None

    # Deciding -----------------------------------------------------------------------------------------------------------

    async def _do(self, id_: str, cls: type[c.Command], altered: Node | None = None, **members: Any) -> None:
        """Decide one command and its messages; then mark where the course could part."""
        began = len(self.log)
        await self._decide(id_, cls(at=self.now, seed=self._seed(), **members), altered)
        for where, event in self.log[began:]:
            if isinstance(event, e.AttemptStarted | e.ListenStarted | e.TaskAssigned):
                self._mark(where, event)

    def _seed(self) -> bytes:
        self._count += 1
        return self._count.to_bytes(16, "big")

    async def _decide(self, id_: str, command: c.Command, altered: Node | None = None) -> None:
        state = self.states.setdefault(id_, State())
        plan = self._plan(id_, state)
        if altered is not None:
            # What is made up comes in its turn.
            plan = msgspec.structs.replace(plan, nodes=plan.nodes | {altered.pointer: altered}, streams={})
        decision = opened(plan, state, command, self.stage.limits)
        questions = step(decision)
        while questions:
            fresh = f"{ROOT_ID}_{self._count}_{len(decision.events)}"
            questions = step(decision, await self._answers.answer(questions, plan, fresh, self.assumed))
        for event in decision.events:
            self.log.append((id_, event))
            if isinstance(event, e.AttemptStarted):
                self._began(id_, state, event)
        for message in decision.messages:
            if message.digest is not None:
                self.digests[message.to] = message.digest
            try:
                await self._decide(message.to, message.command)
            except RetraceError:  # a child that has ended, or is past its pivot, does not heed a cancel
                if not isinstance(message.command, c.Cancel | c.Terminate):
                    raise

    def _plan(self, id_: str, state: State) -> Plan:
        digest = self.digests[id_]
        choices = tuple(choice for choice in self.script.choices if choice.digest == digest and _open(choice, state))
        return self.stage.plan_of(digest, choices)

    def _began(self, id_: str, state: State, event: e.AttemptStarted) -> None:
        if event.number > _MOST_ATTEMPTS:
            self.endless = f"{state.runs[event.run].name} was tried {_MOST_ATTEMPTS} times and would be tried again"
        if event.child is None:
            deadline = self.now + timedelta(seconds=event.timeout_s)
            name = state.runs[event.run].name if event.callout != "function" else event.function
            place = Place(id_, event.run)
            self.flying.pop(place, None)
            self.flying[place] = Flight(place, event.number, name, event.callout, deadline)

    def _mark(self, id_: str, event: e.AttemptStarted | e.ListenStarted | e.TaskAssigned) -> None:
        state, place = self.states[id_], Place(id_, event.run)
        run = state.runs[event.run]
        if run.number > _MOST_RUNS:
            self.endless = f"{run.name} was reached {_MOST_RUNS} times"
        if place in self._seen:
            return
        self._seen.add(place)
        if isinstance(event, e.AttemptStarted) and event.child is not None:
            return
        kind: Literal["callout", "undo", "listen", "human"] = "callout"
        if not isinstance(event, e.AttemptStarted):
            kind = "listen" if isinstance(event, e.ListenStarted) else "human"
        if state.undoing(run.scope) is not None:
            kind = "undo"
        if _hungry(run) or run.awaits_person or place in self.flying:
            point = (len(self.log), self._count, self.now, tuple(self.flying.values()), len(self.assumed))
            self.marks.append(Mark(place, self.digests[id_], kind, *point))

    # Looking ------------------------------------------------------------------------------------------------------------

    def node(self, place: Place) -> Node:
        return self.stage.plan_of(self.digests[place.orchestration]).nodes[place.pointer]


def _open(choice: Choice, state: State) -> bool:
    """The first time only, so that a loop that was sent round once more can be left as usual."""
    return choice.kind == "undo_if" or state.counts.get(choice.pointer, 0) == 0


def _hungry(run: Run) -> bool:
    """Whether a run waits for one more event, and has not had its fill."""
    listening = run.listening
    if not run.open or listening is None or listening.done:
        return False
    return len(listening.values) + len(listening.until_matched) < _MOST_EVENTS


def _wanted(run: Run, work: Listen) -> tuple[int, bool]:
    """(index of the filter whose event comes next, whether it is one of ``until``)."""
    listening = run.listening
    assert listening is not None
    if work.to.mode == "all":
        return next(n for n in range(len(work.to.filters)) if n not in listening.matched), False
    if listening.values and work.to.until_events is not None:
        ends = range(max(len(work.to.until_events.filters), 1))
        return next((n for n in ends if n not in listening.until_matched), 0), True
    return 0, False
