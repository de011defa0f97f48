"""How the rows of tasks for people change with the events of a commit, and what they say."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from application.human_store import EVERYONE
from application.live import Live
from application.status import instant
from application.storage import DropHuman, PutHuman, WorkChange
from domain import events as e
from domain.people import task_id
from domain.state import Run, State
from domain.state_people import Human

Json = dict[str, Any]


def human_changes(live: Live, events: list[e.Event]) -> list[WorkChange]:
    """What these events change; from here on `live` tells what the rows will say."""
    changes: list[WorkChange] = []
    for name in _touched(live, events):
        run, known = live.state.runs[name], live.people.get(name)
        human = run.human if run.awaits_person and not live.state.final else None
        if known is not None and (human is None or human.number != known):
            changes.append(DropHuman(live.orchestration, known))
            del live.people[name]
        if human is not None:
            changes.append(_put(live, run, human, events[-1].at))
            live.people[name] = human.number
    return changes


def _touched(live: Live, events: list[e.Event]) -> list[str]:
    state = live.state
    names = {event.run: None for event in events if isinstance(event, e.RunEvent)}
    touched = [name for name in names if name in live.people or state.runs[name].human is not None]
    if state.final or isinstance(events[0], e.OrchestrationForked) or any(_moves(event) for event in events):
        open_now = [name for name in state.watched if state.runs[name].awaits_person]
        touched = list(dict.fromkeys([*live.people, *open_now, *touched]))
    return touched


def _moves(event: e.Event) -> bool:
    return isinstance(event, e.OrchestrationMigrated)


def _put(live: Live, run: Run, human: Human, events_at: datetime) -> PutHuman:
    namespace, _, name = live.state.definition.partition("@")[0].partition("/")
    users, groups = human.candidates.users, human.candidates.groups
    people = (*(f"u:{user}" for user in users), *(f"g:{group}" for group in groups)) or (EVERYONE,)
    return PutHuman(
        live.orchestration,
        human.number,
        live.state.id,
        namespace,
        name,
        "open" if human.assignee is None else "claimed",
        human.assignee,
        people,
        -human.priority,
        human.due_at,
        human.asked_at or events_at,
        msgspec.json.encode(summary(live.state, run, human)),
    )


def summary(state: State, run: Run, human: Human) -> Json:
    """What lists show of a task, but for what depends on when one looks."""
    return {
        "id": task_id(state.id, human.number),
        "orchestration": state.id,
        "definition": state.definition,
        "task": run.name,
        "reference": run.pointer,
        "title": human.title,
        "description": human.description,
        "status": status_of(state, run, human),
        "candidates": {"users": list(human.candidates.users), "groups": list(human.candidates.groups)},
        "assignee": human.assignee,
        "priority": human.priority,
        "due_at": instant(human.due_at),
        "timeout_at": instant(run.timeout_at),
        "created_at": instant(human.asked_at),
    }


def status_of(state: State, run: Run, human: Human) -> str:
    """``open | claimed | completed | refused | withdrawn``."""
    if human.answered is not None:
        return "completed" if human.outcome == "completed" else "refused"
    if state.final or human is not run.human or not run.awaits_person:
        return "withdrawn"
    return "open" if human.assignee is None else "claimed"
