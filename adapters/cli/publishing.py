"""``retrace publish``: a file of CloudEvents, sent in batches, with what became of each."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from adapters.cli.remote import Session, remote

_AT_A_TIME = 100
_LARGEST_BATCH_BYTES = 800_000


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(publish)


@remote
def publish(
    session: Session,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A JSON array of CloudEvents, or one in each line; - for standard input.",
            show_default=False,
        ),
    ],
    *,
    to: Annotated[
        str | None, typer.Option("--to", metavar="ID", help="To this orchestration; else to whoever waits.")
    ] = None,
) -> None:
    """Send many events: those that were sent before are duplicates, so the same file may be sent again."""
    events = _events(file)
    refused = 0
    for batch in _batches(events):
        for event, item in zip(batch, session.client.publish_events(batch, orchestration=to), strict=True):
            found: dict[str, Any] = {"event_id": event.get("id") if isinstance(event, dict) else None, **item}
            refused += "problem" in item
            session.printer.add(found, partial(_in_words, found))
    if refused:
        raise typer.Exit(1)


def _in_words(found: dict[str, Any]) -> str:
    if "problem" not in found:
        return f"{found['outcome']} (event {found['event_id']})"
    problem = found["problem"]
    places = "; ".join(f"{each['pointer'] or '/'}: {each['detail']}" for each in problem.get("errors", ()))
    again = " It may be sent again." if problem.get("retryable") else ""
    return f"refused (event {found['event_id']}): {problem['detail']} {places}".rstrip() + again


def _events(file: str) -> list[Any]:
    """Raises BadParameter."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise typer.BadParameter(f"{file} cannot be read: {reason}", param_hint="FILE") from None
    try:
        if text.lstrip().startswith("["):
            return list(json.loads(text))
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise typer.BadParameter(f"this is neither a JSON array nor JSON lines: {error}", param_hint="FILE") from None


def _batches(events: list[Any]) -> list[list[Any]]:
    """As many as fit into a request."""
    found: list[list[Any]] = []
    size = 0
    for event in events:
        length = len(json.dumps(event).encode())
        if not found or len(found[-1]) == _AT_A_TIME or size + length > _LARGEST_BATCH_BYTES:
            found.append([])
            size = 0
        found[-1].append(event)
        size += length
    return found
