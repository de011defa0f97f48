"""``retrace circuits``: hosts that callouts have failed at, and whether they are left alone.

``retrace circuits`` lists; ``retrace circuits close|open HOST`` set one by hand, in the processes that share the port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from adapters.cli.incidents import ListsByDefault
from adapters.cli.remote import Choices, OutputOption, ServerOption, Session, remote

if TYPE_CHECKING:
    from rich.console import RenderableType

    from retrace.representations import Circuit

Host = Annotated[
    str, typer.Argument(metavar="HOST", help="Scheme, name and port: https://api.example.com.", show_default=False)
]
_COLUMNS = [
    ("HOST", "whole"),
    ("STATE", "whole"),
    ("PROBE AT (UTC)", "whole"),
    ("WHY", "free"),
    ("NODE", "free"),
]

app = typer.Typer(cls=ListsByDefault, rich_markup_mode=None, help="Hosts that are left alone because they are away.")


@app.callback()
def options(context: typer.Context, server: ServerOption = None, output: OutputOption = None) -> None:
    """Hosts that callouts have failed at: list them, let requests pass again, or send nothing."""
    context.obj = Choices.of(context, server, output)


@app.command("list")
@remote
def list_(session: Session) -> None:
    """Hosts that have failed, as the nodes behind this address see them. The word list may be left out."""
    found = session.client.circuits()
    session.printer.show(found, lambda: _view(found))


@app.command()
@remote
def close(session: Session, host: Host) -> None:
    """Let requests pass again at once."""
    found = session.client.close_circuit(host)
    session.printer.show(found, lambda: _view(found))


@app.command("open")
@remote
def open_(
    session: Session,
    host: Host,
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for those who wonder.")] = None,
) -> None:
    """Send nothing to this host until its circuit is closed."""
    found = session.client.open_circuit(host, reason)
    session.printer.show(found, lambda: _view(found))


def _view(found: list[Circuit]) -> RenderableType:
    from adapters.cli.output import moment, table

    if not found:
        return "No callout has failed at its host."
    return table(
        _COLUMNS,
        [
            [
                each["host"],
                each["state"],
                moment(each["probe_at"]),
                _why(each),
                each["node"],
            ]
            for each in found
        ],
    )


def _why(circuit: Circuit) -> str:
    from adapters.cli.output import moment

    if circuit["opened_by"] is not None:
        return f"opened by {circuit['opened_by']}{': ' + circuit['reason'] if circuit['reason'] else ''}"
    if not circuit["failures"]:
        return f"was open until {moment(circuit['changed_at'])}" if circuit["changed_at"] else ""
    times = "1 failure" if circuit["failures"] == 1 else f"{circuit['failures']} failures"
    return f"{times}: {circuit['last_failure']}"
