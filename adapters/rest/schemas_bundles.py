"""Bundles: one orchestration in one document."""

from __future__ import annotations

from typing import Any, Literal

from adapters.rest.schemas import HistoryEvent, Open


class BundledDefinition(Open):
    """The definition that it runs by."""

    reference: str
    digest: str
    document: Any


class BundledEvent(HistoryEvent):
    """An event of a history; `stored` is what replays, in base64."""

    previous: str
    stored: str


class BundledBlob(Open):
    """A large value or a file, in base64, under its digest."""

    media_type: str
    content: str


class Bundle(Open):
    """One orchestration, complete."""

    format: Literal[1]
    exported_at: str
    versions: dict[str, str]
    checkpoints: list[dict[str, Any]]
    id: str
    definition: BundledDefinition
    earlier: list[BundledDefinition]
    status: dict[str, Any]
    children: list[dict[str, str]]
    redacted: dict[str, Any] | None
    blobs: dict[str, BundledBlob]
    history: list[BundledEvent]
