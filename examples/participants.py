"""Every system that the examples call, as one small server on loopback: accounts, mail, car, hotel, flight, payment,
stock, shipping, documents and five banks.

    python -m examples.participants --port 8090

``PUT /<kind>/<id>`` makes a reservation (an account, a payment, ...), ``DELETE`` undoes it, ``GET`` shows it. It
behaves as a participant of a saga should: the caller chooses the id, so that it can undo what it got no answer for; a
repeat with the same ``Idempotency-Key`` gets the same answer and has no second effect; what was undone stays undone,
even if a late ``PUT`` arrives afterwards. ``GET /ledger`` lists effects in their order (``?id=`` those of one
orchestration) and ``DELETE /ledger`` forgets everything. What goes wrong is chosen by the input: see MOODS, and the
page of each example. Tests start it on a free port and add answers of their own with `script`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

KINDS = ("accounts", "activations", "mails", "cars", "hotels", "flights", "payments", "stock", "shipments", "documents")
RATES = {"alpine": 4.4, "coastal": 3.9, "harbour": 3.7, "lakeside": 4.1, "meadow": 4.6}
SLOW_S = 30.0
"""Longer than any example waits for an answer."""


@dataclass(frozen=True)
class Reply:
    """How a participant answers one request; by default it does what it was asked to."""

    status: int = 200
    title: str = ""
    acts: bool = False
    """It does its work all the same: the answer is an error, or late, but the effect is there."""
    delay_s: float = 0.0


FULL = Reply(409, "fully booked")
BUSY = Reply(503, "back in a moment")
MUTE = Reply(acts=True, delay_s=SLOW_S)

# (method, kind): member of the body, and its value: the answers in turn, the last one for good unless it is None.
MOODS: dict[tuple[str, str], tuple[str, dict[Any, Sequence[Reply | None]]]] = {
    ("PUT", "accounts"): ("email", {"taken@example.com": [Reply(409, "there is an account for this address")]}),
    ("PUT", "mails"): ("to", {"nobody@example.com": [Reply(422, "no such mailbox")]}),
    ("PUT", "cars"): ("city", {"Venice": [FULL]}),
    ("PUT", "hotels"): ("city", {"Campsite": [FULL]}),
    ("PUT", "flights"): ("city", {"Nowhere": [FULL], "Strike": [FULL], "Ruins": [FULL], "Fogtown": [MUTE]}),
    ("DELETE", "hotels"): ("city", {"Strike": [BUSY, BUSY, None], "Ruins": [Reply(423, "the reception is closed")]}),
    ("PUT", "payments"): ("card", {"declined": [Reply(402, "card declined")]}),
    ("PUT", "stock"): ("sku", {"unicorn": [Reply(409, "sold out")]}),
    ("PUT", "shipments"): ("country", {"Atlantis": [Reply(409, "no ship goes there")]}),
}


@dataclass
class Entry:
    """One line of the ledger: something that happened in the world."""

    number: int
    effect: str
    """``done`` or ``undone``."""
    kind: str
    id: str
    key: str | None
    compensates: str | None


@dataclass
class Participants:
    """The world outside: reservations, and how each came about."""

    ledger: list[Entry] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """(method, kind, id) of everything that was asked, refused or not."""
    port: int = 0
    _held: dict[tuple[str, str], Any] = field(default_factory=dict)
    _undone: set[tuple[str, str]] = field(default_factory=set)
    _answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    _turns: dict[tuple[str, str, str], int] = field(default_factory=dict)
    _scripts: dict[tuple[str, str], list[Reply]] = field(default_factory=dict)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _closing: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def script(self, method: str, kind: str, *replies: Reply) -> None:
        """The next requests of this kind are answered like this, in turn, whatever their input."""
        self._scripts.setdefault((method, kind), []).extend(replies)

    def effects(self, id_: str | None = None) -> list[tuple[str, str]]:
        """(``done`` | ``undone``, kind) in order, of one reservation id or of all."""
        return [(entry.effect, entry.kind) for entry in self.ledger if id_ in (None, entry.id)]

    async def until(self, effect: str, kind: str, id_: str) -> None:
        """Return once this has happened."""
        async with self._changed:
            await self._changed.wait_for(lambda: (effect, kind) in self.effects(id_))

    # What is asked of it ---------------------------------------------------------------------------------------------

    async def reserve(self, request: web.Request) -> web.Response:
        kind, id_ = _place(request)
        body = await request.json() if request.can_read_body else {}
        key = request.headers.get("Idempotency-Key")
        reply = self._mood(request.method, kind, id_, body)
        if reply.status >= 400 and not reply.acts:
            return await self._answer(reply.status, {"title": reply.title}, reply)
        if (kind, id_) in self._undone:
            return await self._answer(409, {"title": "this was cancelled before"}, reply)
        if key is not None and key in self._answers:
            status, content = self._answers[key]
            return await self._answer(status, content, reply)
        content = {"id": id_, "kind": kind, "details": body}
        fresh = (kind, id_) not in self._held
        self._held[kind, id_] = content
        status = 201 if fresh else 200
        if key is not None:
            self._answers[key] = (status, content)
        if fresh:
            await self._write("done", kind, id_, request)
        return await self._answer(reply.status if reply.status >= 400 else status, content, reply)

    async def undo(self, request: web.Request) -> web.Response:
        kind, id_ = _place(request)
        held = self._held.get((kind, id_))
        reply = self._mood("DELETE", kind, id_, held["details"] if held else {})
        if reply.status >= 400 and not reply.acts:
            return await self._answer(reply.status, {"title": reply.title}, reply)
        # Remembered even where there was nothing: the reservation itself may still be on its way.
        self._undone.add((kind, id_))
        if held is None:
            return await self._answer(404, {"title": "there is nothing to undo"}, reply)
        del self._held[kind, id_]
        await self._write("undone", kind, id_, request)
        return await self._answer(reply.status, {"id": id_, "kind": kind, "undone": True}, reply)

    async def show(self, request: web.Request) -> web.Response:
        held = self._held.get(_place(request))
        return web.json_response(held or {"title": "not here"}, status=200 if held else 404)

    async def offer(self, request: web.Request) -> web.Response:
        """An interest rate. Harbour is slow over long terms, coastal fails over large sums, nobody lends too much."""
        bank = request.match_info["bank"]
        amount, years = float(request.query.get("amount", "0")), float(request.query.get("years", "0"))
        self.requests.append(("GET", "banks", bank))
        script = self._scripts.get(("GET", bank))
        reply = script.pop(0) if script else Reply()
        if bank not in RATES or amount > 1_000_000:
            return await self._answer(422, {"title": "we do not lend that"}, reply)
        if bank == "coastal" and amount > 500_000:
            reply = Reply(500, "out of order")
        if bank == "harbour" and years > 30:
            reply = Reply(delay_s=SLOW_S)
        return await self._answer(reply.status, {"bank": bank, "rate": RATES[bank]}, reply)

    async def read_ledger(self, request: web.Request) -> web.Response:
        wanted = request.query.get("id")
        entries = [asdict(entry) for entry in self.ledger if wanted in (None, entry.id)]
        return web.json_response({"entries": entries})

    async def forget(self, _: web.Request) -> web.Response:
        for memory in (self.ledger, self.requests, self._held, self._undone, self._answers, self._turns, self._scripts):
            memory.clear()
        return web.Response(status=204)

    # How it is done --------------------------------------------------------------------------------------------------

    def _mood(self, method: str, kind: str, id_: str, body: Any) -> Reply:
        self.requests.append((method, kind, id_))
        script = self._scripts.get((method, kind))
        if script:
            return script.pop(0)
        member, moods = MOODS.get((method, kind), ("", {}))
        replies = moods.get(body.get(member)) if isinstance(body, dict) else None
        if not replies:
            return Reply()
        turn = self._turns.get((method, kind, id_), 0)
        self._turns[method, kind, id_] = turn + 1
        return replies[min(turn, len(replies) - 1)] or Reply()

    async def _write(self, effect: str, kind: str, id_: str, request: web.Request) -> None:
        key, compensates = (request.headers.get(name) for name in ("Idempotency-Key", "Retrace-Compensates"))
        async with self._changed:
            self.ledger.append(Entry(len(self.ledger) + 1, effect, kind, id_, key, compensates))
            self._changed.notify_all()

    async def _answer(self, status: int, content: Any, reply: Reply) -> web.Response:
        if reply.delay_s:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), reply.delay_s)
        headers = {"Retry-After": "0"} if status == 503 else None
        return web.json_response(content, status=status, headers=headers)

    def app(self) -> web.Application:
        app = web.Application()
        kinds = "|".join(KINDS)
        app.router.add_get("/ledger", self.read_ledger)
        app.router.add_delete("/ledger", self.forget)
        app.router.add_get("/banks/{bank}/offer", self.offer)
        app.router.add_put(f"/{{kind:{kinds}}}/{{id}}", self.reserve)
        app.router.add_delete(f"/{{kind:{kinds}}}/{{id}}", self.undo)
        app.router.add_get(f"/{{kind:{kinds}}}/{{id}}", self.show)
        return app

    @contextlib.asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[Participants]:
        """Serve on 127.0.0.1 while the block runs; port 0 is any free one."""
        runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            self.port = int(runner.addresses[0][1])
            yield self
        finally:
            self._closing.set()
            await runner.cleanup()


def _place(request: web.Request) -> tuple[str, str]:
    return request.match_info["kind"], request.match_info["id"]


async def _serve(port: int) -> None:
    async with Participants().serving(port) as participants:
        print(
            f"participants of the examples on {participants.url}, what they did: {participants.url}/ledger", flush=True
        )
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.participants", description="What the examples call.")
    parser.add_argument("--port", type=int, default=8090)
    port = parser.parse_args().port
    try:
        asyncio.run(_serve(port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        parser.exit(
            1, f"Port {port} of 127.0.0.1 is in use by another program; the examples need it. Stop that program.\n"
        )
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
