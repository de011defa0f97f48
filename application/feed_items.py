"""Items of the feed: a history item that also says whose it is, why it happened, and in which trace.

What led to an event is told by the first event of the decision that it belongs to: which attempt answered, which event came
from outside, which request asked. Pure functions of what was recorded.
"""

from __future__ import annotations

from typing import Any

import msgspec

from application.history import item
from application.storage import StoredRecord
from domain import events as e

Json = dict[str, Any]


class Origin(msgspec.Struct, frozen=True):
    """What the first event of an orchestration tells about all of them. None: it cannot be read any more."""

    id: str | None
    definition: str | None
    trace: str | None

    def is_of(self, namespace: str | None, name: str | None, version: str | None) -> bool:
        """Whether it is of this definition; None stands for any."""
        path, _, found = (self.definition or "").partition("@")
        of, _, called = path.rpartition("/")
        return namespace in (None, of) and name in (None, called) and version in (None, found)


def feed_item(record: StoredRecord, event: e.Event | None, origin: Origin, first: e.Event | None) -> Json:
    """One item. `first`: the first event of its decision, as far as it can be had."""
    if event is None:
        return {
            "version": record.version,
            "type": record.topic,
            "at": None,
            "actor": None,
            "data": {},
            "hash": record.event_hash.hex(),
            **_about(origin),
            "trace_id": origin.trace,
            "unreadable": True,
        }
    basis = first.basis if first is not None else None
    return {
        **item(record, event),
        **_about(origin),
        "reason": reason_of(event),
        "cause": cause_of(event, first),
        "trace_id": basis.trace if basis is not None and basis.trace is not None else origin.trace,
    }


def _about(origin: Origin) -> Json:
    return {"orchestration": origin.id, "definition": origin.definition}


def reason_of(event: e.Event) -> str | None:
    """Why, in the words of who decided it: an operator's reason, or what went wrong."""
    reason = getattr(event, "reason", None)
    if isinstance(reason, str):
        return reason
    if isinstance(reason, e.Cause):
        if reason.text is not None:
            return reason.text
        return None if reason.fault is None else reason.fault.detail or reason.fault.title
    why = getattr(event, "fault", None)
    return None if why is None else why.detail or why.title


def cause_of(event: e.Event, first: e.Event | None) -> Json:
    """What led to it: ``{kind, task?, run?, attempt?, source?, id?, request?}``; kind is ``start | fork | schedule | result |
    callback | timer | event | child | parent`` or, where somebody asked for it, ``command``.
    """
    found: Json = {"kind": event.cause or "command"}
    if first is None:
        return found
    if event.cause in ("result", "callback", "child", "timer") and isinstance(first, e.RunEvent):
        pointer, _, number = first.run.rpartition("#")
        found |= {"task": pointer, "run": int(number)}
        if event.cause in ("result", "callback") and (attempt := _attempt(first)) is not None:
            found["attempt"] = attempt
    elif isinstance(first, e.EventReceived):
        found |= {"source": first.source, "id": first.id}
    if first.basis is not None and first.basis.request_id is not None:
        found["request"] = first.basis.request_id
    return found


def _attempt(event: e.Event) -> int | None:
    attempt = getattr(event, "attempt", None)
    if attempt is None and isinstance(event, e.AttemptFailed | e.CallbackReceived | e.ResultRecorded | e.ResultLate):
        attempt = event.number
    return attempt
