"""Commands that change a running orchestration: cancel, terminate, suspend, resume, send, note."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

import typer

from adapters.cli.arguments import Id, Reason, read_json
from adapters.cli.remote import Session, remote
from retrace.representations import CommandResult


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (send, cancel, terminate, suspend, resume, note):
        app.command()(command)


@remote
def cancel(
    session: Session,
    id_: Id,
    *,
    reason: Reason = None,
    override_pivot: Annotated[
        bool, typer.Option("--override-pivot", help="Also after the point of no return.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be recorded.")] = False,
) -> None:
    """Undo what was done, in reverse, then end as cancelled."""
    if not dry_run:
        return _tell(session, session.client.cancel(id_, reason, override_pivot=override_pivot))
    from adapters.cli.views_history import would_record

    would = session.client.rehearse_cancel(id_, reason, override_pivot=override_pivot)
    session.printer.show(would, lambda: would_record(would))
    return None


@remote
def terminate(session: Session, id_: Id, *, reason: Reason = None) -> None:
    """End at once; nothing is undone."""
    _tell(session, session.client.terminate(id_, reason))


@remote
def suspend(session: Session, id_: Id, *, reason: Reason = None) -> None:
    """Decide nothing more until it is resumed."""
    _tell(session, session.client.suspend(id_, reason))


@remote
def resume(session: Session, id_: Id, *, reason: Reason = None) -> None:
    """Go on after a suspend."""
    _tell(session, session.client.resume(id_, reason))


@remote
def note(session: Session, id_: Id, text: Annotated[str, typer.Argument(metavar="TEXT", show_default=False)]) -> None:
    """Record a note in the history, also after the end."""
    _tell(session, session.client.add_note(id_, text))


@remote
def send(
    session: Session,
    target: Annotated[
        list[str],
        typer.Argument(metavar="ID TYPE", help="The orchestration and the event's type; with --all the type."),
    ],
    *,
    all_: Annotated[bool, typer.Option("--all", help="To whoever waits for it, now or later.")] = False,
    source: Annotated[str, typer.Option("--source", help="Who says so (CloudEvents source).")] = "retrace-cli",
    data: Annotated[str | None, typer.Option("--data", help="JSON, @file or - for standard input.")] = None,
    event_id: Annotated[str | None, typer.Option("--event-id", help="Repeats with the same id are one event.")] = None,
) -> None:
    """Send an event: retrace send ID TYPE, or retrace send --all TYPE."""
    *ids, kind = target
    if len(ids) != (0 if all_ else 1):
        raise typer.BadParameter("write retrace send ID TYPE, or retrace send --all TYPE", param_hint="ID TYPE")
    event: dict[str, Any] = {"id": event_id or secrets.token_hex(12), "source": source, "type": kind}
    if data is not None:
        event |= {"datacontenttype": "application/json", "data": read_json(data, "--data")}
    answer = session.client.publish_event(event) if all_ else session.client.send_event(ids[0], event)
    session.printer.show({"event_id": event["id"], **answer}, lambda: f"{answer['outcome']} (event {event['id']})")


def _tell(session: Session, answer: CommandResult) -> None:
    from adapters.cli.views_status import command_result

    session.printer.show(answer, lambda: command_result(answer))
