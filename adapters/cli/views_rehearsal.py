"""How a rehearsal looks on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from adapters.cli.failures import places
from adapters.cli.output import compact, printable
from adapters.cli.rehearsal_groups import Groups, OfTask, OfUndo, Result, grouped, lasts, names, ways_on
from adapters.cli.views_status import COLOURS

if TYPE_CHECKING:
    from rich.console import RenderableType

_SHOWN = 12
"""Assumptions and ways that a terminal has room for; the page and the JSON have all."""


def rehearsal_view(report: Mapping[str, Any], file: str) -> RenderableType:
    """The report: by task, then undos that fail, other ways, what was assumed, warnings."""
    groups = grouped(report)
    parts = [_line(text) for text in _head(report)]
    if groups.tasks:
        parts += [_line(), _title("WHEN A TASK FAILS")]
        parts += [part for task in groups.tasks for part in _of_task(task)]
    parts += _undos(groups)
    parts += _others(groups)
    parts += _assumed(report)
    parts += [_line(), *(_line(text) for text in _foot(report))]
    if report["warnings"]:
        parts += [_line(), _title("WARNINGS")]
        parts += [_line(f"  {line}", "yellow") for line in _warnings(report["warnings"], file)]
    return Group(*parts)


def _head(report: Mapping[str, Any]) -> Iterator[str]:
    summary, happy = report["summary"], report["happy_path"]
    count = summary["scenarios"]
    yield f"{report['definition']}: {count} scenario{'' if count == 1 else 's'} rehearsed, nobody was called"
    yield f"input{' (made up)' if report['input_made_up'] else ''}: {compact(report['input'], 60)}"
    path = ", ".join(names(happy["called"])) or "no callout"
    yield f"{happy['title']}: {path}: {happy['status']}"


def _of_task(task: OfTask) -> Iterator[RenderableType]:
    yield _line(f"{task.task}{f' (after {task.before})' if task.before else ''}", "bold")
    for result in task.results:
        yield Padding(_result(result), (0, 0, 0, 2))


def _result(result: Result) -> Text:
    scenario = result.first
    text = Text.assemble(printable(f"{result.outcomes}: "), (scenario["status"], COLOURS.get(scenario["status"], "")))
    for what in consequences(scenario):
        text.append(printable(f"; {what}"))
    return text


def consequences(scenario: Mapping[str, Any]) -> Iterator[str]:
    """What a scenario leaves, in words."""
    if scenario["undone"]:
        yield f"undone: {', '.join(names(scenario['undone']))}"
    elif scenario["status"] == "faulted":
        yield "nothing to undo"
    if scenario["left_behind"]:
        yield f"LEFT BEHIND: {', '.join(names(scenario['left_behind']))}"
    for incident in scenario["incidents"]:
        yield f"OPERATOR: {ways_on(incident)}"
    if scenario["remark"]:
        yield scenario["remark"]


def _undos(groups: Groups) -> list[RenderableType]:
    if not groups.undos:
        return []
    return [_line(), _title("WHEN AN UNDO FAILS"), *(_line(_of_undo(undo)) for undo in groups.undos)]


def _of_undo(undo: OfUndo) -> str:
    waiting = names(undo.worst["not_undone"])
    count = f"{undo.count} scenario{'' if undo.count == 1 else 's'}"
    if undo.caught == undo.count:
        return f"  {undo.task}: {count}, no operator is needed ({undo.worst['status']})"
    return f"  {undo.task}: {count}, an operator is needed; until then not undone: {', '.join(waiting) or 'nothing'}"


def _others(groups: Groups) -> list[RenderableType]:
    if not groups.others:
        return []
    lines = [_line(), _title("OTHER WAYS")]
    for scenario in groups.others[:_SHOWN]:
        more = "".join(f"; {what}" for what in consequences(scenario))
        lines.append(_line(f"  {scenario['title']}: {scenario['status']}{more}"))
    return [*lines, *_more(len(groups.others))]


def _assumed(report: Mapping[str, Any]) -> list[RenderableType]:
    found: dict[str, None] = {}
    for scenario in (report["happy_path"], *report["scenarios"]):
        for each in scenario["assumed"]:
            place = f"{each['task'] or each['reference']} ({each['part']})"
            found[f"  {place}: {compact(each['value'], 60)}, since {each['why']}"] = None
    stand_ins = [f"  {each}: played by one callout; give its document with --child" for each in report["stand_ins"]]
    lines = [*stand_ins, *found]
    if not lines:
        return []
    return [_line(), _title("ASSUMED"), *map(_line, lines[:_SHOWN]), *_more(len(lines))]


def _foot(report: Mapping[str, Any]) -> Iterator[str]:
    summary = report["summary"]
    states = ", ".join(f"{count} {status}" for status, count in summary["by_status"].items())
    yield f"{states or 'no scenario'}; an operator is needed in {summary['need_an_operator']}"
    slowest = max((s for s in report["scenarios"] if s["ends"] == "final"), key=lambda s: s["took_s"], default=None)
    if slowest is not None and slowest["took_s"] > 0:
        yield f"the longest takes {lasts(slowest['took_s'])}: {slowest['title']}"
    if report["left_out"]:
        yield f"{report['left_out']} more scenarios were left out; raise --limit to see them"


def _warnings(warnings: Sequence[Mapping[str, Any]], file: str) -> Iterator[str]:
    for warning in warnings:
        yield from places([warning], str(warning.get("definition", file)))


def _more(count: int) -> list[RenderableType]:
    return [_line(f"  and {count - _SHOWN} more; see --html or --output json")] if count > _SHOWN else []


def _title(text: str) -> Text:
    return Text(text, style="bold")


def _line(text: str = "", style: str = "") -> RenderableType:
    """A line; one that begins with blanks keeps its place where it is folded."""
    shown = Text(printable(text.lstrip(" ")), style=style)
    depth = len(text) - len(text.lstrip(" "))
    return Padding(shown, (0, 0, 0, depth)) if depth else shown
