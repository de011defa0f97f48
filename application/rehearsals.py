"""The use case behind ``POST /v1/rehearsals``: a deployed definition or a document, rehearsed within bounds.

One at a time on each node, for a while at most: the node has orchestrations to run. What did not fit is counted in
``left_out``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Protocol

import msgspec

from application.checking import Inspection, problems_of
from application.ports import Expressions, Schemas
from application.rehearsal_report import Json, as_json
from application.rehearsing import Request, rehearse
from domain.decision import Limits
from domain.errors import InvalidDefinitionError, InvalidInputError, OverloadedError, Problem
from domain.plan import Plan, Run

LONGEST = timedelta(seconds=3)
MOST_SCENARIOS = 300
_MOST_CHILDREN = 50
_MOST_WAITING = 8


class Documents(Inspection, Protocol):
    """What of `application.definitions.Documents` is needed here."""

    def children_of(self, plan: Plan) -> list[tuple[str, Run]]: ...


class Rehearsals:
    """One per node. `find` gives the plan of a deployed definition, `read` a document's plan and warnings."""

    def __init__(
        self,
        find: Callable[[str, str, str], Awaitable[Plan | None]],
        documents: Documents,
        expressions: Expressions,
        schemas: Schemas,
        now: Callable[[], datetime],
        limits: Limits,
    ) -> None:
        self._find = find
        self._documents = documents
        self._expressions = expressions
        self._schemas = schemas
        self._now = now
        self._limits = limits
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def of_plan(
        self, plan: Plan, warnings: list[Problem], input_: Any, outputs: dict[str, Any], most: int
    ) -> Json:
        """The report. `input_` is UNSET where none was given. Raises InvalidInputError, InvalidDefinitionError."""
        if errors := await problems_of(plan, self._documents, self._expressions, self._schemas):
            raise InvalidDefinitionError(errors)
        members = {} if input_ is msgspec.UNSET else {"input": input_}
        request = Request(
            plan=plan,
            outputs=outputs,
            children=await self._children(plan),
            limits=self._limits,
            most_scenarios=min(most, MOST_SCENARIOS),
            **members,
        )
        if self._waiting >= _MOST_WAITING:
            raise OverloadedError("Other rehearsals are waiting for their turn already.")
        self._waiting += 1
        try:
            async with self._turn:
                ends = self._now() + LONGEST
                found = await rehearse(request, self._expressions, self._schemas, enough=lambda: self._now() >= ends)
        except InvalidInputError as error:
            problems = [msgspec.structs.replace(each, pointer=f"/input{each.pointer}") for each in error.problems]
            raise InvalidInputError(problems, error.detail) from None
        finally:
            self._waiting -= 1
        return await asyncio.to_thread(as_json, found, warnings)  # it folds many logs

    async def _children(self, plan: Plan) -> dict[str, Plan]:
        """The deployed definitions that are run as children, and theirs; those that are missing are played."""
        found: dict[str, Plan] = {}
        left = [plan]
        while left and len(found) < _MOST_CHILDREN:
            for _, run in self._documents.children_of(left.pop()):
                reference = f"{run.namespace}/{run.name}@{run.version}"
                if reference not in found and (child := await self._find(run.namespace, run.name, run.version)):
                    found[reference] = child
                    left.append(child)
        return found
