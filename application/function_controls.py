"""Functions that orchestrations call: where they are carried out, what waits for workers, and what operators say of them.

Pausing and draining stop handing out: what a worker has it may bring to its end. They differ in what they are for, and in
what is told: a drained function has nothing at workers any more. Functions in the process are called at once, so nothing can
be held back.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, Protocol

import msgspec

from application.ports import Callouts
from application.service import Json
from application.status import instant
from application.task_store import FunctionControl, FunctionLoad, TaskStore
from domain.errors import InvalidInputError, NotFoundError, Problem


class Mentions(Protocol):
    """Deployed definitions."""

    async def functions(self) -> set[str]:
        """Names of all functions that they call."""
        ...


class FunctionControls:
    """One per node; what it says and does holds on all of them."""

    def __init__(self, store: TaskStore, definitions: Mentions, callouts: Callouts) -> None:
        self._store = store
        self._definitions = definitions
        self._callouts = callouts

    async def list(self, limit: int | None = None, after: str | None = None) -> Json:
        """``{"items": [...], "next": str | None}``: functions that definitions call or that workers asked for, by name; at
        most `limit`, those after a name.
        """
        loads = {each.function: each for each in await self._store.loads()}
        controls = {each.function: each for each in await self._store.controls()}
        names = sorted(await self._definitions.functions() | loads.keys() | controls.keys())
        left = names if after is None else names[bisect_right(names, after) :]
        page = left[:limit]
        return {
            "items": [self._shown(name, controls.get(name), loads.get(name)) for name in page],
            "next": page[-1] if len(page) < len(left) else None,
        }

    async def get(self, name: str) -> Json:
        """One of them. Raises NotFoundError."""
        for item in (await self.list())["items"]:
            if item["function"] == name:
                found: Json = item
                return found
        raise NotFoundError("No definition calls a function of this name, and no worker has asked for it.")

    async def pause(self, name: str) -> Json:
        """Hand out nothing of it until `resume`."""
        await self._held_back(name)
        await self._store.control(name, paused=True)
        return await self.get(name)

    async def drain(self, name: str) -> Json:
        """Hand out nothing of it until `resume`, so that soon no worker has anything of it."""
        await self._held_back(name)
        await self._store.control(name, draining=True)
        return await self.get(name)

    async def resume(self, name: str) -> Json:
        """Hand out again."""
        await self.get(name)
        await self._store.control(name, paused=False, draining=False)
        return await self.get(name)

    async def limit(self, name: str, max_concurrent: int | None, max_per_second: float | None) -> Json:
        """How many of it workers have at once, and how many they get in a second, over all nodes; None: no limit."""
        await self._held_back(name)
        await self._store.limit(name, max_concurrent, max_per_second)
        return await self.get(name)

    async def _held_back(self, name: str) -> None:
        if (await self.get(name))["in_process"]:
            text = f"{name} is a function of the service's own process: it is called at once, not handed out to workers"
            raise InvalidInputError([Problem("", text, "invalid")], text)

    def _shown(self, name: str, control: FunctionControl | None, load: FunctionLoad | None) -> Json:
        said: dict[str, Any] = msgspec.structs.asdict(control or FunctionControl(name))
        claimed = load.claimed if load is not None else {}
        return {
            **said,
            "in_process": self._callouts.knows(name),
            "waiting": load.waiting if load is not None else 0,
            "held": load.held if load is not None else 0,
            "claimed": sum(claimed.values()),
            "workers": sorted(claimed),
            "asked_at": instant(said["asked_at"]),
            "last_claimed_at": instant(said["last_claimed_at"]),
        }
