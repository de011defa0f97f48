"""History items: recorded events as clients see them, without ids of our own."""

from __future__ import annotations

from typing import Any

import msgspec

from application.status import instant
from application.storage import StoredRecord
from domain.events import AttemptStarted, CallbackReceived, Event, EventReceived, OrchestrationForked, RunEvent
from domain.prefix import input_of

_OURS = ("at", "actor", "cause", "basis", "request")


def item(record: StoredRecord, event: Event) -> dict[str, Any]:
    """One item: {version, type, at, actor, task?, run?, attempt?, cause?, data, hash}."""
    return {**event_json(event, record.version), "hash": record.event_hash.hex()}


def event_json(event: Event, version: int | None = None) -> dict[str, Any]:
    """An event as {version?, type, at, actor, task?, run?, attempt?, cause?, data}; `data` leaves out defaults."""
    data: dict[str, Any] = msgspec.to_builtins(event)
    found: dict[str, Any] = {} if version is None else {"version": version}
    found |= {"type": event.topic, "at": instant(event.at), "actor": event.actor}
    if isinstance(event, RunEvent):
        pointer, _, number = event.run.rpartition("#")
        found |= {"task": pointer, "run": int(number)}
        del data["run"]
    attempt = data.pop("attempt", None)
    if attempt is None and event.topic.startswith(("attempt.", "callback.")):
        attempt = data.pop("number")
    if attempt is not None:
        found["attempt"] = attempt
    if event.cause is not None:
        found["cause"] = event.cause
    if isinstance(event, EventReceived | CallbackReceived):
        del data["digest"]
    if isinstance(event, OrchestrationForked):
        del data["prefix"]  # it is the history of the original
        data["input"] = input_of(event)
        data["origin"]["hash"] = event.origin.hash.hex()
    if isinstance(event, AttemptStarted) and isinstance(data.get("arguments"), dict):
        data["arguments"].pop("$input", None)  # travels along for URI templates; it is the task's input
    for name in _OURS:
        data.pop(name, None)
    found["data"] = data
    return found
