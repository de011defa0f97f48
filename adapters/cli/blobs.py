"""``retrace blob``: a file of an orchestration, or a large value of its history, by its digest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from adapters.cli.arguments import Id
from adapters.cli.failures import USAGE, Failure
from adapters.cli.remote import Session, remote


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(blob)


@remote
def blob(
    session: Session,
    id_: Id,
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help="sha256:..., as a reference has it.")],
    *,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Where to write it; else standard output.")
    ] = None,
) -> None:
    """Take a file along, or a large value: what a reference {digest, bytes, media_type} stands for."""
    content, media_type = session.client.blob(id_, digest if ":" in digest else f"sha256:{digest}")
    if to is not None:
        to.write_bytes(content)
        written = {"file": str(to), "digest": digest, "bytes": len(content), "media_type": media_type}
        session.printer.show(written, lambda: f"Wrote {to} ({len(content)} bytes, {media_type}).")
        return
    if session.printer.as_json:
        raise Failure("With --output json, say where to write the bytes: --to FILE.", USAGE)
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
