"""Open tasks for people over a SQL database.

A list reads one index range per partition, for each of the people it is for, and merges them; the other filters are applied
on the way.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.sql.database import Database, Row
from adapters.sql.rows import as_instant
from adapters.sql.statements import Fragment
from application.human_store import HumanQuery, HumanRow


class SqlHumanTasks:
    """`HumanStore` over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, query: HumanQuery) -> list[HumanRow]:
        params: dict[str, object] = {"limit": query.limit}
        where: list[Fragment] = []
        for name in ("assignee", "status", "namespace", "name"):
            if (value := getattr(query, name)) is not None:
                params[name] = value
                where.append(f"human_{name}")
        if query.public_id is not None:
            params["public_id"] = query.public_id
            where.append("human_orchestration")
        if query.overdue is not None:
            params["overdue"], overdue = query.overdue
            where.append("human_overdue" if overdue else "human_not_overdue")
        if query.after is not None:
            names = ("last_rank", "last_created_at", "last_public_id", "last_number")
            params |= dict(zip(names, query.after, strict=True))
            where.append("human_page" if query.people is None else "human_page_for")
        rows: Sequence[Row]
        if query.people is None:
            rows = await self._database.across("human_tasks", params, *where, order=_urgent_first, limit=query.limit)
        else:
            rows = await self._merged(query.people, params, where, query.limit)
        return [_row(row) for row in rows]

    async def _merged(
        self, people: Sequence[str], params: dict[str, object], where: Sequence[Fragment], limit: int
    ) -> Sequence[Row]:
        """One range for each of these; what several may take comes once."""
        found: dict[tuple[str, int], Row] = {}
        for person in dict.fromkeys(people):
            rows = await self._database.across(
                "human_tasks_for", {**params, "person": person}, *where, order=_urgent_first, limit=limit
            )
            found |= {(row[1], row[2]): row for row in rows}
        return sorted(found.values(), key=_urgent_first)[:limit]


def _urgent_first(row: Row) -> Row:
    return row[5], as_instant(row[7]), row[1], row[2]


def _row(row: Row) -> HumanRow:
    _, public_id, number, status, assignee, rank, due_at, created_at, content = row
    return HumanRow(
        public_id,
        number,
        status,
        assignee,
        rank,
        None if due_at is None else as_instant(due_at),
        as_instant(created_at),
        bytes(content),
    )
