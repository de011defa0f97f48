"""Long-running operations: what runs on the service, how it stands, and stopping it.

`watched` is for the commands that start one: a progress bar on a terminal, until it has ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapters.cli.remote import Session, remote

if TYPE_CHECKING:
    from rich.console import RenderableType

    from retrace.representations import Operation

_COLUMNS = [
    ("OPERATION", "whole"),
    ("KIND", "whole"),
    ("STATUS", "whole"),
    ("DONE", "right"),
    ("STARTED (UTC)", "whole"),
]


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("operations")(operations)


@remote
def operations(
    session: Session,
    id_: Annotated[str | None, typer.Argument(metavar="ID", help="One of them, as p_5XkP...")] = None,
    *,
    cancel: Annotated[bool, typer.Option("--cancel", help="Stop it.")] = False,
    kind: Annotated[str | None, typer.Option("--kind", help="Only of this kind.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 20,
) -> None:
    """Show long-running operations, newest first, or one; or stop one."""
    if id_ is None:
        if cancel:
            raise typer.BadParameter("--cancel needs the ID of an operation")
        found = list(session.client.operations(kind, limit))
        session.printer.show(found, lambda: _view(found))
        return
    one = session.client.cancel_operation(id_) if cancel else session.client.operation(id_)
    session.printer.show(one, lambda: _one(one))


def watched(session: Session, id_: str, words: str) -> Operation:
    """The operation once it has ended, watched with a progress bar where people look. Raises Failure when it failed."""
    from adapters.cli.failures import Failure

    found = _bar(session, id_, words) if not session.printer.as_json else _ended(session, id_)
    if found["status"] == "cancelled":
        raise Failure(f"The operation {id_} was cancelled.")
    if (error := found.get("error")) is not None:
        raise Failure(f"The operation {id_} failed: {error['detail']}")
    return found


def _ended(session: Session, id_: str) -> Operation:
    while (found := session.client.operation(id_, wait_s=30))["status"] == "running":
        pass
    return found


def _bar(session: Session, id_: str, words: str) -> Operation:
    import sys

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    # On standard error, which a pipe does not take away; without a terminal nothing is drawn.
    screen = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task(words, total=None)
        while (found := session.client.operation(id_, wait_s=1))["status"] == "running":
            progress = found["progress"]
            bar.update(task, completed=progress["done"], total=progress["total"])
    return found


def _view(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    from adapters.cli.output import moment, table

    if not found:
        return "No operations."
    rows = [[each["id"], each["kind"], each["status"], _done(each), moment(each["started_at"])] for each in found]
    return table(_COLUMNS, rows)


def _one(found: Mapping[str, Any]) -> RenderableType:
    from adapters.cli.output import compact, moment

    lines = [
        f"{found['id']}  {found['kind']}  {found['status']}",
        f"asked for by {found['actor']} at {moment(found['started_at'])}: {compact(found['request'])}",
        f"done: {_done(found)}",
    ]
    if found["error"]:
        lines.append(f"{found['error']['code']}: {found['error']['detail']}")
    if found.get("result") is not None:
        lines.append(compact(found["result"], 2000))
    return "\n".join(lines)


def _done(found: Mapping[str, Any]) -> str:
    done, total = found["progress"]["done"], found["progress"]["total"]
    return str(done) if total is None else f"{done}/{total}"
