"""The words of a replay: what a decision changed, and what a rollback would undo after it, as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_NOTHING: tuple[Any, ...] = (None, False, "", [], {})


def changed(
    changes: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str, Any, Any]]:
    """(mark, what, before, after) for each change that is worth a line: what the events say themselves, or the rollback view,
    is not said again.
    """
    first = events[0]["version"] == 1
    outputs = [event["data"].get("output") for event in events]
    for change in changes:
        path, before, after = change["path"], change.get("before"), change.get("after")
        what = _place(path)
        if not what or (first and path[0] in ("input", "definition", "tags", "business_key", "parent")):
            continue
        if (path[-1] == "attempts" and (before, after) == (0, 1)) or (before in _NOTHING and after in _NOTHING):
            continue
        if path[-1] == "output" and after in outputs:
            continue
        if first and path == ["status"]:
            before = None
        if path[0] in ("tasks", "incidents") and isinstance(after, dict) and "before" not in change:
            yield "+", what, None, after["status"] if path[0] == "tasks" else after["kind"]
            continue
        if path[0] in ("waiting_for", "incidents") and len(path) == 2:
            yield ("+" if "after" in change else "-"), what, None, None
            continue
        mark = "+" if before in _NOTHING else "-" if after in _NOTHING and path[-1] != "status" else "~"
        yield mark, what, before, after


def _place(path: Sequence[str]) -> str:
    match path:
        case ["tasks", name] | ["tasks", name, "status"]:
            return name
        case ["tasks", name, "compensation", "status"]:
            return f"undo of {name}"
        case ["tasks", name, "compensation", "attempts"]:
            return f"undo of {name}, tries"
        case ["tasks", name, "compensation", *rest]:
            return f"undo of {name}, {'.'.join(rest)}"
        case ["tasks", name, "attempts"]:
            return f"{name}, tries"
        case ["tasks", name, "error", *_] | ["tasks", name, "compensation", "error", *_]:
            return ""  # the event says it
        case ["tasks", name, *rest]:
            return f"{name}, {'.'.join(rest)}"
        case ["waiting_for", what]:
            return f"waits for {what}"
        case ["incidents", number, *rest]:
            return " ".join(["incident", number, *rest])
        case ["rollback", *_] | ["error", *_]:
            return ""
        case ["context", *rest]:
            return ".".join(["$context", *rest])
        case ["variables", _, *rest]:
            return ".".join(["$" + rest[0], *rest[1:]]) if rest else ""
        case ["held_events", *_]:
            return "events kept for later"
        case ["streams", name, *rest]:
            return f"stream {name}, {'.'.join(rest)}" if rest else f"stream {name}"
    return ".".join(path)


# Rollback -------------------------------------------------------------------------------------------------------------


def undoing(view: Mapping[str, Any]) -> list[str]:
    """The rollback view in a few lines; none where there is nothing to say."""
    join = ", " if view["parallel"] else ", then "
    undo, undone = join.join(map(_planned, view["undo"])), join.join(view["undone"])
    lines = []
    match view["phase"]:
        case "armed":
            lines.append(f"would undo now: {undo}" if undo else "nothing to undo now")
        case "settling":
            lines.append(f"will undo: {undo}" if undo else "nothing to undo so far")
        case "undoing":
            lines += [f"still to undo: {undo}"] if undo else []
    if flying := view["in_flight"]:
        them = "they take" if len(flying) > 1 else "it takes"
        lines.append(f"undone too if {them} effect: {', '.join(flying)}")
    lines += [f"undone: {undone}"] if undone else []
    lines += [f"skipped: {', '.join(view['skipped'])}"] if view["skipped"] else []
    left = [f"{each['task']} ({each['why']})" for each in view["left_behind"]]
    lines += [f"left behind: {', '.join(left)}"] if left else []
    if view["pivot"] and view["phase"] == "armed":
        lines = [f"no way back since {view['pivot']}", *(lines if left else [])]
    return lines


def _planned(step: Mapping[str, Any]) -> str:
    name = f"{step['task']}#{step['run']}" if step["run"] != 1 else str(step["task"])
    doubt = " (uncertain)" if step["outcome"] == "uncertain" else ""
    return name + doubt + (f" (if {step['condition']})" if step.get("condition") else "")
