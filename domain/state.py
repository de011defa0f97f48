"""The state of one orchestration: a fold over its events, and nothing else.

`State` holds *runs* (activations of tasks) and *scopes* (activations of task lists). A run is named
``<pointer>#<number>``; the root scope is ``""``, every other scope is named by the run that opened it, the slot it is for
and the entry (a ``try`` that is entered again has several). The tokens are the open runs, plus those that wait in joins.

Only `domain.evolve` writes here. Everything else reads; the views at the end are what the interpreter and the status
need most often.

A state is a tree of plain data: no part of it leads back to what holds it. So Python's collector of cycles need not look
at the parts of which there are many (``gc=False``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from domain.errors import Fault
from domain.events import AttemptStarted, Cause, Effect, LeftBehind, UndoStep
from domain.lifecycle import INITIAL, ORCHESTRATION_FINAL, RUN_OPEN
from domain.state_people import Human
from domain.state_streams import Held, Stream

ROOT = ""
COMPENSATE = "compensate"
"""Slot of the scope in which a run is undone."""
DETACHED = "detached"
"""`function` of an attempt that starts a child without awaiting it."""


UndoStatus = Literal["none", "armed", "scheduled", "running", "failed", "completed", "skipped"]


class Undo(msgspec.Struct, array_like=True, gc=False):
    """How far the undo of a run is: ``none | armed | scheduled | running | failed | completed | skipped``."""

    status: UndoStatus = "none"
    number: int = 0
    """Tries, an operator's retries included."""
    attempts: int = 0
    fault: Fault | None = None
    rollback: str = ROOT
    child_busy: bool = False
    """The child was asked to undo itself and has not answered yet."""


class Listening(msgspec.Struct):
    """What a listen has consumed. `queue`: values that wait for ``foreach``; `matched`: filters that have had theirs."""

    types: tuple[str | None, ...]
    expected: list[dict[str, Any]]
    values: list[Any] = []
    matched: set[int] = set()
    until_matched: set[int] = set()
    queue: int = 0
    outputs: list[Any] = []
    done: bool = False
    streams: tuple[str, ...] = ()
    """The streams of whose events it may take some."""


class Run(msgspec.Struct, array_like=True, gc=False):
    """One activation of a task."""

    id: str
    pointer: str
    number: int
    name: str
    kind: str
    scope: str
    status: str = INITIAL
    after: str | None = None
    """The run whose output is the raw input; None: the input of the scope."""
    input: Any = None
    """Transformed."""
    output: Any = None
    """Raw."""
    data: Any = None
    """Transformed output."""
    fault: Fault | None = None
    effect: Effect = "none"
    effectful: bool = False
    pivot: bool = False
    undoable: str | None = None
    undo: Undo = msgspec.field(default_factory=Undo)
    attempts: int = 0
    flying: bool = False
    """An attempt is in flight."""
    doubts: list[int] = []
    """Attempts of which nobody knows whether they took effect."""
    key: str | None = None
    base: int = 0
    """Attempts before it was scheduled the last time."""
    request: AttemptStarted | None = None
    """The latest attempt as it was recorded, to be sent again after a crash or a delay."""
    held: bool = False
    """It failed, but its token stays until an incident is resolved."""
    child: tuple[str, str, str] | None = None
    started_at: datetime | None = None
    first_at: datetime | None = None
    """When its first attempt since it was scheduled began; bounds retries."""
    ended_at: datetime | None = None
    began: int = 0
    """Version of the event that scheduled it the last time."""
    order: int = 0
    """Version of the event that ended it; the order of undoing."""
    due_at: datetime | None = None
    """End of a wait or of a retry's delay."""
    timeout_at: datetime | None = None
    scopes: dict[str, str] = {}
    """slot -> its latest scope."""
    entries: int = 0
    """How often a scope was opened, over all slots."""
    items: list[Any] | None = None
    listening: Listening | None = None
    caught: int = 0
    """Retries of a try."""
    failing: Fault | None = None
    winner: str | None = None
    settle_at: datetime | None = None
    joined: int = 0
    called: bytes | None = None
    """Digest of what called its latest attempt back."""
    origin: str | None = None
    """Public id of the orchestration that it belongs to, where that is one from which this was forked: its requests and its
    undo speak of that one, and a child of it is not ours to undo.
    """
    parallel: bool = False
    """A ``for`` whose turns run side by side."""
    done: int = 0
    """Branches or turns that completed."""
    lost: int = 0
    """Those that failed, settled or not."""
    closed: int = 0
    """Those that failed and have settled."""
    more_at: datetime | None = None
    """More branches begin then, in a decision of their own."""
    earlier: dict[str, str] = {}
    """slot -> its latest scope from before it was scheduled the last time, of a ``for`` or a ``fork``."""

    human: Human | None = None
    asked_before: list[Human] = []
    """What was asked of people before its ``try`` was entered again; the latest."""

    @property
    def in_progress(self) -> int:
        """Branches that have begun and not ended."""
        return len(self.scopes) - self.done - self.closed

    def asked(self, number: int) -> Human | None:
        """What was asked under this number."""
        every = self.asked_before if self.human is None else [self.human, *self.asked_before]
        return next((human for human in every if human.number == number), None)

    @property
    def awaits_person(self) -> bool:
        """A person is asked and has not answered."""
        return self.human is not None and self.status == "waiting" and self.human.answered is None

    @property
    def begun_by_person(self) -> bool:
        """A person has it, so nobody knows what has been done."""
        return self.human is not None and self.status == "waiting" and self.human.assignee is not None

    @property
    def awaits_callback(self) -> bool:
        """Its call was acknowledged; whoever has it calls back. Nobody knows meanwhile whether it took effect."""
        return self.status == "waiting" and self.request is not None

    @property
    def open(self) -> bool:
        return self.status in RUN_OPEN

    @property
    def detached(self) -> bool:
        """Its child is not awaited: once begun it goes its own way, and this run is done."""
        return self.request is not None and self.request.function == DETACHED


class ScopeState(msgspec.Struct, array_like=True, gc=False):
    """One activation of a task list."""

    id: str
    pointer: str
    owner: str | None
    slot: str
    parent: str | None
    input: Any = None
    output: Any = None
    variables: dict[str, Any] = {}
    tokens: int = 1
    timeout_at: datetime | None = None
    phase: str = "active"
    """active, failing, closed or done."""
    fault: Fault | None = None
    settle_at: datetime | None = None
    previous: str | None = None
    """The scope that this one repeats, when its ``try`` was entered again."""
    runs: dict[str, str] = {}
    """pointer -> the latest run here."""
    order: int = 0


class Rollback(msgspec.Struct):
    """A rollback in progress or ended. `steps` and `ended` go together; `ended[i]` is None, done, skipped or void."""

    id: str
    reason: Cause
    steps: tuple[UndoStep, ...]
    left_behind: tuple[LeftBehind, ...]
    ended: list[str | None]
    started: list[bool]
    context: Any = None
    """``$context`` as its undos see it."""
    finished: bool = False
    place: int = 0
    """Among all rollbacks of the orchestration."""
    running: int = 0
    """Undos in progress."""
    waiting: dict[str, int] = {}
    """run -> its step that has not ended."""
    ready: list[int] = []
    """Steps that may begin, in their order."""
    missing: list[int] = []
    """Of how many steps each one awaits the end."""
    followers: list[list[int]] = []
    """The steps that await each one."""

    def index(self, run: str) -> int | None:
        """The step of a run that has not ended, if any."""
        return self.waiting.get(run)


class Incident(msgspec.Struct):
    number: int
    kind: str
    run: str | None
    fault: Fault | None
    rollback: str
    actions: tuple[str, ...]
    raised_at: datetime
    resolved: str | None = None
    resolved_by: str | None = None
    resolved_at: datetime | None = None
    reason: str | None = None


class Recorded(msgspec.Struct):
    """A result that waits for resume."""

    at: datetime
    run: str
    number: int
    result: dict[str, Any]


class State(msgspec.Struct, array_like=True, gc=False):
    """One orchestration. Starts empty; `version` is the number of events folded in."""

    id: str = ""
    definition: str = ""
    digest: str = ""
    status: str = INITIAL
    version: int = 0
    input: Any = None
    output: Any = None
    context: Any = None
    business_key: str | None = None
    tags: dict[str, str] = {}
    request: bytes | None = None
    parent: tuple[str, str] | None = None
    root: str = ""
    depth: int = 0
    timeout_at: datetime | None = None
    started_at: datetime | None = None
    updated_at: datetime | None = None
    ended_at: datetime | None = None
    fault: Fault | None = None
    cause: Cause | None = None
    undone_by_parent: bool = False
    rolling_back: bool = False
    """`rollback.started` was recorded; stays true when suspended."""
    settle_at: datetime | None = None
    ending: str | None = None
    """The run whose output ends the orchestration while the rest settles."""
    pivot_passed: str | None = None
    cancel_pending: tuple[str | None, str | None, bool] | None = None
    runs: dict[str, Run] = {}
    open: dict[str, None] = {}
    """Open runs, in the order in which they began."""
    watched: dict[str, None] = {}
    """Those among them that have a timer, listen, or are pivots: few even where a wide ``fork`` has many open."""
    counts: dict[str, int] = {}
    """pointer -> number of runs."""
    scopes: dict[str, ScopeState] = {}
    failing: dict[str, None] = {}
    """Scopes (``s:<id>``) and runs (``r:<id>``) that settle at present."""
    flights: dict[str, None] = {}
    """Runs with an attempt in flight."""
    calls: int = 0
    """Those among them that are callouts, not children."""
    rollbacks: dict[str, Rollback] = {}
    going: dict[str, None] = {}
    """Those among them that have not finished."""
    rollback_context: Any = None
    incidents: list[Incident] = []
    held: list[Held] = []
    seen: dict[str, bytes] = {}
    """``source id`` -> digest of every event received."""
    recorded: list[Recorded] = []
    emitted: int = 0
    trace: str | None = None
    """Of the request that started the topmost, if it had one."""
    forked_from: tuple[str, int] | None = None
    """(public id, version) of the orchestration that this is a fork of."""
    renamed: dict[str, list[str]] = {}
    """pointer -> those that its task had in earlier versions of the definition: runs are still named by them."""
    streams: dict[str, Stream] = {}
    parked: int = 0
    """Events that wait for their turn in all of them."""
    repeats: int = 0
    """How often an event of a stream was received again, as far as that is recorded."""
    people: list[str] = []
    """The runs of the tasks for people, in the order of their numbers."""

    @property
    def final(self) -> bool:
        return self.status in ORCHESTRATION_FINAL

    @property
    def suspended(self) -> bool:
        return self.status == "suspended"

    @property
    def flying(self) -> int:
        """Attempts in flight."""
        return len(self.flights)

    @property
    def unsettled(self) -> bool:
        """Whether anything fails, is undone or comes to an end: nothing else can settle."""
        return bool(self.failing or self.going or self.rolling_back or self.ending is not None)

    # Views -----------------------------------------------------------------------------------------------------------

    def scope_chain(self, scope: str) -> Iterator[ScopeState]:
        """The scope and those around it, innermost first."""
        current: str | None = scope
        while current is not None:
            found = self.scopes[current]
            yield found
            current = found.parent

    def earlier(self, scope: str, pointer: str) -> Run | None:
        """The latest run of a task in the scopes that this one repeats."""
        previous = self.scopes[scope].previous
        while previous is not None:
            found = self.scopes[previous]
            if pointer in found.runs:
                return self.runs[found.runs[pointer]]
            previous = found.previous
        return None

    def inside(self, scope: str, ancestor: str) -> bool:
        """Whether `scope` is `ancestor` or lies in it."""
        return any(s.id == ancestor for s in self.scope_chain(scope))

    def contains(self, run: str, scope: str) -> bool:
        """Whether `scope` is one that the run opened, or lies in one."""
        return any(s.owner == run for s in self.scope_chain(scope))

    def open_inside(self, scopes: Sequence[str], *, undos: bool) -> dict[str, list[Run]]:
        """The open runs inside each of these scopes, none of which lies in another; with or without those of an undo that
        is in progress there.
        """
        found: dict[str, list[Run]] = {scope: [] for scope in scopes}
        if not self.going and all(self.scopes[scope].tokens <= 0 for scope in scopes):
            return found  # seen at once, however wide a ``fork`` they are the branches of
        for name in self.open:
            run = self.runs[name]
            for around in self.scope_chain(run.scope):
                if around.id in found:
                    found[around.id].append(run)
                if around.id in found or (around.slot == COMPENSATE and not undos):
                    break
        return found

    def in_flight(self, *ancestors: str) -> Iterator[Run]:
        """The attempts in flight in these scopes, those of undos apart: an undo is never given up."""
        wanted = frozenset(ancestors)
        for name in self.flights:
            run = self.runs[name]
            for scope in self.scope_chain(run.scope):
                if scope.id in wanted:
                    yield run
                if scope.id in wanted or scope.slot == COMPENSATE:
                    break

    def _in_flight_below(self, run: Run) -> Iterator[tuple[str, Run]]:
        """(scope, attempt): the same for all scopes that a run has open at once, but for that of a winner."""
        if len(run.scopes) < len(self.flights) and all(self.scopes[s].tokens <= 0 for s in run.scopes.values()):
            return
        for name in self.flights:
            attempt = self.runs[name]
            for scope in self.scope_chain(attempt.scope):
                if scope.owner == run.id and run.scopes.get(scope.slot) == scope.id != run.winner:
                    yield scope.id, attempt
                if scope.owner == run.id or scope.slot == COMPENSATE:
                    break

    @property
    def undecided_pivot(self) -> Run | None:
        """A pivot of which nobody knows yet whether it happened: in flight, in doubt, or held by an incident."""
        pivots = [run for name in self.watched if (run := self.runs[name]).pivot]
        for run in sorted(pivots, key=lambda run: run.began) if len(pivots) > 1 else pivots:
            if run.flying or run.awaits_callback or run.effect == "uncertain":
                return run
        if not self.incidents:
            return None
        held = (i.run for i in self.incidents if i.kind == "uncertain_pivot" and i.resolved is None)
        return next((self.runs[name] for name in held if name), None)

    def attended(self) -> list[Run]:
        """The runs of `watched`, in the order in which they began."""
        runs = [self.runs[name] for name in self.watched]
        if len(runs) > 1:
            runs.sort(key=lambda run: run.began)
        return runs

    def rollbacks_going(self) -> list[Rollback]:
        """The rollbacks that have not finished, in their order."""
        going = [self.rollbacks[name] for name in self.going]
        if len(going) > 1:
            going.sort(key=lambda rollback: rollback.place)
        return going

    def undoing(self, scope: str) -> str | None:
        """The run in whose compensation this scope lies, if any."""
        around: str | None = scope
        while around is not None:
            found = self.scopes[around]
            if found.slot == COMPENSATE:
                return found.owner
            around = found.parent
        return None

    def live(self, scope: str) -> bool:
        """Whether tokens may go on in this scope: neither it nor anything around it settles. An undo in progress is not
        touched by what happens around the run that it undoes.
        """
        if self.final:
            return False
        around: str | None = scope
        while around is not None:
            found = self.scopes[around]
            if found.phase != "active":
                return False
            if found.slot == COMPENSATE:
                return True
            if found.owner is not None:
                owner = self.runs[found.owner]
                if owner.failing is not None or (owner.winner is not None and owner.winner != found.id):
                    return False
            around = found.parent
        return not (self.rolling_back or self.ending)

    def open_incidents(self) -> list[Incident]:
        return [incident for incident in self.incidents if incident.resolved is None]

    def blocked(self, run: str) -> Incident | None:
        """The open incident that holds a run, if any."""
        return next((i for i in self.incidents if i.run == run and i.resolved is None), None)

    def numbered(self, pointer: str, number: int) -> Run | None:
        """The run of a task with this number, also when it began before the task was moved by a migration."""
        found = self.runs.get(f"{pointer}#{number}")
        if not self.renamed or (found is not None and found.pointer == pointer):
            return found
        for earlier in self.renamed.get(pointer, ()):
            found = self.runs.get(f"{earlier}#{number}")
            if found is not None and found.pointer == pointer:
                return found
        return None

    def raw_input(self, run: Run) -> Any:
        return self.runs[run.after].data if run.after else self.scopes[run.scope].input

    def due(self) -> Iterator[tuple[datetime, str, str]]:
        """Every timer: (when, kind, run or scope); kinds ``workflow``, ``settle``, ``timeout``, ``attempt``, ``due``,
        ``more``, ``gap``, ``escalate``.
        """
        if self.final:
            return
        yield from self._due_around()
        watched = self.attended()
        pivot = self.undecided_pivot if watched else None
        for run in watched:
            yield from self._due_of(run, lambda: pivot)

    def is_due(self, timer: tuple[str, str], by: datetime) -> bool:
        """Whether `due` has this timer (kind, run or scope), and its time has come. Costs the same however many there are."""
        kind, key = timer
        if self.final:
            return False
        if kind in ("workflow", "settle"):
            timers = self._due_around()
        elif key in self.watched:
            timers = self._due_of(self.runs[key], lambda: self.undecided_pivot)
        else:
            return False
        return any((k, n) == timer and when <= by for when, k, n in timers)

    def _due_around(self) -> Iterator[tuple[datetime, str, str]]:
        if self.timeout_at and not self.rolling_back and self.undecided_pivot is None:
            yield self.timeout_at, "workflow", ROOT
        if self.settle_at and self.flying and any(self.in_flight(ROOT)):
            yield self.settle_at, "settle", ROOT
        for key in self.failing:
            subject = self.scopes[key[2:]] if key[0] == "s" else self.runs[key[2:]]
            if subject.settle_at and self.settles(key):
                yield subject.settle_at, "settle", key

    def _due_of(self, run: Run, pivot_of: Callable[[], Run | None]) -> Iterator[tuple[datetime, str, str]]:
        if run.failing is not None:
            return
        if run.due_at and run.status != "running":
            yield run.due_at, "due", run.id
        if run.more_at and run.winner is None and self.live(run.scope):
            yield run.more_at, "more", run.id
        if run.human is not None and run.awaits_person and (at := run.human.next_at) is not None:
            yield at, "escalate", run.id
        entered = self.scopes[run.scopes["try"]] if "try" in run.scopes else None
        if not (run.timeout_at or entered or (self.streams and run.listening is not None)):
            return
        pivot = pivot_of()
        if pivot is not None and self.contains(run.id, pivot.scope):
            return  # it waits for the pivot
        if run.timeout_at:
            yield run.timeout_at, "timeout", run.id
        if self.streams and run.listening is not None and not run.listening.done:
            gaps = [at for name in run.listening.streams for at in self.gaps_of(name).values()]
            if gaps:
                yield min(gaps), "gap", run.id
        if entered is not None and entered.phase == "active" and entered.timeout_at:
            yield entered.timeout_at, "attempt", run.id

    def gaps_of(self, stream: str) -> dict[str, datetime]:
        """When the gaps of a stream have lasted too long, by the text of the key."""
        found = self.streams.get(stream)
        return found.gaps if found is not None else {}

    def settling(self, key: str) -> Iterator[Run]:
        """The attempts in flight that a failing scope or run (a key of `failing`, or ROOT) waits for, scope by scope in the
        order in which they began.
        """
        if key == ROOT or key[0] == "s":
            yield from sorted(self.in_flight(key[2:]), key=lambda run: run.began)
            return
        run = self.runs[key[2:]]
        if run.flying:
            yield run
        found: dict[str, list[Run]] = {}
        for scope, attempt in self._in_flight_below(run):
            found.setdefault(scope, []).append(attempt)
        for scope in run.scopes.values():
            yield from sorted(found.get(scope, ()), key=lambda run: run.began)

    def settles(self, key: str) -> bool:
        """Whether `settling` gives anything: mostly seen at the first attempt, however wide a ``fork`` is."""
        if key == ROOT or key[0] == "s":
            return any(self.in_flight(key[2:]))
        run = self.runs[key[2:]]
        return run.flying or any(self._in_flight_below(run))

    def next_due(self) -> datetime | None:
        """When the earliest timer is due; None while suspended, since nothing is decided then."""
        if not (self.watched or self.failing or self.timeout_at or self.settle_at) or self.suspended:
            return None
        timers = list(self.due())
        return min(timers)[0] if timers else None
