"""Commands that start an orchestration and look at it: start, status, history, rollback-plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapters.cli.arguments import Id, read_json, read_tags
from adapters.cli.remote import Session, remote

if TYPE_CHECKING:
    from retrace.representations import Orchestration

Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="May be repeated.")]
BusinessKey = Annotated[str | None, typer.Option("--business-key", metavar="KEY")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Until it ends.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (start, status, history):
        app.command()(command)
    app.command("rollback-plan")(rollback_plan)


@remote
def start(
    session: Session,
    definition: Annotated[
        str, typer.Argument(metavar="DEFINITION", help="name, namespace/name or namespace/name@version")
    ],
    *,
    input_: Annotated[
        str | None, typer.Option("--input", "-i", metavar="JSON", help="JSON, @file or - for standard input.")
    ] = None,
    business_key: BusinessKey = None,
    tag: Tags = None,
    wait: Annotated[
        float | None,
        typer.Option(
            "--wait", min=0, metavar="SECONDS", help="Wait for its end; exit code 1 unless it completes by then."
        ),
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", metavar="KEY", help="Repeats start nothing.")
    ] = None,
) -> None:
    """Start an orchestration."""
    from adapters.cli.views_status import status_view
    from retrace.representations import FINAL

    value = None if input_ is None else read_json(input_, "--input")
    tags = read_tags(tag) if tag else None
    started = session.client.start(
        definition, value, business_key=business_key, tags=tags, idempotency_key=idempotency_key
    )
    if wait is None:
        hint = f"Started {started['id']} ({started['status']}). Watch it with: retrace status {started['id']} --follow"
        return session.printer.show(started, lambda: hint)
    ended = _awaited(session, started, wait)
    session.printer.show(ended, lambda: status_view(ended))
    if ended["status"] != "completed":
        from adapters.cli.failures import Failure

        late = "" if ended["status"] in FINAL else f" after {wait:g} s; it goes on"
        if ended["incidents"]:
            late = f" and waits for an operator; see: retrace incidents {ended['id']}"
        raise Failure(f"{ended['id']} is {ended['status']}{late}. Look with: retrace status {ended['id']}")
    return None


def _awaited(session: Session, started: Orchestration, wait_s: float) -> Orchestration:
    try:
        return session.client.wait(started["id"], timeout_s=wait_s)
    except TimeoutError:
        return session.client.get(started["id"])


@remote
def status(
    session: Session,
    id_: Annotated[str | None, typer.Argument(metavar="ID", help="Without it: a list.")] = None,
    *,
    follow: Follow = False,
    at_version: Annotated[int | None, typer.Option("--at-version", min=1, help="As it was then.")] = None,
    with_status: Annotated[
        list[str] | None, typer.Option("--status", metavar="STATUS", help="List: only these; may be repeated.")
    ] = None,
    definition: Annotated[str | None, typer.Option("--definition", help="List: only of this one.")] = None,
    business_key: BusinessKey = None,
    tag: Tags = None,
    has_incident: Annotated[bool | None, typer.Option("--has-incident/--no-incident", help="List: only these.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="List: at most so many, newest first.")] = 20,
) -> None:
    """Where an orchestration stands, or a list of orchestrations."""
    filters: dict[str, Any] = {
        "status": with_status,
        "definition": definition,
        "business_key": business_key,
        "tag": [f"{name}:{value}" for name, value in read_tags(tag).items()] if tag else None,
        "has_incident": None if has_incident is None else str(has_incident).lower(),
    }
    if id_ is None:
        if follow or at_version is not None:
            raise typer.BadParameter("--follow and --at-version need the ID of an orchestration", param_hint="ID")
        return _list(session, filters, limit)
    if any(value is not None for value in filters.values()):
        raise typer.BadParameter("filters are for the list; leave out the ID or the filters", param_hint="ID")
    if follow and at_version is not None:
        raise typer.BadParameter("the past does not change; leave out --follow or --at-version", param_hint="--follow")
    if follow:
        from adapters.cli.following import follow_status

        return follow_status(session, id_)
    from adapters.cli.views_status import status_view

    found = session.client.get(id_, at_version=at_version)
    return session.printer.show(found, lambda: status_view(found))


def _list(session: Session, filters: dict[str, Any], limit: int) -> None:
    from adapters.cli.views_status import list_view

    found = list(session.client.orchestrations(filters, limit))
    session.printer.show(found, lambda: list_view(found))


@remote
def history(
    session: Session,
    id_: Id,
    *,
    after: Annotated[int, typer.Option("--after", min=0, metavar="N", help="Only versions above N.")] = 0,
    follow: Follow = False,
    archive: Annotated[
        bool, typer.Option("--archive", help="Look in the archive too: for what ended long ago.")
    ] = False,
) -> None:
    """How it got there: every event, oldest first. With --follow and --output json one event per line."""
    if follow and archive:
        raise typer.BadParameter("what is archived does not go on; leave out one of them", param_hint="--follow")
    from adapters.cli.views_history import event_line, history_view

    if follow:
        for event in session.client.follow_history(id_, after=after):
            session.printer.add(event, lambda event=event: event_line(event))  # type: ignore[misc]
        return
    events = list(session.client.history(id_, after=after, limit=500, archive=archive))
    session.printer.show(events, lambda: history_view(events))


@remote
def rollback_plan(session: Session, id_: Id) -> None:
    """What a cancel would undo now, and what it would not."""
    from adapters.cli.views_history import plan_view

    plan = session.client.rollback_plan(id_)
    session.printer.show(plan, lambda: plan_view(plan))
