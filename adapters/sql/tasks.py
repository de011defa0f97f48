"""Work for remote workers over a SQL database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from adapters.sql.database import FUNCTION_ROWS, TASK_ROWS, Database, Row, Transaction
from adapters.sql.registers import expire
from adapters.sql.rows import as_instant, as_uuid
from application.task_store import Claim, ClaimedTask, FunctionControl, FunctionLoad, TaskKey, TaskRow


class SqlTasks:
    """`TaskStore` over a SQL database. `lists`: whether it takes a list of texts as it is, or as JSON."""

    def __init__(self, database: Database, *, lists: bool) -> None:
        self._database = database
        self._lists = lists

    async def waiting(self, functions: Sequence[str]) -> list[tuple[int, str]]:
        names: object = list(functions) if self._lists else msgspec.json.encode(list(functions)).decode()
        rows = await self._database.read("waiting_functions", {"functions": names})
        return [(partition, function) for partition, function in rows]

    async def claim(self, claim: Claim) -> list[ClaimedTask]:
        return await self._database.change(
            lambda transaction: _claim(transaction, claim), (FUNCTION_ROWS, claim.function)
        )

    async def get(self, key: TaskKey) -> TaskRow | None:
        rows = await self._database.read("task", _params(key))
        return _row(rows[0]) if rows else None

    async def extend(self, key: TaskKey, token: bytes, until: datetime) -> tuple[datetime, datetime] | None:
        for lease_until, deadline in await self._run("extend_task", key, token=token, until=until):
            return as_instant(lease_until), as_instant(deadline)
        return None

    async def report(self, key: TaskKey, token: bytes, report: bytes) -> bool:
        return bool(await self._run("report_task", key, token=token, report=report))

    async def give_back(self, key: TaskKey, token: bytes) -> None:
        await self._run("give_back_task", key, token=token)

    async def discard(self, key: TaskKey, at: datetime) -> None:
        await self._run("discard_task", key, at=at)

    async def overdue(self, partitions: Sequence[int], at: datetime, limit: int = 500) -> list[TaskRow]:
        rows = await self._database.across(
            "overdue_tasks", {"at": at, "limit": limit}, order=_first, limit=limit, partitions=partitions
        )
        return [_row(row[1:]) for row in rows]

    async def void(self, key: TaskKey, token: bytes, at: datetime, report: bytes) -> bool:
        return bool(await self._run("void_task", key, token=token, at=at, report=report))

    async def reported(self, partitions: Sequence[int], limit: int = 500) -> list[TaskRow]:
        rows = await self._database.across(
            "reported_tasks", {"limit": limit}, order=_place, limit=limit, partitions=partitions
        )
        return [_row(row) for row in rows]

    async def open_functions(self, partition: int) -> list[str]:
        return [function for (function,) in await self._database.read("open_functions", {"partition": partition})]

    async def open_of(self, partition: int, function: str, limit: int = 500) -> list[TaskRow]:
        params = {"partition": partition, "function": function, "limit": limit}
        return [_row(row) for row in await self._database.read("open_tasks_of", params)]

    async def expire(self, before: datetime) -> int:
        return await expire(self._database, "expire_tasks", before)

    async def controls(self) -> list[FunctionControl]:
        return [_control(row) for row in await self._database.read("function_controls", {})]

    async def control(self, function: str, *, paused: bool | None = None, draining: bool | None = None) -> None:
        params = {"function": function, "paused": paused, "draining": draining}
        await self._say("control_function", params)

    async def limit(self, function: str, max_concurrent: int | None, max_per_second: float | None) -> None:
        params = {"function": function, "max_concurrent": max_concurrent, "max_per_second": max_per_second}
        await self._say("limit_function", params)

    async def note(self, function: str, at: datetime, *, claimed: bool) -> None:
        params = {"function": function, "at": at, "claimed": claimed}
        await self._say("note_function", params)

    async def loads(self) -> list[FunctionLoad]:
        found: dict[str, FunctionLoad] = {}
        for function, status, worker, count in await self._database.read("task_loads", {}):
            known = found.setdefault(function, FunctionLoad(function, 0, {}))
            if status == "waiting":
                found[function] = msgspec.structs.replace(known, waiting=known.waiting + count)
            elif status == "held":
                found[function] = msgspec.structs.replace(known, held=known.held + count)
            else:
                known.claimed[worker] = known.claimed.get(worker, 0) + count
        return list(found.values())

    async def _run(self, name: str, key: TaskKey, **more: object) -> list[Row]:
        params = {**_params(key), **more}
        order = (TASK_ROWS, *msgspec.structs.astuple(key))
        return await self._database.change(lambda transaction: transaction.run(name, params), order)

    async def _say(self, name: str, params: Mapping[str, object]) -> None:
        order = (FUNCTION_ROWS, params["function"])
        await self._database.change(lambda transaction: transaction.run(name, params), order)


def _claim(transaction: Transaction, claim: Claim) -> list[ClaimedTask]:
    room, allowance = claim.limit, None
    if claim.limited:
        room, allowance = _room(transaction, claim)
    if room <= 0:
        return []
    chosen: list[ClaimedTask] = []
    for after, most in claim.looks(room):
        if most > len(chosen):
            chosen += _chosen(transaction, claim, after, most - len(chosen))
    if allowance is not None:
        spent = {"function": claim.function, "allowance": allowance - len(chosen), "at": claim.at}
        transaction.run("spend_allowance", spent)
    return chosen


def _chosen(transaction: Transaction, claim: Claim, after: str, limit: int) -> list[ClaimedTask]:
    params = {"partition": claim.partition, "function": claim.function, "after": after, "limit": limit}
    # The rows stay locked to the end of the transaction; other callers pass over them.
    chosen = [_handed_out(claim, row) for row in transaction.run("choose_tasks", params)]
    if chosen:
        by = (claim.token, claim.worker, claim.at)
        transaction.each(
            "hand_out_task",
            [(*msgspec.structs.astuple(each.key), *by, each.lease_until, each.deadline) for each in chosen],
        )
    return chosen


def _handed_out(claim: Claim, row: Row) -> ClaimedTask:
    orchestration, run, number, definition, timeout_us = row
    deadline = claim.at + timedelta(microseconds=timeout_us)
    key = TaskKey(claim.partition, as_uuid(orchestration), run, number)
    return ClaimedTask(key, definition, min(deadline, claim.at + timedelta(seconds=claim.lease_s)), deadline)


def _room(transaction: Transaction, claim: Claim) -> tuple[int, float | None]:
    """(how much may be handed out, the allowance of its rate before that)."""
    rows = transaction.run("hold_function", {"function": claim.function})
    if not rows:
        return claim.limit, None
    paused, draining, most, rate, allowance, since = rows[0]
    room = 0 if paused or draining else claim.limit
    if most is not None and room:
        [(claimed,)] = transaction.run("claimed_of_function", {"function": claim.function})
        room = min(room, most - claimed)
    if rate is None:
        return room, None
    burst = max(1.0, rate)
    passed_s = None if since is None else (claim.at - as_instant(since)) / timedelta(seconds=1)
    allowance = burst if passed_s is None else min(burst, allowance + max(0.0, passed_s) * rate)
    return min(room, int(allowance)), allowance


def _params(key: TaskKey) -> dict[str, object]:
    return msgspec.structs.asdict(key)


def _row(row: Row) -> TaskRow:
    partition, orchestration, run, number, function, status, token, worker, deadline, report = row
    key = TaskKey(partition, as_uuid(orchestration), run, number)
    return TaskRow(key, function, status, token, worker, None if deadline is None else as_instant(deadline), report)


def _control(row: Row) -> FunctionControl:
    function, paused, draining, most, rate, *instants = row
    asked_at, claimed_at = (None if each is None else as_instant(each) for each in instants)
    return FunctionControl(function, bool(paused), bool(draining), most, rate, asked_at, claimed_at)


def _first(row: Row) -> object:
    return row[0]


def _place(row: Row) -> Row:
    return row[0], as_uuid(row[1]), row[2], row[3]
