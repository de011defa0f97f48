"""A rehearsal as one HTML page: nothing is loaded from elsewhere, nothing runs in it, and it prints well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from importlib.resources import files
from typing import Any

from adapters.cli.output import compact
from adapters.cli.rehearsal_groups import Groups, OfTask, grouped, lasts, names, ways_on

_TONES = {"completed": "good", "compensated": "back", "cancelled": "back", "faulted": "bad"}
_CALLS = {"completed": "succeeds", "refused": "is refused", "uncertain": "is uncertain", "timed_out": "times out"}


def page(report: Mapping[str, Any]) -> str:
    """The whole page."""
    style = files("adapters.cli").joinpath("rehearsal.css").read_text(encoding="utf-8")
    groups = grouped(report)
    title = f"Rehearsal of {_text(report['definition'])}"
    body = "\n".join(
        part
        for part in (
            _head(report, title),
            _warnings(report["warnings"]),
            _tasks(groups),
            _undos(groups),
            _assumed(report),
            _scenarios(report),
        )
        if part
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _head(report: Mapping[str, Any], title: str) -> str:
    summary, happy = report["summary"], report["happy_path"]
    figures = [
        (summary["scenarios"], "scenarios, nobody was called"),
        (summary["need_an_operator"], "need an operator"),
        (summary["leave_something_behind"], "leave something behind"),
        (summary["never_end"], "never end"),
        (len(report["warnings"]), "warnings"),
    ]
    tiles = "".join(f"<li><b>{count}</b> {what}</li>" for count, what in figures)
    made_up = " (made up)" if report["input_made_up"] else ""
    path = " <i>then</i> ".join(map(_text, names(happy["called"]))) or "no callout"
    left_out = f"<p>{report['left_out']} more scenarios were left out.</p>" if report["left_out"] else ""
    return (
        f'<h1>{title}</h1><ul class="tiles">{tiles}</ul><p><b>Input{made_up}</b> '
        f"<code>{_text(compact(report['input']))}</code></p><p><b>{_text(_capital(happy['title']))}</b> {path}: "
        f"{_status(happy)}</p>{left_out}"
    )


def _warnings(warnings: Iterable[Mapping[str, Any]]) -> str:
    items = []
    for each in warnings:
        of = f"{_text(each['definition'])} " if each.get("definition") else ""
        line = f"line {each['line']}: " if each["line"] else of
        items.append(f"<li>{line}<code>{_text(each['pointer'] or '/')}</code> {_text(each['detail'])}</li>")
    return f'<h2>Warnings</h2><ul class="warnings">{"".join(items)}</ul>' if items else ""


def _tasks(groups: Groups) -> str:
    rows = [row for task in groups.tasks for row in _rows(task)]
    if not rows:
        return ""
    head = "<tr><th>Task</th><th>What happens</th><th>It ends as</th><th>Undone, in this order</th><th>Left</th></tr>"
    return f"<h2>When a task fails</h2><table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _rows(task: OfTask) -> Iterator[str]:
    count = len(task.results)
    before = f"<small>after {_text(task.before)}</small>" if task.before else ""
    for number, result in enumerate(task.results):
        scenario = result.first
        first = f'<th scope="rowgroup" rowspan="{count}">{_text(task.task)}{before}</th>' if number == 0 else ""
        cells = (f"{_text(result.outcomes)}<small>{_links(result.numbers)}</small>", _status(scenario))
        undone = _list(names(scenario["undone"])) or '<span class="none">nothing</span>'
        yield f"<tr>{first}{''.join(f'<td>{cell}</td>' for cell in cells)}<td>{undone}</td><td>{_left(scenario)}</td></tr>"


def _left(scenario: Mapping[str, Any]) -> str:
    left = [f"<b>{_text(each['task'])}</b>: {_text(each['why'])}" for each in scenario["left_behind"]]
    asked = [f'<span class="asks">an operator</span> {_text(ways_on(each))}' for each in scenario["incidents"]]
    remark = [_text(scenario["remark"])] if scenario["remark"] else []
    return "<br>".join([*left, *asked, *remark])


def _undos(groups: Groups) -> str:
    rows = []
    for undo in groups.undos:
        waiting = _list(names(undo.worst["not_undone"])) if undo.caught < undo.count else "no operator is needed"
        numbers = f'<a href="#s{undo.worst["number"]}">{undo.worst["number"]}</a>'
        rows.append(
            f'<tr><th scope="row">{_text(undo.task)}</th><td>{undo.count}</td><td>{waiting or "nothing"}</td>'
            f"<td>{numbers}</td></tr>"
        )
    if not rows:
        return ""
    head = (
        "<tr><th>Undo of</th><th>Scenarios</th><th>Not undone until an operator decides, at most</th><th>See</th></tr>"
    )
    return f"<h2>When an undo fails</h2><table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _assumed(report: Mapping[str, Any]) -> str:
    found: dict[str, None] = {}
    for scenario in (report["happy_path"], *report["scenarios"]):
        for each in scenario["assumed"]:
            place = f"<b>{_text(each['task'] or each['reference'])}</b> ({_text(each['part'])})"
            found[f"{place}: <code>{_text(compact(each['value']))}</code>, since {_text(each['why'])}"] = None
    items = [
        f"<b>{_text(each)}</b> is played by one callout; its document was not given" for each in report["stand_ins"]
    ]
    items += found
    return f"<h2>Assumed</h2>{_list(items, escaped=True)}" if items else ""


def _scenarios(report: Mapping[str, Any]) -> str:
    shown = "".join(map(_scenario, (report["happy_path"], *report["scenarios"])))
    return f"<h2>Every scenario</h2>{shown}"


def _scenario(scenario: Mapping[str, Any]) -> str:
    calls = [_call(each) for each in scenario["called"]]
    rest = [f"{_text(each['task'])}: {_text(each['why'])}" for each in scenario["not_undone"]]
    parts = [f"<ol>{''.join(f'<li>{call}</li>' for call in calls)}</ol>"]
    parts += [f"<p><b>Not undone</b></p>{_list(rest, escaped=True)}"] if rest else []
    parts += [f"<p>{left}</p>"] if (left := _left(scenario)) else []
    if scenario["error"]:
        error = scenario["error"]
        what = f"{error['status']} {error.get('title') or error['type']}"
        detail = f": {error['detail']}" if error.get("detail") else ""
        parts.append(f"<p><b>Error</b> {_text(what + detail)}</p>")
    took = f" after {lasts(scenario['took_s'])}" if scenario["took_s"] else ""
    number, title = scenario["number"], _text(_capital(scenario["title"]))
    summary = f"<summary><b>{number}</b> {title}: {_status(scenario)}{took}</summary>"
    return f'<details id="s{number}">{summary}{"".join(parts)}</details>\n'


def _call(call: Mapping[str, Any]) -> str:
    name = f"undo of {call['undo_of']}" if call["undo_of"] else names([call])[0]
    if call["undo_of"] and call["task"] not in ("compensate", call["undo_of"]):
        name += f" ({call['task']})"
    tries = f", tried {call['attempts']} times" if call["attempts"] > 1 else ""
    outcome = _CALLS.get(call["outcome"], "is given up")
    mark = "" if call["outcome"] == "completed" else ' class="asks"'
    return f"{_text(name)} <span{mark}>{outcome}</span>{tries}"


def _status(scenario: Mapping[str, Any]) -> str:
    tone = "asks" if scenario["ends"] != "final" else _TONES.get(scenario["status"], "")
    waits = " (waits for an operator)" if scenario["ends"] == "operator" else ""
    return f'<span class="status {tone}">{_text(scenario["status"])}</span>{waits}'


def _links(numbers: str) -> str:
    return ", ".join(f'<a href="#s{number}">{number}</a>' for number in numbers.split(", "))


def _list(items: Iterable[str], *, escaped: bool = False) -> str:
    listed = "".join(f"<li>{item if escaped else _text(item)}</li>" for item in items)
    return f"<ol>{listed}</ol>" if listed and not escaped else f"<ul>{listed}</ul>" if listed else ""


def _capital(text: str) -> str:
    """A sentence begins with a capital, unless it begins with the name of a task."""
    return text[:1].upper() + text[1:] if text.startswith(("everything ", "undo of ")) else text


def _text(text: Any) -> str:
    return escape(str(text))
