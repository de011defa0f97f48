"""What tells of the service itself: health, nodes, projections, problems."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from adapters.rest.schemas import Instant, Open


class Health(Open):
    """The process answers."""

    status: Literal["ok"]
    version: str


class Readiness(Open):
    """The service can take requests."""

    ready: bool


class NodePartition(Open):
    """A partition of the log, whoever owns it."""

    partition: int
    epoch: int = Field(description="Raised at every takeover.")
    lease_until: Instant | None
    position: int = Field(description="Of its last event.")
    lag: int = Field(description="Events that the status view has not seen yet.")


class Node(Open):
    """A process at work on the database."""

    node: str
    version: str
    started_at: Instant
    this: bool = Field(description="Whether it is the one that answers.")
    alive: bool
    eligible: bool = Field(description="False while its clock is too far from the database's to own anything.")
    lease_until: Instant
    partitions: list[NodePartition]


class NodeList(Open):
    """All nodes; `unowned` partitions are between two owners."""

    items: list[Node]
    next: None
    partitions: int
    unowned: list[NodePartition]


class ProjectionError(Open):
    """The event that could not be folded, and why."""

    orchestration: str
    version: int = Field(description="Of the event, in the history of the orchestration.")
    type: str
    detail: str
    at: Instant


class Projection(Open):
    """A table that a user's fold builds from the log."""

    name: str
    version: int
    live: bool = Field(description="Whether its rows are those that are read.")
    state: Literal["building", "live", "failed", "retired"]
    table: str = Field(description="In the database of the service.")
    registered: bool = Field(description="Whether the node that answers has its code.")
    events_done: int
    events_total: int
    lag_events: int
    lag_ms: int = Field(description="How long the first event that it has not seen has been there.")
    error: ProjectionError | None
    created_at: Instant


class ProjectionList(Open):
    """All projections; of each name also the last that was replaced."""

    items: list[Projection]
    next: None


class ProjectionRows(Open):
    """A page of rows, by the names of the columns."""

    items: list[dict[str, Any]]
    next: str | None
    version: int = Field(description="The version of the projection.")


class ProblemExplanation(Open):
    """What a problem means and what a client can do."""

    type: str
    title: str
    status: int
    advice: str
    retryable: bool
