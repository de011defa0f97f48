"""How a replay looks on a terminal: a block for each decision, a state of the past, what a verification found.

A block has what was asked (bold), when, the events, what changed (green: new, red: gone, yellow: other) and what a rollback
would undo. Calm on purpose: colour is only where something is said by it, and everything can be read without.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from adapters.cli.change_words import changed, undoing
from adapters.cli.output import compact, console, moment, printable
from adapters.cli.replay_words import asked, told
from adapters.cli.views_status import COLOURS, name_of, status_view

if TYPE_CHECKING:
    from rich.console import RenderableType

    from retrace.replay import Divergence, Replay, Step

_NARROW = 64
_MARKS = {"+": "green", "-": "red", "~": "yellow"}
_KINDS = (
    ("scope.", "dim"), ("token.", "dim"), ("task.failed", "red"), ("task.uncertain", "yellow"), ("attempt.failed", "yellow"),
    ("incident.", "red"), ("rollback.", "yellow"), ("compensation.failed", "red"), ("compensation.", "magenta"),
    ("task.completed", "green"), ("orchestration.completed", "green"), ("orchestration.", "cyan"),
)  # fmt: skip
_QUIET = ("scope.", "token.")
_COLUMN = 6
_TYPE = 22


def heading(replay: Replay) -> RenderableType:
    """Whose history it is."""
    status = replay.status
    last = status["updated_at"]
    lasted = _seconds((_instant(last) - _instant(status["started_at"])).total_seconds())
    first = Text.assemble(replay.id, "  ", replay.definition, "  ", _coloured(status["status"]))
    counts = f"{_count(replay.versions, 'event')} in {_count(len(replay), 'decision')}"
    return Group(first, Text(f"{counts}, from {moment(status['started_at'])} UTC, over {lasted}", "dim"))


def step_view(step: Step) -> RenderableType:
    """One decision."""
    command = step.command
    versions = str(step.version) if step.version == step.last_version else f"{step.version}-{step.last_version}"
    parts: list[RenderableType] = [
        Text(),
        _grid([(Text(versions, "bold cyan"), Text(printable(asked(command)), "bold"))]),
    ]
    parts += [_grid([("", Text(_when(step, command), "dim"))]), _events(step.events)]
    events = step.events
    found = changed(step.difference, events)
    rows = [(_mark(mark), _change(what, before, after)) for mark, what, before, after in found]
    rows += [(Text(_sign("↶", "<"), "magenta"), Text(printable(line))) for line in undoing(step.rollback)]
    if rows:
        parts.append(_grid(rows))
    return Group(*parts)


def ending(replay: Replay) -> RenderableType:
    """Where to go from here."""
    lines = [f"child {each['id']} of {name_of(each['task'])}: replay it by its id" for each in replay.children]
    return Text("\n".join(["", *lines, "The state after a version: --at N. Decide it all again: --verify."]), "dim")


def state_view(replay: Replay, version: int) -> RenderableType:
    """The state after a version."""
    state = replay.at(version)
    parts: list[RenderableType] = [status_view(state)]
    more = [("$context", state["context"])] if state["context"] else []
    more += [(f"${name}", value) for scope in state["variables"].values() for name, value in scope.items()]
    more += [("events kept", state["held_events"])] if state["held_events"] else []
    if more:
        parts += [Text(), _grid([("", Text(printable(f"{name}  {compact(value)}"))) for name, value in more])]
    if rollback := undoing(replay.rollback(version)):
        parts += [Text(), _grid([(Text(_sign("↶", "<"), "magenta"), Text(printable(line))) for line in rollback])]
    return Group(*parts)


# Verification ---------------------------------------------------------------------------------------------------------


def verified(replay: Replay) -> str:
    """What is said when everything agrees."""
    decisions = _count(len(replay), "decision")
    return f"{replay.id}: {decisions} made again, {_count(replay.versions, 'event')} as recorded; the status agrees."


def divergence_view(found: Divergence) -> RenderableType:
    """Both sides of a divergence: recorded and decided now."""
    parts: list[RenderableType] = [Text(), Text(f"version {found['version']}: another decision now", "bold red")]
    if "why" in found:
        parts.append(Text(printable(found["why"])))
    pairs = list(_paired(found["recorded"], found["decided"]))
    if console().width < _NARROW:
        for one, other in pairs:
            same = _as_text(one) == _as_text(other)
            parts.append(_grid([(Text("  " if same else "rec.", "dim"), _event_text(one, same=same))]))
            parts += [] if same else [_grid([(Text("now", "dim"), _event_text(other, same=same))])]
        return Group(*parts)
    sides = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", expand=True)
    for title in ("", "RECORDED", "NOW"):
        sides.add_column(title, overflow="fold", ratio=None if not title else 1, width=1 if not title else None)
    for one, other in pairs:
        same = _as_text(one) == _as_text(other)
        sides.add_row("" if same else Text("!", "bold red"), _event_text(one, same=same), _event_text(other, same=same))
    parts.append(sides)
    return Group(*parts)


def _paired(one: Sequence[Any], other: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    for index in range(max(len(one), len(other))):
        yield one[index] if index < len(one) else None, other[index] if index < len(other) else None


def _as_text(event: Mapping[str, Any] | None) -> str:
    return "" if event is None else f"{event['type']} {event.get('task', '')} {compact(event['data'], 10_000)}"


def _event_text(event: Mapping[str, Any] | None, *, same: bool) -> Text:
    if event is None:
        return Text("nothing", "dim")
    if same:
        return Text(printable(" ".join([event["type"], *told(event)])), "dim")
    data = "\n".join(f"{name}: {compact(value)}" for name, value in event["data"].items())
    return Text(printable(f"{event['type']} {event.get('task', '')}\n{data}".rstrip()), _style(event["type"]))


# Parts ----------------------------------------------------------------------------------------------------------------


def _grid(rows: Sequence[tuple[Any, ...]]) -> Table:
    """Rows whose first cell stands at the left, narrow, and whose last one folds under itself."""
    made = Table.grid(padding=(0, 1, 0, 0))
    made.add_column(width=_COLUMN, justify="right", no_wrap=True)
    for _ in rows[0][1:-1]:
        made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def _events(events: Sequence[Mapping[str, Any]]) -> Table:
    """A line each; what does not fit beside the type and the task stands below them."""
    width = console().width - _COLUMN - 2
    rows: list[tuple[Any, ...]] = []
    for event in events:
        task, details = map(printable, told(event))
        quiet = "dim" if event["type"].startswith(_QUIET) else ""
        line = Text().append(event["type"].ljust(_TYPE if width >= _NARROW else 0), _style(event["type"]))
        line.append(f" {task}" if task else "", quiet)
        below = bool(details) and len(line) + 2 + len(details) > width
        if details and not below:
            line.append(f"  {details}" if task else f" {details}", quiet)
        rows.append((Text(str(event["version"]), "dim"), line))
        if below:
            rows.append(("", Padding(Text(details, quiet), (0, 0, 0, 2))))
    return _grid(rows)


def _change(what: str, before: Any, after: Any) -> Text:
    line = Text(printable(what))
    if before is None and after is None:
        return line
    line.append("  ")
    if before not in (None, [], {}):
        line.append_text(_value(before)).append(f" {_sign('→', '->')} ", "dim")
    return line.append_text(_value(after))


def _value(value: Any) -> Text:
    if isinstance(value, str):
        return _coloured(value)
    return Text(printable("nothing" if value is None else compact(value, 100)))


def _coloured(status: str) -> Text:
    return Text(printable(status), COLOURS.get(status, ""))


def _mark(mark: str) -> Text:
    return Text(mark, f"bold {_MARKS[mark]}")


def _style(type_: str) -> str:
    return next((style for start, style in _KINDS if type_.startswith(start)), "")


def _when(step: Step, command: Mapping[str, Any]) -> str:
    at = _instant(command["at"])
    words = [at.strftime("%H:%M:%S.") + f"{at.microsecond // 1000:03}"]
    if step.after_s is not None:
        if (at - timedelta(seconds=step.after_s)).date() != at.date():
            words[0] = f"{at.date()} {words[0]}"
        words.append(f"{_seconds(step.after_s)} later" if step.after_s > 0 else "at once")
    words += [
        f"{name} {command[key]}" for name, key in (("trace", "trace"), ("request", "request_id")) if key in command
    ]
    return ", ".join(words)


def _seconds(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{days} d" if days else "", f"{hours} h" if hours else "", f"{minutes} min" if minutes else ""]
    return " ".join([*(part for part in parts if part), *([f"{rest} s"] if rest and not days else [])])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _instant(at: str) -> datetime:
    return datetime.fromisoformat(at)


def _sign(sign: str, plain: str) -> str:
    return sign if (sys.stdout.encoding or "").lower().replace("-", "") == "utf8" else plain
