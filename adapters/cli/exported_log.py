"""Reads an exported log and checkpoints from files, and verifies them without a service."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from adapters.cli.failures import USAGE, Failure, complain

if TYPE_CHECKING:
    from adapters.cli.remote import Session

_decode = msgspec.json.Decoder().decode
_EVENT = b'{"kind":"event",'


def verify_export(session: Session, export: Path, keys: list[str], checkpoints: Path | None) -> dict[str, Any]:
    """The result of verifying an export. Raises Failure when a file cannot be used."""
    from adapters.signatures import Ed25519Keys, KeyUnusableError, read_public
    from adapters.stored_events import EventMapper
    from application.verifying_export import ExportCheck, NotAnExportError

    given = [] if checkpoints is None else read_checkpoints(checkpoints)
    try:
        trusted = Ed25519Keys([read_public(each) for each in keys])
    except KeyUnusableError as error:
        raise Failure(f"--key {error}", USAGE) from None
    try:
        with export.open("rb") as file:
            header, trailer = _outline(file)
            check = ExportCheck(header, trailer, EventMapper(), trusted, given)
            file.seek(0)
            _watch(session, check.run(_events(file)), next((each for each in trailer if each["kind"] == "end"), None))
    except OSError as error:
        why = error.strerror or "it is read twice, so it has to be a file"
        raise Failure(f"{export} cannot be read: {why}.", USAGE) from None
    except NotAnExportError as error:
        raise Failure(f"{export}: {error}.", USAGE) from None
    result: dict[str, Any] = msgspec.to_builtins(check.result())
    return result


def read_checkpoints(path: Path) -> list[dict[str, Any]]:
    """Checkpoints of a file, one a line as they were sent there. A line that a process died over is passed over."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}.", USAGE) from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            value = None
        if isinstance(value, dict) and "log_hash" in value:
            found.append({name: each for name, each in value.items() if name != "kind"})
        else:
            complain(f"{path}:{number} is not a checkpoint and is passed over.")
    return found


def _outline(file: BinaryIO) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(header, all lines that are no events)."""
    first, *others = [_line(number, line) for number, line in enumerate(file, 1) if not line.startswith(_EVENT)] or [{}]
    return first, [each for each in others if each.get("kind") != "event"]


def _events(file: BinaryIO) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, 1):
        value = _line(number, line)
        if value.get("kind") == "event":
            yield value


def _line(number: int, line: bytes) -> dict[str, Any]:
    from application.verifying_export import NotAnExportError

    try:
        value = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise NotAnExportError(f"line {number} is not JSON: the file was cut off or altered") from None
    if not isinstance(value, dict) or "kind" not in value:
        raise NotAnExportError(f"line {number} is not one of an export")
    return value


def _watch(session: Session, steps: Iterator[int], end: dict[str, Any] | None) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    screen = Console(file=sys.stderr)
    hidden = session.printer.as_json or not screen.is_terminal
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True, disable=hidden) as bar:
        task = bar.add_task("Verifying", total=None if end is None else end.get("events"))
        for step in steps:
            bar.advance(task, step)
