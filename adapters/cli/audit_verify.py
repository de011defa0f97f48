"""``retrace audit verify``, ``checkpoints``, ``keys`` and ``keygen``: whether the log is what was recorded, and who vouches.

``verify`` asks the service, or reads an export by itself (`adapters.cli.exported_log`). Exit code 0: sound; 1: damaged, or
not verified; 2: the command line or a file cannot be used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapters.cli.operations import watched
from adapters.cli.remote import Session, remote

if TYPE_CHECKING:
    from rich.console import RenderableType

_DAMAGE = [("KIND", "whole"), ("PARTITION", "right"), ("POSITION", "right"), ("EVENT", "free"), ("WHAT", "free")]
_MOST_SENT = 2000
Checkpoints = Annotated[
    Path | None,
    typer.Option("--checkpoints", metavar="FILE", help="Checkpoints that were kept outside the database."),
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("verify")(verify)
    app.command("checkpoints")(checkpoints)
    app.command("keys")(keys)
    app.command("keygen")(keygen)


@remote
def verify(
    session: Session,
    *,
    orchestration: Annotated[str | None, typer.Option("--orchestration", metavar="ID", help="Only this one.")] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="CHECKPOINT",
            help="latest, an instant (RFC 3339), or PARTITION:POSITION of a checkpoint.",
        ),
    ] = None,
    no_archive: Annotated[bool, typer.Option("--no-archive", help="Pass over the bytes in the archive.")] = False,
    checkpoints: Checkpoints = None,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Verify this export, without a service.")
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key", metavar="PUBLIC", help="With --export: a public key (PEM file or base64); may be repeated."
        ),
    ] = None,
) -> None:
    """Verify that the log is what was recorded: whole, since a checkpoint, one orchestration, or an export."""
    from adapters.cli.exported_log import read_checkpoints, verify_export

    if export is not None:
        if orchestration or since or no_archive:
            raise typer.BadParameter("--export goes with --key and --checkpoints only")
        found = verify_export(session, export, key or [], checkpoints)
    else:
        if key:
            raise typer.BadParameter("--key goes with --export; a service checks with its own (RETRACE_AUDIT_TRUST)")
        given = None if checkpoints is None else _thinned(read_checkpoints(checkpoints))
        archive = False if no_archive else None
        begun = session.client.verify_log(orchestration=orchestration, since=since, checkpoints=given, archive=archive)
        found = watched(session, begun["id"], "Verifying")["result"]
    session.printer.show(found, lambda: _result(found))
    if not found["sound"]:
        raise typer.Exit(1)


def _thinned(given: list[Any]) -> list[Any]:
    """At most as many as one request takes: the newest of each partition, and others evenly."""
    if len(given) <= _MOST_SENT:
        return given
    newest = list({each["partition"]: each for each in sorted(given, key=lambda each: each["position"])}.values())
    step = -(-len(given) // (_MOST_SENT - len(newest)))
    return newest + [each for each in given[::step] if each not in newest]


@remote
def checkpoints(
    session: Session,
    *,
    partition: Annotated[int | None, typer.Option("--partition", min=0, help="Only of this one.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="How many at most; all unless said.")] = None,
) -> None:
    """Show the signed checkpoints of the log; with --output json as they may be kept and given to verify."""
    for each in session.client.checkpoints(partition, limit):
        session.printer.add(
            each,
            lambda each=each: (  # type: ignore[misc]
                f"{each['partition']}:{each['position']}  {each['log_hash']}  {each['made_at']}  key {each['key_id']}"
            ),
        )


@remote
def keys(session: Session) -> None:
    """Show the public keys whose checkpoints count for the service."""
    found = session.client.audit_keys()
    session.printer.show(found, lambda: _keys(found))


def keygen(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the private key goes.")] = Path("audit-key.pem"),
) -> None:
    """Make a key that signs checkpoints, in a new file that only you may read, and show its public half."""
    from adapters.cli.failures import complain
    from adapters.signatures import key_id, make_key, public_pem

    try:
        public = make_key(file).public_key()
    except FileExistsError:
        complain(f"{file} exists. A key is not overwritten; name another file.")
        raise typer.Exit(1) from None
    except OSError as error:
        complain(f"{file} cannot be written: {error.strerror}.")
        raise typer.Exit(1) from None
    print(public_pem(public), end="")
    typer.echo(
        f"The private key is in {file}: RETRACE_AUDIT_KEY={file}. Above is the public key {key_id(public)}; keep it where "
        "whoever verifies can trust it.",
        err=True,
    )


def _keys(found: Any) -> RenderableType:
    lines = [f"database {found['database']}"]
    for each in found["items"]:
        lines += ["", f"{each['key_id']}{' (current)' if each['current'] else ''}", each["pem"].strip()]
    return "\n".join(lines if found["items"] else [*lines, "There is no key: RETRACE_AUDIT_KEY is not set."])


def _result(found: Any) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from adapters.cli.output import table

    looked = f"{found['events']} events, {found['partitions']} partitions, {found['checkpoints']} checkpoints"
    if found["archived"]:
        looked += f", {found['archived']} archived"
    head = "Sound" if found["sound"] else f"DAMAGED ({found['findings_total']} findings)"
    parts: list[RenderableType] = [Text(f"{head}: {looked}.")]
    if found["findings"]:
        parts.append(table(_DAMAGE, [_row(each) for each in found["findings"]]))
    if found["findings_total"] > len(found["findings"]):
        parts.append(Text(f"... and {found['findings_total'] - len(found['findings'])} more."))
    parts += [Text(f"Note: {each}") for each in found["notes"]]
    return Group(*parts)


def _row(each: Any) -> list[Any]:
    until = each["until"]
    place = each["position"] if until is None else f"{each['position']}, {until}" if _two(each) else _span(each)
    event = " ".join(
        part
        for part in (each["orchestration"], f"#{each['version']}" if each["version"] else "", each["type"] or "")
        if part
    )
    return [each["kind"], each["partition"], place, event, each["detail"]]


def _two(each: Any) -> bool:
    return bool(each["kind"] == "events_swapped")


def _span(each: Any) -> str:
    return f"{each['position']}-{each['until']}"
