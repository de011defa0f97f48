"""What is wrong with the expressions and schemas of a plan: found by compiling each of them, without the outside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from application.ports import Expressions, Schemas
from domain.errors import Problem
from domain.expressions import Expression
from domain.plan import Plan, Schema


class Inspection(Protocol):
    """What a plan holds, each with its JSON Pointer; for an expression also the variables that exist there (None: any)."""

    def expressions_of(self, plan: Plan) -> Sequence[tuple[str, Expression, tuple[str, ...] | None]]: ...
    def schemas_of(self, plan: Plan) -> Sequence[tuple[str, Schema]]: ...


async def problems_of(plan: Plan, inspection: Inspection, expressions: Expressions, schemas: Schemas) -> list[Problem]:
    """Every expression that does not compile or mentions what does not exist there, and every schema that is none."""
    problems = []
    checked: dict[tuple[str, tuple[str, ...]], str | None] = {}
    for pointer, expression, names in inspection.expressions_of(plan):
        mentioned = expression.variables
        unknown = [n for n in mentioned if names is not None and n not in names and n not in _bound(expression)]
        complaint: str | None
        if unknown:
            complaint = f"${unknown[0]} is not defined here"
        elif expression.path is not None:
            complaint = None
        else:
            key = (expression.program, mentioned)
            if key not in checked:
                checked[key] = await expressions.check(expression.program, mentioned)
            complaint = checked[key]
        if complaint is not None:
            problems.append(Problem(pointer, complaint, "expression"))
    for pointer, schema in inspection.schemas_of(plan):
        complaint = None if schema.resource is not None else schemas.check(schema.document)
        if complaint is not None:
            problems.append(Problem(pointer, complaint, "schema"))
    return problems


def _bound(expression: Expression) -> set[str]:
    """Variables that the program itself binds with ``as $x`` or as parameters."""
    return (
        set(re.findall(r"(?:\bas\s*|[\[,:(;{]\s*)\$([A-Za-z_]\w*)", expression.program))
        if (" as " in expression.program or "def " in expression.program or "reduce" in expression.program)
        else set()
    )
