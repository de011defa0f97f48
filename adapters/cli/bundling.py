"""``retrace bundle``: a history to take along, for ``retrace replay`` and `retrace.replay` on another machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from adapters.cli.arguments import Id
from adapters.cli.remote import Session, remote


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(bundle)


@remote
def bundle(
    session: Session,
    id_: Id,
    *,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Where to write it; else standard output.")
    ] = None,
    redact: Annotated[
        list[str] | None,
        typer.Option(
            "--redact", metavar="NAME", help="A member, or JSON Pointer, whose values stay here; may be repeated."
        ),
    ] = None,
) -> None:
    """Take a history along: one JSON document that replays anywhere, without a database."""
    document = session.client.bundle(id_, redact=redact or ())
    if redact:
        _replays_still(document)
    text = json.dumps(document, ensure_ascii=False)
    if to is None:
        print(json.dumps(document))
        return
    to.write_text(text + "\n", encoding="utf-8")
    written = {"file": str(to), "id": id_, "version": document["status"]["version"], "bytes": len(text.encode()) + 1}
    session.printer.show(written, lambda: f"Wrote {to} ({written['bytes']} bytes). Replay it with: retrace replay {to}")


def _replays_still(document: Any) -> None:
    """Warn of names that stand nowhere, and where what was replaced would have decided something."""
    from adapters.cli.failures import complain
    from retrace.replay import BundleError, load

    if nowhere := (document.get("redacted") or {}).get("nowhere"):
        complain(f"nothing was redacted by the name {', '.join(nowhere)}: no data of this history has such a member.")
    try:
        found = load(document).verify()
    except BundleError as error:
        complain(f"the redacted bundle cannot be replayed: {error}. Name fewer places.")
    else:
        if found:
            complain(f"the redacted bundle does not decide alike: {found[0]['text']}. Name fewer places.")
