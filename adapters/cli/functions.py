"""``retrace functions``: what waits for remote workers, who has it, and holding it back.

``retrace functions`` lists; ``retrace functions pause|drain|resume|limit NAME`` say what is handed out, on all nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from adapters.cli.incidents import ListsByDefault
from adapters.cli.remote import Choices, OutputOption, ServerOption, Session, remote

if TYPE_CHECKING:
    from rich.console import RenderableType

    from retrace.representations import CalledFunction

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the function.", show_default=False)]

_COLUMNS = [
    ("FUNCTION", "whole"),
    ("WHERE", "whole"),
    ("WAITING", "right"),
    ("CLAIMED", "right"),
    ("STATE", "whole"),
    ("LIMITS", "free"),
    ("WORKERS", "free"),
]

app = typer.Typer(cls=ListsByDefault, rich_markup_mode=None, help="Functions that orchestrations call.")


@app.callback()
def options(context: typer.Context, server: ServerOption = None, output: OutputOption = None) -> None:
    """Functions that orchestrations call: list them, hold back what waits for remote workers, limit it."""
    context.obj = Choices.of(context, server, output)


@app.command("list")
@remote
def list_(session: Session) -> None:
    """Functions that definitions call or workers asked for. The word list may be left out."""
    found = session.client.functions()
    session.printer.show(found, lambda: _view(found))


@app.command()
@remote
def pause(session: Session, name: Name) -> None:
    """Hand out nothing of it; what a worker has may end."""
    _say(session, session.client.control_function(name, "pause"))


@app.command()
@remote
def drain(session: Session, name: Name) -> None:
    """Hand out nothing of it, until no worker has any."""
    _say(session, session.client.control_function(name, "drain"))


@app.command()
@remote
def resume(session: Session, name: Name) -> None:
    """Hand it out again."""
    _say(session, session.client.control_function(name, "resume"))


@app.command()
@remote
def limit(
    session: Session,
    name: Name,
    *,
    concurrent: Annotated[
        int | None, typer.Option("--concurrent", min=1, help="So many at workers at once; else without limit.")
    ] = None,
    per_second: Annotated[
        float | None, typer.Option("--per-second", min=0.001, help="So many handed out a second; else without limit.")
    ] = None,
) -> None:
    """Limit what workers get of it, over all nodes. What is left out has no limit."""
    _say(session, session.client.limit_function(name, concurrent, per_second))


def _say(session: Session, found: CalledFunction) -> None:
    session.printer.show(
        found,
        lambda: (
            f"{found['function']}: {_state(found)}, {found['waiting']} waiting, {found['claimed']} at workers"
            f"{', ' + _limits(found) if _limits(found) else ''}."
        ),
    )


def _view(found: list[CalledFunction]) -> RenderableType:
    from adapters.cli.output import table

    if not found:
        return "No functions."
    return table(
        _COLUMNS,
        [
            [
                each["function"],
                _where(each),
                each["waiting"],
                each["claimed"],
                _state(each),
                _limits(each),
                ", ".join(each["workers"]),
            ]
            for each in found
        ],
    )


def _where(found: CalledFunction) -> str:
    if found["in_process"]:
        return "in process"
    return "workers" if found["asked_at"] else "no worker"


def _state(found: CalledFunction) -> str:
    if found["draining"]:
        return "draining" if found["claimed"] else "drained"
    return "paused" if found["paused"] else "active"


def _limits(found: CalledFunction) -> str:
    most, rate = found["max_concurrent"], found["max_per_second"]
    said = [] if most is None else [f"{most} at once"]
    return ", ".join(said if rate is None else [*said, f"{rate:g}/s"])
