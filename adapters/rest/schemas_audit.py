"""The JSON of the audit operations, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from adapters.rest.schemas import HistoryEvent, Instant, Open


class FeedCause(Open):
    """What led to an event."""

    kind: str
    task: str | None = None
    run: int | None = None
    attempt: int | None = None
    source: str | None = None
    id: str | None = None
    request: str | None = None


class FeedEvent(HistoryEvent):
    """An event of a history that also says whose it is, why it happened, and in which trace."""

    orchestration: str | None
    definition: str | None
    reason: str | None = None
    cause: FeedCause | None = None
    trace_id: str | None
    unreadable: bool = Field(False, description="Its stored bytes are lost or damaged.")


class EventFeed(Open):
    """A page of the feed."""

    items: list[FeedEvent]
    next: str | None
    resume: str = Field(description="Where to go on later, when there is no more at present.")


class Access(Open):
    """Something that was read: at once, or from `began` to `ended` under one id."""

    id: str
    at: Instant
    actor: str
    what: Literal["feed", "history", "export", "bundle"]
    step: Literal["read", "began", "ended"]
    orchestration: str | None
    filters: dict[str, Any]
    request_id: str | None
    events: int | None = Field(description="How many were given away; null while nobody knows.")
    chain: int
    number: int
    previous: str
    hash: str


class AccessList(Open):
    """A page of accesses."""

    items: list[Access]
    next: str | None
