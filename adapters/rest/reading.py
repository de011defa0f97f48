"""Notes down who reads what (application/access_book.py): the edge knows the caller, the filters and the request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from adapters.rest.calls import Call
from application.accesses import What
from application.auditing import Audit
from domain.errors import NotFoundError


def audit_of(call: Call) -> Audit:
    """What auditors ask for. Raises NotFoundError where a service has none."""
    if call.services.audit is None:
        raise NotFoundError("This service has no audit log.")
    return call.services.audit


def note_read(call: Call, what: What, events: int, orchestration: str | None = None) -> None:
    """A page was read. Raises OverloadedError when it cannot be noted down."""
    if call.services.audit is not None:
        call.services.audit.book.read(call.actor, what, events, **_circumstances(call, orchestration))


async def note_given(call: Call, what: What, events: int, orchestration: str) -> None:
    """It is about to be given away as a whole; returns once that is written. Raises StorageError."""
    if call.services.audit is not None:
        await call.services.audit.book.given(call.actor, what, events, **_circumstances(call, orchestration))


async def noted(
    call: Call, what: What, parts: AsyncIterator[tuple[bytes, int]], orchestration: str | None = None
) -> AsyncIterator[bytes]:
    """The parts (bytes, number of events in them) of an answer that lasts. Returns once its beginning is written."""
    if call.services.audit is None:
        return _bytes_of(parts)
    book = call.services.audit.book
    access = await book.began(call.actor, what, **_circumstances(call, orchestration))

    async def counted() -> AsyncIterator[bytes]:
        events = 0
        try:
            async for part, count in parts:
                events += count
                yield part
        finally:
            book.ended(access, events)

    return counted()


async def _bytes_of(parts: AsyncIterator[tuple[bytes, int]]) -> AsyncIterator[bytes]:
    async for part, _ in parts:
        yield part


def _circumstances(call: Call, orchestration: str | None) -> dict[str, Any]:
    filters = {name: value for name, value in call.query.items() if name != "orchestration"}
    if (last := call.headers.get("last-event-id")) is not None:
        filters["last_event_id"] = last[:4096]
    return {
        "orchestration": orchestration or call.query.get("orchestration"),
        "filters": msgspec.to_builtins(filters),
        "request_id": call.request_id,
    }
