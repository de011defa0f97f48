"""Users' projections over a SQL database: a table for each build, a view of the live one under its name.

Tables are made and dropped in transactions of their own, beside the writer, which give up soon when somebody reads what is
to be dropped. Such a transaction takes the view, then the tracking rows, then the table; the last two in the order in which
`apply` does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec

from adapters.sql.database import Database, Transaction
from adapters.sql.projection_tables import Dialect, TableStatements
from adapters.sql.rows import as_instant
from application.projection_store import Build, Failure, Progress, Row, Shape, Value, planned, replaced


class _BehindError(Exception):
    """Undoes a swap that would make readers go back."""


class SqlProjections:
    """`ProjectionStore` over a SQL database."""

    def __init__(self, database: Database, dialect: Dialect) -> None:
        self._database = database
        self._dialect = dialect
        self._known: dict[str, TableStatements] = {}

    def _statements(self, build: Build) -> TableStatements:
        if build.table not in self._known:
            self._known[build.table] = TableStatements(self._dialect, build)
        return self._known[build.table]

    async def builds(self) -> list[Build]:
        return [_build(row) for row in await self._database.read("projection_builds", {})]

    async def begin(
        self, name: str, version: int, shape: Shape, at: datetime, *, revise: bool = False, anew: bool = False
    ) -> Build | None:
        known = planned(await self.builds(), name, version, shape, at, revise=revise, anew=anew)
        if known.make is None:
            return known.known

        def begin(transaction: Transaction) -> Build | None:
            builds = [_build(row) for row in transaction.run("projection_builds", {})]
            plan = planned(builds, name, version, shape, at, revise=revise, anew=anew)
            if plan.make is None:
                return plan.known
            for each in plan.retire:
                self._retire(transaction, each)
            self._make(transaction, plan.make)
            return plan.make

        return await self._database.reshape(begin)

    def _make(self, transaction: Transaction, build: Build) -> None:
        """Nothing, when another node has made it at the same moment."""
        members = {**msgspec.structs.asdict(build), "shape": msgspec.json.encode(build.shape).decode()}
        if not transaction.run("put_projection_build", members):
            return
        transaction.perform(self._statements(build).text("create_table"), {})
        for partition in range(self._database.partitions):
            transaction.run("start_tracking", {"partition": partition, "projection": build.tracking})

    def _retire(self, transaction: Transaction, build: Build) -> dict[int, int]:
        """Gives where it had got to. Its table is not there afterwards, and nobody can write to it."""
        place = {"name": build.name, "version": build.version, "number": build.number}
        transaction.run("move_projection_build", {**place, "from_state": build.state, "state": "retired"})
        if build.state == "live":  # first: whoever reads is waited for before writers would have to wait as well
            transaction.perform(self._statements(build).text("drop_view"), {})
        ended: dict[int, int] = {}
        for partition in range(self._database.partitions):
            for (position,) in transaction.run(
                "end_projection", {"partition": partition, "projection": build.tracking}
            ):
                ended[partition] = position
        transaction.perform(self._statements(build).text("drop_table"), {})
        return ended

    async def progress(self, build: Build) -> dict[int, Progress]:
        rows = await self._database.read("projection_progress", {"projection": build.tracking})
        return {partition: Progress(position, _failure(failure)) for partition, position, failure in rows}

    async def rows(self, build: Build, partition: int, keys: Collection[str]) -> dict[str, Row]:
        statements = self._statements(build)
        params = {"partition": partition, "keys": msgspec.json.encode(sorted(keys)).decode()}
        found = await self._database.select(statements.text("rows"), params)
        return {key: statements.decoded(row) for key, *row in found}

    async def apply(
        self,
        build: Build,
        partition: int,
        after: int,
        until: int,
        rows: Mapping[str, Row | None],
        failure: Failure | None = None,
    ) -> bool:
        statements = self._statements(build)
        told = None if failure is None else msgspec.json.encode(failure).decode()
        place = {"partition": partition, "projection": build.tracking}
        step = {**place, "after": after, "until": until, "failure": told}
        puts = [(partition, key, *statements.encoded(row)) for key, row in rows.items() if row is not None]
        drops = [(partition, key) for key, row in rows.items() if row is None]

        def project(transaction: Transaction) -> bool:
            if not transaction.run("move_projection", step):
                return False
            if puts:
                transaction.perform_each(statements.text("put"), puts)
            if drops:
                transaction.perform_each(statements.text("drop"), drops)
            return True

        return await self._database.change(project)

    async def swap(self, build: Build) -> bool:
        def swap(transaction: Transaction) -> bool:
            builds = [_build(row) for row in transaction.run("projection_builds", {})]
            retired = replaced(builds, build)
            place = {"name": build.name, "version": build.version, "number": build.number}
            step = {**place, "from_state": "building", "state": "live"}
            if retired is None or not transaction.run("move_projection_build", step):
                return False
            progress: dict[int, int] = dict(transaction.run("tracked", {"projection": build.tracking}))
            for each in retired:
                ended = self._retire(transaction, each)
                if each.state == "live" and any(at > progress[partition] for partition, at in ended.items()):
                    raise _BehindError
            transaction.perform(self._statements(build).text("create_view"), {})
            return True

        try:
            return await self._database.reshape(swap)
        except _BehindError:
            return False

    async def end(self, build: Build) -> bool:
        def end(transaction: Transaction) -> bool:
            builds = [_build(row) for row in transaction.run("projection_builds", {})]
            now = [each for each in builds if each.tracking == build.tracking and each.state != "retired"]
            for each in now:
                self._retire(transaction, each)
            return bool(now)

        return await self._database.reshape(end)

    async def retry(self, build: Build) -> int:
        def retry(transaction: Transaction) -> int:
            place = {"projection": build.tracking}
            partitions = range(self._database.partitions)
            return sum(len(transaction.run("retry_projection", {**place, "partition": each})) for each in partitions)

        return await self._database.change(retry)

    async def page(
        self, build: Build, where: Sequence[tuple[str, Value]], after: tuple[int, str] | None = None, limit: int = 100
    ) -> list[tuple[int, str, Row]]:
        statements = self._statements(build)
        params: dict[str, object] = {"limit": limit}
        params |= {f"value_{n}": statements.value(name, value) for n, (name, value) in enumerate(where)}
        params["after_partition"], params["after_key"] = after or (-1, "")
        found = await self._database.select(statements.page([name for name, _ in where]), params)
        return [(partition, key, statements.decoded(row)) for partition, key, *row in found]


def _build(row: tuple[object, ...]) -> Build:
    name, version, number, shape, state, created_at = row
    members = {"name": name, "version": version, "number": number, "state": state}
    found = msgspec.json.decode(str(shape), type=Shape)
    return Build(**members, shape=found, created_at=as_instant(created_at))  # type: ignore[arg-type]


def _failure(text: str | None) -> Failure | None:
    return None if text is None else msgspec.json.decode(text, type=Failure)
