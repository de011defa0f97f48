"""What-if: what is supposed, and the course that would have been taken."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from adapters.rest.forms import DEFINITION
from adapters.rest.schemas import Body, Definitions, Fault, Incident, Line, Open, Status, Text


class SupposedFault(Body):
    """The error of an outcome that is supposed."""

    type: Line | None = None
    status: int | None = Field(None, ge=100, le=599)
    title: Line | None = None
    detail: Text | None = None


class ChangeBody(Body):
    """Another outcome than the recorded one."""

    task: Line = Field(description="Name of the task, or its JSON Pointer in the document.")
    outcome: Literal["completed", "refused", "uncertain"]
    run: int | None = Field(None, ge=1, description="Only in this run; in all unless said.")
    output: Any = Field(None, description="For `completed`: what the participant answers.")
    error: SupposedFault | None = Field(None, description="For the others: what it says.")


class SupposedBody(Body):
    """What is supposed instead of what was recorded."""

    changes: list[ChangeBody] = Field(default_factory=list, max_length=100)
    assume: dict[Line, Any] = Field(
        default_factory=dict, max_length=100, description="Outputs by task, where the record does not know an answer."
    )


class WhatIfBody(SupposedBody):
    """Looks at one orchestration."""

    definition: Definitions | None = None
    input: Any = Field(None, description="Another input; without this member it is the recorded one.")


class FleetBody(SupposedBody):
    """Looks at the latest orchestrations of a definition."""

    definition: Definitions
    for_: str | None = Field(
        None,
        alias="for",
        pattern=f"^{DEFINITION}$",
        description="Of which definition; all versions of the one that is looked at unless said.",
    )
    status: list[Status] = Field(default_factory=list, max_length=8, description="Only with these; all unless said.")
    last: int = Field(1000, ge=1, le=100_000, description="The latest so many.")


class WhatIfPlace(Open):
    """A run of a task."""

    task: str
    reference: str
    run: int


class WhatIfCall(WhatIfPlace):
    """One attempt that would be sent; `recorded`: just this was asked in the record too."""

    attempt: int
    function: str
    arguments: Any
    compensates: str | None
    recorded: bool
    outcome: Literal["completed", "refused", "uncertain", "unusable"] | None
    answer_from: Literal["record", "change", "assumption"] | None


class WhatIfCourse(Open):
    """A course: of the record, or the one it would have been."""

    definition: str
    status: Status | Literal["pending"]
    output: Any
    error: Fault | None
    calls: list[WhatIfCall]
    undone: list[WhatIfPlace]
    left_behind: list[dict[str, Any]]
    incidents: list[Incident]


class WhatIfRecord(WhatIfCourse):
    """The course that was recorded, up to a version."""

    version: int


class WhatIfParting(Open):
    """Where the recorded path is left: the event recorded as this version, and the one that comes instead."""

    version: int
    recorded: dict[str, Any] | None
    instead: dict[str, Any] | None
    differs: list[str] = Field(description="In which members, where it is the same event of the same run.")


class WhatIfAnswer(WhatIfCourse):
    """The course that it would have been, and the recorded one beside it."""

    id: str
    outcome: Literal["same", "other", "cannot_continue"]
    same_calls: bool = Field(description="Whether it asks everybody for the same and ends as recorded.")
    why: str | None
    leaves_at: WhatIfParting | None
    assumptions: list[str]
    recorded: WhatIfRecord
