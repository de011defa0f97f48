"""``retrace status --follow``: the tasks as they go on, until the orchestration has ended.

On a terminal one table that is drawn again; elsewhere a line for each change; with ``--output json`` the whole status
on a line of its own whenever it has changed, the last one final.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.live import Live

from adapters.cli.output import console, moment
from adapters.cli.remote import Session
from adapters.cli.views_status import fault, status_view


def follow_status(session: Session, id_: str) -> None:
    """Show an orchestration until it has ended."""
    screen = console()
    if session.printer.as_json:
        for status in session.client.follow(id_):
            session.printer.add(status, lambda: "")
    elif screen.is_terminal:
        with Live(console=screen, auto_refresh=False, vertical_overflow="visible") as live:
            for status in session.client.follow(id_):
                live.update(status_view(status), refresh=True)
    else:
        seen: dict[Any, str] = {}
        for status in session.client.follow(id_):
            for line in changes(status, seen):
                session.printer.add(None, lambda line=line: line)  # type: ignore[misc]


def changes(status: Mapping[str, Any], seen: dict[Any, str]) -> Iterator[str]:
    """A line for each run of a task, and for the orchestration, that is not in the state in which it was `seen`.

    Notes the new states there.
    """
    at = moment(status["updated_at"])
    for task in status["tasks"]:
        key = (task["reference"], task["run"])
        if seen.get(key) != task["status"]:
            seen[key] = task["status"]
            run = f" #{task['run']}" if task["run"] != 1 else ""
            error = f": {fault(task['error'])}" if task["error"] else ""
            yield f"{at}  {task['name']}{run} {task['status']}{error}"
    if seen.get("") != status["status"]:
        seen[""] = status["status"]
        error = f": {fault(status['error'])}" if status["error"] else ""
        yield f"{at}  {status['id']} is {status['status']}{error}"
