"""Idempotency keys of requests, and business keys, over a SQL database.

Both are decided by "insert or nothing" on their key: of any number of callers at the same moment exactly one wins.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from adapters.sql.database import Database, Transaction
from adapters.sql.rows import as_instant
from application.registers import RequestRecord, register_partition


class SqlRequests:
    """`RequestStore` over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _key(self, caller: str, key: str) -> dict[str, object]:
        partition = register_partition(caller, key, partitions=self._database.partitions)
        return {"partition": partition, "caller": caller, "key": key}

    async def begin(self, caller: str, key: str, fingerprint: bytes, at: datetime) -> RequestRecord | None:
        where = self._key(caller, key)
        new = {**where, "fingerprint": fingerprint, "at": at}

        def insert_or_look(transaction: Transaction) -> RequestRecord | None:
            while True:
                if transaction.run("begin_request", new):
                    return None
                for digest, status, headers, body, started_at in transaction.run("request", where):
                    return RequestRecord(digest, status, msgspec.json.decode(headers), body, as_instant(started_at))
                # It was abandoned in between: the key is free again.

        return await self._database.change(insert_or_look)

    async def finish(self, caller: str, key: str, status: int, headers: dict[str, str], body: bytes) -> None:
        answer = {"status": status, "headers": msgspec.json.encode(headers).decode(), "body": body}
        params = {**self._key(caller, key), **answer}
        await self._database.change(lambda transaction: transaction.run("finish_request", params))

    async def abandon(self, caller: str, key: str) -> None:
        params = self._key(caller, key)
        await self._database.change(lambda transaction: transaction.run("abandon_request", params))

    async def take_over(self, caller: str, key: str, started_at: datetime, at: datetime) -> bool:
        params = {**self._key(caller, key), "started_at": started_at, "at": at}
        return bool(await self._database.change(lambda transaction: transaction.run("take_over_request", params)))

    async def expire(self, before: datetime) -> int:
        return await expire(self._database, "expire_requests", before)


class SqlKeys:
    """`KeyStore` over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _key(self, definition: str, key: str) -> dict[str, object]:
        partition = register_partition(definition, key, partitions=self._database.partitions)
        return {"partition": partition, "definition": definition, "key": key}

    async def reserve(self, definition: str, key: str, public_id: str) -> str:
        where = self._key(definition, key)

        def insert_or_look(transaction: Transaction) -> str:
            transaction.run("reserve_key", {**where, "holder": public_id})
            # Rows are never removed, so there is one now.
            [(holder,)] = transaction.run("key_holder", where)
            return str(holder)

        return await self._database.change(insert_or_look)

    async def holds(self, definition: str, key: str, public_id: str) -> bool:
        return bool(await self._database.read("holds_key", {**self._key(definition, key), "holder": public_id}))

    async def contend(self, definition: str, key: str, holder: str, contender: str | None) -> None:
        params = {**self._key(definition, key), "holder": holder, "contender": contender}
        await self._database.change(lambda transaction: transaction.run("contend_for_key", params))

    async def withdraw(self, definition: str, key: str, contender: str) -> None:
        params = {**self._key(definition, key), "contender": contender}
        await self._database.change(lambda transaction: transaction.run("withdraw_from_key", params))

    async def take_over(self, definition: str, key: str, holder: str, public_id: str, *, contended: bool) -> bool:
        params = {**self._key(definition, key), "holder": holder, "public_id": public_id, "contended": contended}
        return bool(await self._database.change(lambda transaction: transaction.run("take_over_key", params)))


async def expire(database: Database, statement: str, before: datetime, **more: object) -> int:
    """Remove what is older, a partition and a transaction at a time; gives how many."""
    removed = 0
    for partition in range(database.partitions):
        params = {"partition": partition, "before": before, **more}

        def remove(transaction: Transaction, params: dict[str, object] = params) -> int:
            return len(transaction.run(statement, params))

        removed += await database.change(remove)
    return removed
