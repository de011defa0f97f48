"""The views and registers of storage in memory: dictionaries behind the same ports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from application.registers import HeldEvent, RequestRecord, register_partition
from application.storage import DefinitionRecord, ResourceTakenError
from application.views import Move, StatusQuery, StatusRow
from tests.simulation.memory_data import Calls, MemoryData

replace = msgspec.structs.replace


class _Part:
    def __init__(self, data: MemoryData, calls: Calls) -> None:
        self._data = data
        self._calls = calls


class MemoryDefinitions(_Part):
    """`DefinitionStore` in memory: a list in order of deployment, the last of a version is current."""

    def _current(self) -> list[DefinitionRecord]:
        return list({(each.namespace, each.name, each.version): each for each in self._data.definitions}.values())

    async def put(self, record: DefinitionRecord, *, revise: bool = False) -> DefinitionRecord | None:
        async with self._calls.call("put definition"):
            for stored in self._current():
                same = (stored.namespace, stored.name, stored.version) == (
                    record.namespace,
                    record.name,
                    record.version,
                )
                if same and (stored.digest == record.digest or not revise):
                    return stored
            for other in self._current():
                same = (other.namespace, other.name) == (record.namespace, record.name)
                if record.resource is not None and other.resource == record.resource and not same:
                    raise ResourceTakenError(f"The resource path {record.resource} belongs to another definition.")
            self._data.definitions.append(record)
            return None

    async def get(self, namespace: str, name: str, version: str) -> DefinitionRecord | None:
        async with self._calls.call("get definition"):
            for each in self._current():
                if (each.namespace, each.name, each.version) == (namespace, name, version):
                    return each
            return None

    async def by_digest(self, digest: str) -> DefinitionRecord | None:
        async with self._calls.call("definition by digest"):
            return next((each for each in self._data.definitions if each.digest == digest), None)

    async def versions(self, namespace: str | None = None, name: str | None = None) -> list[DefinitionRecord]:
        async with self._calls.call("definitions"):
            found = [
                each for each in self._current() if namespace in {None, each.namespace} and name in {None, each.name}
            ]
            return sorted(found, key=lambda each: (each.namespace, each.name, each.created_at, each.version))


class MemoryStatusView(_Part):
    """`StatusView` in memory."""

    async def tracked(self, projection: str) -> dict[int, int]:
        async with self._calls.call("tracked"):
            return {key[1]: position for key, position in self._data.tracking.items() if key[0] == projection}

    async def apply(self, projection: str, moves: Sequence[Move]) -> set[int]:
        async with self._calls.call("apply"):
            moved = set()
            for move in moves:
                if self._data.tracking.get((projection, move.partition), 0) == move.after:
                    self._data.tracking[projection, move.partition] = move.until
                    self._data.status.update({(row.partition, row.orchestration): row for row in move.rows})
                    moved.add(move.partition)
            return moved

    async def list(self, query: StatusQuery) -> list[StatusRow]:
        async with self._calls.call("list"):
            rows = sorted(self._data.status.values(), key=lambda row: row.public_id)
            rows.sort(key=lambda row: row.started_at, reverse=True)
            return [row for row in rows if _matches(row, query)][: query.limit]

    async def row(self, partition: int, orchestration: UUID) -> StatusRow | None:
        async with self._calls.call("status row"):
            return self._data.status.get((partition, orchestration))

    async def still(
        self,
        partition: int,
        statuses: Sequence[str],
        before: datetime,
        after: tuple[datetime, str] | None = None,
        limit: int = 100,
    ) -> Sequence[StatusRow]:
        async with self._calls.call("still"):
            rows = [row for row in self._data.status.values() if row.partition == partition and row.status in statuses]
            rows = [row for row in rows if row.updated_at <= before and (after is None or _comes_before(row, *after))]
            rows.sort(key=lambda row: row.public_id, reverse=True)
            return sorted(rows, key=lambda row: row.started_at)[:limit]

    async def reset(self, projection: str, partition: int) -> None:
        async with self._calls.call("reset"):
            self._data.tracking.pop((projection, partition), None)
            for key in [key for key in self._data.status if key[0] == partition]:
                del self._data.status[key]


def _matches(row: StatusRow, query: StatusQuery) -> bool:
    for name in ("namespace", "name", "definition_version", "business_key"):
        if getattr(query, name) not in {None, getattr(row, name)}:
            return False
    return (
        (not query.statuses or row.status in query.statuses)
        and all(row.tags.get(key) == value for key, value in query.tags)
        and (query.started_after is None or row.started_at > query.started_after)
        and (query.started_before is None or row.started_at < query.started_before)
        and (query.has_incident is None or (row.incidents > 0) == query.has_incident)
        and (query.after is None or _comes_after(row, *query.after))
    )


def _comes_after(row: StatusRow, started_at: datetime, public_id: str) -> bool:
    return row.started_at < started_at or (row.started_at == started_at and row.public_id > public_id)


def _comes_before(row: StatusRow, started_at: datetime, public_id: str) -> bool:
    return row.started_at > started_at or (row.started_at == started_at and row.public_id < public_id)


class MemoryRequests(_Part):
    """`RequestStore` in memory."""

    async def begin(self, caller: str, key: str, fingerprint: bytes, at: datetime) -> RequestRecord | None:
        async with self._calls.call("begin request"):
            found = self._data.requests.get((caller, key))
            if found is None:
                self._data.requests[caller, key] = RequestRecord(fingerprint, None, {}, b"", at)
            return found

    async def finish(self, caller: str, key: str, status: int, headers: dict[str, str], body: bytes) -> None:
        async with self._calls.call("finish request"):
            if (found := self._data.requests.get((caller, key))) is not None:
                self._data.requests[caller, key] = replace(found, status=status, headers=headers, body=body)

    async def abandon(self, caller: str, key: str) -> None:
        async with self._calls.call("abandon request"):
            if (found := self._data.requests.get((caller, key))) is not None and found.status is None:
                del self._data.requests[caller, key]

    async def take_over(self, caller: str, key: str, started_at: datetime, at: datetime) -> bool:
        async with self._calls.call("take over request"):
            found = self._data.requests.get((caller, key))
            if found is None or found.status is not None or found.started_at != started_at:
                return False
            self._data.requests[caller, key] = replace(found, started_at=at)
            return True

    async def expire(self, before: datetime) -> int:
        async with self._calls.call("expire requests"):
            old = [key for key, each in self._data.requests.items() if each.started_at < before]
            for key in old:
                del self._data.requests[key]
            return len(old)


class MemoryKeys(_Part):
    """`KeyStore` in memory."""

    async def reserve(self, definition: str, key: str, public_id: str) -> str:
        async with self._calls.call("reserve key"):
            return self._data.keys.setdefault((definition, key), (public_id, None))[0]

    async def holds(self, definition: str, key: str, public_id: str) -> bool:
        async with self._calls.call("holds key"):
            return self._data.keys.get((definition, key)) == (public_id, None)

    async def contend(self, definition: str, key: str, holder: str, contender: str | None) -> None:
        async with self._calls.call("contend for key"):
            if self._data.keys[definition, key][0] == holder:
                self._data.keys[definition, key] = holder, contender

    async def withdraw(self, definition: str, key: str, contender: str) -> None:
        async with self._calls.call("withdraw from key"):
            holder, announced = self._data.keys[definition, key]
            if announced == contender:
                self._data.keys[definition, key] = holder, None

    async def take_over(self, definition: str, key: str, holder: str, public_id: str, *, contended: bool) -> bool:
        async with self._calls.call("take over key"):
            found = self._data.keys.get((definition, key))
            if found is None or found[0] != holder or (contended and found[1] != public_id):
                return False
            self._data.keys[definition, key] = public_id, None
            return True


class MemoryHeldEvents(_Part):
    """`HeldEventStore` in memory."""

    async def put(self, event: HeldEvent) -> HeldEvent | None:
        async with self._calls.call("hold event"):
            found = self._data.held.get((event.source, event.id))
            if found is None:
                self._data.held[event.source, event.id] = event
            return found

    async def mark(self, source: str, id: str, *, taken: bool | None = None, looked: bool | None = None) -> None:  # noqa: A002
        async with self._calls.call("mark held"):
            if (found := self._data.held.get((source, id))) is not None:
                self._data.held[source, id] = replace(
                    found,
                    taken=found.taken if taken is None else taken,
                    looked=found.looked if looked is None else looked,
                )

    async def get(self, source: str, id: str) -> HeldEvent | None:  # noqa: A002
        async with self._calls.call("held event"):
            return self._data.held.get((source, id))

    def _oldest_first(self) -> list[HeldEvent]:
        return sorted(self._data.held.values(), key=lambda each: (each.received_at, each.source, each.id))

    async def waiting(
        self,
        event_type: str | None,
        limit: int = 100,
        after: tuple[datetime, str, str] | None = None,
        *,
        source: str | None = None,
    ) -> list[HeldEvent]:
        async with self._calls.call("waiting"):
            found = (
                each
                for each in self._oldest_first()
                if not each.taken
                and event_type in {None, each.event_type}
                and source in {None, each.source}
                and (after is None or (each.received_at, each.source, each.id) > after)
            )
            return [each for _, each in zip(range(limit), found, strict=False)]

    async def unlooked(self, partitions: Sequence[int], limit: int = 100) -> list[HeldEvent]:
        async with self._calls.call("unlooked"):
            number = len(self._data.partitions)
            return [
                each
                for each in self._oldest_first()
                if not each.looked and register_partition(each.source, each.id, partitions=number) in partitions
            ][:limit]

    async def expire(self, before: datetime) -> int:
        async with self._calls.call("expire held"):
            old = [key for key, each in self._data.held.items() if each.received_at < before and each.looked]
            for key in old:
                del self._data.held[key]
            return len(old)
