"""``retrace schedules``: what starts by itself.

``retrace schedules`` lists; ``retrace schedules show|pause|resume|trigger NAMESPACE/NAME`` look at one and change it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from adapters.cli.incidents import ListsByDefault
from adapters.cli.remote import Choices, OutputOption, ServerOption, Session, remote

if TYPE_CHECKING:
    from rich.console import RenderableType

    from retrace.representations import ScheduleStatus

Definition = Annotated[
    str,
    typer.Argument(metavar="[NAMESPACE/]NAME", help="Whose schedule; the namespace is default.", show_default=False),
]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; it is kept.")]

_COLUMNS = [("DEFINITION", "whole"), ("SCHEDULE", "free"), ("STATUS", "whole"), ("NEXT (UTC)", "whole"),
            ("LAST (UTC)", "whole"), ("MISSED", "right"), ("SKIPPED", "right")]  # fmt: skip
_RUNS = [("ORCHESTRATION", "whole"), ("SCHEDULED FOR (UTC)", "whole"), ("STARTED (UTC)", "whole"), ("BY", "free")]

app = typer.Typer(cls=ListsByDefault, rich_markup_mode=None, help="What starts by itself.")


@app.callback()
def options(context: typer.Context, server: ServerOption = None, output: OutputOption = None) -> None:
    """What starts by itself: list schedules, look at one, pause, resume or trigger it."""
    context.obj = Choices.of(context, server, output)


@app.command("list")
@remote
def list_(session: Session) -> None:
    """Schedules, and what comes next. The word list may be left out."""
    found = session.client.schedules()
    session.printer.show(found, lambda: _view(found))


@app.command()
@remote
def show(session: Session, definition: Definition) -> None:
    """One schedule: its next times and its last runs."""
    found = session.client.schedule(definition)
    session.printer.show(found, lambda: _one(found))


@app.command()
@remote
def pause(session: Session, definition: Definition, *, reason: Reason = None) -> None:
    """Start nothing until it is resumed. What is due meanwhile is left out."""
    found = session.client.pause_schedule(definition, reason)
    session.printer.show(found, lambda: f"{found['definition']} is paused.")


@app.command()
@remote
def resume(session: Session, definition: Definition, *, reason: Reason = None) -> None:
    """Go on with the next occurrence."""
    found = session.client.resume_schedule(definition, reason)
    session.printer.show(found, lambda: f"{found['definition']} goes on.{_next(found)}")


@app.command()
@remote
def trigger(session: Session, definition: Definition, *, reason: Reason = None) -> None:
    """Start one now, beside the schedule and whatever runs."""
    found = session.client.trigger_schedule(definition, reason)
    session.printer.show(found, lambda: found["id"])


def _next(found: ScheduleStatus) -> str:
    from adapters.cli.output import moment

    return f" Next: {moment(found['next'][0])} UTC." if found["next"] else ""


def _view(found: list[ScheduleStatus]) -> RenderableType:
    from adapters.cli.output import moment, table

    if not found:
        return "No schedules."
    lines = [
        [
            each["definition"],
            _words(each),
            each["status"],
            moment(each["next"][0]) if each["next"] else "",
            moment(each["runs"][0]["started_at"]) if each["runs"] else "",
            each["missed"],
            each["skipped"],
        ]
        for each in found
    ]
    return table(_COLUMNS, lines)


def _words(schedule: ScheduleStatus) -> str:
    from adapters.cli.output import compact

    written = schedule["schedule"].items()
    return ", ".join(f"{name}: {value if isinstance(value, str) else compact(value)}" for name, value in written)


def _one(found: ScheduleStatus) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from adapters.cli.output import moment, printable, table

    lines = [f"{found['definition']}  {found['status']}", _words(found)]
    if (paused := found["paused"]) is not None:
        lines.append(f"paused by {paused['actor']} at {moment(paused['at'])}: {paused['reason'] or 'no reason given'}")
    elif (resumed := found["resumed"]) is not None:
        lines.append(
            f"resumed by {resumed['actor']} at {moment(resumed['at'])}: {resumed['reason'] or 'no reason given'}"
        )
    if found["next"]:
        lines.append("next: " + ", ".join(moment(at) for at in found["next"]))
    if found["waiting_for_end"]:
        lines.append("waits for the end of the last run")
    lines.append(f"missed: {found['missed']}, skipped: {found['skipped']}")
    rows = [
        [
            run["id"],
            moment(run["scheduled_for"]),
            moment(run["started_at"]),
            run["triggered_by"]["actor"] if run["triggered_by"] else "schedule",
        ]
        for run in found["runs"]
    ]
    text = Text(printable("\n".join(lines)))
    return Group(text, table(_RUNS, rows)) if rows else text
