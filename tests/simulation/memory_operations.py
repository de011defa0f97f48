"""Long-running operations in memory. The database's clock is the loop's."""

from __future__ import annotations

import asyncio
from datetime import datetime

import msgspec

from application.operation_store import OperationRecord, OperationStatus
from tests.simulation.memory_data import Calls, MemoryData


def _now_s() -> float:
    return asyncio.get_running_loop().time()


class MemoryOperations:
    """`OperationStore` in memory."""

    def __init__(self, data: MemoryData, calls: Calls) -> None:
        self._data = data
        self._calls = calls

    async def put(
        self, operation: str, kind: str, actor: str, request: bytes, node: str, at: datetime, lease_s: float
    ) -> None:
        async with self._calls.call("put operation"):
            record = OperationRecord(
                operation, kind, actor, request, node, "running", 0, None, None, None, False, at, at, None, True
            )
            self._data.operations[operation] = (record, _now_s() + lease_s)

    async def get(self, operation: str) -> OperationRecord | None:
        async with self._calls.call("operation"):
            return self._seen(operation) if operation in self._data.operations else None

    async def list(
        self, kind: str | None = None, limit: int = 100, after: tuple[datetime, str] | None = None
    ) -> list[OperationRecord]:
        async with self._calls.call("operations"):
            found = [msgspec.structs.replace(self._seen(each), result=None) for each in self._data.operations]
            found = [each for each in found if kind in {None, each.kind}]
            found.sort(key=_newest)
            if after is not None:
                found = [each for each in found if _newest(each) > (-after[0].timestamp(), after[1])]
            return found[:limit]

    async def beat(
        self, operation: str, node: str, done: int, total: int | None, at: datetime, lease_s: float
    ) -> bool | None:
        async with self._calls.call("beat"):
            record = self._running(operation, node)
            if record is None:
                return None
            record = msgspec.structs.replace(record, done=done, total=total, updated_at=at)
            self._data.operations[operation] = (record, _now_s() + lease_s)
            return record.cancel_requested

    async def end(
        self,
        operation: str,
        node: str,
        status: OperationStatus,
        progress: tuple[int, int | None],
        outcome: tuple[bytes | None, bytes | None],
        at: datetime,
    ) -> bool:
        async with self._calls.call("end operation"):
            record = self._running(operation, node)
            if record is None:
                return False
            done, total = progress
            result, error = outcome
            changed = msgspec.structs.replace(
                record, status=status, done=done, total=total, result=result, error=error, updated_at=at, ended_at=at
            )
            self._data.operations[operation] = (changed, self._data.operations[operation][1])
            return True

    async def cancel(self, operation: str) -> None:
        async with self._calls.call("cancel operation"):
            if operation in self._data.operations:
                record, until_s = self._data.operations[operation]
                if record.status == "running":
                    self._data.operations[operation] = msgspec.structs.replace(record, cancel_requested=True), until_s

    async def expire(self, before: datetime) -> int:
        async with self._calls.call("expire operations"):
            old = [
                name
                for name in self._data.operations
                if (record := self._seen(name)).started_at < before
                and not (record.status == "running" and record.alive)
            ]
            for name in old:
                del self._data.operations[name]
            return len(old)

    def _seen(self, operation: str) -> OperationRecord:
        record, until_s = self._data.operations[operation]
        return msgspec.structs.replace(record, alive=until_s > _now_s())

    def _running(self, operation: str, node: str) -> OperationRecord | None:
        record = self._seen(operation) if operation in self._data.operations else None
        return record if record and record.node == node and record.status == "running" and record.alive else None


def _newest(record: OperationRecord) -> tuple[float, str]:
    return -record.started_at.timestamp(), record.operation
