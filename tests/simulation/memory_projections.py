"""Users' projections in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec

from application.projection_store import Build, Failure, Progress, Row, Shape, Value, planned, replaced
from tests.simulation.memory_data import Calls, MemoryData

replace = msgspec.structs.replace


class MemoryProjections:
    """`ProjectionStore` in memory."""

    def __init__(self, data: MemoryData, calls: Calls) -> None:
        self._data = data
        self._calls = calls

    async def builds(self) -> list[Build]:
        async with self._calls.call("builds"):
            return self._all()

    def _all(self) -> list[Build]:
        return sorted(self._data.builds.values(), key=lambda each: (each.name, each.version, each.number))

    async def begin(
        self, name: str, version: int, shape: Shape, at: datetime, *, revise: bool = False, anew: bool = False
    ) -> Build | None:
        async with self._calls.call("begin build"):
            plan = planned(self._all(), name, version, shape, at, revise=revise, anew=anew)
            if plan.make is None:
                return plan.known
            for each in plan.retire:
                self._retire(each)
            self._data.builds[plan.make.tracking] = plan.make
            self._data.tables[plan.make.table] = {}
            for partition in range(len(self._data.partitions)):
                self._data.progress[plan.make.tracking, partition] = Progress(0)
            return plan.make

    def _retire(self, build: Build) -> None:
        self._data.builds[build.tracking] = replace(build, state="retired")
        self._data.tables.pop(build.table)
        for partition in range(len(self._data.partitions)):
            del self._data.progress[build.tracking, partition]

    def _progress(self, build: Build) -> dict[int, Progress]:
        found = self._data.progress
        return {partition: each for (tracking, partition), each in found.items() if tracking == build.tracking}

    async def progress(self, build: Build) -> dict[int, Progress]:
        async with self._calls.call("progress"):
            return self._progress(build)

    async def rows(self, build: Build, partition: int, keys: Collection[str]) -> dict[str, Row]:
        async with self._calls.call("projected rows"):
            table = self._data.tables.get(build.table, {})
            return {key: table[partition, key] for key in keys if (partition, key) in table}

    async def apply(
        self,
        build: Build,
        partition: int,
        after: int,
        until: int,
        rows: Mapping[str, Row | None],
        failure: Failure | None = None,
    ) -> bool:
        async with self._calls.call("project"):
            at = self._data.progress.get((build.tracking, partition))
            if at != Progress(after):
                return False
            self._data.progress[build.tracking, partition] = Progress(until, failure)
            table = self._data.tables[build.table]
            for key, row in rows.items():
                if row is None:
                    table.pop((partition, key), None)
                else:
                    table[partition, key] = row
            return True

    async def swap(self, build: Build) -> bool:
        async with self._calls.call("swap"):
            retired = replaced(self._all(), build)
            if retired is None:
                return False
            mine = self._progress(build)
            for each in retired:
                theirs = self._progress(each)
                if each.state == "live" and any(at.position > mine[p].position for p, at in theirs.items()):
                    return False
            for each in retired:
                self._retire(each)
            self._data.builds[build.tracking] = replace(build, state="live")
            return True

    async def end(self, build: Build) -> bool:
        async with self._calls.call("end build"):
            found = self._data.builds.get(build.tracking)
            if found is None or found.state == "retired":
                return False
            self._retire(found)
            return True

    async def retry(self, build: Build) -> int:
        async with self._calls.call("retry"):
            failed = {p: each for p, each in self._progress(build).items() if each.failure is not None}
            for partition, each in failed.items():
                self._data.progress[build.tracking, partition] = Progress(each.position)
            return len(failed)

    async def page(
        self, build: Build, where: Sequence[tuple[str, Value]], after: tuple[int, str] | None = None, limit: int = 100
    ) -> list[tuple[int, str, Row]]:
        async with self._calls.call("page"):
            names = [build.shape.key, *(column.name for column in build.shape.columns)]
            found = sorted(self._data.tables.get(build.table, {}).items())
            rows = [(*place, row) for place, row in found if after is None or place > after]
            return [
                (partition, key, row)
                for partition, key, row in rows
                if all((key, *row)[names.index(name)] == value for name, value in where)
            ][:limit]
