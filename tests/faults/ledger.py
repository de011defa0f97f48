"""The systems that the sagas of fault tests call: they misbehave as a seed says and keep a ledger of what happened.

What each does about one thing (`kind` of saga `number`) is drawn once, so it does not depend on the order of requests:
it may refuse, answer too late, break the connection before or after it acted, or say 503. A repeat under the same key
has no second effect, and what was undone stays undone when the request that it undoes arrives afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final, Literal

import msgspec
from aiohttp import web

KINDS: Final = ("car", "hotel", "flight")
Mood = Literal["willing", "refuses", "late", "drops before", "drops after", "out of order"]
LATE_S: Final = 1.5
"""Later than the callouts of `load` wait."""


class Effect(msgspec.Struct, frozen=True):
    """A line of the ledger."""

    key: str
    kind: str
    number: int
    compensates: str | None


class Ledger:
    """`effects` in their order; `arrived`: the key of every request, in their order."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.effects: list[Effect] = []
        self.arrived: list[str] = []
        self.port = 0
        self._by_key: dict[str, Effect] = {}
        self._undone: set[str] = set()
        self._times: Counter[str] = Counter()
        self._moved = asyncio.Condition()
        self._closing = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def reached(self, effects: int) -> None:
        """Return once so much has happened."""
        async with self._moved:
            await self._moved.wait_for(lambda: len(self.effects) >= effects)

    def mood(self, kind: str, number: int, *, undo: bool) -> Mood:
        """How this thing is treated."""
        chance = random.Random(f"{self._seed} {kind} {number} {undo}").random()
        if undo:
            return "willing" if chance < 0.7 else "drops after" if chance < 0.9 else "out of order"
        if kind == "flight" and chance < 0.25:
            return "refuses"
        moods: tuple[Mood, ...] = ("late", "drops before", "drops after", "out of order")
        return "willing" if chance < 0.8 else moods[int(chance * 1000) % 4]

    async def act(self, request: web.Request) -> web.StreamResponse:
        """PUT does, DELETE undoes."""
        kind, number, undo = request.match_info["kind"], int(request.match_info["number"]), request.method == "DELETE"
        key = request.headers["Idempotency-Key"]
        self.arrived.append(key)
        self._times[key] += 1
        mood = self.mood(kind, number, undo=undo)
        if mood == "refuses" or (key in self._undone and not undo):
            return web.json_response({"title": "no"}, status=409)
        first = self._times[key] == 1
        if first and mood == "out of order":
            return web.json_response({"title": "not now"}, status=503)
        if first and mood == "drops before":
            return _dropped(request)
        await self._enter(Effect(key, kind, number, request.headers.get("Retrace-Compensates")))
        if first and mood == "drops after":
            return _dropped(request)
        if first and mood == "late":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), LATE_S)
        return web.json_response({"key": key, "kind": kind})

    async def _enter(self, effect: Effect) -> None:
        if effect.key in self._by_key:
            return
        self._by_key[effect.key] = effect
        if effect.compensates is not None:
            self._undone.add(effect.compensates)
        async with self._moved:
            self.effects.append(effect)
            self._moved.notify_all()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Ledger]:
        """Serve on 127.0.0.1 while the block runs."""
        app = web.Application()
        for method in ("PUT", "DELETE"):
            app.router.add_route(method, "/{kind}/{number}", self.act)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
            self.port = int(runner.addresses[0][1])
            yield self
        finally:
            self._closing.set()
            await runner.cleanup()


def _dropped(request: web.Request) -> web.StreamResponse:
    """The connection breaks instead of an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
