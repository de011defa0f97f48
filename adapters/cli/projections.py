"""``retrace projections``: the tables that users' folds build, how far they have come, and their rows.

``retrace projections`` lists; ``retrace projections rows|rebuild|retry|drop NAME`` read, mend and remove one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapters.cli.incidents import ListsByDefault
from adapters.cli.remote import Choices, OutputOption, ServerOption, Session, remote

if TYPE_CHECKING:
    from rich.console import RenderableType

    from retrace.representations import ProjectionStatus

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the projection.", show_default=False)]

_COLUMNS = [("NAME", "whole"), ("VERSION", "right"), ("STATE", "whole"), ("SEEN", "right"), ("LAG", "right"),
            ("BEHIND", "right"), ("TABLE", "free")]  # fmt: skip

app = typer.Typer(cls=ListsByDefault, rich_markup_mode=None, help="Tables that your folds build from the log.")


@app.callback()
def options(context: typer.Context, server: ServerOption = None, output: OutputOption = None) -> None:
    """Tables that your folds build from the log: list them, read rows, build anew, go on after a failure."""
    context.obj = Choices.of(context, server, output)


@app.command("list")
@remote
def list_(session: Session) -> None:
    """Projections, and how far each has seen the log. The word list may be left out."""
    found = session.client.projections()
    session.printer.show(found, lambda: _view(found))


@app.command()
@remote
def rows(
    session: Session,
    name: Name,
    *,
    where: Annotated[
        list[str] | None, typer.Option("--where", metavar="COLUMN:VALUE", help="Only rows with this value; repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows at most.")] = 100,
) -> None:
    """Rows of the live version."""
    found = list(session.client.projection_rows(name, where or (), limit))
    session.printer.show(found, lambda: _rows(found))


@app.command()
@remote
def rebuild(session: Session, name: Name) -> None:
    """Build it anew beside the live one, which it replaces when it has caught up."""
    answer = session.client.rebuild_projection(name)
    session.printer.show(answer, lambda: f"{name} version {answer['version']} is built anew as {answer['table']}.")


@app.command()
@remote
def retry(session: Session, name: Name) -> None:
    """Go on at the event where it failed."""
    answer = session.client.retry_projection(name)
    session.printer.show(answer, lambda: f"{name} version {answer['version']} goes on.")


@app.command()
@remote
def drop(session: Session, name: Name) -> None:
    """Remove it and its tables. A node that has its code builds it again when it starts."""
    session.client.drop_projection(name)
    session.printer.show({"dropped": name}, lambda: f"{name} is gone.")


def _view(found: list[ProjectionStatus]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from adapters.cli.output import printable, table

    if not found:
        return "No projections."
    lines = [
        [
            each["name"],
            each["version"],
            each["state"],
            _seen(each),
            each["lag_events"],
            _age(each["lag_ms"]),
            each["table"],
        ]
        for each in found
    ]
    parts: list[RenderableType] = [table(_COLUMNS, lines)]
    for each in found:
        if (error := each["error"]) is not None:
            where = f"event {error['version']} ({error['type']}) of {error['orchestration']}"
            parts.append(
                Text(printable(f"{each['name']} version {each['version']} stopped at {where}: {error['detail']}"))
            )
    return Group(*parts)


def _seen(projection: ProjectionStatus) -> str:
    """How much of the log, in percent; never rounded up to all of it."""
    done, total = projection["events_done"], projection["events_total"]
    if projection["state"] == "retired":
        return ""
    return "100 %" if done >= total else f"{1000 * done // total / 10} %"


def _age(milliseconds: int) -> str:
    return f"{milliseconds} ms" if milliseconds < 10_000 else f"{milliseconds // 1000} s"


def _rows(found: list[dict[str, Any]]) -> RenderableType:
    from adapters.cli.output import table

    if not found:
        return "No rows."
    columns = [(name.upper(), "free") for name in found[0]]
    return table(columns, [[_cell(value) for value in row.values()] for row in found])


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool) else value
