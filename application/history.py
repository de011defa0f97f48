"""History items: recorded events as clients see them, without ids of our own."""

from __future__ import annotations

from typing import Any

import msgspec

from application.status import instant
from application.storage import StoredRecord
from domain.events import Event

_COMMON = frozenset({"at", "actor", "cause", "run", "attempt", "number"})
_HIDDEN = frozenset({"request", "digest"})


def item(record: StoredRecord, event: Event) -> dict[str, Any]:
    """One item: {version, type, at, actor, task?, run?, attempt?, cause?, data, hash}."""
    return {**event_json(event, record.version), "hash": record.event_hash.hex()}


def event_json(event: Event, version: int | None = None) -> dict[str, Any]:
    """An event as {version?, type, at, actor, task?, run?, attempt?, cause?, data}."""
    members = {name: value for name in event.__struct_fields__ if (value := getattr(event, name)) is not msgspec.UNSET}
    found: dict[str, Any] = {} if version is None else {"version": version}
    found |= {"type": event.topic, "at": instant(event.at), "actor": event.actor}
    if "run" in members and isinstance(members["run"], str):
        pointer, _, number = members["run"].rpartition("#")
        found |= {"task": pointer, "run": int(number)}
    attempt = members.get("attempt", members.get("number") if event.topic.startswith("attempt.") else None)
    if attempt is not None:
        found["attempt"] = attempt
    if event.cause is not None:
        found["cause"] = event.cause
    hidden = _HIDDEN - {"digest"} if event.topic == "orchestration.started" else _HIDDEN
    shown = {
        name: value
        for name, value in members.items()
        if name not in hidden and (name not in _COMMON or (name == "number" and "attempt" not in found))
    }
    found["data"] = msgspec.to_builtins(_plain(shown), enc_hook=str, str_keys=True)
    return found


def _plain(value: Any) -> Any:
    """Bytes do not belong in what people read; everything else stays."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if not isinstance(item, bytes)}
    return value
