"""The contract of `BlobStore`: in memory, in both databases, and beside a database in a folder and in an object store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from adapters.blobs.folder import FolderVault
from adapters.blobs.s3 import open_s3
from application.blob_store import BlobRow, BlobStore
from application.database import Storage
from application.large_values import Blob, blob_of
from application.outside_blobs import OutsideBlobs
from domain.errors import BlobStorageError, StorageError
from tests.contract.storages import PARTITIONS, heads, identity, minutes, written
from tests.support.owning import own
from tests.support.s3 import ACCESS_KEY, REGION, SECRET_KEY, FakeS3

pytestmark = pytest.mark.anyio
HERE = identity(1)
PNG = blob_of(b"\x89PNG" + bytes(range(256)) * 20, "image/png")
TEXT = blob_of("Grüße".encode(), "text/plain; charset=utf-8")
EMPTY = blob_of(b"", "application/octet-stream")


@pytest.fixture(params=["within", "folder", "s3"])
async def blobs(request, storage: Storage, tmp_path) -> AsyncIterator[BlobStore]:
    if request.param == "within":
        yield storage.blobs
        return
    if request.param == "folder":
        (tmp_path / "blobs").mkdir()
        yield OutsideBlobs(storage.blobs, FolderVault(tmp_path / "blobs"))
        return
    server = request.getfixturevalue("httpserver")
    store = FakeS3(server)
    vault = open_s3(
        "s3://retrace/some/where", endpoint=store.endpoint, region=REGION, access_key=ACCESS_KEY, secret_key=SECRET_KEY
    )
    await vault.check()
    yield OutsideBlobs(storage.blobs, vault)
    assert not store.refused


async def committed(storage: Storage, blobs: BlobStore, *rows: BlobRow, version: int = 1) -> None:
    """Rows with an event of their orchestration, in one transaction."""
    head = next(each for each in await heads(storage) if each.partition == 1)
    write = written(head, (rows[0].orchestration, version))
    made = await blobs.prepare(1, rows, minutes(0))
    assert all(await storage.log.write([type(write)(write.head, write.after, write.records, write.work, made)]))


@pytest.mark.parametrize("blob", [PNG, TEXT, EMPTY])
async def test_what_was_put_is_read_again(blobs, blob):
    await blobs.put(1, HERE, blob, minutes(0))
    assert await blobs.get(1, HERE, blob.digest) == blob


async def test_what_is_not_there_is_none(blobs):
    await blobs.put(1, HERE, PNG, minutes(0))
    assert await blobs.get(1, HERE, TEXT.digest) is None
    assert await blobs.get(1, identity(2), PNG.digest) is None
    assert await blobs.get(2, HERE, PNG.digest) is None


async def test_what_comes_with_its_event_is_read_again_and_is_not_loose(storage, blobs):
    await committed(storage, blobs, BlobRow(HERE, PNG), BlobRow(HERE, TEXT), BlobRow(HERE, PNG))
    assert await blobs.get(1, HERE, PNG.digest) == PNG
    assert await blobs.get(1, HERE, TEXT.digest) == TEXT
    assert await blobs.loose(1, minutes(9)) == []


async def test_the_same_content_may_come_again_with_a_later_event(storage, blobs):
    await blobs.put(1, HERE, PNG, minutes(0))
    await committed(storage, blobs, BlobRow(HERE, PNG))
    await committed(storage, blobs, BlobRow(HERE, PNG), version=2)
    await blobs.put(1, HERE, PNG, minutes(5))
    assert await blobs.get(1, HERE, PNG.digest) == PNG
    assert await blobs.loose(1, minutes(9)) == []


@pytest.mark.parametrize("came_with_an_event", [True, False])
async def test_a_content_that_lay_outside_comes_into_the_database(storage, came_with_an_event):
    bare = BlobRow(HERE, Blob(PNG.digest, PNG.media_type, PNG.size, None))
    await committed(storage, storage.blobs, bare)
    if came_with_an_event:
        await committed(storage, storage.blobs, BlobRow(HERE, PNG), version=2)
    else:
        await storage.blobs.put(1, HERE, PNG, minutes(0))
    assert await storage.blobs.get(1, HERE, PNG.digest) == PNG
    assert await storage.blobs.loose(1, minutes(9)) == []


class Slow:
    """A vault in memory that drops when the test lets it."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.dropping, self.may_drop = asyncio.Event(), asyncio.Event()

    async def put(self, name: str, content: bytes, media_type: str) -> None:
        self.contents[name] = content

    async def get(self, name: str) -> bytes | None:
        return self.contents.get(name)

    async def drop(self, name: str) -> None:
        self.dropping.set()
        await self.may_drop.wait()
        self.contents.pop(name, None)

    async def check(self) -> None:
        pass


async def test_what_is_written_while_the_same_is_dropped_stays(storage):
    vault = Slow()
    blobs = OutsideBlobs(storage.blobs, vault)
    await blobs.put(1, HERE, PNG, minutes(0))
    dropping = asyncio.create_task(blobs.drop_loose(1, HERE, PNG.digest, minutes(5)))
    await vault.dropping.wait()
    writing = asyncio.create_task(blobs.put(1, HERE, PNG, minutes(6)))
    for _ in range(100):
        await asyncio.sleep(0)
    vault.may_drop.set()
    assert await dropping
    await writing
    assert await blobs.get(1, HERE, PNG.digest) == PNG


async def test_what_lost_its_fence_leaves_nothing_that_is_not_loose(storage, blobs):
    head = next(each for each in await heads(storage) if each.partition == 1)
    write = written(type(head)(1, head.epoch + 1, head.position, head.log_hash), (HERE, 1))
    made = await blobs.prepare(1, [BlobRow(HERE, PNG)], minutes(0))
    refused = type(write)(write.head, write.after, write.records, write.work, made)
    assert await storage.log.write([refused]) == [False]
    left = {each[:2] for each in await blobs.page(1)}
    assert left == set(await blobs.loose(1, minutes(1)))


async def test_loose_ones_are_listed_by_age_and_writing_again_makes_them_young(blobs):
    await blobs.put(1, HERE, PNG, minutes(0))
    await blobs.put(1, identity(2), TEXT, minutes(1))
    assert await blobs.loose(1, minutes(0)) == []
    assert await blobs.loose(1, minutes(5)) == [(HERE, PNG.digest), (identity(2), TEXT.digest)]
    assert await blobs.loose(1, minutes(5), limit=1) == [(HERE, PNG.digest)]
    assert await blobs.loose(2, minutes(5)) == []
    await blobs.put(1, HERE, PNG, minutes(6))
    assert await blobs.loose(1, minutes(5)) == [(identity(2), TEXT.digest)]


async def test_what_is_kept_is_loose_no_longer_and_is_not_dropped(blobs):
    await blobs.put(1, HERE, PNG, minutes(0))
    await blobs.keep(1, HERE, [PNG.digest])
    assert await blobs.loose(1, minutes(5)) == []
    assert not await blobs.drop_loose(1, HERE, PNG.digest, minutes(5))
    assert await blobs.get(1, HERE, PNG.digest) == PNG


async def test_a_loose_one_is_dropped_if_it_is_old_enough(blobs):
    await blobs.put(1, HERE, PNG, minutes(3))
    assert not await blobs.drop_loose(1, HERE, PNG.digest, minutes(3))
    assert await blobs.drop_loose(1, HERE, PNG.digest, minutes(3) + timedelta(seconds=1))
    assert not await blobs.drop_loose(1, HERE, PNG.digest, minutes(9))
    assert await blobs.get(1, HERE, PNG.digest) is None


async def test_dropping_is_idempotent_and_leaves_the_others(blobs):
    for orchestration in (HERE, identity(2)):
        for blob in (PNG, TEXT):
            await blobs.put(1, orchestration, blob, minutes(0))
    await blobs.drop(1, HERE, [PNG.digest])
    await blobs.drop(1, HERE, [PNG.digest, EMPTY.digest])
    await blobs.drop(1, HERE, [])
    assert [await blobs.get(1, HERE, each.digest) for each in (PNG, TEXT)] == [None, TEXT]
    assert await blobs.get(1, identity(2), PNG.digest) == PNG


async def test_holders_are_those_of_the_partition(blobs):
    await blobs.put(1, identity(2), PNG, minutes(0))
    await blobs.put(1, HERE, PNG, minutes(0))
    await blobs.put(2, identity(3), PNG, minutes(0))
    assert await blobs.holders(1, PNG.digest) == [HERE, identity(2)]
    assert await blobs.holders(1, PNG.digest, limit=1) == [HERE]
    assert await blobs.holders(1, TEXT.digest) == []


async def test_pages_have_everything_once_in_order(blobs):
    many = sorted((blob_of(bytes([n]), "x/y") for n in range(5)), key=lambda blob: blob.digest)
    for orchestration in (identity(2), HERE):
        for blob in many:
            await blobs.put(1, orchestration, blob, minutes(0))
    found: list[tuple[UUID, bytes, int]] = []
    while page := await blobs.page(1, found[-1][:2] if found else None, limit=3):
        found += page
    assert found == [(who, blob.digest, blob.size) for who in (HERE, identity(2)) for blob in many]


async def test_it_outlives_the_storage(place, storage, blobs):
    await blobs.put(1, HERE, PNG, minutes(0))
    await storage.log.close()
    again = place()
    await own(again, "second", PARTITIONS)
    try:
        found = await again.blobs.get(1, HERE, PNG.digest)
        assert found in (PNG, Blob(PNG.digest, PNG.media_type, PNG.size, None))
    finally:
        await again.log.close()


async def test_a_store_that_is_down_is_told_as_such(httpserver):
    store = FakeS3(httpserver)
    vault = open_s3("s3://retrace", endpoint=store.endpoint, region=REGION, access_key=ACCESS_KEY, secret_key="another")
    with pytest.raises(StorageError):
        await vault.put("a", b"x", "x/y")
    assert store.refused
    store.down = True
    with pytest.raises(StorageError):
        await vault.get("a")


class Swept(FolderVault):
    """Somebody removes its empty folders as soon as there are any."""

    swept = False

    def _make(self, folder):
        super()._make(folder)
        if folder.name == "a" and not self.swept:
            self.swept = True
            folder.rmdir()


async def test_a_folder_that_was_just_removed_is_made_again(tmp_path):
    vault = Swept(tmp_path)
    await vault.put("1/a/b", b"content", "x/y")
    assert await vault.get("1/a/b") == b"content"


async def test_a_folder_that_is_none_is_told_at_the_start(tmp_path):
    with pytest.raises(BlobStorageError, match="RETRACE_BLOBS"):
        await FolderVault(tmp_path / "missing").check()
