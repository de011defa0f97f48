"""Commands from other nodes and their replies, over a SQL database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from adapters.sql.database import Database, Row, Transaction
from adapters.sql.registers import expire
from application.inbox import InboxRow, Signals


class SqlInbox:
    """`Inbox` over a SQL database. `signals` wakes the owner."""

    def __init__(self, database: Database, signals: Signals) -> None:
        self._database = database
        self._signals = signals

    async def put(self, row: InboxRow, at: datetime) -> bytes | None:
        where = {"partition": row.partition, "command_id": row.command_id}

        def insert_or_look(transaction: Transaction) -> bytes | None:
            if transaction.run("put_command", {**where, "body": row.body, "kept": row.kept, "at": at}):
                return None
            rows = transaction.run("command_reply", where)
            return rows[0][0] if rows else None

        reply = await self._database.change(insert_or_look)
        if reply is None:
            await self._signals.tell("inbox")
        return reply

    async def pending(self, partitions: Sequence[int], limit: int = 500) -> list[InboxRow]:
        rows = await self._database.across(
            "pending_commands", {"limit": limit}, order=_oldest_first, limit=limit, partitions=partitions
        )
        return [InboxRow(partition, command_id, body, bool(kept)) for _, partition, command_id, body, kept in rows]

    async def replies(self, rows: Sequence[tuple[int, str]]) -> dict[str, bytes]:
        wanted = [{"partition": partition, "command_id": command_id} for partition, command_id in rows]
        found = await self._database.read("replies", {"wanted": msgspec.json.encode(wanted).decode()})
        return dict(found)

    async def expire(self, before: datetime, *, kept: bool) -> int:
        return await expire(self._database, "expire_commands", before, kept=kept)


def _oldest_first(row: Row) -> Row:
    return row[0], row[2]
