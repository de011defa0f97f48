"""The latest version of a definition is remembered for a second: one start looks again, the others go on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.documents import read_definition
from application.definitions import DefinitionRegistry
from application.storage import DefinitionRecord
from domain.errors import NotFoundError

pytestmark = pytest.mark.anyio
AT = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.at = AT

    def now(self):
        return self.at


class Store:
    """Reads wait while `gate` is closed, with what there was when they began."""

    def __init__(self, *versions):
        self.there = [record(version) for version in versions]
        self.reads = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def versions(self, namespace=None, name=None):
        self.reads += 1
        found = [each for each in self.there if namespace in (None, each.namespace)]
        await self.gate.wait()
        return found

    async def put(self, new, *, revise=False):
        self.there.append(new)


def record(version):
    return DefinitionRecord("n", "d", version, version, "application/yaml", b"", b"", None, b"[]", AT)


class Documents:
    """Finds nothing to complain of."""

    def read(self, text, media_type):
        return read_definition(text, media_type)

    def __getattr__(self, name):
        return lambda plan: []


def text(version):
    return f"{{document: {{dsl: '1.0.3', namespace: n, name: d, version: {version}}}, do: [{{a: {{set: {{b: 1}}}}}}]}}".encode()


@pytest.fixture
def clock():
    return Clock()


def registry(store, clock):
    unused: Any = None
    return DefinitionRegistry(store, Documents(), unused, unused, unused, clock)


async def version(definitions):
    return (await definitions.record("n", "d", "latest")).version


async def test_it_is_read_once_a_second(clock):
    store = Store("1.0.0")
    definitions = registry(store, clock)
    assert [await version(definitions) for _ in range(3)] == ["1.0.0"] * 3
    assert store.reads == 1
    store.there.append(record("2.0.0"))
    clock.at += timedelta(seconds=1)
    assert await version(definitions) == "2.0.0"
    assert store.reads == 2


async def test_while_one_looks_again_the_others_go_on_with_what_they_know(clock):
    store = Store("1.0.0")
    definitions = registry(store, clock)
    await version(definitions)
    store.there.append(record("2.0.0"))
    clock.at += timedelta(seconds=1)
    store.gate.clear()
    first = asyncio.create_task(version(definitions))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        assert [await version(definitions) for _ in range(5)] == ["1.0.0"] * 5
    store.gate.set()
    assert await first == "2.0.0"
    assert await version(definitions) == "2.0.0"
    assert store.reads == 2


async def test_what_was_read_before_a_deployment_is_not_remembered_after_it(clock):
    store = Store("1.0.0")
    definitions = registry(store, clock)
    store.gate.clear()
    early = asyncio.create_task(version(definitions))
    await asyncio.sleep(0)
    await definitions.deploy(text("2.0.0"), "application/yaml")
    store.gate.set()
    assert await early == "1.0.0"
    assert await version(definitions) == "2.0.0"


async def test_one_that_is_gone_is_not_remembered(clock):
    store = Store("1.0.0")
    definitions = registry(store, clock)
    await version(definitions)
    store.there.clear()
    clock.at += timedelta(seconds=1)
    for _ in range(2):
        with pytest.raises(NotFoundError):
            await version(definitions)
