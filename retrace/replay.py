"""Replay in Python: step through what an orchestration decided, with the code that decided it.

    from retrace import replay

    trip = replay.load("trip.json")          # a bundle, from: retrace bundle ID --to trip.json
    for step in trip:
        print(step.version, step.command["command"], [event["type"] for event in step.events])
    trip.at(12)["status"]                    # the state after version 12
    trip.step(10).decide()                   # set a breakpoint, and step into the decision of version 10
    assert trip.verify() == []               # every decision, made again, gives the recorded events

Nothing is called, evaluated or drawn by chance: what the outside once said is in the bundle. Values are plain JSON, copied
for whoever reads them. Importing this module loads nothing of the service; `load` does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

from retrace.launcher import app_module

__all__ = ["BundleError", "Divergence", "Replay", "Step", "load"]


class BundleError(ValueError):
    """What was given is not a bundle that can be replayed; the text says why."""


class _Told(TypedDict):
    version: int
    text: str
    recorded: list[dict[str, Any]]
    decided: list[dict[str, Any]]


class Divergence(_Told, total=False):
    """A decision that now leads to other events than were recorded. `text` says it in one sentence; `why`: what kept it from
    being made again at all.
    """

    why: str


class Step:
    """One decision of a history, with all that it led to."""

    def __init__(self, moment: Any) -> None:
        self._moment = moment

    def __repr__(self) -> str:
        return f"<Step version={self.version} command={self.command['command']!r} events={len(self.events)}>"

    @property
    def version(self) -> int:
        """That of its first event."""
        return int(self._moment.version)

    @property
    def last_version(self) -> int:
        """That of its last event."""
        return int(self._moment.last_version)

    @property
    def command(self) -> dict[str, Any]:
        """What was asked: ``{command, at, actor, trace?, request_id?, ...}``. `command` is start, result, timers, event,
        cancel, terminate, suspend, resume, resolve, note, poison, child or undo.
        """
        return dict(self._moment.command)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it led to, as in a history: ``{version, type, at, actor, task?, run?, attempt?, cause?, data}``."""
        return list(self._moment.events)

    @property
    def after_s(self) -> float | None:
        """Seconds since the decision before; None for the first."""
        found: float | None = self._moment.after_s
        return found

    @property
    def state_before(self) -> dict[str, Any]:
        """The state that it was made on: the status representation with all tasks, `context`, `variables`, `held_events`."""
        return dict(_copied(self._moment.state_before))

    @property
    def state_after(self) -> dict[str, Any]:
        """The state that it led to."""
        return dict(_copied(self._moment.state_after))

    @property
    def difference(self) -> list[dict[str, Any]]:
        """What changed, place by place: ``{path: [name, ...], before?, after?}``."""
        return list(app_module("application.walking").change_list(self._moment.difference))

    @property
    def rollback(self) -> dict[str, Any]:
        """What could be undone after it: ``{phase, undo, in_flight, undone, skipped, left_behind, pivot, parallel}``."""
        return dict(self._moment.rollback)

    def decide(self) -> list[dict[str, Any]]:
        """Make the decision again and give its events. A debugger that steps in here lands in the code that decides.

        Raises whatever the decision raises.
        """
        return list(self._moment.decide())


class Replay:
    """A history: iterate over it for its steps."""

    def __init__(self, bundle: Any, walk: Any) -> None:
        self._bundle = bundle
        self._walk = walk

    def __repr__(self) -> str:
        return f"<Replay {self.id} {self.definition} versions=1..{self.versions}>"

    def __iter__(self) -> Iterator[Step]:
        return (Step(moment) for moment in self._walk.moments)

    def __len__(self) -> int:
        return len(self._walk.moments)

    @property
    def id(self) -> str:
        """The public id of the orchestration."""
        return str(self._bundle.id)

    @property
    def definition(self) -> str:
        """``namespace/name@version``."""
        return str(self._bundle.definition.reference)

    @property
    def versions(self) -> int:
        """How many events there are."""
        return len(self._walk.history)

    @property
    def status(self) -> dict[str, Any]:
        """The status representation as the bundle has it."""
        return dict(_copied(self._bundle.status))

    @property
    def children(self) -> list[dict[str, Any]]:
        """``{id, definition, task}`` of each child; a child has a bundle of its own."""
        return list(_copied(self._bundle.children))

    def at(self, version: int) -> dict[str, Any]:
        """The state after this version (0: before the first). Raises IndexError outside of its life."""
        return dict(_copied(self._walk.picture(version)))

    def rollback(self, version: int) -> dict[str, Any]:
        """What could be undone after this version. Raises IndexError outside of its life."""
        return dict(self._walk.rollback(version))

    def step(self, version: int) -> Step:
        """The step that this version belongs to. Raises IndexError outside of its life."""
        return Step(self._walk.moment(version))

    def verify(self) -> list[Divergence]:
        """Make every decision again; those that now lead to other events than were recorded."""
        walking = app_module("application.walking")
        return [walking.divergence_json(found) for found in self._walk.verify()]

    def broken_links(self) -> list[str]:
        """Versions whose event does not follow the one before it by hash; a redacted bundle is not looked at."""
        return list(app_module("adapters.bundles").broken_links(self._bundle))

    def unlike(self) -> list[str]:
        """JSON Pointers of what in `status` is not what the history folds to; empty when they agree."""
        return list(self._walk.unlike(self._bundle.status))


def load(bundle: str | os.PathLike[str] | Mapping[str, Any]) -> Replay:
    """Open a bundle: the path of its file, or the parsed document.

    Raises:
        BundleError: it is not a bundle that this version can replay.
        OSError: the file cannot be read.
        ImportError: a package of yours has the name of one of Retrace's.
    """
    document: Any = bundle
    if not isinstance(bundle, Mapping):
        try:
            document = json.loads(Path(bundle).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{os.fspath(bundle)} is not JSON: {error}") from None
    bundles = app_module("adapters.bundles")
    try:
        return Replay(*bundles.open_bundle(dict(document) if isinstance(document, Mapping) else document))
    except bundles.UnusableBundleError as error:
        raise BundleError(str(error)) from None


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value))
