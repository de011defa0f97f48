"""Answers the questions of a rehearsed decision. Where an expression fails, or would have to know what nobody knows, it
assumes something that lets the course go on, and notes that.

======================================  ======================================================
a condition                             true (``exceptWhen``: false)
a length of time                        one second
the items of a ``for``                  one item
a type, source or id that is needed     ``made-up``
any other value                         null
a value that a schema does not allow    that it is valid
who carries a function out              the process
======================================  ======================================================

Nothing is assumed as long as no value was made up: then a failure is what would happen. A condition that comes out false
is believed unless it could have read a value that nobody knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from application.ports import Expressions, Schemas
from application.rehearsal_stage import Stage
from domain.decision import AtWorkers, Child, ChildChoice, Question, Validation
from domain.expressions import Evaluand, Evaluated, Evaluation, EvaluationFailed, parse, resolve
from domain.plan import Emit, Node, Plan, Raise
from domain.retry import seconds

_CONDITIONS = ("if", "when", "while", "compensate.if", "catch.when", "retry.when", "listen.until")
_EXCEPTIONS = ("catch.exceptWhen", "retry.exceptWhen")
_DURATIONS = ("wait", "timeout", "retry.delay", "retry.jitter", "retry.limit")
_TEMPLATES = ("raise.error", "emit.event.with")
_REMEMBERED = 20_000
_read = lru_cache(4096)(parse)


class Assumption(msgspec.Struct, frozen=True):
    """`slot`: which part of the task asked; `value`: what was assumed; `why`: what stood in the way."""

    digest: str
    pointer: str
    slot: str
    value: Any
    why: str


class Answers:
    """One per rehearsal. No callout port is in reach of it."""

    def __init__(self, stage: Stage, expressions: Expressions, schemas: Schemas) -> None:
        self._stage = stage
        self._expressions = expressions
        self._schemas = schemas
        self._known: dict[tuple[str, tuple[str, ...], bytes], Evaluand] = {}

    async def answer(
        self, questions: Sequence[Question], plan: Plan, fresh_id: str, assumed: list[Assumption]
    ) -> list[Any]:
        """Answers in order. `fresh_id`: of the next child; what is assumed is added to `assumed`."""
        asked = [question.ask for question in questions if isinstance(question.ask, Evaluation)]
        evaluated = iter(await self._evaluated(asked))
        answers: list[Any] = []
        for question in questions:
            match question.ask:
                case Evaluation() as ask:
                    answers.append(self._believed(question, ask, next(evaluated), plan, assumed))
                case Validation() as ask:
                    answers.append(self._violations(question, ask, plan, assumed))
                case ChildChoice(namespace, name, version):
                    child = self._stage.child(namespace, name, version)
                    number = sum(isinstance(each, Child) for each in answers)
                    answers.append(Child(f"{fresh_id}_{number}", child.reference, child.digest))
                case AtWorkers():
                    answers.append(False)  # what is in flight in a rehearsal has been sent
        return answers

    async def _evaluated(self, batch: Sequence[Evaluation]) -> list[Evaluand]:
        """Plain paths in process; the rest in the jail, once for the same program and values."""
        results: list[Evaluand | None] = []
        keys = []
        for ask in batch:
            plain = resolve(_read(ask.program), ask.values[0], dict(zip(ask.names, ask.values[1:], strict=True)))
            key = (ask.program, ask.names, msgspec.msgpack.encode(ask.values) if plain is None else b"")
            results.append(plain if plain is not None else self._known.get(key))
            keys.append(key)
        missing = [number for number, result in enumerate(results) if result is None]
        if missing:
            if len(self._known) > _REMEMBERED:
                self._known.clear()
            found = await self._expressions.evaluate([batch[number] for number in missing])
            for number, result in zip(missing, found, strict=True):
                results[number] = self._known[keys[number]] = result
        return [result for result in results if result is not None]

    def _believed(
        self, question: Question, ask: Evaluation, result: Evaluand, plan: Plan, assumed: list[Assumption]
    ) -> Evaluand:
        slot = question.key[1].partition("~")[0]
        name, _, index = slot.rpartition(".")
        value = result.value if isinstance(result, Evaluated) else None
        failed = isinstance(result, EvaluationFailed) and self._stage.made_up
        if not failed and not _might_be_wrong(name, value):
            return result
        lost = value is None and name not in _CONDITIONS and self._stage.made_up  # where null itself would be a fault
        unknown = failed or lost or self._stage.touches_unknown(ask.program, ask.values)
        pointer = _pointer_of(question.key[0])
        instead: Any = None
        if not unknown or name in ("listen.filter", "streams.listen"):
            return result
        if name in _CONDITIONS:
            instead = True
        elif name in _EXCEPTIONS:
            instead = False
        elif name.startswith(_DURATIONS):
            instead = "PT1S"
        elif name == "for.in":
            instead = [self._stage.unknown("an item")]
        elif name in _TEMPLATES:
            instead = _needed(plan.nodes.get(pointer), int(index))
            if instead is None and not failed:
                return result
        why = result.detail if isinstance(result, EvaluationFailed) else f"`{ask.program}` depends on what is not known"
        assumed.append(Assumption(plan.digest, pointer, name, instead, why))
        return Evaluated(instead)

    def _violations(
        self, question: Question, ask: Validation, plan: Plan, assumed: list[Assumption]
    ) -> list[tuple[str, str]]:
        slot = question.key[1].partition("~")[0]
        if ask.resource is not None:
            why = "an external schema is not fetched"
        else:
            found = self._schemas.violations(ask.schema, ask.value)
            if not found or not self._stage.made_up:
                return found
            why = "; ".join(f"{pointer or '/'}: {message}" for pointer, message in found[:3])
        assumed.append(Assumption(plan.digest, _pointer_of(question.key[0]), slot, "valid", why))
        return []


def _might_be_wrong(slot: str, value: Any) -> bool:
    """Whether a result is one that a value not known could have spoilt."""
    if slot in _CONDITIONS:
        return value is None or value is False
    if slot.startswith(_DURATIONS) and slot not in _EXCEPTIONS:
        return seconds(value) is None
    if slot == "for.in":
        return not isinstance(value, list)
    return slot in _TEMPLATES and value is None


def _pointer_of(owner: str) -> str:
    """The reference of the task that asks: of a run (``<pointer>#<number>``), or of a place (``<scope>><pointer>``)."""
    if ">" in owner:
        return owner.rpartition(">")[2]
    return owner.rpartition("#")[0] if "#" in owner else owner


def _needed(node: Node | None, index: int) -> Any:
    """What stands for a member without which the task could do nothing."""
    work = node.work if node is not None else None
    template = work.error if isinstance(work, Raise) else work.event if isinstance(work, Emit) else None
    if template is None or index >= len(template.open_holes):
        return None
    member = (template.open_holes[index].path or ("",))[-1]
    if isinstance(work, Emit):
        return "made-up" if member in ("source", "type", "id") else None
    whole = {"type": "https://retrace.invalid/errors/unknown", "status": 500}
    return whole if member == "" else whole.get(str(member))
