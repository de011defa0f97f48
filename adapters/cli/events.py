"""``retrace events held``: events from outside that wait for somebody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapters.cli.remote import Choices, OutputOption, ServerOption, Session, remote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

_COLUMNS = [("TYPE", "free"), ("SOURCE", "free"), ("ID", "free"), ("RECEIVED (UTC)", "whole")]
_FOR_ANYBODY, _FOR_ONE = ("UNTIL (UTC)", "whole"), ("PARKED", "free")

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Events from outside.")


@app.callback()
def options(context: typer.Context, server: ServerOption = None, output: OutputOption = None) -> None:
    """Events from outside."""
    context.obj = Choices.of(context, server, output)


@app.command()
@remote
def held(
    session: Session,
    id_: Annotated[
        str | None, typer.Argument(metavar="ID", help="Those that this orchestration keeps; else those for anybody.")
    ] = None,
    *,
    type_: Annotated[str | None, typer.Option("--type", help="Only of this type.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="Only of this source.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, oldest first.")] = 100,
) -> None:
    """Events that nobody has taken yet; with ID those that this orchestration keeps, also those before their turn."""
    found = list(session.client.held_events({"orchestration": id_, "type": type_, "source": source}, limit))
    session.printer.show(found, lambda: _view(found, of_one=id_ is not None))


def _view(found: Sequence[Mapping[str, Any]], *, of_one: bool) -> RenderableType:
    from adapters.cli.output import moment, table

    if not found and not of_one:
        return "No events are held for anybody. Those that an orchestration keeps: retrace events held ID"
    if not found:
        return "No events are held."
    lines = [
        [
            each["type"],
            each["source"],
            each["id"],
            moment(each["received_at"]),
            _parked(each["parked"]) if of_one else moment(each["expires_at"]),
        ]
        for each in found
    ]
    return table([*_COLUMNS, _FOR_ONE if of_one else _FOR_ANYBODY], lines)


def _parked(place: Mapping[str, Any] | None) -> str:
    if place is None:
        return ""
    of = f" of {place['key']}" if place["key"] is not None else ""
    return f"{place['number']} in {place['stream']}{of}"
