"""``retrace incidents``: what only an operator can resolve, and resolving it.

``retrace incidents`` and ``retrace incidents ID`` list; ``retrace incidents retry|skip|complete|fail ID NUMBER`` settle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from adapters.cli.arguments import Id, read_json
from adapters.cli.remote import Choices, OutputOption, ServerOption, Session, remote

if TYPE_CHECKING:
    from rich.console import RenderableType

Number = Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="Number of the incident.", show_default=False)]
Why = Annotated[str, typer.Option("--reason", "-r", help="Why; recorded in the history.", show_default=False)]

_COLUMNS = [("ORCHESTRATION", "whole"), ("NO", "right"), ("KIND", "whole"), ("TASK", "free"), ("ERROR", "free")]


class ListsByDefault(TyperGroup):
    """A group whose command ``list`` may be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not any(each in self.commands or each in ("-h", "--help") for each in args):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=ListsByDefault, rich_markup_mode=None, help="What only an operator can resolve.")


@app.callback()
def options(context: typer.Context, server: ServerOption = None, output: OutputOption = None) -> None:
    """What only an operator can resolve: list it, or settle it with retry, skip, complete or fail."""
    context.obj = Choices.of(context, server, output)


@app.command("list")
@remote
def list_(
    session: Session,
    id_: Annotated[str | None, typer.Argument(metavar="ID", help="Only of this orchestration.")] = None,
) -> None:
    """Open incidents, of one orchestration or of all. The word list may be left out."""
    filters = {"has_incident": "true"}
    ids = [id_] if id_ else [each["id"] for each in session.client.orchestrations(filters, None)]
    found = [{"orchestration": each, **incident} for each in ids for incident in session.client.get(each)["incidents"]]
    session.printer.show(found, lambda: _view(found))


def _view(found: list[dict[str, Any]]) -> RenderableType:
    from adapters.cli.output import table
    from adapters.cli.views_status import fault

    if not found:
        return "No open incidents."
    rows = [[each["orchestration"], each["number"], each["kind"], each["task"], fault(each["error"])] for each in found]
    return table(_COLUMNS, rows)


@app.command()
@remote
def retry(session: Session, id_: Id, number: Number, *, reason: Why) -> None:
    """Try again what failed."""
    _resolve(session, id_, number, "retry", reason)


@app.command()
@remote
def skip(session: Session, id_: Id, number: Number, *, reason: Why) -> None:
    """Go on without it: what it should have undone is left behind."""
    _resolve(session, id_, number, "skip", reason)


@app.command()
@remote
def complete(
    session: Session,
    id_: Id,
    number: Number,
    *,
    reason: Why,
    result: Annotated[
        str | None, typer.Option("--result", help="JSON, @file or -: what the task is taken to have given.")
    ] = None,
) -> None:
    """Take it as done: someone did it by hand."""
    value = None if result is None else read_json(result, "--result")
    _resolve(session, id_, number, "complete", reason, value)


@app.command()
@remote
def fail(session: Session, id_: Id, number: Number, *, reason: Why) -> None:
    """Take it as failed: it had no effect."""
    _resolve(session, id_, number, "fail", reason)


def _resolve(
    session: Session,
    id_: str,
    number: int,
    action: Literal["retry", "skip", "complete", "fail"],
    reason: str,
    output: Any = None,
) -> None:
    from adapters.cli.views_status import command_result

    answer = session.client.resolve(id_, number, action, reason, output)
    session.printer.show(answer, lambda: command_result(answer))
