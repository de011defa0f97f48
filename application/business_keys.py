"""Business keys: one unfinished orchestration per definition and key, whichever nodes are asked.

The key is reserved first, for the id that is about to begin; "insert or nothing" decides who has it. A holder that has ended
gives it up. One that never began (its node died between the two steps) gives it up too, but nobody must begin under it
afterwards: whoever wants the key announces itself as its *contender*, then asks the owner of the holder's partition, which
answers when no start of it is under way. The start itself is allowed only while the key is reserved for it and no contender
is announced, asked right before it is decided, on the same node and under the same lock. So either the start comes first and
the contender sees it, or the contender comes first and the start is refused.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from application.forwarding import Begin, Done
from application.locks import Locks
from application.reader import Reader
from application.registers import KeyStore
from application.routing import Router
from domain.errors import ArchivedError, BusinessKeyInUseError, NotFoundError
from domain.state import State

_LOOKS: Final = 12
_FIRST_PAUSE_S: Final = 0.01
_LONGEST_PAUSE_S: Final = 0.2
_TRIES: Final = 5


class BusinessKeys:
    """Starts under a business key."""

    def __init__(self, keys: KeyStore, router: Router, reader: Reader) -> None:
        self._keys = keys
        self._router = router
        self._reader = reader
        self._locks = Locks()
        """Those of this node wait for each other here; only other nodes have to be contended with."""

    async def known(self, public_id: str) -> State | None:
        """The state of an orchestration, if it has begun. Raises ArchivedError when it has ended long ago."""
        try:
            return (await self._reader.settled(public_id)).state
        except ArchivedError:
            raise
        except NotFoundError:
            return None

    async def begin(self, begin: Begin, definition: str, key: str) -> Done:
        """Reserve the key and begin. Raises BusinessKeyInUseError, naming who has it."""
        async with self._locks.of(f"{definition} {key}"):
            for _ in range(_TRIES):
                await self._reserve(definition, key, begin.id)
                try:
                    return await self._router.begin(msgspec.structs.replace(begin, reserved=(definition, key)))
                except BusinessKeyInUseError:
                    # Somebody contends for it, or did when it died: the holder may insist, for nobody takes over what is no
                    # longer contended.
                    await self._keys.contend(definition, key, begin.id, None)
            raise BusinessKeyInUseError(None)

    async def _reserve(self, definition: str, key: str, public_id: str) -> None:
        for _ in range(_TRIES):
            holder = await self._keys.reserve(definition, key, public_id)
            if holder == public_id:
                return
            try:
                state, ended = await self._awaited(holder), False
            except ArchivedError:
                state, ended = None, True
            if state is not None and not state.final:
                raise BusinessKeyInUseError(holder)
            if state is None and not ended:
                await self._keys.contend(definition, key, holder, public_id)
                if await self._router.exists(holder):
                    await self._keys.withdraw(definition, key, public_id)
                    raise BusinessKeyInUseError(holder)
            if await self._keys.take_over(definition, key, holder, public_id, contended=state is None and not ended):
                return
        raise BusinessKeyInUseError(None)

    async def _awaited(self, holder: str) -> State | None:
        """The holder, who may be about to begin; None when it does not within a moment."""
        pause_s = _FIRST_PAUSE_S
        for _ in range(_LOOKS):
            if (state := await self.known(holder)) is not None:
                return state
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return None
