"""Who read what, over a SQL database: chains that grow by "insert or nothing" on the next number."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from adapters.sql.database import Database, Row, Transaction
from adapters.sql.rows import as_instant, microseconds
from adapters.sql.statements import Fragment
from application.accesses import GENESIS, Access, AccessQuery, AccessRecord, chained


class SqlAccesses:
    """`AccessStore` over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, partition: int, accesses: Sequence[Access]) -> list[AccessRecord]:
        def extend(transaction: Transaction) -> list[AccessRecord]:
            left, done = list(accesses), list[AccessRecord]()
            while left:
                found = transaction.run("last_access", {"partition": partition})
                last = (int(found[0][0]), bytes(found[0][1])) if found else (0, GENESIS)
                for record in chained(partition, last, tuple(left)):
                    if not transaction.run("put_access", _params(record)):
                        break  # another node was quicker, and has committed: its record is seen now
                    done.append(record)
                    left.pop(0)
            return done

        return await self._database.change(extend)

    async def newest(self, query: AccessQuery) -> list[AccessRecord]:
        params: dict[str, object] = {"limit": query.limit}
        where: list[Fragment] = []
        for name in ("actor", "what", "orchestration", "since", "until"):
            if (value := getattr(query, name)) is not None:
                params[name] = value
                where.append(f"access_{name}")
        if query.after is not None:
            params |= {
                "after_at": query.after[0],
                "after_partition": query.after[1],
                "after_number": query.after[2],
            }
            where.append("access_page")
        rows = await self._database.across("list_accesses", params, *where, order=_newest_first, limit=query.limit)
        return [_record(row) for row in rows]

    async def chain(self, partition: int, after: int = 0, limit: int = 1000) -> list[AccessRecord]:
        params = {"partition": partition, "after": after, "limit": limit}
        return [_record(row) for row in await self._database.read("chain_of_accesses", params)]

    async def expire(self, before: datetime) -> int:
        removed = 0
        for partition in range(self._database.partitions):
            params = {"partition": partition, "before": before}

            def cut(transaction: Transaction, params: dict[str, object] = params) -> int:
                [(kept,)] = transaction.run("first_access_to_keep", params)
                if kept is None:
                    return 0
                return len(transaction.run("drop_accesses", {"partition": params["partition"], "kept": kept}))

            removed += await self._database.change(cut)
        return removed


def _newest_first(row: Row) -> tuple[int, int, int]:
    return -microseconds(as_instant(row[3])), row[0], -row[1]


def _params(record: AccessRecord) -> dict[str, object]:
    access = record.access
    return {
        **msgspec.structs.asdict(access),
        "filters": msgspec.json.encode(access.filters).decode(),
        "partition": record.partition,
        "number": record.number,
        "previous": record.previous,
        "hash": record.hash,
    }


def _record(row: Row) -> AccessRecord:
    partition, number, id_, at, actor, what, step, orchestration, filters, request_id, events, previous, hash_ = row
    access = Access(
        id=id_,
        at=as_instant(at).astimezone(UTC),
        actor=actor,
        what=what,
        step=step,
        orchestration=orchestration,
        filters=msgspec.json.decode(filters),
        request_id=request_id,
        events=events,
    )
    return AccessRecord(partition, number, access, bytes(previous), bytes(hash_))
