"""Long-running operations, verification, checkpoints and keys."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from adapters.rest.schemas import Body, Instant, Open


class NothingBody(Body):
    """An empty object, or no body at all."""


class Advance(Open):
    """How far an operation is; the units are those of its kind."""

    done: int
    total: int | None = Field(description="Null while it is not known.")


class OperationError(Open):
    """Why an operation failed."""

    code: str = Field(description="A slug of a problem, or `interrupted`: the node that ran it is gone.")
    detail: str


class LongOperation(Open):
    """A long-running operation. `result` is absent in lists, and null until it has completed."""

    id: str
    kind: str
    status: Literal["running", "completed", "failed", "cancelled"]
    request: dict[str, Any] = Field(description="What was asked for.")
    progress: Advance
    result: Any = None
    error: OperationError | None
    actor: str
    cancel_requested: bool
    started_at: Instant
    updated_at: Instant
    ended_at: Instant | None
    links: dict[str, str]


class LongOperationList(Open):
    """A page of operations, newest first."""

    items: list[LongOperation]
    next: str | None


class VerifyBody(Body):
    """What to verify; the whole log unless said."""

    orchestration: str | None = Field(None, max_length=64, description="Only this one, by itself.")
    since: str | None = Field(
        None,
        max_length=64,
        description="Only what came after a checkpoint: `latest`, an instant (the last before it), or "
        "`partition:position` of one.",
    )
    checkpoints: list[dict[str, Any]] = Field(
        default_factory=list,
        max_length=2000,
        description="Checkpoints that were kept outside, as they were sent there.",
    )
    archive: bool = Field(True, description="Whether what is archived is checked too.")


class Checkpoint(Open):
    """The log hash of a partition at a position, signed."""

    format: int
    database: str = Field(description="A fingerprint.")
    partition: int
    position: int
    log_hash: str = Field(description="In hexadecimal.")
    made_at: Instant
    key_id: str
    signature: str = Field(description="Ed25519, in base64.")


class CheckpointList(Open):
    """A page of checkpoints."""

    items: list[Checkpoint]
    next: str | None


class AuditKey(Open):
    """A public key."""

    key_id: str
    algorithm: Literal["Ed25519"]
    public_key: str = Field(description="32 bytes in base64.")
    pem: str
    current: bool = Field(description="Whether checkpoints are signed with it now.")


class AuditKeyList(Open):
    """The keys whose signatures count."""

    items: list[AuditKey]
    next: None
    database: str = Field(description="The fingerprint that checkpoints of this database have.")
