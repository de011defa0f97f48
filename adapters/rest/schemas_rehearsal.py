"""Rehearsals: what a definition does when each thing in turn goes wrong."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from adapters.rest.forms import DEFINITION
from adapters.rest.schemas import Body, ErrorEntry, Fault, Open, Status


class RehearsalBody(Body):
    """What to rehearse. Nobody is called, nothing is stored."""

    definition: Annotated[str, StringConstraints(pattern=f"^{DEFINITION}$")] | dict[str, Any] = Field(
        description="name, namespace/name or namespace/name@version of what is deployed, or a whole document."
    )
    input: Any = Field(None, description="Made up from input.schema when it is absent.")
    outputs: dict[str, Any] = Field({}, description="Task (name or reference) -> what its participant answers.")
    limit: int = Field(300, ge=1, le=300, description="Scenarios at most.")


class RehearsedRun(Open):
    """A run of a task; `definition` for one of a child."""

    task: str | None
    reference: str | None
    run: int = 1
    definition: str | None = None


class RehearsedScenario(Open):
    """One course: what went wrong, what was called and undone, what is left."""

    number: int
    title: str
    mishaps: list[RehearsedRun]
    choices: list[dict[str, Any]]
    status: Status
    ends: Literal["final", "operator", "waits", "endless"]
    error: Fault | None
    called: list[RehearsedRun]
    undone: list[RehearsedRun]
    not_undone: list[RehearsedRun]
    left_behind: list[RehearsedRun]
    incidents: list[RehearsedRun]
    assumed: list[dict[str, Any]]
    remark: str | None
    took_s: float


class Rehearsal(Open):
    """The report of a rehearsal."""

    definition: str
    digest: str
    input: Any
    input_made_up: bool
    happy_path: RehearsedScenario
    scenarios: list[RehearsedScenario]
    warnings: list[ErrorEntry]
    not_reached: list[dict[str, Any]]
    stand_ins: list[str]
    left_out: int
    summary: dict[str, Any]
