"""How a status, a list of orchestrations and the answer of a command look on a terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from adapters.cli.output import compact, moment, printable, table

if TYPE_CHECKING:
    from rich.console import RenderableType

_UNDO = re.compile(r"/([^/]+)/compensate\Z")
COLOURS = {
    "completed": "green",
    "running": "cyan",
    "waiting": "cyan",
    "retrying": "yellow",
    "suspended": "yellow",
    "compensating": "yellow",
    "uncertain": "yellow",
    "faulted": "red",
    "failed": "red",
    "compensation_failed": "red",
    "compensated": "magenta",
    "cancelled": "magenta",
    "terminated": "magenta",
}
_LIST = [("ID", "whole"), ("STATUS", "whole"), ("DEFINITION", "free"), ("KEY", "free"), ("STARTED (UTC)", "free")]
_TASKS = [
    ("TASK", "free"),
    ("RUN", "right"),
    ("STATUS", "whole"),
    ("TRIES", "right"),
    ("UNDO", "whole"),
    ("BEGAN", "whole"),
    ("ENDED", "whole"),
]


_READ = 20
"""Entries of a list that are shown."""


def status_view(status: Mapping[str, Any]) -> RenderableType:
    """One orchestration: what it is, where it stands, every run of a task."""
    facts = table([("", "whole"), ("", "free")], [[name, value] for name, value in _facts(status) if value])
    facts.show_header = False
    parts: list[RenderableType] = [facts]
    if status["tasks"]:
        parts += [Text(), tasks_view(status["tasks"])]
    hidden = status.get("tasks_total", 0) - len(status["tasks"])
    if hidden > 0:
        parts.append(Text(f"and {hidden} more tasks"))
    return Group(*parts)


def tasks_view(tasks: Sequence[Mapping[str, Any]]) -> RenderableType:
    """The runs of tasks, inner ones indented."""
    composites = {task["reference"] for task in tasks}
    rows = []
    for task in tasks:
        depth = sum(task["reference"].startswith(f"{outer}/") for outer in composites)
        undo = task["compensation"]["status"]
        rows.append(
            [
                "  " * depth + str(task["name"]),
                task["run"],
                coloured(task["status"]),
                task["attempts"] or "",
                "" if undo == "none" else undo,
                _time(task["started_at"]),
                _time(task["ended_at"]),
            ]
        )
    return table(_TASKS, rows)


def list_view(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Orchestrations, one a line."""
    if not found:
        return "No orchestrations. Start one with: retrace start DEFINITION"
    return table(
        _LIST,
        [
            [
                each["id"],
                coloured(each["status"], " !" if each.get("incidents") else ""),
                each["definition"],
                each.get("business_key"),
                moment(each["started_at"]),
            ]
            for each in found
        ],
    )


def command_result(answer: Mapping[str, Any]) -> str:
    """What a command left behind."""
    return f"{answer['id']} is {answer['status']} (version {answer['version']})"


def coloured(status: str, mark: str = "") -> Text:
    """A status in its colour."""
    return Text(printable(status) + mark, style=COLOURS.get(status, ""))


def fault(error: Mapping[str, Any] | None) -> str:
    """An error in one line."""
    if not error:
        return ""
    words = [str(error.get("status", "")), error.get("title") or str(error.get("type", "")).rpartition("/")[2]]
    text = " ".join(word for word in words if word)
    detail, place = error.get("detail"), error.get("instance")
    return text + (f": {detail}" if detail else "") + (f" (at {place})" if place else "")


def name_of(pointer: str | None, run: int = 1) -> str:
    """A task as people call it: the last name of its reference."""
    if not pointer:
        return ""
    undone = _UNDO.search(pointer)
    name = f"undo of {undone[1]}" if undone else pointer.rpartition("/")[2]
    return name if run == 1 else f"{name}#{run}"


def waiting(entry: Mapping[str, Any]) -> str:
    """One thing that has to happen before it goes on."""
    what = (
        entry.get("event", {}).get("type") if entry["kind"] == "event" else entry.get("child") or entry.get("function")
    )
    if entry["kind"] == "human":
        what = f"task {entry['id']}" + (f" at {entry['assignee']}" if entry["assignee"] else "")
    due = f" until {moment(entry['due_at'])}" if entry.get("due_at") else ""
    name = name_of(entry.get("reference")) or entry["task"]
    return f"{entry['kind']}{f' {what}' if what else ''} for {name}{due}{_lacking(entry)}"


def _lacking(entry: Mapping[str, Any]) -> str:
    """The numbers of streams that have to come first."""
    told = ""
    for each in entry.get("missing") or ():
        numbers, more = ", ".join(map(str, each["numbers"])), each["total"] - len(each["numbers"])
        of = f" of {each['key']}" if each["key"] is not None else ""
        due = f" until {moment(each['due_at'])}" if each["due_at"] else ""
        told += f"; {each['stream']}{of} lacks {numbers}{f' and {more} more' if more else ''}{due}"
    return told


def _facts(status: Mapping[str, Any]) -> list[tuple[str, Any]]:
    facts: list[tuple[str, Any]] = [
        ("id", status["id"]),
        ("definition", status["definition"]),
        ("status", Text.assemble(coloured(status["status"]), f" (version {status['version']})")),
        ("started", moment(status["started_at"])),
        ("ended", moment(status["ended_at"])),
        ("business key", status["business_key"]),
        ("forked from", _origin(status.get("forked_from"))),
        ("tags", " ".join(f"{name}={value}" for name, value in status["tags"].items())),
        ("input", None if status["input"] is None else compact(status["input"])),
        ("output", None if status["output"] is None else compact(status["output"])),
        ("error", fault(status["error"])),
    ]
    awaited = status["waiting_for"]
    facts += [("waits for", waiting(entry)) for entry in awaited[:_READ]]
    if len(awaited) > _READ:
        facts.append(("", f"and {len(awaited) - _READ} more, at least"))
    facts += _rollback(status["rollback"] or {})
    for incident in status["incidents"]:
        what = f"{incident['kind']} of {incident['task']}: {fault(incident['error'])}"
        command = f"retrace incidents {'|'.join(incident['actions'])} {status['id']} {incident['number']} --reason WHY"
        facts += [(f"incident {incident['number']}", what), ("", command)]
    return facts


def _origin(origin: Mapping[str, Any] | None) -> str:
    return "" if origin is None else f"{origin['id']} at version {origin['version']}"


def _rollback(rollback: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not rollback:
        return []
    reason = rollback["reason"]
    why = [reason["kind"], reason.get("task") and f"of {reason['task']}", reason.get("text") and f"({reason['text']})"]
    plan = rollback["plan"]
    left = [f"{each['task']} ({each['why']})" for each in rollback["left_behind"]]
    totals = rollback.get("totals", {})
    planned = _some(plan or [], totals.get("plan")) or "nothing to undo"
    return [
        ("rolls back", " ".join(str(word) for word in why if word)),
        ("plan", "not fixed yet: some outcomes are still open" if plan is None else planned),
        ("undone", _some(rollback["done"], totals.get("done"))),
        ("skipped", _some(rollback["skipped"], totals.get("skipped"))),
        ("left behind", _some(left, totals.get("left_behind"))),
    ]


def _some(names: Sequence[str], total: int | None) -> str:
    """Those that a person would read."""
    shown = names[:_READ]
    rest = max(total or 0, len(names)) - len(shown)
    return ", ".join(shown) + (f", and {rest} more" if rest else "")


def _time(at: str | None) -> str:
    return "" if not at else at[11:19]
