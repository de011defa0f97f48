"""Nodes, leases, inboxes and hints in memory. The database's clock is the loop's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import copy_context
from datetime import datetime, timedelta

import msgspec

from application.inbox import InboxRow
from application.leases import Holding, Member, NodeIdentity, Overview
from application.storage import Head
from tests.simulation.loop import START
from tests.simulation.memory_data import Calls, MemoryCommand, MemoryData, MemoryNode


def _now_s() -> float:
    return asyncio.get_running_loop().time()


class MemoryLeases:
    """`Leases` in memory."""

    def __init__(self, data: MemoryData, calls: Calls, *, alone: bool) -> None:
        self._data = data
        self._calls = calls
        self.alone = alone

    async def renew(self, me: NodeIdentity, lease_s: float, held: Sequence[tuple[int, int]], *, eligible: bool) -> None:
        async with self._calls.call("renew"):
            self._data.nodes[me.node] = MemoryNode(me, eligible, _now_s() + lease_s)
            for partition, epoch in held:
                found = self._data.partitions[partition]
                if found.head.epoch == epoch:
                    found.lease_until_s = _now_s() + lease_s

    async def overview(self) -> Overview:
        async with self._calls.call("overview"):
            now_s = _now_s()
            members = [
                Member(node.identity, node.eligible, node.lease_until_s - now_s) for node in self._data.nodes.values()
            ]
            holdings = [
                Holding(
                    each.head.partition,
                    each.head.epoch,
                    each.owner,
                    each.lease_until_s - now_s if each.owner else 0.0,
                    each.head.position,
                    self._data.tracking.get(("status", each.head.partition), 0),
                )
                for each in self._data.partitions
            ]
            return Overview(START + timedelta(seconds=now_s), members, holdings)

    async def claim(self, node: str, partition: int, epoch: int, lease_s: float, *, forced: bool) -> Head | None:
        async with self._calls.call("claim"):
            found = self._data.partitions[partition]
            free = forced or found.owner is None or found.lease_until_s <= _now_s()
            if found.head.epoch != epoch or not free:
                return None
            found.head = msgspec.structs.replace(found.head, epoch=epoch + 1)
            found.owner, found.lease_until_s = node, _now_s() + lease_s
            return found.head

    async def release(self, node: str, partition: int, epoch: int) -> None:
        async with self._calls.call("release"):
            found = self._data.partitions[partition]
            if (found.owner, found.head.epoch) == (node, epoch):
                found.owner = None

    async def leave(self, node: str) -> None:
        async with self._calls.call("leave"):
            self._data.nodes.pop(node, None)
            for other in [each for each, row in self._data.nodes.items() if row.lease_until_s < _now_s() - 3600]:
                del self._data.nodes[other]


class MemoryInbox:
    """`Inbox` in memory."""

    def __init__(self, data: MemoryData, calls: Calls, signals: MemorySignals) -> None:
        self._data = data
        self._calls = calls
        self._signals = signals

    async def put(self, row: InboxRow, at: datetime) -> bytes | None:
        async with self._calls.call("put command"):
            inbox = self._data.partitions[row.partition].inbox
            reply = inbox.setdefault(row.command_id, MemoryCommand(row, at)).reply
        if reply is None:
            await self._signals.tell("inbox")
        return reply

    async def pending(self, partitions: Sequence[int], limit: int = 500) -> list[InboxRow]:
        async with self._calls.call("pending"):
            found = [
                (command.at, name, command.row)
                for partition in partitions
                for name, command in self._data.partitions[partition].inbox.items()
                if command.reply is None
            ]
            return [row for *_, row in sorted(found, key=lambda each: each[:2])[:limit]]

    async def replies(self, rows: Sequence[tuple[int, str]]) -> dict[str, bytes]:
        async with self._calls.call("replies"):
            found: dict[str, bytes] = {}
            for partition, name in rows:
                command = self._data.partitions[partition].inbox.get(name)
                if command is not None and command.reply is not None:
                    found[name] = command.reply
            return found

    async def expire(self, before: datetime, *, kept: bool) -> int:
        async with self._calls.call("expire commands"):
            removed = 0
            for partition in self._data.partitions:
                for name, command in list(partition.inbox.items()):
                    if command.reply is not None and command.at < before and command.row.kept == kept:
                        del partition.inbox[name]
                        removed += 1
            return removed


class MemorySignals:
    """`Signals` between everyone who listens on the same database, in the context of whoever listens."""

    def __init__(self, data: MemoryData) -> None:
        self._data = data

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def listen(self, hear: Callable[[str], None]) -> None:
        loop = asyncio.get_running_loop()
        context = copy_context()

        def soon(hint: str) -> None:
            loop.call_soon(hear, hint, context=context)

        self._data.hear.append(soon)

    async def tell(self, hint: str) -> None:
        for hear in self._data.hear:
            hear(hint)
