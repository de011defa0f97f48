"""Followers of the log over a SQL database."""

from __future__ import annotations

from adapters.sql.database import Database


class SqlFollowers:
    """`FollowerStore` over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, partition: int, name: str, position: int) -> int:
        params = {"partition": partition, "name": name, "position": position}
        if await self._database.change(lambda transaction: transaction.run("put_follower", params)):
            return position
        rows = await self._database.read("follower", {"partition": partition, "name": name})
        return int(rows[0][0])

    async def move(self, partition: int, name: str, after: int, until: int) -> bool:
        params = {"partition": partition, "name": name, "after": after, "until": until}
        return bool(await self._database.change(lambda transaction: transaction.run("move_follower", params)))
