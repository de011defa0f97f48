"""Work for remote workers in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from application.storage import EndTask, GiveUpTask, HoldTask, PutTask
from application.task_store import Claim, ClaimedTask, FunctionControl, FunctionLoad, Status, TaskKey, TaskRow
from tests.simulation.memory_data import Calls, MemoryData


@dataclass
class MemoryTask:
    """A row."""

    put: PutTask
    status: Status = "waiting"
    token: bytes | None = None
    worker: str | None = None
    lease_until: datetime | None = None
    deadline: datetime | None = None
    report: bytes | None = None
    ended_at: datetime | None = None
    held: bool = False

    @property
    def offered(self) -> bool:
        """Whether it may be handed out."""
        return self.status == "waiting" and not self.held


Tasks = dict[tuple[UUID, str, int], MemoryTask]


def change_tasks(tasks: Tasks, change: PutTask | HoldTask | GiveUpTask | EndTask) -> None:
    """What a transaction of the log does."""
    key = (change.orchestration, change.run, change.number)
    if isinstance(change, PutTask):
        if key not in tasks or tasks[key].status == "ended":
            tasks[key] = MemoryTask(change, held=change.held)
        return
    row = tasks.get(key)
    if row is None or row.status == "ended":
        return
    if isinstance(change, HoldTask):
        row.held = change.held
    elif isinstance(change, EndTask):
        row.status, row.ended_at = "ended", change.at
    elif row.status == "waiting" and not row.put.begun:
        row.status, row.report = "reported", change.unsent
    elif row.status in ("waiting", "claimed") and change.lost is not None:
        row.status, row.report = "reported", change.lost


class MemoryTasks:
    """`TaskStore` in memory."""

    def __init__(self, data: MemoryData, calls: Calls) -> None:
        self._data = data
        self._calls = calls

    async def waiting(self, functions: Sequence[str]) -> list[tuple[int, str]]:
        async with self._calls.call("waiting tasks"):
            return sorted(
                {
                    (partition, row.put.function)
                    for partition, tasks in self._all()
                    for row in tasks.values()
                    if row.offered and row.put.function in functions
                }
            )

    async def claim(self, claim: Claim) -> list[ClaimedTask]:
        async with self._calls.call("claim tasks"):
            room, allowance = self._room(claim) if claim.limited else (claim.limit, None)
            control = self._data.functions.get(claim.function)
            if control is not None and (control.paused or control.draining):
                return []
            tasks = self._tasks(claim.partition)
            chosen: list[ClaimedTask] = []
            for after, most in claim.looks(max(room, 0)):
                found = sorted(
                    (row.put.definition, row.put.queued_at, key)
                    for key, row in tasks.items()
                    if row.offered and row.put.function == claim.function and row.put.definition > after
                )[: max(min(most, room) - len(chosen), 0)]
                chosen += [self._handed_out(claim, key, tasks[key]) for _, _, key in found]
            if allowance is not None and room > 0:
                self._data.allowances[claim.function] = (allowance - len(chosen), claim.at)
            return chosen

    def _handed_out(self, claim: Claim, key: tuple[UUID, str, int], row: MemoryTask) -> ClaimedTask:
        deadline = claim.at + timedelta(microseconds=row.put.timeout_us)
        row.status, row.token, row.worker, row.deadline = "claimed", claim.token, claim.worker, deadline
        row.lease_until = min(deadline, claim.at + timedelta(seconds=claim.lease_s))
        return ClaimedTask(TaskKey(claim.partition, *key), row.put.definition, row.lease_until, deadline)

    def _room(self, claim: Claim) -> tuple[int, float | None]:
        control = self._data.functions.get(claim.function)
        if control is None:
            return claim.limit, None
        room = 0 if control.paused or control.draining else claim.limit
        if control.max_concurrent is not None:
            rows = [row for _, tasks in self._all() for row in tasks.values()]
            claimed = sum(1 for row in rows if row.status == "claimed" and row.put.function == claim.function)
            room = min(room, control.max_concurrent - claimed)
        rate = control.max_per_second
        if rate is None:
            return room, None
        burst = max(1.0, rate)
        known = self._data.allowances.get(claim.function)
        allowance = burst if known is None else min(burst, known[0] + (claim.at - known[1]).total_seconds() * rate)
        return min(room, int(allowance)), allowance

    async def get(self, key: TaskKey) -> TaskRow | None:
        async with self._calls.call("task"):
            row = self._row(key)
            return None if row is None else _shown(key.partition, row)

    async def extend(self, key: TaskKey, token: bytes, until: datetime) -> tuple[datetime, datetime] | None:
        async with self._calls.call("extend task"):
            row = self._claimed(key, token)
            if row is None or row.deadline is None:
                return None
            row.lease_until = min(until, row.deadline)
            return row.lease_until, row.deadline

    async def report(self, key: TaskKey, token: bytes, report: bytes) -> bool:
        async with self._calls.call("report task"):
            row = self._claimed(key, token)
            if row is not None:
                row.status, row.report = "reported", report
            return row is not None

    async def give_back(self, key: TaskKey, token: bytes) -> None:
        async with self._calls.call("give task back"):
            if (row := self._claimed(key, token)) is not None:
                row.status, row.token, row.worker, row.lease_until, row.deadline = "waiting", None, None, None, None

    async def discard(self, key: TaskKey, at: datetime) -> None:
        async with self._calls.call("discard task"):
            if (row := self._row(key)) is not None and row.status != "ended":
                row.status, row.ended_at = "ended", at

    async def overdue(self, partitions: Sequence[int], at: datetime, limit: int = 500) -> list[TaskRow]:
        async with self._calls.call("overdue tasks"):
            found = [
                (row.lease_until, key, _shown(partition, row))
                for partition, tasks in self._all()
                for key, row in tasks.items()
                if partition in partitions and row.status == "claimed" and row.lease_until and row.lease_until <= at
            ]
            return [shown for *_, shown in sorted(found, key=lambda each: each[:2])][:limit]

    async def void(self, key: TaskKey, token: bytes, at: datetime, report: bytes) -> bool:
        async with self._calls.call("void task"):
            row = self._claimed(key, token)
            if row is None or row.lease_until is None or row.lease_until > at:
                return False
            row.status, row.report = "reported", report
            return True

    async def reported(self, partitions: Sequence[int], limit: int = 500) -> list[TaskRow]:
        async with self._calls.call("reported tasks"):
            found = sorted(
                (partition, key)
                for partition, tasks in self._all()
                for key, row in tasks.items()
                if partition in partitions and row.status == "reported"
            )
            return [_shown(partition, self._tasks(partition)[key]) for partition, key in found[:limit]]

    async def open_functions(self, partition: int) -> list[str]:
        async with self._calls.call("open functions"):
            rows = self._tasks(partition).values()
            return sorted({row.put.function for row in rows if row.status in ("waiting", "claimed")})

    async def open_of(self, partition: int, function: str, limit: int = 500) -> list[TaskRow]:
        async with self._calls.call("open tasks"):
            rows = self._tasks(partition).values()
            found = [row for row in rows if row.put.function == function and row.status in ("waiting", "claimed")]
            return [_shown(partition, row) for row in found[:limit]]

    async def expire(self, before: datetime) -> int:
        async with self._calls.call("expire tasks"):
            removed = 0
            for _, tasks in self._all():
                old = [key for key, row in tasks.items() if row.ended_at is not None and row.ended_at < before]
                for key in old:
                    del tasks[key]
                removed += len(old)
            return removed

    async def controls(self) -> list[FunctionControl]:
        async with self._calls.call("controls of functions"):
            return [control for _, control in sorted(self._data.functions.items())]

    async def control(self, function: str, *, paused: bool | None = None, draining: bool | None = None) -> None:
        async with self._calls.call("control function"):
            given = {"paused": paused, "draining": draining}
            self._change(function, **{name: value for name, value in given.items() if value is not None})

    async def limit(self, function: str, max_concurrent: int | None, max_per_second: float | None) -> None:
        async with self._calls.call("limit function"):
            self._change(function, max_concurrent=max_concurrent, max_per_second=max_per_second)

    async def note(self, function: str, at: datetime, *, claimed: bool) -> None:
        async with self._calls.call("note function"):
            self._change(function, asked_at=at, **({"last_claimed_at": at} if claimed else {}))

    async def loads(self) -> list[FunctionLoad]:
        async with self._calls.call("loads of functions"):
            found: dict[str, FunctionLoad] = {}
            for _, tasks in self._all():
                for row in tasks.values():
                    name = row.put.function
                    if row.status not in ("waiting", "claimed"):
                        continue
                    load = found.setdefault(name, FunctionLoad(name, 0, {}))
                    if row.offered:
                        found[name] = msgspec.structs.replace(load, waiting=load.waiting + 1)
                    elif row.status == "waiting":
                        found[name] = msgspec.structs.replace(load, held=load.held + 1)
                    else:
                        load.claimed[row.worker or ""] = load.claimed.get(row.worker or "", 0) + 1
            return [load for _, load in sorted(found.items())]

    def _change(self, function: str, **members: object) -> None:
        known = self._data.functions.get(function) or FunctionControl(function)
        self._data.functions[function] = msgspec.structs.replace(known, **members)

    def _tasks(self, partition: int) -> Tasks:
        return self._data.partitions[partition].tasks

    def _all(self) -> list[tuple[int, Tasks]]:
        return [(each.head.partition, each.tasks) for each in self._data.partitions]

    def _row(self, key: TaskKey) -> MemoryTask | None:
        return self._tasks(key.partition).get((key.orchestration, key.run, key.number))

    def _claimed(self, key: TaskKey, token: bytes) -> MemoryTask | None:
        row = self._row(key)
        return row if row is not None and row.status == "claimed" and row.token == token else None


def _shown(partition: int, row: MemoryTask) -> TaskRow:
    put = row.put
    key = TaskKey(partition, put.orchestration, put.run, put.number)
    return TaskRow(key, put.function, row.status, row.token, row.worker, row.deadline, row.report)
