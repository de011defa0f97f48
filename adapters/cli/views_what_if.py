"""How what-if looks on a terminal: two courses side by side, and the table over many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from adapters.cli.output import compact, printable, table
from adapters.cli.views_status import coloured, fault

if TYPE_CHECKING:
    from rich.console import RenderableType

_SIDES = [("RECORDED", "free"), ("", "whole"), ("WHAT IF", "free"), ("ANSWER", "whole")]
_GROUPS = [("OUTCOME", "whole"), ("COUNT", "right"), ("WHY", "free")]
_WORDS = {"same": "same path", "other": "other path", "cannot_continue": "cannot continue"}
_STYLES = {"same": "green", "other": "yellow", "cannot_continue": "red"}
_FROM = {"record": "recorded", "change": "supposed", "assumption": "assumed", None: ""}
Line = tuple[str, str]
"""(what happened, where the answer is from)."""


def course_view(found: Mapping[str, Any]) -> RenderableType:
    """One course beside the recorded one."""
    recorded = found["recorded"]
    version = recorded["definition"]
    which = version if version == found["definition"] else f"{version} -> {found['definition']}"
    head = Text.assemble(
        f"{found['id']}  {printable(which)}  ",
        (_WORDS[found["outcome"]], _STYLES[found["outcome"]]),
    )
    parts: list[RenderableType] = [head]
    if found["why"]:
        parts.append(Text(printable(found["why"])))
    parts += [Text(), table(_SIDES, list(_rows(*_sides(recorded, found)))), Text()]
    if parting := found["leaves_at"]:
        parts.append(Text(printable(f"The paths part at version {parting['version']}: {_parting(parting)}.")))
    parts += [Text(printable(f"Assumed: {each}.")) for each in found["assumptions"]]
    return Group(*parts)


def fleet_view(told: Mapping[str, Any]) -> RenderableType:
    """Counts, then the groups of those that do not go as recorded."""
    counts = Text(f"{told['considered']} orchestrations of {told['for']} by {told['definition']}: ")
    for number, outcome in enumerate(_WORDS):
        counts.append(", " if number else "")
        counts.append(f"{told[outcome]} {_WORDS[outcome]}", _STYLES[outcome] if told[outcome] else "")
    if not told["groups"]:
        return counts
    rows = [
        [Text(_WORDS[each["outcome"]], _STYLES[each["outcome"]]), each["count"], _reason(each)]
        for each in told["groups"]
    ]
    parts: list[RenderableType] = [counts, Text(), table(_GROUPS, rows), Text()]
    if told["not_grouped"]:
        parts.append(Text(f"{told['not_grouped']} more have other reasons."))
    parts.append(Text("Look at one with: retrace what-if ID --definition ... ; --output json has more examples."))
    return Group(*parts)


def _reason(group: Mapping[str, Any]) -> str:
    same = " (the same calls, the same end)" if group["same_calls"] else ""
    return f"{group['reason']}{same}\ne.g. {group['examples'][0]['id']}"


def _sides(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[list[Line], list[Line]]:
    """The lines of both; a call that only looks the same is marked."""
    left, right = _lines(recorded), _lines(found)
    if recorded["status"] == found["status"] and recorded["output"] != found["output"]:
        for lines, side in ((left, recorded), (right, found)):
            lines.append((f"output {compact(side['output'], 60)}", ""))
    known = {text for text, _ in left}
    for number, call in enumerate(found["calls"]):
        text, answer = right[number]
        if not call["recorded"] and text in known:
            right[number] = (f"{text}, asked with other arguments", answer)
    return left, right


def _lines(course: Mapping[str, Any]) -> list[Line]:
    lines = [(_call(each), _FROM.get(each["answer_from"], "")) for each in course["calls"]]
    lines += [(f"left behind: {each['task']} ({each['why']})", "") for each in course["left_behind"]]
    for each in course["incidents"]:
        lines.append((f"operator needed: {each['kind']} of {each['task']}: {fault(each['error'])}", ""))
    lines.append((f"= {course['status']}", ""))
    if course["error"]:
        lines.append((f"error {fault(course['error'])}", ""))
    return lines


def _call(call: Mapping[str, Any]) -> str:
    what = f"undo of {call['compensates']}" if call["compensates"] else call["task"]
    inner = f" ({call['task']})" if call["compensates"] and call["task"] != call["compensates"] else ""
    run = f" #{call['run']}" if call["run"] > 1 else ""
    attempt = f" attempt {call['attempt']}" if call["attempt"] > 1 else ""
    return f"{what}{inner}{run}{attempt}: {call['outcome'] or 'no answer'}"


def _rows(left: Sequence[Line], right: Sequence[Line]) -> Iterator[list[Any]]:
    """Equal lines beside each other; what only one side has stands apart."""
    texts = [line for line, _ in left], [line for line, _ in right]
    for kind, a, b, c, d in SequenceMatcher(None, *texts, autojunk=False).get_opcodes():
        for one, other in zip_longest(left[a:b], right[c:d], fillvalue=("", "")):
            mark = Text("" if kind == "equal" else "|", "yellow")
            yield [_shown(one[0]), mark, _shown(other[0]), other[1]]


def _shown(line: str) -> Text | str:
    return coloured(line[2:]) if line.startswith("= ") else line


def _parting(parting: Mapping[str, Any]) -> str:
    instead = _event(parting["instead"])
    if parting["differs"]:
        return f"{instead} with other {' and '.join(parting['differs'])}"
    return f"{instead} instead of {_event(parting['recorded'])}"


def _event(event: Mapping[str, Any] | None) -> str:
    if event is None:
        return "nothing"
    where = str(event.get("task") or "").rpartition("/")[2]
    return f"{event['type']} of {where}" if where else str(event["type"])
