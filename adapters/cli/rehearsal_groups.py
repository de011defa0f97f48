"""The scenarios of a rehearsal in the order in which people ask for them: by task, then undos that fail, then the rest.

Scenarios with the same result stand together: "uncertain, timed out" is one line where both lead to the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

Scenario = Mapping[str, Any]
OUTCOMES = {"refused": "refused", "uncertain": "uncertain", "timed_out": "timed out", "no_event": "no event comes"}


@dataclass
class Result:
    """Scenarios that lead to the same."""

    scenarios: list[Scenario] = field(default_factory=list)

    @property
    def first(self) -> Scenario:
        return self.scenarios[0]

    @property
    def outcomes(self) -> str:
        return ", ".join(_outcome(scenario["mishaps"][-1]) for scenario in self.scenarios)

    @property
    def numbers(self) -> str:
        return ", ".join(str(scenario["number"]) for scenario in self.scenarios)


@dataclass
class OfTask:
    """What failures of one task lead to. `before`: the mishap without which the task is not reached."""

    task: str
    before: str
    results: list[Result]


@dataclass
class OfUndo:
    """What it means when one undo fails: `worst` is the scenario in which most is not undone."""

    task: str
    count: int
    worst: Scenario
    caught: int
    """Scenarios that need no operator all the same."""


@dataclass
class Groups:
    tasks: list[OfTask]
    undos: list[OfUndo]
    others: list[Scenario]


def grouped(report: Mapping[str, Any]) -> Groups:
    """The scenarios of a report."""
    tasks: list[Scenario] = []
    undos: list[Scenario] = []
    others: list[Scenario] = []
    for scenario in report["scenarios"]:
        mishaps = scenario["mishaps"]
        (others if not mishaps else undos if mishaps[-1]["undo_of"] else tasks).append(scenario)
    return Groups(_by_task(tasks), _by_undo(undos), others)


def _by_task(scenarios: Sequence[Scenario]) -> list[OfTask]:
    def key(scenario: Scenario) -> tuple[Any, ...]:
        last = scenario["mishaps"][-1]
        return last.get("definition"), last["reference"], last["run"], before(scenario)

    found: list[OfTask] = []
    references: list[str] = []
    for (_, _, run, earlier), members in _kept_together(scenarios, key):
        last = members[0]["mishaps"][-1]
        name = f"{last['task']} (run {run})" if run > 1 else str(last["task"])
        name += f" of {last['definition']}" if "definition" in last else ""
        found.append(OfTask(name, earlier, _merged(members)))
        references.append(last["reference"])
    counts = Counter((each.task, each.before) for each in found)
    for each, reference in zip(found, references, strict=True):
        each.task += f" ({reference})" if counts[each.task, each.before] > 1 else ""
    return found


def before(scenario: Scenario) -> str:
    """What happens before the last mishap, in words."""
    earlier = [f"{each['task']} {_outcome(each)}" for each in scenario["mishaps"][:-1]]
    return ", ".join(earlier)


def _outcome(mishap: Mapping[str, Any]) -> str:
    error = mishap["error"]
    particular = f" ({error['status']} {str(error['type']).rpartition('/')[2]})" if error else ""
    return OUTCOMES[mishap["outcome"]] + particular


def _merged(scenarios: Sequence[Scenario]) -> list[Result]:
    results: dict[Any, Result] = {}
    for scenario in scenarios:
        results.setdefault(_signature(scenario), Result()).scenarios.append(scenario)
    return list(results.values())


def _signature(scenario: Scenario) -> tuple[Any, ...]:
    lists = [tuple(names(scenario[part])) for part in ("undone", "not_undone", "left_behind", "incidents")]
    return scenario["status"], scenario["ends"], *lists


def _by_undo(scenarios: Sequence[Scenario]) -> list[OfUndo]:
    def key(scenario: Scenario) -> tuple[Any, ...]:
        last = scenario["mishaps"][-1]
        return last.get("definition"), last["undo_of"]

    found = []
    for (of, undone), members in _kept_together(scenarios, key):
        worst = max(members, key=lambda each: (each["ends"] == "operator", len(each["not_undone"])))
        caught = sum(each["ends"] != "operator" for each in members)
        found.append(OfUndo(f"{undone} of {of}" if of else undone, len(members), worst, caught))
    return found


def _kept_together(
    scenarios: Iterable[Scenario], key: Callable[[Scenario], tuple[Any, ...]]
) -> list[tuple[tuple[Any, ...], list[Scenario]]]:
    places: dict[tuple[Any, ...], int] = {}
    for scenario in scenarios:
        places.setdefault(key(scenario), len(places))
    ordered = sorted(scenarios, key=lambda scenario: places[key(scenario)])
    return [(each, list(members)) for each, members in groupby(ordered, key)]


def names(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """The tasks of entries, a run that is not the first with its number."""
    return [f"{each['task']} #{each['run']}" if each.get("run", 1) > 1 else str(each["task"]) for each in entries]


def ways_on(incident: Mapping[str, Any]) -> str:
    """What an operator is asked, and may do."""
    kinds = {
        "compensation_failed": "its undo failed",
        "uncertain_pivot": "the point of no return is in doubt",
        "after_pivot": "it failed after the point of no return",
    }
    what = kinds.get(incident["kind"], incident["kind"])
    task = incident["task"] or "the orchestration"
    return f"{task}: {what} ({', '.join(incident['actions'])})"


def lasts(seconds: float) -> str:
    """A length of time for people."""
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} s"
