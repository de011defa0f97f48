"""The same schema distributed by Citus: the storage contract, and a saga, on the cluster that ``RETRACE_TEST_CITUS`` names.

The variable holds the URL of a database on the coordinator in which Citus is installed and has workers. Each test has a
schema of its own there, made by our migrations and distributed by the statements of docs/operations/scale-out.md.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import quote, urlencode

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from adapters.postgres.storage import PostgresStorage
from adapters.sql.migration import migrate
from tests.contract import (
    test_storage_archive,
    test_storage_definitions,
    test_storage_inbox,
    test_storage_leases,
    test_storage_log,
    test_storage_registers,
    test_storage_snapshots,
    test_storage_status,
    test_storage_work,
)
from tests.contract.storages import storage  # noqa: F401 - a fixture, here over the place below
from tests.integration.test_archive import serving

CLUSTER = os.environ.get("RETRACE_TEST_CITUS")
PAGE = Path(__file__).parents[2] / "docs" / "operations" / "scale-out.md"
CONTRACT = (
    test_storage_archive,
    test_storage_definitions,
    test_storage_inbox,
    test_storage_leases,
    test_storage_log,
    test_storage_registers,
    test_storage_snapshots,
    test_storage_status,
    test_storage_work,
)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(CLUSTER is None, reason="needs a cluster: RETRACE_TEST_CITUS=postgresql://..."),
]


def contract(*modules: ModuleType) -> dict[str, object]:
    """The tests of these modules, and the fixtures that they bring along."""
    found: dict[str, object] = {}
    for module in modules:
        for name, value in vars(module).items():
            is_fixture = type(value).__name__ == "FixtureFunctionDefinition"
            if name.startswith("test_") and callable(value):
                found[f"{name}__{module.__name__.rpartition('_')[2]}"] = value
            elif is_fixture and name not in {"storage", "place"}:
                found[name] = value
    return found


globals().update(contract(*CONTRACT))


@pytest.fixture
def distributed() -> Iterator[str]:
    """URL of a schema of this test's own, migrated, distributed, and empty."""
    assert CLUSTER is not None
    name = f"retrace_test_{uuid.uuid4().hex}"
    url = f"{CLUSTER}{'&' if '?' in CLUSTER else '?'}options={quote(f'-csearch_path={name},public')}"
    with psycopg.connect(CLUSTER, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
    try:
        migrate(f"postgresql+psycopg:///?{urlencode(conninfo_to_dict(url))}", "adapters.postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in instructions():
                connection.execute(statement.encode())
        yield url
    finally:
        with psycopg.connect(CLUSTER, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


def instructions() -> list[str]:
    """What the page tells an operator to run."""
    return re.findall(r"^SELECT create_\w+_table\(.*\);$", PAGE.read_text(), re.MULTILINE)


@pytest.fixture
def place(distributed):
    return lambda: PostgresStorage(distributed)


DEFINITION = """
document: {dsl: '1.0.3', namespace: shop, name: order, version: '1.0.0'}
do:
  - reserve: {set: {reserved: true}}
  - paid: {listen: {to: {one: {with: {type: order.paid}}}}}
  - done: {set: {sent: true}}
"""


async def test_sagas_wait_end_and_are_archived(distributed):
    async with serving(distributed) as (node, api):
        assert (await api.deploy(DEFINITION))["http_status"] == 201
        ids = [(await api.start("shop/order", {"number": number}))["id"] for number in range(8)]
        for number, id_ in enumerate(ids):
            await api.waiting(id_, "paid")
            event = {"specversion": "1.0", "id": f"{number}", "source": "/shop", "type": "order.paid"}
            kind = {"Content-Type": "application/cloudevents+json"}
            await api.done("POST", f"/v1/orchestrations/{id_}/events", json=event, headers=kind)
        assert {(await api.ended(id_))["status"] for id_ in ids} == {"completed"}
        await node.projector.caught_up()
        assert len((await api.done("GET", "/v1/orchestrations"))["items"]) == 8
        assert await node.archivist.archive(node.engine.now()) == 8
        path = f"/v1/orchestrations/{ids[0]}/history"
        items = (await api.done("GET", path, params={"archive": "true"}))["items"]
        assert items[-1]["type"] == "orchestration.completed"
