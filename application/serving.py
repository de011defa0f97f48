"""Carries out what other nodes have put into the inboxes of our partitions, and what this node asks of itself.

Each row is handled once at a time here; its reply is committed with the events that it led to, under the epoch in which it
was handled. So when the partition is lost half-way nothing is half done: the next owner finds the row without a reply.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from application.engine import Engine, Outcome
from application.exchange import EventExchange
from application.forwarding import (
    Begin,
    Done,
    Execute,
    Exists,
    Offer,
    Publish,
    Reply,
    Request,
    Sender,
    encoded,
    refusal,
    request_of,
)
from application.inbox import Inbox, InboxRow, Signals
from application.journal import Journal
from application.ownership import Ownership
from application.registers import KeyStore
from application.routing import done
from application.storage import Head, PutReply, WorkChange
from domain import commands as c
from domain.errors import BusinessKeyInUseError, OwnershipLostError, RetraceError, StorageError

_log = structlog.get_logger(__name__)
_AT_ONCE: Final = 256
_MOST_IN_HAND: Final = 4096
_POLL_S: Final = 1.0


class InboxServer:
    """One loop per node, woken by hints and by gains."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        ownership: Ownership,
        inbox: Inbox,
        signals: Signals,
        keys: KeyStore,
        exchange: EventExchange,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._ownership = ownership
        self._inbox = inbox
        self._signals = signals
        self._keys = keys
        self._exchange = exchange
        self._in_hand: dict[str, asyncio.Task[None]] = {}
        self._asking: set[str] = set()
        """Those in hand that ask other nodes in their turn, and so take up no turn: else two nodes whose every turn asks the
        other would wait for each other.
        """
        self._ended_since: set[str] = set()
        """What was in hand when the inboxes were last read, or later, and is not any more."""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.waiting = 0
        """Commands of other nodes without an answer when the inboxes were last read; what is beyond a page does not count."""
        signals.listen(lambda hint: self._wake.set() if hint == "inbox" else None)

    def gained(self, head: Head) -> None:
        self._wake.set()

    def lost(self, partition: int) -> None:
        """What is in hand of it cannot be committed any more and ends by itself."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="inbox")

    async def stop(self) -> None:
        """What is in hand may end; what comes later waits for another node, or for the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._in_hand:
            await asyncio.wait(self._in_hand.values(), timeout=5.0)
        for task in self._in_hand.values():
            task.cancel()
        await asyncio.gather(*self._in_hand.values(), return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._take()
            except StorageError as error:
                _log.warning("inbox.not_read", detail=error.detail)
            try:
                async with asyncio.timeout(_POLL_S):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()

    @property
    def _room(self) -> int:
        in_hand = len(self._in_hand)
        return min(_AT_ONCE - in_hand + len(self._asking), _MOST_IN_HAND - in_hand)

    async def _take(self) -> None:
        room = self._room
        partitions = self._ownership.held
        if not partitions:
            self.waiting = 0
        if room <= 0 or not partitions:
            return
        epochs = {partition: self._journal.epoch(partition) for partition in partitions}
        self._ended_since.clear()
        rows = await self._inbox.pending(partitions, room + len(self._in_hand))
        self.waiting = len(rows)
        for row in rows:
            # A row may have been replied to since it was read: here, or by another node that owned the partition for a while.
            current = epochs[row.partition] == self._journal.epoch(row.partition)
            if current and row.command_id not in self._in_hand and row.command_id not in self._ended_since:
                task = asyncio.get_running_loop().create_task(self._handle(row))
                self._in_hand[row.command_id] = task
                task.add_done_callback(partial(self._ended, row))

    def _ended(self, row: InboxRow, _task: asyncio.Task[None]) -> None:
        room = self._room
        self._in_hand.pop(row.command_id, None)
        self._asking.discard(row.command_id)
        self._ended_since.add(row.command_id)
        if room <= 0 < self._room:
            self._wake.set()

    def _asks(self, row: InboxRow) -> None:
        room = self._room
        self._asking.add(row.command_id)
        if room <= 0 < self._room:
            self._wake.set()

    async def _handle(self, row: InboxRow) -> None:
        epoch = self._journal.epoch(row.partition)
        try:
            try:
                request = request_of(row.body)
                if isinstance(request, Publish | Offer):
                    self._asks(row)
                replied, value = await self._carry_out(row, request)
                if not replied:
                    await self._write(row, epoch, Reply(value))
            except (OwnershipLostError, StorageError):
                raise
            except RetraceError as error:
                await self._write(row, epoch, refusal(error))
            except Exception as error:
                _log.exception("inbox.poison", partition=row.partition)
                await self._write(row, epoch, refusal(RetraceError(f"It could not be handled: {type(error).__name__}")))
        except OwnershipLostError:
            return
        except StorageError as error:
            _log.warning("inbox.not_handled", detail=error.detail)  # it has no reply, so it is taken again
            return
        await self._signals.tell("reply")

    async def _write(self, row: InboxRow, epoch: int | None, reply: Reply) -> None:
        await self._engine.reply(row.partition, epoch, PutReply(row.command_id, encoded(reply)))

    async def _carry_out(self, row: InboxRow, request: Request) -> tuple[bool, Any]:
        """(whether the reply is written already, the value to reply with)."""

        def replying(outcome: Outcome, new: bool = False) -> WorkChange:
            return PutReply(row.command_id, encoded(Reply(msgspec.to_builtins(done(outcome, new=new)))))

        match request:
            case Execute(orchestration, name, members, if_match):
                command = getattr(c, name)
                await self._engine.execute(
                    (row.partition, orchestration),
                    lambda _: self._engine.command(command, **members),
                    if_match=if_match,
                    answering=replying,
                )
                return True, None
            case Begin():
                await self._begin(request, replying)
                return True, None
        return False, await self.here(row.partition, request)

    async def here(self, partition: int, request: Request) -> Any:
        """Carry out what this node asks of itself. Raises OwnershipLostError when nothing was done."""
        if self._journal.epoch(partition) is None:
            raise OwnershipLostError
        match request:
            case Begin():
                return await self._begin(request, None)
            case Exists(id_):
                return await self._engine.exists(id_)
            case Publish(event, actor, trace, request_id):
                return await self._exchange.arrived(event, Sender(actor, trace, request_id))
            case Offer(source, id_, to):
                return await self._exchange.offered(source, id_, (to[0], to[1]))
        raise TypeError(f"{type(request).__name__} is not asked of oneself")

    async def _begin(self, request: Begin, answering: Any) -> Done:
        def make() -> c.Start | c.Fork:
            if request.command == c.Fork.__name__:
                return self._engine.converted(c.Fork, {"id": request.id, **request.members})
            return self._engine.command(c.Start, id=request.id, **request.members)

        async def allowed() -> None:
            if request.reserved is not None and not await self._keys.holds(*request.reserved, request.id):
                raise BusinessKeyInUseError(None)

        outcome, new = await self._engine.start(
            request.digest,
            request.id,
            make,
            drawn=request.drawn,
            allowed=allowed if request.reserved else None,
            answering=answering,
        )
        return done(outcome, new=new)
