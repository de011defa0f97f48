"""The course that an orchestration would have taken: recorded decisions made again under another plan or with other facts.

As long as each decision leads to the recorded events it is the same path, and the next command is the recorded one. From the
first difference on time is virtual: what is expected (`application.what_if_expected`) comes at its instant, timers fire when
they are due, until nothing can happen any more or something is not known. Nothing is called, stored or drawn; the course is a
generator that yields the questions that the record does not answer, and none at all to let others breathe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from application.what_if_answers import Asking
from application.what_if_decisions import Decisions
from application.what_if_expected import Expectations, Source, Unknown
from application.what_if_paths import first_difference, retimed
from application.what_if_record import Record
from application.what_if_suppositions import Suppositions, result_of
from domain import commands as c
from domain import events as e
from domain.errors import RetraceError
from domain.evolve import evolve
from domain.plan import Plan
from domain.redeciding import NotRedecidedError, Step
from domain.state import State
from domain.state_people import Human

MOST_DECISIONS: Final = 10_000
"""After the recorded path was left."""


PersonCommand = c.ClaimTask | c.ReleaseTask | c.ReassignTask | c.AnswerTask


class Left(msgspec.Struct, frozen=True):
    """Where the recorded path was left: what was recorded as this version, and what comes instead (None: nothing)."""

    version: int
    recorded: e.Event | None
    instead: e.Event | None


class Heard(msgspec.Struct, frozen=True):
    """The first answer to an attempt: where it came from; completed, refused, uncertain or unusable."""

    source: Source
    outcome: str


def outcome_of(command: c.ReportResult | c.ReportChild) -> str:
    """In the words of callouts."""
    if isinstance(command, c.ReportResult):
        return command.outcome
    return {"completed": "completed", "terminated": "uncertain"}.get(command.status, "refused")


class Course:
    """`walk` it to its end; then the other attributes tell what came of it."""

    def __init__(
        self, record: Record, plan: Plan, supposed: Suppositions, *, most_decisions: int = MOST_DECISIONS
    ) -> None:
        self.record = record
        self.plan = plan
        self.supposed = supposed
        self.shared = 0
        """So many events are on the recorded path."""
        self.left: Left | None = None
        self.expectations = Expectations(record, plan, supposed)
        self.assumptions = self.expectations.assumptions
        self.heard: dict[tuple[str, int], Heard] = {}
        """What was first heard of each attempt."""
        self.broken: str | None = None
        """Why nothing more could be decided."""
        self._most = most_decisions
        self._other_input = supposed.input is not msgspec.UNSET
        self._same_plan = record.plan is plan and not self._other_input
        self._decisions = Decisions(record, plan, self.assumptions, as_recorded=self._same_plan)
        self.state = self._decisions.state
        self.events = self._decisions.events
        self._next = 1
        """Version of the first recorded event that is not followed any more."""
        self._parted = 1
        """Version of the first event of the decision that differs from the recorded one."""
        self._retimed = False
        self._answered_at_once = False
        """A change concerns an attempt on the path whose result was never recorded."""
        self._shadow: tuple[int, State] = (0, State())

    @property
    def unknown(self) -> list[Unknown]:
        """What it would take to know more."""
        return self.expectations.unknown

    def walk(self) -> Asking:
        """All of it."""
        try:
            if not self._same_plan or self.supposed.changes:
                yield from self._looked_through()
            yield from self._follow()
            if self.left is not None or self._next <= len(self.record.history) or self._answered_at_once:
                yield from self._go_on()
            self._note_unmet()
        except (RetraceError, NotRedecidedError) as error:
            self.broken = f"it cannot be decided: {error}"
        except Exception as error:  # whatever another definition leads to must be told, not end the walk over a fleet
            self.broken = f"it cannot be decided: {type(error).__name__}: {error}"

    def _looked_through(self) -> Asking:
        for _ in self.record.look_through():
            yield []

    # On the recorded path ---------------------------------------------------------------------------------------------

    def _follow(self) -> Asking:
        """As far as everything is as recorded. Afterwards `_next` tells where the record was left."""
        for recorded in self.record.steps:
            self._parted = recorded.version
            if self._answered_at_once or self._something_else_first(recorded):
                return
            changed, command, source = self._command(recorded)
            self._decisions.limits = recorded.limits
            began = len(self.events)
            messages = yield from self._decisions.carried_out(command, None if changed else recorded)
            self._next = recorded.version + len(recorded.events)
            self._note_source(command, source)
            decided = self.events[began:]
            difference = first_difference(recorded.events, decided, other_input=self._other_input)
            if difference is not None:
                self._leave(recorded, decided, difference)
                self._look_ahead(decided, messages)
                return
            self.shared = len(self.events)
            for version, event in enumerate(decided, recorded.version):
                self._compare_times(version, event)
        self._parted = self._next

    def _something_else_first(self, recorded: Step) -> bool:
        """Whether a timer, or the end of somebody's patience, comes before the recorded decision."""
        at = recorded.events[0].at
        expected = self.expectations.next()
        if expected is not None and expected.at < at:
            return True
        if self.expectations.doubtful:
            command = recorded.command()
            if isinstance(command, c.ReportResult) and (command.run, command.number) in self.expectations.doubtful:
                return True
        if not self._retimed:
            return False
        due = self.state.next_due()
        if due is None or due >= at:
            return False
        version, shadow = self._shadow
        for event in self.record.history[version : recorded.version - 1]:
            evolve(shadow, event)
        self._shadow = recorded.version - 1, shadow
        was_due = shadow.next_due()
        return was_due is None or due < was_due

    def _command(self, recorded: Step) -> tuple[bool, c.Command, Source]:
        """(whether it is another one than was recorded, the command, where it is from)."""
        command = recorded.command()
        if isinstance(command, c.Start) and self._other_input:
            return True, msgspec.structs.replace(command, input=self.supposed.input), "change"
        if not isinstance(command, c.ReportResult | c.ReportChild) or not self.supposed.changes:
            return False, command, "record"
        run = self.state.runs.get(command.run)
        change = None if run is None else self.supposed.change_of(self.state, run)
        if run is None or run.request is None or change is None:
            return False, command, "record"
        number = run.attempts
        if isinstance(command, c.ReportResult):
            number = command.number  # also one that is late: whenever it comes, it has the changed outcome
        elif not run.flying or command.undone:
            return False, command, "record"
        changed = result_of(change, run, number, command.at, command.seed, run.request.callout)
        return True, changed, "change"

    def _note_source(self, command: c.Command, source: Source) -> None:
        if isinstance(command, c.ReportResult):
            self.heard.setdefault((command.run, command.number), Heard(source, outcome_of(command)))
        elif isinstance(command, c.ReportChild) and command.run in self.state.runs:
            number = self.state.runs[command.run].attempts
            self.heard.setdefault((command.run, number), Heard(source, outcome_of(command)))

    def _leave(self, recorded: Step, decided: Sequence[e.Event], index: int) -> None:
        """Note where the two part. Where the recorded decision was over, its next event is the one that came instead."""
        version = recorded.version + index
        instead = decided[index] if index < len(decided) else None
        self.left = Left(version, self.record.event(version), instead)
        self.shared += index

    def _compare_times(self, version: int, event: e.Event) -> None:
        """On the same path a timer may be due at another time, and an answer may be waited for longer or not as long."""
        recorded = self.record.event(version)
        assert recorded is not None
        self._retimed = self._retimed or retimed(recorded, event)
        if not isinstance(event, e.AttemptStarted) or (self._same_plan and not self.supposed.changes):
            return
        sent = self.record.sent(event.run, event.number)
        assert sent is not None
        run = self.state.runs[event.run]
        if self.supposed.change_of(self.state, run) is not None:
            told = sent.told if event.child is None else self.record.children_told(event.child[0], sent.version)
            if not told and run.flying:
                self.assumptions[f"{run.name} answers at once, since its answer was not recorded"] = None
                self._answered_at_once = True
        elif event.child is None:
            self.expectations.in_other_time(event, sent)

    def _note_unmet(self) -> None:
        met = (self.state.runs[run] for (run, _), heard in self.heard.items() if heard.source == "change")
        for change in self.supposed.unmet(met):
            which = f"run {change.run} of {change.task}" if change.run else change.task
            self.assumptions[f"another outcome of {which} makes no difference, since it was not called"] = None

    # Off the recorded path --------------------------------------------------------------------------------------------

    def _go_on(self) -> Asking:
        """Until nothing can happen any more, or something is not known."""
        self.expectations.the_rest(self._next, self._parted, self.state)
        for _ in range(self._most):
            if self.unknown:
                return
            expected, due = self.expectations.next(), self.state.next_due()
            if expected is not None and (due is None or expected.at <= due):
                taken = self.expectations.take()
                yield from self._happen(taken.command, taken.source)
            elif due is not None:
                at = max(due, self.state.updated_at or due)
                yield from self._happen(c.FireTimers(at=at, seed=_next_seed(self.events[-1], len(self.events))))
            else:
                return
        self.broken = f"it goes on and on: {self._most} decisions after it had left the recorded path"

    def _happen(self, command: c.Command, source: Source = "record") -> Asking:
        """Decide one thing that comes from outside, or a timer."""
        fitting = self._fitting(command)
        if fitting is None:
            return
        began = len(self.events)
        messages = yield from self._decisions.carried_out(fitting, None)
        self._note_source(fitting, source)
        decided = self.events[began:]
        if decided and self.left is None:
            self.left = Left(self._next, self.record.event(self._next), decided[0])
        self._look_ahead(decided, messages)

    def _look_ahead(self, decided: Sequence[e.Event], messages: Sequence[c.Message]) -> None:
        """What may be expected after a decision that was not recorded."""
        for event in decided:
            if isinstance(event, e.AttemptStarted):
                self.expectations.sent(event, self.state)
        for message in messages:
            self.expectations.message(message, self.state, self.events[-1].at)

    def _fitting(self, command: c.Command) -> c.Command | None:
        """The recorded command as it would come to the new path; None where it means nothing there."""
        if isinstance(command, c.ReceiveEvent):
            return msgspec.structs.replace(command, hold=True)  # published events wait for whoever listens later
        if isinstance(command, c.ReportPoison):
            return None
        if isinstance(command, c.Resolve) and not self._same_incident(command.number):
            self.assumptions[f"the recorded answer to incident {command.number} has nothing to answer"] = None
            return None
        if isinstance(command, PersonCommand):
            return self._for_a_person(command)
        return command

    def _for_a_person(self, command: PersonCommand) -> c.Command | None:
        """What a person did goes to the task of this name that waits for one here, whatever its number."""
        recorded = self.record.state
        known = recorded.runs[recorded.people[command.number - 1]]
        name, before = known.name, known.asked(command.number)
        for run in map(self.state.runs.__getitem__, reversed(self.state.people)):
            if run.name == name and run.human is not None and run.awaits_person:
                if before is None or _question(before) != _question(run.human):
                    self.assumptions[f"{name} is answered as recorded, although the person is asked something else"] = (
                        None
                    )
                return msgspec.structs.replace(command, number=run.human.number)
        self.assumptions[f"what was recorded of a person at {name} makes no difference, since nobody is asked then"] = (
            None
        )
        return None

    def _same_incident(self, number: int) -> bool:
        recorded, here = self.record.state.incidents, self.state.incidents
        if number > len(here) or number > len(recorded) or here[number - 1].resolved is not None:
            return False
        one, other = recorded[number - 1], here[number - 1]
        names = [
            state.runs[each.run].name if each.run else None
            for state, each in ((self.record.state, one), (self.state, other))
        ]
        return one.kind == other.kind and names[0] == names[1]


def _question(human: Human) -> tuple[Any, ...]:
    return human.title, human.description, human.form, human.data


def _next_seed(last: e.Event, count: int) -> bytes:
    """For timers that nobody recorded: the same each time that is asked."""
    return msgspec.msgpack.encode((last.at, last.topic, count))
