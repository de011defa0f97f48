"""A database with a log of its own, to be damaged behind the service's back and verified."""

from __future__ import annotations

import base64
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2
import psycopg

from adapters.bootstrap import open_service, open_storage
from adapters.settings import Settings
from adapters.signatures import Ed25519Keys, Ed25519Signer, read_private
from adapters.stored_events import EventMapper
from adapters.system import SystemChance, SystemClock
from application.checkpoint_store import NoKeys
from application.identity import Identity
from application.operations import Operations, Progress
from application.verification import Verification, VerifyRequest
from tests.support.service import Api

PARTITIONS = 2
KEY = base64.b64encode(b"a key that is the same each time").decode()
OTHER_KEY = base64.b64encode(b"another key, of somebody else...").decode()
DEFINITION = """
document: {dsl: '1.0.3', namespace: shop, name: parcel, version: '1.0.0'}
do:
  - label: {set: {text: '${ "To " + .city }'}}
  - weigh: {set: {grams: '${ .text | length }'}}
"""
_numbers = count()


class Database:
    """One database: plain statements on it, with ``?`` for values, and its verification."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def is_sqlite(self) -> bool:
        return self.url.startswith("sqlite")

    def run(self, statement: str, *values: Any) -> list[Any]:
        """Its rows, if it gives any; committed."""
        if self.is_sqlite:
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as file, file:
                return file.execute(statement, values).fetchall()
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(statement.replace("?", "%s").encode(), values)
            return cursor.fetchall() if cursor.description else []

    def rows(self, partition: int) -> list[tuple[Any, ...]]:
        """(position, orchestration, version, topic, state, event_hash, log_hash, state_hash), in order."""
        columns = "position, orchestration, version, topic, state, event_hash, log_hash, state_hash"
        return self.run(f"SELECT {columns} FROM events WHERE partition = ? ORDER BY position", partition)

    async def verify(
        self, request: VerifyRequest | None = None, key: str | None = KEY, before: Any = None
    ) -> dict[str, Any]:
        """The result of a verification without a service."""
        storage = open_storage(self.url)
        try:
            partitions = await storage.log.open(PARTITIONS, 10.0)
            identity = Identity(await storage.log.salt(), partitions, SystemChance())
            operations = Operations(storage.operations, SystemClock(), SystemChance(), "test")
            keys = NoKeys() if key is None else Ed25519Keys([], current=Ed25519Signer(read_private(key)).public)
            verification = Verification(
                storage.audit_log,
                storage.checkpoints,
                keys,
                identity,
                storage.log,
                storage.archive,
                EventMapper(),
                operations,
                storage.view,
                storage.blobs,
            )
            request = request or VerifyRequest()
            scope = await verification._scope(request)
            return await verification._all(scope, Progress())
        finally:
            await storage.log.close()


async def make_log(database: Database) -> None:
    """Fill it: orchestrations in both partitions, some archived, with a checkpoint before, between and after."""
    settings = Settings(database=database.url, partitions=PARTITIONS, grace=0.1, audit_key=KEY)
    service = await open_service(settings, functions={}, development=True)
    node = service.node
    try:
        transport = httpx2.ASGITransport(app=service.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", timeout=30) as http:
            api = Api(http)
            await api.deploy(DEFINITION)
            for round_ in range(3):
                # Ids are drawn at random: as many as it takes for two in each partition.
                placed: list[int] = []
                while any(placed.count(each) < 2 for each in range(PARTITIONS)):
                    started = await api.start("shop/parcel", {"city": f"Faro {round_}{len(placed)}"})
                    await api.ended(started["id"])
                    placed.append(node.engine.identity.locate(started["id"])[0])
                await node.projector.caught_up()
                if round_ == 0:
                    archived = await node.archivist.archive(node.engine.clock.now() + timedelta(seconds=1))
                    assert archived == len(placed)
                if round_ < 2:
                    assert node.world.signer is not None
                    await node.checkpoints.make(node.world.signer)
    finally:
        await service.close()


@contextmanager
def copied(original: Database, folder: Path) -> Iterator[Database]:
    """A copy of a database that nobody has open."""
    name = f"copy_{next(_numbers)}"
    if original.is_sqlite:
        source = Path(original.url.removeprefix("sqlite:///"))
        target = folder / f"{name}.db"
        shutil.copy(source, target)
        yield Database(f"sqlite:///{target}")
        for each in folder.glob(f"{name}.db*"):
            each.unlink()
        return
    parts = urlsplit(original.url)
    template = parts.path.lstrip("/")
    with psycopg.connect(original.url.replace(f"/{template}", "/postgres"), autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{template}_{name}" TEMPLATE "{template}"'.encode())
        try:
            yield Database(urlunsplit(parts._replace(path=f"/{template}_{name}")))
        finally:
            admin.execute(f'DROP DATABASE "{template}_{name}" WITH (FORCE)'.encode())


def kinds(result: dict[str, Any]) -> list[tuple[str, int, int]]:
    """(kind, partition, position) of its findings."""
    return [(each["kind"], each["partition"], each["position"]) for each in result["findings"]]


def filled(rows: Sequence[Any]) -> list[Any]:
    """Rows that still have their bytes."""
    return [row for row in rows if row[4]]
