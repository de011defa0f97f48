"""The command that shows the nodes of a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from adapters.cli.remote import Session, remote

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLUMNS = [
    ("NODE", "free"),
    ("VERSION", "whole"),
    ("STARTED (UTC)", "whole"),
    ("STATE", "whole"),
    ("PARTITIONS", "free"),
    ("LAG", "right"),
]


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("nodes")(nodes)


@remote
def nodes(session: Session) -> None:
    """Show who is at work on the service's database, and which partitions each node owns."""
    found = session.client.nodes()
    session.printer.show(found, lambda: _view(found))


def _view(found: Mapping[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from adapters.cli.output import moment, table

    rows = [
        [
            f"{each['node']}{' (answers)' if each['this'] else ''}",
            each["version"],
            moment(each["started_at"]),
            _state(each),
            ranges([one["partition"] for one in each["partitions"]]) or "none",
            sum(one["lag"] for one in each["partitions"]),
        ]
        for each in found["items"]
    ]
    parts: list[RenderableType] = [table(_COLUMNS, rows)]
    if found["unowned"]:
        free = ranges([one["partition"] for one in found["unowned"]])
        parts.append(Text(f"Nobody owns {free} at this moment; a living node takes them when their lease is over."))
    return Group(*parts)


def _state(node: Mapping[str, Any]) -> str:
    if not node["alive"]:
        return "gone"
    return "alive" if node["eligible"] else "clock off"


def ranges(numbers: Sequence[int]) -> str:
    """``0-3, 7`` for 0, 1, 2, 3 and 7."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
