"""A service whose large values and files lie in a folder, or in an object store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from adapters.bootstrap import open_service
from adapters.settings import Settings
from application.blob_collector import GRACE
from application.large_values import Blob
from domain.errors import StorageError
from tests.integration.test_files import DIGEST, PDF, delivered, site  # noqa: F401 - a fixture
from tests.integration.test_large_values import KEEPER, TEXT, kept, verified
from tests.support.audited import serving
from tests.support.s3 import ACCESS_KEY, REGION, SECRET_KEY, FakeS3

pytestmark = pytest.mark.anyio
THRESHOLD = 64 * 1024


class Place:
    """Where contents lie, as a test sees it."""

    def __init__(self, settings: dict[str, Any], folder: Path | None, store: FakeS3 | None) -> None:
        self.settings = settings
        self._folder = folder
        self._store = store

    def contents(self) -> dict[str, bytes]:
        if self._store is not None:
            return {name: content for name, (content, _) in self._store.objects.items()}
        assert self._folder is not None
        files = [path for path in self._folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(self._folder)): path.read_bytes() for path in files}

    def alter(self, name: str) -> None:
        if self._store is not None:
            self._store.objects[name] = (b"altered", "x/y")
        elif self._folder is not None:
            (self._folder / name).write_bytes(b"altered")


@pytest.fixture
def object_store() -> Iterator[HTTPServer]:
    with HTTPServer() as server:
        yield server


@pytest.fixture(params=["folder", "s3"])
def outside(request, tmp_path) -> Place:
    if request.param == "folder":
        (tmp_path / "blobs").mkdir()
        return Place({"blobs": str(tmp_path / "blobs")}, tmp_path / "blobs", None)
    store = FakeS3(request.getfixturevalue("object_store"))
    settings = {
        "blobs": "s3://retrace",
        "s3_endpoint": store.endpoint,
        "s3_region": REGION,
        "s3_access_key": ACCESS_KEY,
        "s3_secret_key": SECRET_KEY,
    }
    return Place(settings, None, store)


async def test_files_and_large_values_lie_outside_and_are_verified(database, outside, site):  # noqa: F811
    async with serving(database, blob_threshold=THRESHOLD, **outside.settings) as (node, api):
        await delivered(api, site[0])
        id_ = await kept(api)
        await api.waiting(id_, "wait")
        contents = outside.contents()
        assert sorted(contents.values(), key=len) == [TEXT.encode(), PDF]
        assert all(name.endswith(sha256(content).hexdigest()) for name, content in contents.items())
        partition, orchestration = node.engine.identity.locate(id_)
        row = await node.world.storage.blobs.get(partition, orchestration, sha256(TEXT.encode()).digest())
        assert row.content is None
        node.cache.forget(orchestration)
        assert (await api.status(id_))["input"]["text"] == TEXT
        assert (await verified(node))["sound"]
        outside.alter(next(name for name in contents if name.endswith(DIGEST.removeprefix("sha256:"))))
        [finding] = (await verified(node))["findings"]
        assert finding["kind"] == "blob_changed"
        assert DIGEST in finding["detail"]
        await api.http.post(f"/v1/orchestrations/{id_}/terminate", json={})


async def test_what_was_in_the_database_is_read_after_a_change_of_mind(database, outside):
    async with serving(database, blob_threshold=THRESHOLD) as (_, api):
        id_ = await kept(api)
        await api.waiting(id_, "wait")
    async with serving(database, blob_threshold=THRESHOLD, **outside.settings) as (_, api):
        assert (await api.status(id_))["input"]["text"] == TEXT
        assert outside.contents() == {}
        await api.http.post(f"/v1/orchestrations/{id_}/terminate", json={})


async def test_a_folder_that_is_missing_keeps_the_service_from_starting(tmp_path):
    settings = Settings(database=f"sqlite:///{tmp_path}/x.db", blobs=str(tmp_path / "missing"))
    with pytest.raises(StorageError, match="RETRACE_BLOBS"):
        await open_service(settings, functions={}, development=True)


class Later:
    """A clock, by which what is loose now has been so for long."""

    def now(self) -> datetime:
        return datetime.now(UTC) + GRACE * 2


STARTING = {"definition": "shop/keeper", "input": {"text": TEXT}}


@pytest.mark.parametrize("repeated", [True, False])
async def test_a_crash_between_the_content_and_its_event(database, outside, repeated):
    headers = {"Idempotency-Key": '"once"'}
    async with serving(database, blob_threshold=THRESHOLD, **outside.settings) as (node, api):
        await api.deploy(KEEPER)
        blobs, written = node.journal._blobs, asyncio.Event()
        prepare = blobs.prepare

        async def prepared(*arguments: Any) -> Any:
            await prepare(*arguments)
            written.set()
            await asyncio.Event().wait()  # it never comes to the transaction

        blobs.prepare = prepared
        start = asyncio.create_task(api.http.post("/v1/orchestrations", json=STARTING, headers=headers))
        await asyncio.wait_for(written.wait(), 20)
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        assert list(outside.contents().values()) == [TEXT.encode()]
    async with serving(database, blob_threshold=THRESHOLD, **outside.settings) as (node, api):
        if repeated:
            answer = await api.http.post("/v1/orchestrations", json=STARTING, headers=headers)
            assert answer.status_code == 201
            await api.waiting(answer.json()["id"], "wait")
        node.engine.clock = Later()
        assert await node.collector.collect() == (0 if repeated else 1)
        assert list(outside.contents().values()) == ([TEXT.encode()] if repeated else [])
        assert (await verified(node))["sound"]


async def test_a_crash_between_the_row_and_its_content(database, outside):
    async with serving(database, blob_threshold=THRESHOLD, **outside.settings) as (node, api):
        id_ = await kept(api)
        await api.waiting(id_, "wait")
        place = node.engine.identity.locate(id_)
        await node.blobs._rows.put(*place, Blob(b"d" * 32, "image/png", 9, None), node.engine.clock.now())
        assert (await api.http.get(f"/v1/orchestrations/{id_}/blobs/sha256:{'64' * 32}")).status_code in (404, 500)
        node.engine.clock = Later()
        assert await node.collector.collect() == 1
        assert list(outside.contents().values()) == [TEXT.encode()]
        assert (await verified(node))["sound"]
