"""Tasks that hold other tasks, and tasks that only compute: do, for, fork, try, set, switch, raise, wait."""

from __future__ import annotations

from typing import Any

from adapters.documents.compilation import Task
from adapters.documents.data import expression, template
from adapters.documents.parallel import parallel
from adapters.documents.policies import duration, error_filter
from domain.expressions import Expression, is_wrapped
from domain.plan import Case, Catch, Do, For, Fork, Raise, Scope, Set, Switch, Template, Try, Wait

_NOTHING = Scope("", {}, None)


def do(task: Task) -> Do:
    """``do``: a nested list."""
    return Do(task.making.scope(task.members["do"], task.around.inside()))


def loop(task: Task) -> For:
    """``for``: a list that is run once per item."""
    found = task.members["for"].members(("each", "in", "at"), ("in",))
    if "do" not in task.members:
        task.cursor.refuse("the member 'do' is missing", "missing")
    if "parallel" in task.members and "while" in task.members:
        task.members["while"].refuse("`while` looks at the turn before; with `parallel` there is none", "unsupported")
    return For(
        scope=task.making.scope(task.members["do"], task.around.inside("a for")) if "do" in task.members else _NOTHING,
        in_=expression(found["in"]) if "in" in found else Expression("null"),
        each=found["each"].variable() if "each" in found else "item",
        at=found["at"].variable() if "at" in found else "index",
        while_=expression(task.members["while"]) if "while" in task.members else None,
        parallel=parallel(task.members["parallel"]) if "parallel" in task.members else None,
    )


def fork(task: Task) -> Fork:
    """``fork``: one scope per branch."""
    found = task.members["fork"].members(("branches", "compete"), ("branches",))
    compete = found["compete"].flag() if "compete" in found else False
    inner = task.around.inside("a fork")
    if "branches" not in found:
        return Fork((), compete)
    branches = tuple(task.making.single(branch, name, inner) for name, branch in found["branches"].named_items(1))
    if "parallel" not in task.members:
        return Fork(branches, compete)
    return Fork(branches, compete, parallel(task.members["parallel"], compete=compete, total=len(branches)))


def guarded(task: Task) -> Try:
    """``try`` and ``catch``."""
    scope = task.making.scope(task.members["try"], task.around.inside())
    if "catch" not in task.members:
        task.cursor.refuse("the member 'catch' is missing", "missing")
        return Try(scope, Catch())
    found = task.members["catch"].members(("errors", "as", "when", "exceptWhen", "retry", "do", "compensate", "then"))
    made: dict[str, Any] = {}
    if "errors" in found:
        errors = found["errors"].members(("with",))
        made["errors"] = error_filter(errors["with"]) if "with" in errors else ()
    if "as" in found:
        made["as_"] = found["as"].variable()
    for name, slot in (("when", "when"), ("exceptWhen", "except_when")):
        if name in found:
            made[slot] = expression(found[name])
    if "retry" in found:
        made["retry"] = task.making.use.retry(found["retry"], "caught")
    if "do" in found:
        made["scope"] = task.making.scope(found["do"], task.around.inside("a catch"))
    if "compensate" in found:
        made["compensate"] = found["compensate"].flag()
        if task.around.undo and made["compensate"]:
            found["compensate"].refuse("a compensation has no compensate of its own", "nested-compensate")
    if "then" in found:
        made["then"] = task.siblings.directive(found["then"], task.around)
    return Try(scope, Catch(**made))


def assign(task: Task) -> Set:
    """``set``: an object with expressions inside, or one expression."""
    given = task.members["set"]
    if isinstance(given.value, str):
        if not is_wrapped(given.value):
            given.refuse("expected an object, or an expression ${ ... }", "wrong-type")
    elif given.is_object() and not given.value:
        given.refuse("expected at least one member", "missing")
    return Set(template(given))


def switch(task: Task) -> Switch:
    """``switch``: the first case whose `when` holds, else the one without `when`, else on to the next task."""
    cases: list[Case] = []
    for name, case in task.members["switch"].named_items(1):
        found = case.members(("when", "then"), ("then",))
        when = expression(found["when"]) if "when" in found else None
        if "when" not in found and any(earlier.when is None for earlier in cases):
            case.refuse("there is another case without `when`; only one can be the default", "second-default")
        then = task.siblings.directive(found["then"], task.around) if "then" in found else ""
        cases.append(Case(name, when, then))
    return Switch(tuple(cases))


def throw(task: Task) -> Raise:
    """``raise``: an error, or the name of one."""
    found = task.members["raise"].members(("error",), ("error",))
    return Raise(task.making.use.error(found["error"]) if "error" in found else Template())


def wait(task: Task) -> Wait:
    """``wait``: a duration."""
    return Wait(duration(task.members["wait"]))
