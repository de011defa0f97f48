"""One orchestration (and its children) driven by pure decisions: no engine, no I/O, a clock that the test moves.

Participants are answered by a function of the test. Every event goes through its stored bytes and is folded a second
time into a separate state; at the end of each step both states must be equal, and their shortcuts true. Every decision is
made again from what was stored of it, and must lead to the same events.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from adapters.documents import compile_plan, read_definition
from adapters.expressions.inline import evaluate
from adapters.expressions.schemas import JsonSchemas
from domain import commands as c
from domain import events as e
from domain.basis import record_basis
from domain.decision import AtWorkers, Child, ChildChoice, Limits, Question, Validation
from domain.errors import Fault, fault
from domain.evolve import evolve
from domain.expressions import Evaluation
from domain.orchestration import opened, step
from domain.plan import Plan
from domain.redeciding import Step, bare, redecide
from domain.state import State
from tests.support.indexes import check_indexes

__all__ = ["Attempt", "World", "compile_yaml", "done", "doubt", "refused", "unusable"]

START = datetime(2026, 1, 1, tzinfo=UTC)
_SCHEMAS = JsonSchemas()


def compile_yaml(text: str) -> Plan:
    return read_definition(text, "application/yaml").plan


def plan_of(tasks: list[Any], **top: Any) -> Plan:
    document = {"document": {"dsl": "1.0.3", "namespace": "test", "name": "x", "version": "1.0.0"}, "do": tasks, **top}
    return compile_plan(document, "sha256:test")[0]


class Attempt(msgspec.Struct, frozen=True):
    """One callout as the participant sees it."""

    orchestration: str
    run: str
    number: int
    function: str
    arguments: Any
    key: str
    compensates: str | None


class Result(msgspec.Struct, frozen=True):
    outcome: Literal["completed", "refused", "uncertain", "unusable"]
    output: Any = None
    fault: Fault | None = None
    retry_after_s: float | None = None


def done(output: Any = None) -> Result:
    return Result("completed", output)


def refused(status: int = 409, type_: str = "https://test.invalid/refused") -> Result:
    return Result("refused", fault=Fault(type_, status, "Refused"))


def doubt(name: str = "timeout", status: int | None = None) -> Result:
    return Result("uncertain", fault=fault(name, "no answer", status=status))


def unusable(output: Any = None) -> Result:
    return Result("unusable", output, fault("communication", "not JSON"))


def _begins_more(state: State) -> bool:
    """Whether branches wait for a decision of their own; the engine makes it at once."""
    waiting = any(state.runs[name].more_at is not None for name in state.watched)
    return waiting and not state.suspended and any(kind == "more" for _, kind, _ in state.due())


class World:
    """`answer(attempt)` gives a Result, or None to leave the attempt in flight until `reply`."""

    def __init__(
        self, plans: Plan | dict[str, Plan], answer: Callable[[Attempt], Result | None], **limits: Any
    ) -> None:
        self.plans = {plans.name: plans} if isinstance(plans, Plan) else plans
        self.answer = answer
        self.limits = Limits(**limits)
        self.now = START
        self.states: dict[str, State] = {}
        self.history: dict[str, list[e.Event]] = {}
        self.plan_of: dict[str, Plan] = {}
        self.flying: list[Attempt] = []
        self.emitted: list[dict[str, Any]] = []
        self._mirror: dict[str, State] = {}
        self._redecided: dict[str, State] = {}
        self.remote: set[str] = set()
        """Functions that remote workers carry out."""
        self._count = 0

    # Commands ----------------------------------------------------------------------------------------------------------

    def start(self, input_: Any = None, name: str | None = None, id_: str = "o_root", **members: Any) -> State:
        plan = self.plans[name] if name else next(iter(self.plans.values()))
        self.plan_of[id_] = plan
        self.do(id_, c.Start, id=id_, input={} if input_ is None else input_, **members)
        return self.states[id_]

    def do(self, id_: str, cls: type[c.Command], **members: Any) -> list[e.Event]:
        """Decide one command and everything that follows from it at this instant."""
        events = self._decide(id_, cls(at=self.now, seed=self._seed(), **members))
        self._answer_all()
        return events

    def reply(self, attempt: Attempt, result: Result) -> None:
        self.flying.remove(attempt)
        self._report(attempt, result)
        self._answer_all()

    def pass_time(self, seconds: float) -> None:
        """Move the clock, firing timers as they become due."""
        until = self.now + timedelta(seconds=seconds)
        for _ in range(10_000):
            due = [(when, id_) for id_, s in self.states.items() if (when := s.next_due()) is not None]
            if not due or min(due)[0] > until:
                break
            when, id_ = min(due)
            self.now = max(self.now, when)
            self.do(id_, c.FireTimers)
        self.now = until

    def receive(self, type_: str, data: Any = None, *, id_: str = "o_root", **attributes: Any) -> list[e.Event]:
        event = {
            "specversion": "1.0",
            "id": f"e{self._count}",
            "source": "test",
            "type": type_,
            "data": data,
            **attributes,
        }
        return self.do(id_, c.ReceiveEvent, event=event, digest=msgspec.json.encode(event))

    # The machinery -----------------------------------------------------------------------------------------------------

    def _seed(self) -> bytes:
        self._count += 1
        return self._count.to_bytes(16, "big")

    def _decide(self, id_: str, command: c.Command) -> list[e.Event]:
        state = self.states.get(id_) or State()
        mirror = self._mirror.setdefault(id_, State())
        version = state.version
        to = None if (digest := c.target_of(command)) is None else self._by_digest(digest)
        decision = opened(self.plan_of[id_], state, command, self.limits, to=to)
        questions = step(decision)
        facts: list[Any] = []
        while questions:
            answers = [self._fact(q) for q in questions]
            facts += answers
            questions = step(decision, answers)
        self.states[id_], self.plan_of[id_] = state, decision.plan
        if decision.events:
            record_basis(command, decision.events, facts, self.limits)
        stored = [msgspec.msgpack.encode(event) for event in decision.events]
        recorded = [
            msgspec.msgpack.decode(raw, type=e.TOPICS[event.topic])
            for raw, event in zip(stored, decision.events, strict=True)
        ]
        for again in recorded:
            evolve(mirror, again)
        self._decide_again(id_, version, recorded)
        for event in decision.events:
            self.history.setdefault(id_, []).append(event)
            if isinstance(event, e.AttemptStarted) and event.child is None:
                self.flying.append(
                    Attempt(id_, event.run, event.number, event.function, event.arguments, event.key, event.compensates)
                )
            if isinstance(event, e.EventEmitted):
                self.emitted.append(event.event)
        assert msgspec.to_builtins(state, str_keys=True) == msgspec.to_builtins(mirror, str_keys=True)
        check_indexes(state)
        for message in decision.messages:
            if message.digest is not None:
                self.plan_of[message.to] = self._by_digest(message.digest)
            try:
                self._decide(message.to, message.command)
            except Exception:
                if isinstance(message.command, c.Cancel | c.Terminate):
                    continue
                raise
        return decision.events

    def _decide_again(self, id_: str, version: int, recorded: list[e.Event]) -> None:
        if recorded:
            made = Step(version + 1, tuple(recorded), self.limits)
            before = self._redecided.setdefault(id_, State())
            plan, to = made.plans(before, self._by_digest)
            again = redecide(plan, before, made, to=to)
            assert list(map(bare, again.events)) == list(map(bare, recorded))

    def _by_digest(self, digest: str) -> Plan:
        return next(p for p in self.plans.values() if p.digest == digest)

    def _fact(self, question: Question) -> Any:
        match question.ask:
            case Evaluation() as evaluation:
                return evaluate(evaluation)
            case Validation() as validation:
                return _SCHEMAS.violations(validation.schema, validation.value)
            case AtWorkers(function):
                return function in self.remote
            case ChildChoice(_, name, _):
                if name not in self.plans:
                    return None
                self._count += 1
                plan = self.plans[name]
                return Child(f"o_child{self._count}", plan.reference, plan.digest)

    def _answer_all(self) -> None:
        while True:
            for attempt in list(self.flying):
                result = self.answer(attempt)
                if result is not None:
                    self.flying.remove(attempt)
                    self._report(attempt, result)
                    break
            else:
                more = next((id_ for id_, s in self.states.items() if _begins_more(s)), None)
                if more is None:
                    return
                self._decide(more, c.FireTimers(at=self.now, seed=self._seed()))

    def _report(self, attempt: Attempt, result: Result) -> None:
        self._decide(
            attempt.orchestration,
            c.ReportResult(
                at=self.now,
                seed=self._seed(),
                run=attempt.run,
                number=attempt.number,
                outcome=result.outcome,
                output=result.output,
                fault=result.fault,
                retry_after_s=result.retry_after_s,
            ),
        )

    # Looking -----------------------------------------------------------------------------------------------------------

    @property
    def root(self) -> State:
        return self.states["o_root"]

    def topics(self, id_: str = "o_root") -> list[str]:
        return [event.topic for event in self.history[id_]]
