"""``retrace audit events``, ``accesses`` and ``export``: reading the log of everything, and who has read it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from adapters.cli.remote import Session, remote

Types = Annotated[
    list[str] | None,
    typer.Option(
        "--type", metavar="TYPE", help="As task.completed or task.*; may be repeated, or separated by commas."
    ),
]
Actors = Annotated[list[str] | None, typer.Option("--actor", metavar="NAME", help="Who asked for it; may be repeated.")]
Definition = Annotated[
    str | None, typer.Option("--definition", metavar="NAME", help="name, namespace/name or namespace/name@version")
]
OfOne = Annotated[str | None, typer.Option("--orchestration", metavar="ID", help="Only of this one.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="INSTANT", help="As 2026-11-23T10:00:00Z; that instant included.")
]
Until = Annotated[str | None, typer.Option("--until", metavar="INSTANT", help="That instant included.")]


class Format(StrEnum):
    """Forms of an export."""

    ndjson = "ndjson"
    parquet = "parquet"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (events, accesses, export):
        app.command()(command)


def _filters(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value not in (None, [])}


@remote
def events(
    session: Session,
    *,
    type_: Types = None,
    actor: Actors = None,
    definition: Definition = None,
    orchestration: OfOne = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many, oldest first.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="And those to come.")] = False,
    after: Annotated[
        str | None, typer.Option("--after", metavar="CURSOR", help="Go on where a list or a stream stopped.")
    ] = None,
) -> None:
    """Everything that happened, over all orchestrations. With --follow, or with --output json, one event per line."""
    from adapters.cli.views_audit import feed_line

    if follow and limit is not None:
        raise typer.BadParameter("what is followed has no end; leave out --limit or --follow", param_hint="--limit")
    filters = _filters(
        type=type_, actor=actor, definition=definition, orchestration=orchestration, since=since, until=until
    )
    if follow:
        for event, _ in session.client.audit.follow(filters, after=after):
            session.printer.add(event, lambda event=event: feed_line(event))  # type: ignore[misc]
        return
    for event in session.client.audit.events(filters, after=after, limit=limit):
        session.printer.add(event, lambda event=event: feed_line(event))  # type: ignore[misc]


@remote
def accesses(
    session: Session,
    *,
    actor: Annotated[str | None, typer.Option("--actor", metavar="NAME", help="Who read.")] = None,
    what: Annotated[str | None, typer.Option("--what", help="feed, history, export or bundle.")] = None,
    orchestration: OfOne = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, newest first.")] = 50,
    check: Annotated[bool, typer.Option("--check", help="Check that none was changed or removed.")] = False,
) -> None:
    """Who has read or exported what, newest first. With --check the whole record; exit code 1 if it is damaged."""
    if check:
        _check(session)
        return
    from adapters.cli.views_audit import accesses_view

    filters = _filters(actor=actor, what=what, orchestration=orchestration, since=since, until=until)
    found = list(session.client.audit.accesses(filters, limit=limit))
    session.printer.show(found, lambda: accesses_view(found))


def _check(session: Session) -> None:
    from adapters.cli.failures import Failure
    from application.accesses import breaks, record_of

    damage: list[str] = []
    count = 0

    def counted(partition: int) -> Any:
        nonlocal count
        for each in session.client.audit.chain_of_accesses(partition):
            count += 1
            yield record_of(dict(each))

    for partition in range(session.client.nodes()["partitions"]):
        damage += breaks(partition, counted(partition))
    told = "\n".join([f"{count} accesses, {'none of them changed or missing' if not damage else 'DAMAGED'}.", *damage])
    session.printer.show({"accesses": count, "sound": not damage, "damage": damage}, lambda: told)
    if damage:
        raise Failure("The record of accesses is damaged.")


@remote
def export(
    session: Session,
    *,
    format_: Annotated[
        Format, typer.Option("--format", help="parquet needs: pip install 'retrace[parquet]'")
    ] = Format.ndjson,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Written whole or not at all; else standard output.")
    ] = None,
    type_: Types = None,
    actor: Actors = None,
    definition: Definition = None,
    orchestration: OfOne = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """Take the log away, with all it needs to be verified elsewhere: retrace audit verify --export FILE.

    With filters it is not complete, and a missing event shows only within its orchestration.
    """
    from adapters.cli.exports import copy_lines, write_ndjson, write_parquet

    filters = _filters(
        type=type_, actor=actor, definition=definition, orchestration=orchestration, since=since, until=until
    )
    lines = session.client.audit.export(filters)
    if to is None:
        if format_ is Format.parquet:
            raise typer.BadParameter("a Parquet file needs a name", param_hint="--to")
        copy_lines(lines)
        return
    write = write_parquet if format_ is Format.parquet else write_ndjson
    told = write(lines, to)
    session.printer.show(told, lambda: f"{told['events']} events written to {to}.")
