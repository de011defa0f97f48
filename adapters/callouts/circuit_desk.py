"""The circuits as operators see and set them: of all processes that share the port, each with the node that it belongs to.

What is closed or opened by hand is so in all of them. Nodes on other machines have circuits of their own, which they tell
themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.callouts.circuits import Circuits
from adapters.neighbours import Answer, Neighbours
from application.status import instant
from domain.errors import NotFoundError

Json = dict[str, Any]
Shown = list[Json]


class CircuitDesk:
    """`here` answers for this process; the others are asked for theirs."""

    def __init__(self, circuits: Circuits, node: str) -> None:
        self._circuits = circuits
        self._node = node
        self.neighbours = Neighbours(None, self.answers)

    @property
    def answers(self) -> Mapping[str, Answer]:
        """What this process can be asked."""
        return {"circuits": self._list, "circuits.close": self._close, "circuits.open": self._open}

    async def list(self) -> Shown:
        """``[{host, node, state, failures, last_failure, last_failure_at, changed_at, probe_at, turned_away, opened_by,
        reason}]``, by host.
        """
        return await self._of_all("circuits", None)

    async def close(self, host: str) -> Shown:
        """Let requests to a host pass again. The same form, of this host. Raises NotFoundError."""
        found = await self._of_all("circuits.close", host)
        if not found:
            raise NotFoundError("No request to this host has failed here, and nobody has opened its circuit.")
        return found

    async def open(self, host: str, actor: str, reason: str | None) -> Shown:
        """Send nothing to a host until somebody closes its circuit. The same form, of this host."""
        return await self._of_all("circuits.open", [host, actor, reason])

    async def _of_all(self, name: str, argument: Any) -> Shown:
        answers = await self.neighbours.ask(name, argument)
        found = [each for answer in answers.values() for each in answer]
        return sorted(found, key=lambda each: (each["host"], each["node"]))

    def _list(self, _: Any) -> Shown:
        return [self._told(each) for each in self._circuits.shown()]

    def _close(self, host: str) -> Shown:
        shown = self._circuits.close(host)
        return [] if shown is None else [self._told(shown)]

    def _open(self, argument: Any) -> Shown:
        return [self._told(self._circuits.hold_open(*argument))]

    def _told(self, shown: Json) -> Json:
        times = {name: instant(value) for name, value in shown.items() if name.endswith("_at") and value is not None}
        return {"host": shown["host"], "node": self._node, **shown, **times}
