"""One decision in the making: the facts it has, the facts it needs, and the events it has reached so far.

The interpreter is written as *strands*, generator functions that follow one token each: straight-line code that yields
`Question`s (expressions, schemas, the choice of a child) and gets the answers back. `advance` runs all strands until each
has ended or asks something; the questions of all strands are answered in one batch. No strand ever sees a clock, chance or
I/O, so the same answers always give the same events.

`emit` folds each event into the state at once, so later steps of the same decision see it. A decision that is given up
half-way leaves its state unusable; the engine then drops the state and reads the log again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec

from domain import events as e
from domain.base62 import base62
from domain.commands import Command, Message
from domain.errors import Fault
from domain.evolve import evolve
from domain.expressions import Evaluation
from domain.plan import Node, Plan
from domain.state import Run, State


class Limits(msgspec.Struct, frozen=True):
    """Numbers that the settings choose."""

    settle_timeout_s: float = 60.0
    callout_timeout_s: float = 30.0
    max_depth: int = 32
    max_held: int = 1000
    max_events: int = 50_000
    """Events of one decision. Only a loop of ``then`` that never waits, or far too large a collection, gets there."""
    portion: int = 100
    """Branches that one decision begins; the next decision begins more, so that no commit grows with their number."""
    max_branches: int = 50_000
    max_undos: int = 100
    """Undos that a rollback has in progress at once, where it may undo branches in parallel."""
    runtime_version: str = "0"


class Validation(msgspec.Struct, frozen=True):
    """Is `value` valid against `schema`? Answered with a list of (pointer, message)."""

    schema: Any
    resource: Any
    value: Any


class ChildChoice(msgspec.Struct, frozen=True):
    """Which child to start? Answered with a `Child`, or None when there is no such definition."""

    namespace: str
    name: str
    version: str


class Child(msgspec.Struct, frozen=True):
    """The answer: a fresh public id in the parent's partition, the definition and its digest."""

    id: str
    definition: str
    digest: str


class AtWorkers(msgspec.Struct, frozen=True):
    """Do remote workers carry out the function of this name? Answered with a bool."""

    function: str


Ask = Evaluation | Validation | ChildChoice | AtWorkers
"""What may be asked."""


class Question(msgspec.Struct, frozen=True):
    """Something the outside must tell. `key`: (run or scope, slot), stable for the same decision."""

    key: tuple[str, str]
    ask: Ask


Strand = Generator[list[Question], list[Any], Any]
"""Yields questions, receives their answers in the same order."""


class Faulted(Exception):
    """Raised inside a strand when the flow faults there."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(fault.detail)


_NONE: frozenset[str] = frozenset()


class Decision:
    """The working state of one `decide`. `events` and `messages` are the outcome once `advance` gives no questions."""

    __slots__ = (
        "_asked",
        "_blocked",
        "_ids",
        "_numbers",
        "_seed",
        "_strands",
        "actor",
        "beginning",
        "begun",
        "cause",
        "elsewhere",
        "events",
        "limits",
        "messages",
        "now",
        "offering",
        "plan",
        "state",
        "to",
    )

    def __init__(
        self,
        plan: Plan,
        state: State,
        command: Command,
        limits: Limits,
        cause: str | None = None,
        to: Plan | None = None,
    ) -> None:
        """`to`: the plan that the command moves the orchestration to; it becomes `plan` when that is recorded."""
        self.plan = plan
        self.to = to
        self.state = state
        self.limits = limits
        self.now: datetime = command.at
        self.events: list[e.Event] = []
        self.messages: list[Message] = []
        self.beginning = _NONE
        """Listens that are looking at what is held."""
        self.offering = False
        """Whether what is held is being offered."""
        self.elsewhere: dict[str, bool] = {}
        """Function -> whether remote workers carry it out, as far as that was asked."""
        self._seed = command.seed
        self._ids = 0
        self.actor = command.actor
        self.cause = cause
        self.begun = 0
        """Branches begun by this decision."""
        self._strands: deque[tuple[Strand, str | None]] = deque()
        self._blocked: list[tuple[Strand, str | None, int]] = []
        self._asked: dict[tuple[str, str], int] = {}
        self._numbers: dict[str, int] = {}

    # Facts that are made here, from the command's seed ----------------------------------------------------------------

    def fresh(self) -> bytes:
        """The next 32 bytes of this decision's own chance."""
        self._ids += 1
        return sha256(self._seed + self._ids.to_bytes(4, "big")).digest()

    def fresh_id(self) -> str:
        """22 characters of base62: an id that does not look like any database's."""
        return base62(self.fresh())

    def chance(self) -> float:
        """A number in [0, 1)."""
        return int.from_bytes(self.fresh()[:7], "big") / (1 << 56)

    def in_s(self, seconds: float) -> datetime:
        return self.now + timedelta(seconds=seconds)

    @property
    def settle_at(self) -> datetime:
        return self.in_s(self.limits.settle_timeout_s)

    def fresh_run(self, pointer: str) -> str:
        """A name for the next run of a task. It is taken at once: another token may come to the same task while the
        first still waits for facts.
        """
        number = max(self.state.counts.get(pointer, 0), self._numbers.get(pointer, 0)) + 1
        self._numbers[pointer] = number
        return f"{pointer}#{number}"

    def question(self, owner: str, slot: str, ask: Ask) -> Question:
        """A question under a key of its own: the same place may ask again in one decision (a ``while`` of each turn)."""
        asked = self._asked.get((owner, slot), 0) + 1
        self._asked[owner, slot] = asked
        return Question((owner, slot if asked == 1 else f"{slot}~{asked}"), ask)

    # Events -----------------------------------------------------------------------------------------------------------

    def emit(self, cls: type[e.Event], /, **members: Any) -> None:
        """Record an event of this decision: `at`, `actor` and `cause` are added."""
        members["at"], members["actor"], members["cause"] = self.now, self.actor, self.cause
        self.record(cls(**members))

    def record(self, event: e.Event) -> None:
        """Record an event and fold it in. For the events that there are most of; the others go the shorter way."""
        evolve(self.state, event)
        self.events.append(event)

    def send(self, to: str, cls: type[Command], /, *, digest: str | None = None, **members: Any) -> None:
        """A message to another orchestration of the family, part of this transaction."""
        self.messages.append(Message(to, cls(at=self.now, seed=self.fresh(), **members), digest))

    # Strands ----------------------------------------------------------------------------------------------------------

    def spawn(self, strand: Strand, scope: str | None = None) -> None:
        """Run a strand; with `scope` it is dropped as soon as that scope is no longer live."""
        self._strands.append((strand, scope))

    def spawn_next(self, strand: Strand, scope: str | None = None) -> None:
        """Run a strand before all that have not begun yet."""
        self._strands.appendleft((strand, scope))

    def advance(self, answers: list[Any] | None = None) -> list[Question]:
        """Go on with the answers to the last questions; gives the next questions, or none when all strands have ended."""
        questions: list[Question] = []
        if self._blocked:
            blocked, self._blocked = self._blocked, []
            resumed = iter(answers or ())
            for strand, scope, count in blocked:
                answer = [next(resumed) for _ in range(count)]
                if self._wanted(strand, scope):
                    with suppress(StopIteration):
                        questions += self._asks(strand, scope, strand.send(answer))
        strands = self._strands
        while strands:
            strand, scope = strands.popleft()
            if self._wanted(strand, scope) and (asked := next(strand, None)) is not None:
                questions += self._asks(strand, scope, asked)
        return questions

    def _wanted(self, strand: Strand, scope: str | None) -> bool:
        """Whether a strand may still go on; one that may not is dropped."""
        if scope is None or self.live(scope):
            return True
        strand.close()
        return False

    def _asks(self, strand: Strand, scope: str | None, questions: list[Question]) -> list[Question]:
        self._blocked.append((strand, scope, len(questions)))
        return questions

    # Looking around ---------------------------------------------------------------------------------------------------

    def node(self, run: Run) -> Node:
        return self.plan.nodes[run.pointer]

    def live(self, scope: str) -> bool:
        """Whether tokens may go on in this scope: neither it nor anything around it settles. An undo in progress is not
        touched by what happens around the run that it undoes.
        """
        return self.state.live(scope)
