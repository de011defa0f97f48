"""Answers the questions of a decision: expressions in the jail, schemas in process, children from the registry.

Questions of one round are answered together: all expressions in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from application.identity import Identity
from application.ports import Expressions, ResourceError, Resources, Schemas
from domain.decision import AtWorkers, Child, ChildChoice, Question, Validation
from domain.expressions import Evaluation
from domain.plan import Plan


class Plans(Protocol):
    """Compiled definitions."""

    async def by_digest(self, digest: str) -> Plan:
        """Raises NotFoundError."""
        ...

    async def find(self, namespace: str, name: str, version: str) -> Plan | None:
        """`version` may be ``latest``."""
        ...


class FactFinder:
    """Everything a decision may ask of the outside."""

    def __init__(
        self,
        expressions: Expressions,
        schemas: Schemas,
        resources: Resources,
        plans: Plans,
        identity: Identity,
        known: Callable[[str], bool] = lambda _function: True,
    ) -> None:
        """`known`: whether a function is in the process; the others are work for remote workers."""
        self._expressions = expressions
        self._schemas = schemas
        self._resources = resources
        self._plans = plans
        self._identity = identity
        self._known = known

    async def answer(self, questions: Sequence[Question], partition: int) -> list[Any]:
        """Answers in order. `partition`: where a child has to live."""
        evaluations = [q.ask for q in questions if isinstance(q.ask, Evaluation)]
        evaluated = iter(await self._expressions.evaluate(evaluations) if evaluations else ())
        answers: list[Any] = []
        for question in questions:
            match question.ask:
                case Evaluation():
                    answers.append(next(evaluated))
                case Validation() as validation:
                    answers.append(await self.violations(validation))
                case ChildChoice(namespace, name, version):
                    plan = await self._plans.find(namespace, name, version)
                    fresh = self._identity.draw(partition)
                    answers.append(Child(fresh, plan.reference, plan.digest) if plan else None)
                case AtWorkers(function):
                    answers.append(not self._known(function))
        return answers

    async def violations(self, validation: Validation) -> list[tuple[str, str]] | str:
        """What is wrong with a value; a text when the schema itself cannot be had or used."""
        schema = validation.schema
        if validation.resource is not None:
            try:
                schema = await self._resources.fetch(validation.resource)
            except ResourceError as error:
                return str(error)
            if (complaint := self._schemas.check(schema)) is not None:
                return complaint
        return self._schemas.violations(schema, validation.value)
