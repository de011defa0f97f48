"""Arguments that several commands have, and how their texts are read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of an orchestration, as o_5XkP...", show_default=False)]
Reason = Annotated[str | None, typer.Option("--reason", "-r", help="Why; recorded in the history.")]


def read_json(text: str, option: str) -> Any:
    """The JSON value of an option: itself, ``@file`` or ``-`` for standard input. Raises BadParameter."""
    source = f"the text of {option}"
    if text == "-":
        source, text = "standard input", sys.stdin.read()
    elif text.startswith("@"):
        source = text[1:]
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise typer.BadParameter(f"{source} cannot be read: {reason}") from None
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        raise typer.BadParameter(
            f"{source} is not JSON: {error}. A string needs its quotes: {option} '\"Lisbon\"'"
        ) from None


def read_tags(pairs: list[str]) -> dict[str, str]:
    """Tags from ``key=value``. Raises BadParameter."""
    tags: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"{pair!r} is not key=value")
        tags[name] = value
    return tags


def _no_constant(name: str) -> Any:
    raise ValueError(f"JSON has no {name}")
