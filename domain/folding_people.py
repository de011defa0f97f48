"""What happens to a task for people: it is offered, claimed, given back, given to others, escalated, answered."""

from __future__ import annotations

from typing import Final

from domain import events as e
from domain.folding import Handler, watch
from domain.lifecycle import fire_run
from domain.state import State
from domain.state_people import Handing, Human

_REMEMBERED: Final = 100
"""Handings of one task that are kept at hand."""


def _assigned(s: State, ev: e.TaskAssigned) -> None:
    run = s.runs[ev.run]
    fire_run["wait"](run)
    run.human = Human(
        ev.number,
        ev.title,
        ev.description,
        ev.form,
        ev.data,
        ev.candidates,
        ev.assignee,
        ev.priority,
        ev.due_at,
        ev.at,
        ev.escalations,
        handings=[Handing(ev.at, "assigned", ev.assignee, ev.actor)],
    )
    s.people.append(ev.run)
    watch(s, run)


def _human(s: State, ev: e.RunEvent) -> Human:
    human = s.runs[ev.run].human
    assert human is not None
    return human


def _hand(s: State, ev: e.RunEvent, what: str, user: str | None, reason: str | None = None) -> Human:
    human = _human(s, ev)
    human.handings = [*human.handings[1 - _REMEMBERED :], Handing(ev.at, what, user, ev.actor, reason)]
    return human


def _replace_candidates(human: Human, candidates: e.Candidates) -> None:
    human.candidates_before = (*human.candidates_before[1 - _REMEMBERED :], human.candidates)
    human.candidates = candidates


def _claimed(s: State, ev: e.TaskClaimed) -> None:
    _hand(s, ev, "claimed", ev.user).assignee = ev.user


def _released(s: State, ev: e.TaskReleased) -> None:
    _hand(s, ev, "released", ev.user).assignee = None


def _reassigned(s: State, ev: e.TaskReassigned) -> None:
    human = _hand(s, ev, "reassigned", ev.assignee, ev.reason)
    human.assignee = ev.assignee
    if ev.candidates:
        _replace_candidates(human, ev.candidates)


def _escalated(s: State, ev: e.TaskEscalated) -> None:
    human = _human(s, ev)
    if ev.candidates is not None:
        _replace_candidates(human, ev.candidates)
        human.assignee = None
    if ev.priority is not None:
        human.priority = ev.priority
    human.escalated = ev.step + 1
    if ev.event is not None:
        s.emitted += 1
    _hand(s, ev, "escalated", human.assignee)


def _answered(s: State, ev: e.TaskAnswered) -> None:
    human = _hand(s, ev, "answered", ev.user)
    human.answered, human.outcome, human.assignee = ev.digest, ev.outcome, ev.user


HANDLERS: dict[type[e.Event], Handler] = {
    e.TaskAssigned: _assigned,
    e.TaskClaimed: _claimed,
    e.TaskReleased: _released,
    e.TaskReassigned: _reassigned,
    e.TaskEscalated: _escalated,
    e.TaskAnswered: _answered,
}
