"""A history walked decision by decision: what was asked, what happened, what that changed, what could be undone then.

Everything is found when somebody asks for it, so a walk that looks for one place of a long history does not draw a picture of
every other. Looking at one decision after the other folds each event once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

from application.history import event_json
from application.pictures import Change, Json, changes, lacking, picture, rollback_now, shared_names, sketch, touched
from application.replay import Divergence, divergences
from application.status import rollback_view, waiting_for
from domain import commands as c
from domain import events as e
from domain.basis import COMMANDS
from domain.evolve import evolve
from domain.plan import Plan
from domain.redeciding import Step, redecide, steps
from domain.state import State

T = TypeVar("T")
_NAMES: Final[dict[type[c.Command], str]] = {
    c.Start: "start",
    c.FireTimers: "timers",
    c.Fork: "fork",
    c.Migrate: "migrate",
    **{cls: name for name, cls in COMMANDS.items()},
}
_OURS: Final = ("seed", "digest", "request", "prefix")


class Walk:
    """A whole history with the plans that it ran by: several, where it was migrated. `moments` are its decisions; raises
    ValueError where it has no events.
    """

    def __init__(self, plans: Plan | Mapping[str, Plan], history: Sequence[e.Event]) -> None:
        """`plans`: by their digests, or one for all."""
        if not history:
            raise ValueError("a history has at least one event")
        self._plans = plans
        self.history = tuple(history)
        self.shared = shared_names(*([plans] if isinstance(plans, Plan) else plans.values()))
        self._cursor = State()
        self._pictures: dict[int, Json] = {}
        self.moments = [Moment(self, number, step) for number, step in enumerate(steps(self.history))]

    def plan_of(self, digest: str) -> Plan:
        """The plan of a definition. Raises KeyError for one that is not at hand."""
        return self._plans if isinstance(self._plans, Plan) else self._plans[digest]

    def state(self, version: int) -> State:
        """The state after so many events, of one's own."""
        state = State()
        for event in self.history[:version]:
            evolve(state, event)
        return state

    def look(self, version: int, see: Callable[[State], T]) -> T:
        """What `see` makes of the state after so many events; it must not keep or change the state."""
        if version < self._cursor.version:
            self._cursor = State()
        for event in self.history[self._cursor.version : version]:
            evolve(self._cursor, event)
        return see(self._cursor)

    def picture(self, version: int) -> Json:
        """The state after so many events (0: before the first) as plain JSON. Raises IndexError beyond the last."""
        if not 0 <= version <= len(self.history):
            raise IndexError(f"it has the versions 1 to {len(self.history)}")
        found = self._pictures.get(version)
        if found is None:
            found = msgspec.to_builtins(self.look(version, picture))  # a copy: the state goes on
            self._pictures = {**dict(list(self._pictures.items())[-1:]), version: found}
        return found

    def rollback(self, version: int) -> Json:
        """The rollback view after so many events."""
        begun_by = self.moments[0].step.begins or ""
        return self.look(version, lambda state: rollback_now(state, self.plan_of(state.digest or begun_by)))

    def moment(self, version: int) -> Moment:
        """The decision that this version belongs to. Raises IndexError where there is none."""
        for each in self.moments:
            if each.version <= version <= each.last_version:
                return each
        raise IndexError(f"it has the versions 1 to {len(self.history)}")

    def verify(self) -> Iterator[Divergence]:
        """Make every decision again."""
        return divergences(self.plan_of, self.history)

    def unlike(self, status: Json) -> list[str]:
        """Places of a recorded status representation that are not what the history folds to."""
        now = msgspec.to_builtins(self.picture(len(self.history)))
        now |= msgspec.to_builtins(self.look(len(self.history), _bounded))
        tasks = status.get("tasks")
        if isinstance(tasks, list):
            now["tasks"] = now["tasks"][: len(tasks)]
        return list(lacking({name: value for name, value in status.items() if name != "links"}, now))


def _bounded(state: State) -> Json:
    """The lists of a status, as long as a status has them."""
    return {"waiting_for": waiting_for(state), "rollback": rollback_view(state)}


class Moment:
    """One decision: `version` and `last_version` are those of its first and its last event, `number` counts from 0."""

    def __init__(self, walk: Walk, number: int, step: Step) -> None:
        self._walk = walk
        self.number = number
        self.step = step
        self.version = step.version
        self.last_version = step.version + len(step.events) - 1

    @property
    def at(self) -> datetime:
        return self.step.events[0].at

    @property
    def after_s(self) -> float | None:
        """Seconds since the decision before."""
        if self.number == 0:
            return None
        return (self.at - self._walk.moments[self.number - 1].at).total_seconds()

    @property
    def events(self) -> list[Json]:
        return [event_json(event, number) for number, event in enumerate(self.step.events, self.version)]

    @property
    def command(self) -> Json:
        return command_json(self.step)

    @property
    def state_before(self) -> Json:
        return self._walk.picture(self.version - 1)

    @property
    def state_after(self) -> Json:
        return self._walk.picture(self.last_version)

    @property
    def difference(self) -> list[Change]:
        walk, before = self._walk, self.version - 1
        runs = walk.look(before, lambda state: touched(state, self.step.events))
        return changes(
            walk.look(before, lambda state: sketch(state, runs, walk.shared)),
            walk.look(self.last_version, lambda state: sketch(state, runs, walk.shared)),
        )

    @property
    def rollback(self) -> Json:
        return self._walk.rollback(self.last_version)

    def decide(self) -> list[Json]:
        """Make this decision again, now, and give its events. Raises NotRedecidedError, or what the decision raises."""
        state = self._walk.state(self.version - 1)
        plan, to = self.step.plans(state, self._walk.plan_of)
        decision = redecide(plan, state, self.step, to=to)
        return [event_json(event, number) for number, event in enumerate(decision.events, self.version)]

    def as_json(self) -> Json:
        """All of it, but for the states."""
        told: Json = {"version": self.version, "last_version": self.last_version, "after_s": self.after_s}
        told |= {"command": self.command, "events": self.events}
        return {**told, "difference": change_list(self.difference), "rollback": self.rollback}


def change_list(found: Sequence[Change]) -> list[Json]:
    """Changes as {path, before?, after?}."""
    return [{**msgspec.to_builtins(each), "path": list(each.path)} for each in found]


def command_json(step: Step) -> Json:
    """The command that was decided: {command: name, at, actor, trace?, request_id?, ...members}; members that only the
    machine needs are left out. `command` is "unknown" where it was not recorded.
    """
    first = step.events[0]
    told: dict[str, Any] = {"command": "unknown", "at": first.at, "actor": first.actor}
    if first.basis is not None:
        try:
            found = step.command()
        except (msgspec.ValidationError, LookupError, AttributeError, TypeError):
            return msgspec.to_builtins(told)  # type: ignore[no-any-return]
        told["command"] = _NAMES[type(found)]
        for field in msgspec.structs.fields(found):
            value = getattr(found, field.name)
            if field.name not in (*_OURS, *told) and value != field.default:
                told[field.name] = value
    return msgspec.to_builtins(told)  # type: ignore[no-any-return]


def divergence_json(found: Divergence) -> Json:
    """A divergence as {version, text, why?, recorded: [...], decided: [...]}, events as in a history."""
    told: Json = {"version": found.version, "text": found.text()}
    if found.why is not None:
        told["why"] = found.why
    told["recorded"] = [event_json(event, number) for number, event in enumerate(found.recorded, found.version)]
    told["decided"] = [event_json(event, number) for number, event in enumerate(found.decided, found.version)]
    return told
