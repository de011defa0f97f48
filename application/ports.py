"""Every port of Retrace: what the engine and the use cases ask of the outside, as Protocols.

The application knows time, chance, storage and the outside only through these. Each port has one contract suite in
``tests/contract`` that runs against every implementation, the in-memory ones of ``tests/simulation`` included.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec

from application.large_values import Blob
from domain.errors import Fault
from domain.expressions import Evaluand, Evaluation


class Expressions(Protocol):
    """Runs jq programs in a jail. Never raises for a program's own fault; pure, so any call may be repeated."""

    async def evaluate(self, batch: Sequence[Evaluation]) -> list[Evaluand]:
        """Results in the order of the batch; a program that overruns its budget gives EvaluationFailed, its neighbours
        are answered as usual.
        """
        ...

    async def check(self, program: str, names: Sequence[str]) -> str | None:
        """The compiler's complaint about a program, or None. Asked at deployment."""
        ...


class Crons(Protocol):
    """Arithmetic of cron expressions in time zones. Pure, in process."""

    def __call__(self, expression: str, timezone: str, after: datetime, /) -> datetime | None:
        """The first occurrence after an instant, in UTC; None: there is none."""
        ...


class Schemas(Protocol):
    """Validates JSON values against JSON Schema (draft 2020-12). Pure, in process."""

    def violations(self, schema: Any, value: Any) -> list[tuple[str, str]]:
        """(JSON Pointer into the value, what is wrong) for each violation; empty when valid."""
        ...

    def check(self, schema: Any) -> str | None:
        """What is wrong with the schema itself, or None."""
        ...


class OrchestrationFiles(Protocol):
    """The files of one orchestration (application/files.py)."""

    async def write(self, content: bytes, media_type: str) -> dict[str, Any]:
        """Keep a file before anything refers to it; gives the reference, ``{digest, bytes, media_type}``. Idempotent. Raises
        StorageError.
        """
        ...

    async def read(self, digest: str) -> Blob:
        """The file with this digest, its content checked. Raises NotFoundError, ContentMissingError, StorageError."""
        ...


class Callout(msgspec.Struct, frozen=True):
    """One attempt to be sent. `arguments` is the task's ``with``, fully evaluated, secrets included."""

    kind: Literal["http", "openapi", "sql", "function"]
    function: str
    """The function's name; for the others the kind again."""
    arguments: Any
    idempotency_key: str
    attempt: int
    timeout_s: float
    orchestration: str
    """Public id."""
    task: str
    """Reference (JSON Pointer) of the task."""
    compensates: str | None = None
    """For an undo: the idempotency key of the run that is undone, sent as ``Retrace-Compensates``."""
    trace: str | None = None
    """Trace id of the orchestration, sent on over HTTP as ``traceparent``; functions in process get none."""
    files: OrchestrationFiles | None = None
    """Where binary answers go, and files to send come from."""


class Answered(msgspec.Struct, frozen=True):
    """It took effect; `output` is the raw output of the task (JSON)."""

    output: Any


class Declined(msgspec.Struct, frozen=True):
    """A definite failure: it took no effect (rollback.md, "What has an effect")."""

    fault: Fault
    retry_after_s: float | None = None


class Doubtful(msgspec.Struct, frozen=True):
    """Nobody knows whether it took effect."""

    fault: Fault
    retry_after_s: float | None = None


class Unusable(msgspec.Struct, frozen=True):
    """It took effect, but the answer cannot be used (not JSON, too large, wrong form): the flow faults, the effect stays.

    `output` is the raw answer as far as it can be kept.
    """

    fault: Fault
    output: Any = None


class Postponed(msgspec.Struct, frozen=True):
    """Nothing was sent: the one it is for is known to be away. It is worth another try after `retry_after_s`; who gives up
    instead knows that it had no effect.
    """

    fault: Fault
    retry_after_s: float


CalloutResult = Answered | Declined | Doubtful | Unusable | Postponed


class Callouts(Protocol):
    """Sends one attempt and tells what is known of its outcome. Never raises but CancelledError; always returns within
    `timeout_s` and a grace of a second; sending the same attempt again is allowed (same idempotency key).
    """

    async def send(self, callout: Callout) -> CalloutResult: ...

    def knows(self, function: str) -> bool:
        """Whether a function of this name can be called from here."""
        ...


class Connections(Protocol):
    """The databases of ``call: sql``, by name."""

    def missing(self, name: str) -> str | None:
        """The setting that is missing for a connection of this name to be there; None: it is."""
        ...


class AnyConnection:
    """`Connections` where nobody knows which there are."""

    def missing(self, name: str) -> str | None:
        return None


class EventSink(Protocol):
    """Where emitted CloudEvents go. May be repeated: receivers drop repeats by source and id. Calls may overlap; what order
    matters, its caller awaits one by one.
    """

    async def publish(self, event: dict[str, Any]) -> None:
        """Deliver one event (CloudEvents 1.0 JSON object); returns once it is received for good. Raises DeliveryError when it
        must be tried again, SinkAwayError when so must every other.
        """
        ...


class Secrets(Protocol):
    """Secrets by name, from outside the service's own data."""

    def get(self, name: str) -> Any | None: ...

    def redact(self, value: Any) -> Any:
        """The JSON value with every occurrence of a known secret's text replaced by ``***``."""
        ...


class DeliveryError(Exception):
    """The event was not delivered, or nobody knows; it must be tried again."""


class SinkAwayError(DeliveryError):
    """Nothing at all can be delivered at the moment: the receiver or the broker cannot be reached."""


class Clock(Protocol):
    """Time. In a simulation it is virtual and moves with the event loop."""

    def now(self) -> datetime:
        """The instant (UTC)."""
        ...


class Resources(Protocol):
    """External documents (schemas) that definitions name. Fetched at first use, cached."""

    async def fetch(self, resource: Any) -> Any:
        """The parsed document of ``{"endpoint": ...}``. Raises ResourceError."""
        ...


class ResourceError(Exception):
    """An external document could not be had; the text says why."""
