"""Reading an orchestration on any node: its owner answers from memory, everyone else from the log.

What was read from the log is kept for a while and fast-forwarded by one SELECT of the events since; so a status that is asked
for again and again costs little wherever it is asked. An owner whose lease is nearly over reads from the log too: somebody
else may be the owner by now.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final
from uuid import UUID

from application.engine import Place
from application.identity import Identity
from application.journal import Codec
from application.live import Live, LiveCache
from application.ownership import Ownership
from application.storage import LogStore
from domain.errors import ArchivedError, NotFoundError, OwnershipLostError
from domain.evolve import evolve
from domain.state import State

_KEPT: Final = 1000
_PAGE: Final = 1000


class Reader:
    """States as they are committed. What it gives must only be read, and not beyond the next await."""

    def __init__(self, ownership: Ownership, cache: LiveCache, log: LogStore, codec: Codec, identity: Identity) -> None:
        self._ownership = ownership
        self._cache = cache
        self._log = log
        self._codec = codec
        self._identity = identity
        self._kept: OrderedDict[UUID, Live] = OrderedDict()

    async def settled(self, public_id: str) -> Live:
        """An orchestration by its public id. Raises NotFoundError, StorageError."""
        if not self._identity.well_formed(public_id):
            raise NotFoundError("There is no orchestration with this id.")
        return await self.settled_at(self._identity.locate(public_id))

    async def settled_at(self, place: Place) -> Live:
        """The same by partition and the aggregate's own id."""
        if self._ownership.answers(place[0]):
            if (ready := self._cache.ready_at(*place)) is not None:
                return ready
            try:
                live = await self._cache.settled_at(*place)
            except OwnershipLostError:
                pass
            else:
                if self._ownership.answers(place[0]):  # it may have waited for longer than the lease had left
                    return live
        return await self._from_log(*place)

    def ahead(self, public_id: str) -> State | None:
        """Its state as far as it is decided here, which may not be committed yet; None where memory does not tell. What has
        not come about in it has certainly not been committed.
        """
        partition, orchestration = self._identity.locate(public_id)
        live = self._cache.peek_at(orchestration)
        return live.state if live is not None and self._ownership.answers(partition) else None

    async def _from_log(self, partition: int, orchestration: UUID) -> Live:
        known = self._kept.get(orchestration)
        if known is None:
            state, last = await self._cache.fold(partition, orchestration)
            known = self._kept.get(orchestration)
            if known is None or known.state.version < state.version:  # whoever was quicker may have read before us
                known = Live(state.id, partition, orchestration, state, event_hash=last.event_hash)
                if last.blobs is None:
                    self._kept[orchestration] = known
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return known
        self._kept.move_to_end(orchestration)
        more = True
        while more:
            # The last known event too: that it is archived shows there and nowhere else.
            records = await self._log.stream(partition, orchestration, known.state.version - 1, _PAGE)
            for record in records:
                if record.state_hash is not None:
                    self._kept.pop(orchestration, None)
                    raise ArchivedError
                if record.version == known.state.version + 1:  # else somebody else was quicker
                    evolve(known.state, self._codec.decode(record.topic, record.state, record.blobs))
                    known.event_hash = record.event_hash
            more = len(records) == _PAGE
        return known
