"""Writes ``docs/state_machine.md`` from `domain.lifecycle`: two diagrams, and which event fires which trigger.

The events of a trigger are not listed by hand: each handler of `domain.evolve.HANDLERS` names its triggers in its code,
and they are read from there. A test checks that the page is current; ``python docs/generate_state_machine.py`` writes it.
"""

# ruff: noqa: INP001 - a script beside the pages that it writes, not a package

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from domain import events as e
from domain import evolve, folding
from domain.lifecycle import INITIAL, ORCHESTRATION, ORCHESTRATION_FINAL, RUN, Table

PAGE: Final = Path(__file__).parent / "state_machine.md"

_INTRODUCTION: Final = """\
# Life cycles

Two state machines, declared as data in `domain/lifecycle.py`. Every event fires the triggers below when it is folded; an
event that the current status does not allow can neither be recorded nor replayed. `pending` is the status before the first
event and never seen outside. This page is written by [generate_state_machine.py](generate_state_machine.py); a test checks
that it is current.
"""

_ORCHESTRATION_NOTES: Final = """\
`completed` is left only when a parent undoes its child. `suspended` goes back to where it came from: to `compensating` when
a rollback had started. A cancel lifts a suspension, so `roll_back` comes after `resume`.
"""

_RUN_NOTES: Final = """\
`failed`, `uncertain` and `cancelled` are left for `scheduled` when a `try` is entered again or an operator repeats the task:
the same run goes on, under the same idempotency key. `failed` and `uncertain` are left for `completed` only when an operator
resolves the incident that holds the run, or a late answer does. The status tells of the task; what happened to the world
(`none`, `failed`, `uncertain`, `completed`) is kept apart, so a run that failed because its answer could not be used is
undone all the same. A composite is undone only through `completed`; what is inside one that failed is undone by itself.
"""


def events_of(machine: str) -> dict[str, list[str]]:
    """Trigger to the topics of the events that fire it; `machine` is ``orchestration`` or ``run``."""
    functions = _functions()
    fired: dict[str, list[str]] = {}
    for handled, handler in evolve.HANDLERS.items():
        name = handler.__qualname__.split(".")[0]
        trigger = _closed_over(handler)
        for found in sorted(_fired(functions, name, f"fire_{machine}", trigger, set())):
            fired.setdefault(found, []).append(handled.topic)
    return fired


def _functions() -> dict[str, ast.FunctionDef]:
    """Every function of the modules that fold events, by its name, which none has twice."""
    names = {handler.__module__ for handler in evolve.HANDLERS.values()} | {folding.__name__}
    bodies = [ast.parse(inspect.getsource(sys.modules[name])).body for name in sorted(names)]
    found = [node for body in bodies for node in body if isinstance(node, ast.FunctionDef)]
    functions = {node.name: node for node in found}
    assert len(functions) == len(found), "two functions that fold events have the same name"
    return functions


def _closed_over(handler: object) -> str | None:
    """The trigger that a handler made by a function was made for."""
    for value in inspect.getclosurevars(handler).nonlocals.values():  # type: ignore[arg-type]
        if isinstance(value, str):
            return value
    return None


def _fired(
    functions: dict[str, ast.FunctionDef], name: str, machine: str, given: str | None, seen: set[str]
) -> set[str]:
    found: set[str] = set()
    if name in seen:
        return found
    for node in ast.walk(functions[name]):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == machine:
            if isinstance(node.slice, ast.Name) and given is not None:
                found.add(given)
            found |= {n.value for n in ast.walk(node.slice) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
            if node.func.id == "_cut_off" and given != "terminate":
                continue  # the only branch that depends on the trigger
            found |= _fired(functions, node.func.id, machine, None, seen | {name})
    return found


def diagram(table: Table, ends: frozenset[str]) -> str:
    """A mermaid state diagram."""
    lines = ["```mermaid", "stateDiagram-v2"]
    for trigger, sources, target in table:
        lines += [f"    {'[*]' if source == INITIAL else source} --> {target}: {trigger}" for source in sources]
    lines += [f"    {state} --> [*]" for state in sorted(ends)]
    return "\n".join([*lines, "```"])


def listing(table: Table, fired: dict[str, list[str]]) -> str:
    """Trigger, from, to, and the events."""
    lines = ["| trigger | from | to | fired by |", "|---|---|---|---|"]
    for trigger, sources, target in table:
        topics = ", ".join(f"`{topic}`" for topic in fired.get(trigger, []))
        lines.append(f"| {trigger} | {', '.join(sources)} | {target} | {topics} |")
    return "\n".join(lines)


def silent() -> str:
    """Events that move neither machine."""
    moving = {
        topic for machine in ("orchestration", "run") for topics in events_of(machine).values() for topic in topics
    }
    return ", ".join(f"`{topic}`" for topic in sorted(e.TOPICS) if topic not in moving)


def page() -> str:
    """The whole page."""
    parts = [_INTRODUCTION]
    for title, name, table, notes, ends in (
        ("An orchestration", "orchestration", ORCHESTRATION, _ORCHESTRATION_NOTES, ORCHESTRATION_FINAL),
        ("A run of a task", "run", RUN, _RUN_NOTES, frozenset({"skipped", "compensated"})),
    ):
        parts += [f"## {title}\n", diagram(table, ends) + "\n", listing(table, events_of(name)) + "\n", notes]
    parts.append(f"## Events that move neither\n\n{silent()}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
