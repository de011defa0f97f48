"""Deployed documents over a SQL database.

A version's revisions are numbered; only the first exists outside development. Nothing is ever updated, so whoever
holds a digest finds its document. A resource path has a row that says whose it is: two deployments at the same moment
meet there.
"""

from __future__ import annotations

from adapters.sql.database import Database, Row, Transaction
from adapters.sql.rows import as_instant
from adapters.sql.statements import Fragment
from application.storage import DefinitionRecord, ResourceTakenError


class SqlDefinitions:
    """`DefinitionStore` over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, record: DefinitionRecord, *, revise: bool = False) -> DefinitionRecord | None:
        return await self._database.change(lambda transaction: _put(transaction, record, revise))

    async def get(self, namespace: str, name: str, version: str) -> DefinitionRecord | None:
        key = {"namespace": namespace, "name": name, "version": version}
        return _only(await self._database.read("definition", key))

    async def by_digest(self, digest: str) -> DefinitionRecord | None:
        return _only(await self._database.read("definition_by_digest", {"digest": digest}))

    async def versions(self, namespace: str | None = None, name: str | None = None) -> list[DefinitionRecord]:
        params = {}
        where: list[Fragment] = []
        if namespace is not None:
            params["namespace"] = namespace
            where.append("definition_namespace")
        if name is not None:
            params["name"] = name
            where.append("definition_name")
        return [_record(row) for row in await self._database.read("definitions", params, *where)]


def _put(transaction: Transaction, record: DefinitionRecord, revise: bool) -> DefinitionRecord | None:
    key = {"namespace": record.namespace, "name": record.name, "version": record.version}
    while True:
        stored = _only(transaction.run("definition", key))
        if stored is not None and (stored.digest == record.digest or not revise):
            return stored
        if record.resource is not None:
            _take_resource(transaction, record, record.resource)
        values = {field: getattr(record, field) for field in record.__struct_fields__}
        # No row: another deployment of this version came in between; look again at what it left.
        if transaction.run("put_definition", values):
            return None


def _take_resource(transaction: Transaction, record: DefinitionRecord, resource: str) -> None:
    claim = {"resource": resource, "namespace": record.namespace, "name": record.name}
    if transaction.run("claim_resource", claim):
        return
    # Statements of their own: each sees what was committed while the one before it waited for the row.
    [owner] = transaction.run("resource_owner", {"resource": resource})
    if owner == (record.namespace, record.name):
        return
    if transaction.run("resource_in_use", {"resource": resource, "namespace": owner[0], "name": owner[1]}):
        raise ResourceTakenError(f"The resource path {resource} belongs to the definition {owner[0]}/{owner[1]}.")
    transaction.run("pass_resource", claim)


def _only(rows: list[Row]) -> DefinitionRecord | None:
    return _record(rows[0]) if rows else None


def _record(row: Row) -> DefinitionRecord:
    namespace, name, version, digest, media_type, document, value, resource, warnings, created_at = row
    return DefinitionRecord(
        namespace, name, version, digest, media_type, document, value, resource, warnings, as_instant(created_at)
    )
