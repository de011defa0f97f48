"""Data flow: which variables an expression sees, how templates are filled, schemas checked, outputs transformed.

The functions are strands: they yield questions and return values, or raise `Faulted`. Only the variables that a program
mentions are put together. Inside a compensation ``$task``, ``$input``, ``$context`` and ``$error`` tell of the run that
is undone (rollback.md, "The undo itself").

Parts of a callout that mention ``$secrets`` are never evaluated here: they come back as *deferred* evaluations that are
recorded unevaluated and completed at each sending.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from domain.decision import Decision, Faulted, Question, Validation
from domain.errors import fault
from domain.expressions import Evaluand, Evaluated, Evaluation, Expression, resolve
from domain.plan import Duration, Schema, Template
from domain.retry import seconds
from domain.state import Run, State

Deferred = tuple[tuple[str | int, ...], str, tuple[str, ...], tuple[Any, ...]]
_WHOLE_WORKFLOW = re.compile(r"\$workflow(?!\s*\.\s*(?:id|input|startedAt)\b)")


class Env:
    """The variables at one place: a scope, and the run that is being worked on there."""

    def __init__(self, d: Decision, scope: str, pointer: str, run: Run | None = None, raw: Any = None) -> None:
        self._d = d
        self._scope = scope
        self._run = run
        self._raw = raw
        self.pointer = pointer
        self.extra: dict[str, Any] = {}
        """More variables for one expression, e.g. ``output``."""

    @property
    def owner(self) -> str:
        return self._run.id if self._run else f"{self._scope}>{self.pointer}"

    def collect(self, expression: Expression) -> dict[str, Any]:
        """The variables that the expression mentions and that exist here; ``secrets`` never."""
        found: dict[str, Any] = {}
        for name in expression.variables:
            if name != "secrets" and self._lookup(name, expression.program, found):
                continue
        return found

    def _lookup(self, name: str, program: str, into: dict[str, Any]) -> bool:
        state = self._d.state
        if name in self.extra:
            into[name] = self.extra[name]
            return True
        for scope in state.scope_chain(self._scope):
            if name in scope.variables:
                into[name] = scope.variables[name]
                return True
        undone = state.runs[found] if (found := state.undoing(self._scope)) else None
        match name:
            case "context":
                into[name] = state.rollback_context if undone and state.rolling_back else state.context
            case "input" if undone:
                into[name] = undone.input
            case "input" if self._run:
                into[name] = self._run.input
            case "task" if undone:
                into[name] = describe_undone(undone)
            case "task":
                into[name] = self._task()
            case "workflow":
                into[name] = self._workflow(program)
            case "runtime":
                into[name] = {"name": "retrace", "version": self._d.limits.runtime_version, "metadata": {}}
            case "outputs":
                into[name] = outputs(state, self._scope)
            case "error" if undone:
                into[name] = cause_json(state)
            case _:
                return False
        return True

    def _task(self) -> dict[str, Any]:
        node = self._d.plan.nodes.get(self.pointer)
        described: dict[str, Any] = {
            "name": node.name if node else None,
            "reference": self.pointer,
            "definition": definition_at(self._d.plan.document, self.pointer),
            "input": self._raw,
        }
        if self._run and self._run.started_at:
            described["startedAt"] = instant(self._run.started_at)
        if "task_output" in self.extra:
            described["output"] = self.extra["task_output"]
        return described

    def _workflow(self, program: str) -> dict[str, Any]:
        state = self._d.state
        described: dict[str, Any] = {"id": state.id, "input": state.input}
        if state.started_at:
            described["startedAt"] = instant(state.started_at)
        if _wants_definition(program):
            described["definition"] = self._d.plan.document
        return described


@lru_cache(4096)
def _wants_definition(program: str) -> bool:
    return _WHOLE_WORKFLOW.search(program) is not None


def instant(at: datetime) -> dict[str, Any]:
    """The standard's DateTime descriptor."""
    milliseconds = int(at.timestamp() * 1000)
    iso = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"iso8601": iso, "epoch": {"seconds": milliseconds // 1000, "milliseconds": milliseconds}}


def definition_at(document: Any, pointer: str) -> Any:
    """The part of a document that a JSON Pointer names, or null."""
    value = document
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def describe_undone(run: Run) -> dict[str, Any]:
    """``$task`` of an undo: names what is undone by its output or by the forward idempotency key."""
    return {
        "name": run.name,
        "reference": run.pointer,
        "key": run.key,
        "outcome": run.effect,
        "attempts": run.attempts,
        "output": run.output,
        "input": run.input,
    }


def cause_json(state: State) -> Any:
    """``$error`` of an undo."""
    if state.cause is None:
        return None
    if state.cause.fault is not None:
        return state.cause.fault.as_json()
    return fault("cancelled", state.cause.text or "cancelled").as_json()


def outputs(state: State, scope: str) -> dict[str, Any]:
    """``$outputs``: by name the latest output of a completed task, those of the nearest enclosing scopes first."""
    nearest = {found.id: depth for depth, found in enumerate(state.scope_chain(scope))}
    best: dict[str, tuple[int, int, Run]] = {}
    for run in state.runs.values():
        if run.effect == "completed" and run.order:
            rank = (-nearest.get(run.scope, len(nearest)), run.order)
            known = best.get(run.name)
            if known is None or rank > known[:2]:
                best[run.name] = (*rank, run)
    return {name: run.data for name, (_, _, run) in best.items()}


# Strands --------------------------------------------------------------------------------------------------------------


def evaluate(
    items: Sequence[tuple[Expression, Any]], env: Env, slot: str
) -> Generator[list[Question], list[Any], list[Evaluand]]:
    """Each (expression, dot) in order; plain paths here, the others in one batch outside."""
    results: list[Evaluand | None] = []
    questions = []
    for number, (expression, dot) in enumerate(items):
        variables = env.collect(expression)
        result = resolve(expression, dot, variables)
        results.append(result)
        if result is None:
            names = tuple(variables)
            ask = Evaluation(expression.program, names, (dot, *variables.values()))
            questions.append(Question((env.owner, f"{slot}.{number}"), ask))
    if questions:
        answers = iter((yield questions))
        results = [next(answers) if result is None else result for result in results]
    return [result for result in results if result is not None]


def value_of(result: Evaluand, slot: str) -> Any:
    """The value, or the flow faults with an expression error."""
    if isinstance(result, Evaluated):
        return result.value
    raise Faulted(fault("expression", f"{slot}: {result.detail}"))


def value(expression: Expression, dot: Any, env: Env, slot: str) -> Generator[list[Question], list[Any], Any]:
    results = yield from evaluate([(expression, dot)], env, slot)
    return value_of(results[0], slot)


def truth(expression: Expression, dot: Any, env: Env, slot: str) -> Generator[list[Question], list[Any], bool]:
    """jq's truth: everything but false and null."""
    result = yield from value(expression, dot, env, slot)
    return result is not None and result is not False


def fill(template: Template, dot: Any, env: Env, slot: str) -> Generator[list[Question], list[Any], Any]:
    """The template's value with every hole filled."""
    filled, deferred = yield from fill_some(template, dot, env, slot)
    if deferred:
        raise Faulted(fault("expression", f"{slot}: $secrets may not be used here"))
    return filled


def fill_some(
    template: Template, dot: Any, env: Env, slot: str
) -> Generator[list[Question], list[Any], tuple[Any, tuple[Deferred, ...]]]:
    """Like `fill`, but holes that mention ``$secrets`` stay null and come back as deferred evaluations."""
    if not template.holes:
        return template.value, ()
    now = [hole for hole in template.holes if not hole.expression.reads_secrets]
    deferred: list[Deferred] = []
    for hole in template.holes:
        if hole.expression.reads_secrets:
            variables = env.collect(hole.expression)
            deferred.append((hole.path, hole.expression.program, tuple(variables), (dot, *variables.values())))
    results = yield from evaluate([(hole.expression, dot) for hole in now], env, slot)
    values = {hole.path: value_of(result, _where(slot, hole.path)) for hole, result in zip(now, results, strict=True)}
    return planted(template.value, values), tuple(deferred)


def _where(slot: str, path: tuple[str | int, ...]) -> str:
    return "/".join((slot, *map(str, path)))


def planted(base: Any, values: dict[tuple[str | int, ...], Any], path: tuple[str | int, ...] = ()) -> Any:
    """A copy of a JSON value with some places replaced; untouched parts are shared."""
    if path in values:
        return values[path]
    if not any(place[: len(path)] == path for place in values):
        return base
    if isinstance(base, dict):
        return {key: planted(item, values, (*path, key)) for key, item in base.items()}
    if isinstance(base, list):
        return [planted(item, values, (*path, index)) for index, item in enumerate(base)]
    return base


def duration_s(duration: Duration, dot: Any, env: Env, slot: str) -> Generator[list[Question], list[Any], float]:
    """Seconds; an expression must give an ISO 8601 duration or an object of units."""
    if duration.expression is None:
        return duration.seconds
    result = yield from value(duration.expression, dot, env, slot)
    length = seconds(result)
    if length is None:
        raise Faulted(fault("expression", f"{slot}: {result!r} is not a duration such as PT5S or {{seconds: 5}}"))
    return length


def validate(schema: Schema | None, data: Any, env: Env, slot: str) -> Generator[list[Question], list[Any], None]:
    """The flow faults with a validation error that lists the violations."""
    if schema is None:
        return
    answers = yield [Question((env.owner, slot), Validation(schema.document, schema.resource, data))]
    if isinstance(answers[0], str):
        raise Faulted(fault("configuration", f"{slot}: {answers[0]}"))
    if answers[0]:
        listed = "; ".join(f"{pointer or '/'}: {message}" for pointer, message in answers[0][:10])
        raise Faulted(fault("validation", f"{slot}: {listed}"))
