"""Files of orchestrations: bytes that are no JSON, kept under their digest while JSON carries a reference to them.

A reference is ``{"digest": "sha256:...", "bytes": n, "media_type": "..."}``; further members, such as a file name, are the
author's. What a participant sends is written before the result that refers to it is committed, so a reference never dangles;
what no event came to refer to is dropped later (application/blob_collector.py).

Who may read a file: the orchestration that it belongs to, all of its family, and forks of either. Knowing the digest of what
belongs to somebody else opens nothing.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from application.blob_store import BlobStore
from application.engine import Place
from application.identity import Identity
from application.large_values import Blob, blob_of, named
from application.ports import Clock
from application.reader import Reader
from domain.errors import ContentMissingError, NotFoundError
from domain.state import State

_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})\Z")
_NONE: Final = "There is no such content here."
_HOLDERS: Final = 10_000
_LOOKED_AT: Final = 100
"""Holders whose family is found out, parents and children aside: what many have alike must not make one read thousands."""
_GENERATIONS: Final = 10


class Files:
    """The files of all orchestrations."""

    def __init__(self, store: BlobStore, identity: Identity, reader: Reader, clock: Clock) -> None:
        self._store = store
        self._identity = identity
        self._reader = reader
        self._clock = clock

    def of(self, public_id: str) -> FilesOfOne:
        """Those that one orchestration writes and reads."""
        return FilesOfOne(self, public_id)

    async def write(self, public_id: str, content: bytes, media_type: str) -> dict[str, Any]:
        """Keep a file for an orchestration; gives the reference. Idempotent. Raises StorageError."""
        blob = blob_of(content, media_type)
        await self._store.put(*self._identity.locate(public_id), blob, self._clock.now())
        return {"digest": named(blob.digest), "bytes": blob.size, "media_type": media_type}

    async def read(self, public_id: str, name: str) -> Blob:
        """The file, or large value, with this digest, its content checked. Raises NotFoundError where there is none that this
        orchestration may read, ContentMissingError where it is not what it was.
        """
        found = _DIGEST.match(name)
        if found is None or not self._identity.well_formed(public_id):
            raise NotFoundError(_NONE)
        digest = bytes.fromhex(found[1])
        place = self._identity.locate(public_id)
        blob = await self._store.get(*place, digest)
        if blob is None:
            blob = await self._borrowed(public_id, place, digest)
        if blob.content is None or sha256(blob.content).digest() != digest:
            raise ContentMissingError(public_id, name)
        return blob

    async def _borrowed(self, public_id: str, place: Place, digest: bytes) -> Blob:
        """What its family has, or what it was forked from, and the family of that."""
        for _ in range(_GENERATIONS):
            try:
                state = (await self._reader.settled_at(place)).state
            except NotFoundError:
                break  # it is archived, or gone
            blob = await self._in_family(place[0], state, digest)
            if blob is not None:
                return blob
            if state.forked_from is None:
                break
            public_id = state.forked_from[0]
            place = self._identity.locate(public_id)
            blob = await self._store.get(*place, digest)
            if blob is not None:
                return blob
        raise NotFoundError(_NONE)

    async def _in_family(self, partition: int, state: State, digest: bytes) -> Blob | None:
        holders = await self._store.holders(partition, digest, _HOLDERS)
        near = self._near(state) if holders else set()
        for holder in sorted(holders, key=lambda each: each not in near)[:_LOOKED_AT]:
            if holder in near or await self._root_at((partition, holder)) == (state.root or state.id):
                return await self._store.get(partition, holder, digest)
        return None

    def _near(self, state: State) -> set[UUID]:
        """Its root, its parent and its children."""
        relatives = {run.child[0] for run in state.runs.values() if run.child is not None} | {state.root or state.id}
        if state.parent is not None:
            relatives.add(state.parent[0])
        return {self._identity.locate(each)[1] for each in relatives}

    async def _root_at(self, place: tuple[int, UUID]) -> str | None:
        try:
            state: State = (await self._reader.settled_at(place)).state
        except NotFoundError:
            return None
        return state.root or state.id


class FilesOfOne:
    """Implements `application.ports.OrchestrationFiles`."""

    def __init__(self, files: Files, public_id: str) -> None:
        self._files = files
        self._public_id = public_id

    async def write(self, content: bytes, media_type: str) -> dict[str, Any]:
        return await self._files.write(self._public_id, content, media_type)

    async def read(self, digest: str) -> Blob:
        return await self._files.read(self._public_id, digest)
