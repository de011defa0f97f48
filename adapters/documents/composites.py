"""Tasks that hold other tasks, and tasks that only compute: do, for, fork, try, set, switch, raise, wait."""

from __future__ import annotations

from typing import Any

from adapters.documents.compilation import Compilation, Siblings, Surroundings
from adapters.documents.data import expression, template
from adapters.documents.policies import duration, error_filter
from adapters.documents.reader import Cursor
from domain.expressions import Expression, is_wrapped
from domain.plan import Case, Catch, Do, For, Fork, Raise, Scope, Set, Switch, Template, Try, Wait

_NOTHING = Scope("", {}, None)


def do(task: Cursor, members: dict[str, Cursor], around: Surroundings, making: Compilation) -> Do:
    """``do``: a nested list."""
    return Do(making.scope(members["do"], around.inside()))


def loop(task: Cursor, members: dict[str, Cursor], around: Surroundings, making: Compilation) -> For:
    """``for``: a list that is run once per item."""
    found = members["for"].members(("each", "in", "at"), ("in",))
    if "do" not in members:
        task.refuse("the member 'do' is missing", "missing")
    return For(
        scope=making.scope(members["do"], around.inside("a for")) if "do" in members else _NOTHING,
        in_=expression(found["in"]) if "in" in found else Expression("null"),
        each=found["each"].variable() if "each" in found else "item",
        at=found["at"].variable() if "at" in found else "index",
        while_=expression(members["while"]) if "while" in members else None,
    )


def fork(task: Cursor, members: dict[str, Cursor], around: Surroundings, making: Compilation) -> Fork:
    """``fork``: one scope per branch."""
    found = members["fork"].members(("branches", "compete"), ("branches",))
    compete = found["compete"].flag() if "compete" in found else False
    inner = around.inside("a fork")
    if "branches" not in found:
        return Fork((), compete)
    branches = found["branches"].named_items(1)
    return Fork(tuple(making.single(branch, name, inner) for name, branch in branches), compete)


def guarded(
    task: Cursor, members: dict[str, Cursor], around: Surroundings, making: Compilation, siblings: Siblings
) -> Try:
    """``try`` and ``catch``."""
    scope = making.scope(members["try"], around.inside())
    if "catch" not in members:
        task.refuse("the member 'catch' is missing", "missing")
        return Try(scope, Catch())
    found = members["catch"].members(("errors", "as", "when", "exceptWhen", "retry", "do", "compensate", "then"))
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
        made["retry"] = making.use.retry(found["retry"], "caught")
    if "do" in found:
        made["scope"] = making.scope(found["do"], around.inside("a catch"))
    if "compensate" in found:
        made["compensate"] = found["compensate"].flag()
        if around.undo and made["compensate"]:
            found["compensate"].refuse("a compensation has no compensate of its own", "nested-compensate")
    if "then" in found:
        made["then"] = siblings.directive(found["then"], around)
    return Try(scope, Catch(**made))


def assign(task: Cursor, members: dict[str, Cursor], around: Surroundings, making: Compilation) -> Set:
    """``set``: an object with expressions inside, or one expression."""
    given = members["set"]
    if isinstance(given.value, str):
        if not is_wrapped(given.value):
            given.refuse("expected an object, or an expression ${ ... }", "wrong-type")
    elif given.is_object() and not given.value:
        given.refuse("expected at least one member", "missing")
    return Set(template(given))


def switch(
    task: Cursor, members: dict[str, Cursor], around: Surroundings, making: Compilation, siblings: Siblings
) -> Switch:
    """``switch``: the first case whose `when` holds, else the one without `when`, else on to the next task."""
    cases: list[Case] = []
    for name, case in members["switch"].named_items(1):
        found = case.members(("when", "then"), ("then",))
        when = expression(found["when"]) if "when" in found else None
        if "when" not in found and any(earlier.when is None for earlier in cases):
            case.refuse("there is another case without `when`; only one can be the default", "second-default")
        then = siblings.directive(found["then"], around) if "then" in found else ""
        cases.append(Case(name, when, then))
    return Switch(tuple(cases))


def throw(task: Cursor, members: dict[str, Cursor], around: Surroundings, making: Compilation) -> Raise:
    """``raise``: an error, or the name of one."""
    found = members["raise"].members(("error",), ("error",))
    return Raise(making.use.error(found["error"]) if "error" in found else Template())


def wait(task: Cursor, members: dict[str, Cursor], around: Surroundings, making: Compilation) -> Wait:
    """``wait``: a duration."""
    return Wait(duration(members["wait"]))
