"""What a command writes to standard output: JSON and nothing else, or tables and lines for people.

Tables fit 80 columns and have no colour where there is no terminal or ``NO_COLOR`` is set. Text that came from a server
is made printable first: a business key must not move the cursor or recolour the terminal of an operator.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table


class Printer:
    """Writes results in the form that was asked for. A view is lines, written as they are, or a table, fitted in."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def show(self, value: Any, view: Callable[[], RenderableType]) -> None:
        """One result: `value` as JSON, or what `view` makes of it."""
        self._write(json.dumps(value, indent=2, ensure_ascii=_ascii()) if self.as_json else view())

    def add(self, value: Any, view: Callable[[], RenderableType]) -> None:
        """One of several results as they come: a line of JSON each."""
        self._write(json.dumps(value, ensure_ascii=_ascii()) if self.as_json else view())

    def _write(self, content: RenderableType) -> None:
        if self.as_json:
            print(content, flush=True)
        elif isinstance(content, str):
            print(printable(content), flush=True)
        else:
            screen = console()
            if screen.is_terminal:
                screen.print(content)
            else:
                # Tables are padded to their width; in a file or a pipe that is only noise.
                with screen.capture() as captured:
                    screen.print(content)
                print("\n".join(line.rstrip() for line in captured.get().splitlines()), flush=True)


def console() -> Console:
    """Standard output as it is now: nothing that looks like markup is interpreted."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False, soft_wrap=False)


def table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]]) -> Table:
    """A table without lines. A column is its heading and how it is laid out: ``whole`` (never broken over lines),
    ``right`` (a number), or ``free`` (folds).
    """
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading, layout in columns:
        made.add_column(
            heading,
            no_wrap=layout != "free",
            justify="right" if layout == "right" else "left",
            overflow="fold",
            min_width=None
            if layout == "free"
            else max(len(heading), *(len(_cell(row, len(made.columns))) for row in rows), 1),
        )
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row))
    return made


def _cell(row: Sequence[Any], index: int) -> str:
    return printable(row[index])


def printable(value: Any) -> str:
    """Text in which control characters stand as escapes; None is empty."""
    text = "" if value is None else str(value)
    return "".join(each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in text)


def compact(value: Any, longest: int = 300) -> str:
    """A JSON value in one line, cut when it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def moment(at: str | None) -> str:
    """An instant (RFC 3339, UTC) to the second, as people read it."""
    return "" if not at else at[:19].replace("T", " ")


def _ascii() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
