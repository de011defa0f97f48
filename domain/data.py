"""Data flow: which variables an expression sees, how templates are filled, schemas checked, outputs transformed.

The functions are strands: they yield questions and return values, or raise `Faulted`. Only the variables that a program
mentions are put together. Inside a compensation ``$task``, ``$input``, ``$context`` and ``$error`` tell of the run that
is undone (rollback.md, "The undo itself").

Parts of a callout that mention ``$secrets`` or ``$callback`` are never evaluated here: they come back as *deferred*
evaluations that are recorded unevaluated and completed at each sending.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from domain.decision import Decision, Faulted, Question, Validation
from domain.errors import Fault, fault
from domain.events import Cause
from domain.expressions import (
    LATE,
    Evaluand,
    Evaluated,
    Evaluation,
    Expression,
    NoValueError,
    plain_value,
    resolve,
)
from domain.plan import Duration, Schema, Template
from domain.retry import seconds
from domain.state import Run, State

Deferred = tuple[tuple[str | int, ...], str, tuple[str, ...], tuple[Any, ...]]
_ONE_MEMBER = r"""(?:\.([A-Za-z_]\w*)|\s*\[\s*"([^"\\]*)"\s*\])"""


class Env:
    """The variables at one place: a scope, and the run that is being worked on there."""

    __slots__ = ("_raw", "_run", "_scope", "decision", "extra", "owner", "pointer")

    def __init__(
        self, d: Decision, scope: str, pointer: str, run: Run | None = None, raw: Any = None, owner: str | None = None
    ) -> None:
        """`owner`: the name of a run that has not been recorded yet; its questions are asked under it."""
        self.decision = d
        self._scope = scope
        self._run = run
        self._raw = raw
        self.owner = run.id if run else owner or f"{scope}>{pointer}"
        self.pointer = pointer
        self.extra: dict[str, Any] = {}
        """More variables for one expression, e.g. ``output``."""

    def collect(self, expression: Expression) -> dict[str, Any]:
        """The variables that the expression mentions and that exist here; those that only a sending knows never."""
        found: dict[str, Any] = {}
        for name in expression.variables:
            if name not in LATE:
                self._lookup(name, expression.program, found)
        return found

    def _lookup(self, name: str, program: str, into: dict[str, Any]) -> None:
        state = self.decision.state
        if name in self.extra:
            into[name] = self.extra[name]
            return
        around: str | None = self._scope
        while around is not None:
            scope = state.scopes[around]
            if name in scope.variables:
                into[name] = scope.variables[name]
                return
            around = scope.parent
        undone = state.runs[found] if (found := state.undoing(self._scope)) else None
        match name:
            case "context" if state.version:
                into[name] = state.rollbacks[undone.undo.rollback].context if undone else state.context
            case "input" if undone:
                into[name] = undone.input
            case "input" if self._run:
                into[name] = self._run.input
            case "task" if undone:
                into[name] = describe_undone(undone)
            case "task" if self.pointer in self.decision.plan.nodes:
                into[name] = self._task(program)
            case "workflow":
                into[name] = self._workflow(program, undone or self._run or state.runs.get(self.owner))
            case "runtime":
                into[name] = {"name": "retrace", "version": self.decision.limits.runtime_version, "metadata": {}}
            case "outputs":
                into[name] = outputs(state, self._scope, mentioned(program, "outputs"))
            case "error" if undone:
                into[name] = cause_json(state.rollbacks[undone.undo.rollback].reason)

    def _task(self, program: str) -> dict[str, Any]:
        wanted = mentioned(program, "task")
        plan = self.decision.plan
        described: dict[str, Any] = {
            "name": plan.nodes[self.pointer].name,
            "reference": self.pointer,
            "input": self._raw,
        }
        if wanted is None or "startedAt" in wanted:
            described["startedAt"] = instant((self._run.started_at if self._run else None) or self.decision.now)
        if wanted is None or "definition" in wanted:
            described["definition"] = definition_at(plan.document, self.pointer)
        if "task_output" in self.extra:
            described["output"] = self.extra["task_output"]
        return narrowed(described, wanted)

    def _workflow(self, program: str, run: Run | None) -> dict[str, Any]:
        """A run that a fork has from its original still speaks of the original: that is the id that was sent."""
        state = self.decision.state
        id_ = (run and run.origin) or state.id
        described = {"id": id_, "definition": self.decision.plan.document, "input": state.input}
        wanted = mentioned(program, "workflow")
        if state.started_at and (wanted is None or "startedAt" in wanted):
            described["startedAt"] = instant(state.started_at)
        return narrowed(described, wanted)


def narrowed(described: dict[str, Any], wanted: frozenset[str] | None) -> dict[str, Any]:
    """Only what a program reads travels to the jail: not a whole definition or input beside an id."""
    return described if wanted is None else {name: described[name] for name in wanted if name in described}


def instant(at: datetime) -> dict[str, Any]:
    """The standard's DateTime descriptor."""
    milliseconds = int(at.timestamp() * 1000)
    iso = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"iso8601": iso, "epoch": {"seconds": milliseconds // 1000, "milliseconds": milliseconds}}


def definition_at(document: Any, pointer: str) -> Any:
    """The part of a document that a JSON Pointer names, or null. The task of a function of ``use.functions`` stands in
    the plan below each ``call`` of it, so there the way leads on through the function.
    """
    value = document
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, str) and value == key:
            value = document.get("use", {}).get("functions", {}).get(key)
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


def cause_json(cause: Cause | None) -> Any:
    """``$error`` of an undo."""
    if cause is None:
        return None
    return (cause.fault or fault("cancelled", cause.text or "cancelled")).as_json()


@lru_cache(4096)
def mentioned(program: str, variable: str) -> frozenset[str] | None:
    """The members of a variable that a program reads; None when that cannot be told from its text."""
    names = [plain or quoted for plain, quoted in re.findall(rf"\${variable}{_ONE_MEMBER}", program, re.ASCII)]
    return frozenset(names) if len(names) == program.count(f"${variable}") else None


def outputs(state: State, scope: str, names: frozenset[str] | None) -> dict[str, Any]:
    """``$outputs``: by name the latest output of a completed task, those of the nearest enclosing scopes first."""
    best: dict[str, tuple[int, Run]] = {}
    places = [(depth, around.id, around.runs) for depth, around in enumerate(state.scope_chain(scope))]
    anywhere = {pointer: run.id for pointer, count in state.counts.items() if (run := _latest(state, pointer, count))}
    for depth, place, latest in [*places, (len(places), None, anywhere)]:
        for pointer, name in latest.items():
            task = state.runs[name].name
            known = best.get(task)
            if (names is not None and task not in names) or (known is not None and known[0] < depth):
                continue
            run = _completed(state, pointer, int(name.rpartition("#")[2]), place)
            if run is not None and (known is None or run.order > known[1].order):
                best[task] = (depth, run)
    return {name: run.data for name, (_, run) in best.items()}


def _latest(state: State, pointer: str, count: int) -> Run | None:
    """The run with the highest number that a task has, if it still has any: a migration may have moved them."""
    return next((run for number in range(count, 0, -1) if (run := state.numbered(pointer, number))), None)


def _completed(state: State, pointer: str, number: int, scope: str | None) -> Run | None:
    """The latest run of a task, from `number` down, that has completed (in this scope)."""
    for earlier in range(number, 0, -1):
        run = state.numbered(pointer, earlier)
        if run is not None and run.effect == "completed" and run.order and scope in (None, run.scope):
            return run
    return None


# Strands --------------------------------------------------------------------------------------------------------------


def evaluate(
    items: Sequence[tuple[Expression, Any]], env: Env, slot: str
) -> Generator[list[Question], list[Any], list[Evaluand]]:
    """Each (expression, dot) in order; plain paths here, the others in one batch outside."""
    known, questions = _looked_up(items, env, slot)
    return _merged(known, (yield questions)) if questions else known


def _looked_up(items: Sequence[tuple[Expression, Any]], env: Env, slot: str) -> tuple[list[Evaluand], list[Question]]:
    """What can be told here, None in the place of what has to be asked."""
    known: list[Any] = []
    questions: list[Question] = []
    for number, (expression, dot) in enumerate(items):
        variables = env.collect(expression) if expression.variables else {}
        result = resolve(expression, dot, variables)
        known.append(result)
        if result is None:
            ask = Evaluation(expression.program, tuple(variables), (dot, *variables.values()))
            questions.append(env.decision.question(env.owner, f"{slot}.{number}", ask))
    return known, questions


def _merged(known: Sequence[Evaluand | None], answers: Sequence[Evaluand]) -> list[Evaluand]:
    rest = iter(answers)
    return [next(rest) if result is None else result for result in known]


def value_of(result: Evaluand, slot: str, path: tuple[str | int, ...] = ()) -> Any:
    """The value, or the flow faults with an expression error that tells the place."""
    if isinstance(result, Evaluated):
        return result.value
    raise Faulted(_no_value(slot, path, result.detail))


def _no_value(slot: str, path: tuple[str | int, ...], why: str) -> Fault:
    return fault("expression", f"{'/'.join((slot, *map(str, path)))}: {why}")


def value(expression: Expression, dot: Any, env: Env, slot: str) -> Generator[list[Question], list[Any], Any]:
    results = yield from evaluate([(expression, dot)], env, slot)
    return value_of(results[0], slot)


def truth(expression: Expression, dot: Any, env: Env, slot: str) -> Generator[list[Question], list[Any], bool]:
    """Jq's truth: everything but false and null."""
    result = yield from value(expression, dot, env, slot)
    return result is not None and result is not False


def fill(template: Template, dot: Any, env: Env, slot: str) -> Generator[list[Question], list[Any], Any]:
    """The template's value with every hole filled."""
    result, deferred = yield from fill_some(template, dot, env, slot)
    if deferred:
        raise Faulted(fault("expression", f"{slot}: $secrets and $callback may not be used here"))
    return result


def fill_some(
    template: Template, dot: Any, env: Env, slot: str
) -> Generator[list[Question], list[Any], tuple[Any, tuple[Deferred, ...]]]:
    """Like `fill`, but holes that are known only at a sending stay null and come back as deferred evaluations."""
    if template.plain:
        return filled(template, dot, env.collect, slot), ()
    deferred: list[Deferred] = []
    for hole in template.late_holes:
        variables = env.collect(hole.expression)
        deferred.append((hole.path, hole.expression.program, tuple(variables), (dot, *variables.values())))
    known, questions = _looked_up([(hole.expression, dot) for hole in template.open_holes], env, slot)
    if questions:
        known = _merged(known, (yield questions))
    found = zip(template.open_holes, known, strict=True)
    values = {hole.path: value_of(result, slot, hole.path) for hole, result in found}
    return planted(template.value, values), tuple(deferred)


def filled(template: Template, dot: Any, collect: Callable[[Expression], dict[str, Any]], slot: str) -> Any:
    """The value of a template that is `plain`: nothing has to be asked, so this is no strand. `collect` is that of an `Env`,
    which is not needed where no variable is mentioned.
    """
    values: dict[tuple[str | int, ...], Any] = {}
    for hole in template.holes:
        expression = hole.expression
        try:
            values[hole.path] = plain_value(expression, dot, collect(expression) if expression.variables else {})
        except NoValueError as why:
            raise Faulted(_no_value(slot, hole.path, why.detail)) from None
    return planted(template.value, values)


def planted(base: Any, values: dict[tuple[str | int, ...], Any]) -> Any:
    """A copy of a JSON value with some places replaced; untouched parts are shared."""
    if not values:
        return base
    if () in values:
        return values[()]
    whole = base.copy()
    copies: dict[tuple[str | int, ...], Any] = {}
    for path, new in values.items():
        if len(path) == 1:  # by far the most
            whole[path[0]] = new
            continue
        inner = whole
        for end in range(1, len(path)):
            if path[:end] not in copies:
                copies[path[:end]] = inner[path[end - 1]] = inner[path[end - 1]].copy()
            inner = copies[path[:end]]
        inner[path[-1]] = new
    return whole


def same(one: Any, other: Any) -> bool:
    """Equality of JSON values: 1 is 1.0, but not true."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(item, other[name]) for name, item in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


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
    answers = yield [env.decision.question(env.owner, slot, Validation(schema.document, schema.resource, data))]
    if isinstance(answers[0], str):
        raise Faulted(fault("configuration", f"{slot}: {answers[0]}"))
    if answers[0]:
        listed = "; ".join(f"{pointer or '/'}: {message}" for pointer, message in answers[0][:10])
        raise Faulted(fault("validation", f"{slot}: {listed}"))
