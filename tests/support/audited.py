"""A service with something to audit, on both databases, and the readers that the tests of the audit share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Self

import httpx2
import pytest

from adapters.bootstrap import open_service
from adapters.rest.stream import EVENT_STREAM
from adapters.settings import Settings
from tests.support.service import Api

PARCEL = """
document: {dsl: '1.0.3', namespace: shop, name: parcel, version: '1.0.0'}
do:
  - label: {set: {text: '${ "To " + .city }'}}
"""
PATIENT = """
document: {dsl: '1.0.3', namespace: default, name: patient, version: '1.0.0'}
do:
  - wait: {listen: {to: {one: {with: {type: go}}}}}
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/retrace.db"
    return str(request.getfixturevalue("fresh_postgres"))


@asynccontextmanager
async def serving(database: str, *, partitions: int = 4, **more: Any) -> AsyncIterator[tuple[Any, Api]]:
    settings = Settings(database=database, partitions=partitions, grace=0.1, **more)
    service = await open_service(settings, functions={}, development=True)
    try:
        transport = httpx2.ASGITransport(app=service.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", timeout=30) as http:
            api = Api(http)
            for document in (PARCEL, PATIENT):
                await api.deploy(document)
            yield service.node, api
    finally:
        await service.close()


@pytest.fixture
async def served(database):
    async with serving(database) as both:
        yield both


@pytest.fixture
async def api(served: tuple[Any, Api]) -> Api:
    return served[1]


async def feed(api: Api, **query: Any) -> list[dict[str, Any]]:
    """All items, page by page."""
    found: list[dict[str, Any]] = []
    more: dict[str, Any] = {}
    while True:
        page = await api.done("GET", "/v1/audit/events", params={"limit": 7, **query, **more})
        found += page["items"]
        if page["next"] is None:
            assert page["resume"]
            return found
        more = {"after": page["next"]}


def places(items: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(each["orchestration"], each["version"]) for each in items]


async def archive(node) -> None:
    await node.projector.caught_up()
    await node.archivist.archive(node.engine.clock.now() + timedelta(seconds=1))


class Stream:
    """Server-sent events, parsed, of a request that goes on in a task of its own."""

    def __init__(self, app: Any, path: str, headers: dict[str, str] | None = None) -> None:
        self._app = app
        self._path, _, self._query = path.partition("?")
        self._headers = {"accept": EVENT_STREAM, **(headers or {})}
        self.found: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "path": self._path,
            "raw_path": self._path.encode(),
            "query_string": self._query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in self._headers.items()],
            "http_version": "1.1",
            "scheme": "http",
            "server": ("service", 80),
            "client": ("test", 1),
            "root_path": "",
        }
        never = asyncio.Event()

        async def receive() -> Any:
            await never.wait()

        async def send(message: Any) -> None:
            for block in message.get("body", b"").decode().split("\n\n"):
                if block and not block.startswith(":"):
                    self.found.put_nowait(dict(line.split(": ", 1) for line in block.splitlines()))

        await self._app(scope, receive, send)

    async def next(self, count: int) -> list[dict[str, str]]:
        return [await asyncio.wait_for(self.found.get(), 20) for _ in range(count)]
