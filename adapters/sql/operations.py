"""Long-running operations over a SQL database. Signs of life are measured by the database's clock."""

from __future__ import annotations

from datetime import datetime

from adapters.sql.database import Database, Row
from adapters.sql.rows import as_instant
from adapters.sql.statements import Fragment
from application.operation_store import OperationRecord, OperationStatus


class SqlOperations:
    """`OperationStore` over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(
        self, operation: str, kind: str, actor: str, request: bytes, node: str, at: datetime, lease_s: float
    ) -> None:
        row = {
            "operation": operation,
            "kind": kind,
            "actor": actor,
            "request": request,
            "node": node,
            "at": at,
            "lease_us": int(lease_s * 1_000_000),
        }
        await self._database.change(lambda transaction: transaction.run("put_operation", row))

    async def get(self, operation: str) -> OperationRecord | None:
        rows = await self._database.read("operation", {"operation": operation})
        return _record(rows[0]) if rows else None

    async def list(
        self, kind: str | None = None, limit: int = 100, after: tuple[datetime, str] | None = None
    ) -> list[OperationRecord]:
        params: dict[str, object] = {"limit": limit}
        where: list[Fragment] = []
        if kind is not None:
            params["kind"] = kind
            where.append("operations_of_kind")
        if after is not None:
            params |= {"last_started_at": after[0], "last_operation": after[1]}
            where.append("operations_page")
        return [_record(row) for row in await self._database.read("operations", params, *where)]

    async def beat(
        self, operation: str, node: str, done: int, total: int | None, at: datetime, lease_s: float
    ) -> bool | None:
        params = {
            "operation": operation,
            "node": node,
            "done": done,
            "total": total,
            "at": at,
            "lease_us": int(lease_s * 1_000_000),
        }
        rows = await self._database.change(lambda transaction: transaction.run("beat_operation", params))
        return bool(rows[0][0]) if rows else None

    async def end(
        self,
        operation: str,
        node: str,
        status: OperationStatus,
        progress: tuple[int, int | None],
        outcome: tuple[bytes | None, bytes | None],
        at: datetime,
    ) -> bool:
        params = {
            "operation": operation,
            "node": node,
            "status": status,
            "done": progress[0],
            "total": progress[1],
            "result": outcome[0],
            "error": outcome[1],
            "at": at,
        }
        return bool(await self._database.change(lambda transaction: transaction.run("end_operation", params)))

    async def cancel(self, operation: str) -> None:
        params = {"operation": operation}
        await self._database.change(lambda transaction: transaction.run("cancel_operation", params))

    async def expire(self, before: datetime) -> int:
        params = {"before": before}
        return len(await self._database.change(lambda transaction: transaction.run("expire_operations", params)))


def _record(row: Row) -> OperationRecord:
    operation, kind, actor, request, node, status, done, total, result, error, cancel_requested, *instants, alive = row
    started_at, updated_at, ended_at = instants
    return OperationRecord(
        operation,
        kind,
        actor,
        request,
        node,
        status,
        done,
        total,
        result,
        error,
        bool(cancel_requested),
        as_instant(started_at),
        as_instant(updated_at),
        None if ended_at is None else as_instant(ended_at),
        bool(alive),
    )
