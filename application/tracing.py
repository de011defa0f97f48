"""Trace ids (W3C Trace Context): which trace an orchestration belongs to, and what its callouts say of it.

An orchestration keeps the trace of the request that started it, and its children share it. One that was started without a
trace has one of its own, derived from the id of the topmost orchestration: so it costs nothing to have, and is the same
wherever it is asked for.
"""

from __future__ import annotations

from hashlib import sha256

from domain.events import Beginning, OrchestrationForked
from domain.state import State


def own_trace(public_id: str) -> str:
    """The trace (32 hexadecimal digits) of an orchestration that was started without one."""
    return sha256(b"trace " + public_id.encode()).hexdigest()[:32]


def trace_of(state: State) -> str:
    """The trace of an orchestration."""
    return state.trace or own_trace(state.root)


def trace_of_start(event: Beginning) -> str:
    """The same by its first event."""
    root = None if isinstance(event, OrchestrationForked) else event.root
    return event.trace or own_trace(root or event.id)


def traceparent(trace: str, key: str, attempt: int) -> str:
    """What a callout sends on: the trace, and a span of its own for each attempt. It is marked as sampled: whether to keep
    it is left to whoever collects.
    """
    span = sha256(f"{key} {attempt}".encode()).hexdigest()[:16]
    return f"00-{trace}-{span}-01"
