"""The way in: a text becomes a definition, with its plan, or a list of problems with lines and columns."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from adapters.documents.canonical import digest
from adapters.documents.compiler import compile_plan
from adapters.documents.source import MediaType, Source, load
from domain.errors import InvalidDefinitionError, Problem
from domain.plan import Plan


@dataclass(frozen=True)
class Definition:
    """A document that can be deployed."""

    plan: Plan
    warnings: list[Problem]
    source: Source

    def placed(self, problem: Problem) -> Problem:
        """A later finding about this definition, with line and column."""
        return _placed(problem, self.source)


def read_definition(text: bytes | str, media_type: MediaType) -> Definition:
    """Read and compile a document.

    Raises:
        InvalidDefinitionError: with every problem, each with pointer, line and column, in the order of the text.
    """
    source = load(text, media_type)
    try:
        plan, warnings = compile_plan(source.value, digest(source.value))
    except InvalidDefinitionError as error:
        raise InvalidDefinitionError(_in_order(error.problems, source)) from None
    return Definition(plan, _in_order(warnings, source), source)


def _in_order(problems: list[Problem], source: Source) -> list[Problem]:
    placed = [_placed(problem, source) for problem in problems]
    return sorted(placed, key=lambda problem: (problem.line or 0, problem.column or 0))


def _placed(problem: Problem, source: Source) -> Problem:
    line, column = source.position(problem.pointer)
    return msgspec.structs.replace(problem, line=line, column=column)
