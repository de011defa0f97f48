"""``retrace replay --to-test``: a history as a pytest of its own, with the bundle beside it, for `retrace` alone."""

from __future__ import annotations

import json
import pprint
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.cli.output import printable
from adapters.cli.replay_words import asked

if TYPE_CHECKING:
    from retrace.replay import Replay

_WIDTH = 110
_TEMPLATE = '''\
"""{title}

Written by ``retrace replay --to-test``. Nothing is called: every answer is in the bundle beside this file. To look around:
``retrace replay {bundle}``; to step through a decision, set a breakpoint before ``decide``.
"""

from pathlib import Path

from retrace import replay

HISTORY = replay.load(Path(__file__).with_name("{bundle}"))


def test_every_decision_is_made_again_as_it_was():
    assert HISTORY.verify() == []


def test_what_happened():
    happened = [(step.version, step.command["command"], [event["type"] for event in step.events]) for step in HISTORY]
    assert happened == {happened}


def test_where_it_ended():
    state = HISTORY.at(HISTORY.versions)
    assert state["status"] == {status!r}
    assert {{(task["reference"], task["run"]): task["status"] for task in state["tasks"]}} == {tasks}
    assert state["output"] == {output}
    assert (state["rollback"] or {{}}).get("done", []) == {done}


def test_one_decision_in_the_debugger():
    step = HISTORY.step({version})  # {asked}
    assert step.decide() == step.events
'''


def write_test(replay: Replay, document: Any, file: Path) -> Path:
    """Write the test, and the bundle beside it, whose path it gives."""
    beside = file.with_suffix(".bundle.json")
    beside.write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")
    state = replay.at(replay.versions)
    steps = list(replay)
    # The decision that somebody will look at first: where something failed, else the last one.
    chosen = next((s for s in steps if any("fail" in each["type"] for each in s.events)), steps[-1])
    happened = [(s.version, s.command["command"], [each["type"] for each in s.events]) for s in steps]
    text = _TEMPLATE.format(
        title=f"The history of {replay.id} ({replay.definition}), which ended as {state['status']}."
        if state["status"] not in ("running", "suspended", "compensating")
        else f"The history of {replay.id} ({replay.definition}) up to version {replay.versions}.",
        bundle=beside.name,
        happened=_indented(happened),
        status=state["status"],
        tasks=_indented({(task["reference"], task["run"]): task["status"] for task in state["tasks"]}),
        output=_indented(state["output"]),
        done=_indented((state["rollback"] or {}).get("done", [])),
        version=chosen.version,
        asked=printable(asked(chosen.command)).replace("\n", " ")[:60],
    )
    file.write_text(text, encoding="utf-8")
    return beside


def _indented(value: Any) -> str:
    return pprint.pformat(value, width=_WIDTH, sort_dicts=False, compact=True).replace("\n", "\n    ")
