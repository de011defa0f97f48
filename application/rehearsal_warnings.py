"""What a rehearsal warns of: effects that stay, waits and retries without an end, tasks that nothing leads to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from application.rehearsing import Found
from domain import events as e
from domain.errors import Problem

Json = dict[str, Any]


def never_reached(found: Found) -> list[Json]:
    """The tasks that no course came to, those of given children too where the child was run."""
    reached = {
        (course.digests[id_], event.run.rpartition("#")[0])
        for course in found.courses
        for id_, event in course.log
        if isinstance(event, e.TaskScheduled)
    }
    plans = {found.stage.digest: found.request.plan}
    plans |= {plan.digest: plan for plan in found.request.children.values()}
    used = {digest for digest, _ in reached}
    missing: list[Json] = []
    for digest, plan in plans.items():
        for pointer, node in plan.nodes.items():
            if digest in used and (digest, pointer) not in reached:
                entry: Json = {"task": node.name, "reference": pointer}
                missing.append(entry if digest == found.stage.digest else entry | {"definition": plan.reference})
    return missing


class Remark(NamedTuple):
    """`of`: the child definition that the problem's pointer belongs to."""

    problem: Problem
    of: str | None = None


def warnings_of(scenarios: Sequence[Json], not_reached: Sequence[Json], known: Sequence[Problem]) -> Iterator[Remark]:
    """All but those that are `known` from the document itself."""
    told = {(problem.code, problem.pointer) for problem in known}
    happy = scenarios[0]
    if happy["status"] != "completed":
        error = happy["error"] or {}
        why = error.get("detail") or error.get("title") or happy["remark"] or "an operator is needed"
        detail = f"even when every callout succeeds it does not complete (it is {happy['status']}): {why}"
        yield Remark(Problem(error.get("instance", ""), detail, "no-happy-end"))
    left: dict[tuple[str, str], list[Json]] = {}
    for scenario in scenarios:
        for entry in scenario["left_behind"]:
            left.setdefault((entry["reference"], entry.get("definition", "")), []).append(entry)
    for (reference, of), entries in left.items():
        if ("left-behind", reference) in told and not of:
            continue
        whys = ", ".join(sorted({entry["why"] for entry in entries}))
        count = f"{len(entries)} scenario{'s' if len(entries) > 1 else ''}"
        detail = f"the effect of {entries[0]['task']!r} is left behind in {count}: {whys}"
        yield Remark(Problem(reference, detail, "left-behind"), of or None)
    remarks = {each["remark"]: each for each in scenarios[1:] if each["remark"]}
    for text, scenario in remarks.items():
        where = (scenario["mishaps"] or scenario["choices"] or [{"reference": ""}])[-1]
        code = "waits-for-ever" if scenario["ends"] == "waits" else "endless"
        yield Remark(Problem(where["reference"], f"{text} (when {scenario['title']})", code), where.get("definition"))
    for entry in not_reached:
        if ("unreachable", entry["reference"]) not in told:
            problem = Problem(entry["reference"], f"no scenario reached the task {entry['task']!r}", "not-reached")
            yield Remark(problem, entry.get("definition"))
