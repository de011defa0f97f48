"""The JSON of work for remote workers as pydantic models."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from adapters.rest.schemas import Body, Instant, Line, Open, Text

Token = Annotated[str, Field(max_length=255)]
_LEASE = Field(30.0, ge=1, le=3600, description="Seconds for which the task is this worker's without a heartbeat.")


class ClaimBody(Body):
    """What a worker asks for."""

    functions: list[Line] = Field(min_length=1, max_length=200, description="Names of functions that the worker has.")
    worker: Line = Field(description="Who asks, for people who look.")
    max: int = Field(1, ge=1, le=100, description="Tasks at most.")
    wait: float = Field(0.0, ge=0, le=60, description="Seconds to wait for work where there is none.")
    lease: float = _LEASE


class CompleteBody(Body):
    """It was done."""

    token: Token
    output: Any = Field(None, description="The output of the task.")


class ReportedError(Body):
    """Why not, as problem details."""

    type: Line | None = Field(None, description="A URI, or a word that becomes one of ours.", examples=["no-seats"])
    status: int | None = Field(None, ge=100, le=599)
    title: Line | None = None
    detail: Text | None = None


class FailBody(Body):
    """It was not done, or nobody knows."""

    token: Token
    error: ReportedError = ReportedError()
    retryable: bool | None = Field(
        None, description="Whether the task's retry policy is to try again; without it the policy's own rules say so."
    )
    uncertain: bool = Field(False, description="Nobody knows whether it took effect.")


class HeartbeatBody(Body):
    """It is being done still."""

    token: Token
    lease: float = _LEASE


class ClaimedTask(Open):
    """A task that was handed out."""

    task_id: str
    token: str
    function: str
    arguments: Any
    attempt: int
    idempotency_key: str
    compensates: str | None = Field(description="For an undo: the idempotency key of the run that is undone.")
    lease_until: Instant
    deadline: Instant
    orchestration: str
    task: str = Field(description="JSON Pointer of the task in its definition.")


class ClaimedTasks(Open):
    """What a worker has got."""

    items: list[ClaimedTask]


class ReportTaken(Open):
    """The report is kept."""

    task_id: str
    status: Literal["reported"]


class Lease(Open):
    """How long a task is still the worker's."""

    lease_until: Instant
    deadline: Instant


class LimitsBody(Body):
    """Over all nodes; null: no limit."""

    max_concurrent: int | None = Field(None, ge=1, le=1_000_000)
    max_per_second: float | None = Field(None, gt=0, le=1_000_000)


class CalledFunction(Open):
    """A function that orchestrations call."""

    function: str
    in_process: bool = Field(description="It is a function of the service's own process; no worker gets it.")
    waiting: int
    held: int = Field(description="Not handed out, since their orchestrations are suspended.")
    claimed: int
    workers: list[str] = Field(description="Who has any of it.")
    asked_at: Instant | None = Field(description="When a worker last asked for it, give or take 10 s.")
    last_claimed_at: Instant | None = Field(description="When a worker last got any of it, give or take 10 s.")
    paused: bool
    draining: bool
    max_concurrent: int | None
    max_per_second: float | None


class CalledFunctions(Open):
    """Functions, by name."""

    items: list[CalledFunction]
    next: str | None
