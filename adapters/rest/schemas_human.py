"""The JSON of tasks for people as pydantic models."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from adapters.rest.schemas import Body, CallbackError, Instant, Line, Open, Reason

HumanStatus = Literal["open", "claimed", "completed", "refused", "withdrawn"]


class PersonBody(Body):
    """On whose behalf: left out, it is the caller. Only some callers may act for others, and say which groups they are in."""

    user: Line | None = Field(None, description="The person, where that is not the caller.")
    groups: list[Line] = Field(default_factory=list, max_length=100, description="Groups that the person is in.")


class HumanAnswerBody(PersonBody):
    """The person's answer."""

    output: Any = Field(None, description="The output of the task; it has to fit the form.")


class HumanRefusalBody(PersonBody):
    """The person's no: the task fails, and certainly nothing was done."""

    error: CallbackError


class CandidatesBody(Body):
    """Who may take it."""

    users: list[Line] = Field(default_factory=list, max_length=200)
    groups: list[Line] = Field(default_factory=list, max_length=200)


class ReassignBody(Body):
    """Who is to do it, and why: a person, or whoever of the candidates takes it."""

    assignee: Line | None = None
    candidates: CandidatesBody | None = None
    reason: Reason

    @model_validator(mode="after")
    def _somebody(self) -> ReassignBody:
        if self.assignee is None and self.candidates is None:
            raise ValueError("says neither assignee nor candidates")
        return self


class Candidates(Open):
    """Who may take it; everyone, where both are empty."""

    users: list[str]
    groups: list[str]


class HumanTaskEntry(Open):
    """A task for people in a list."""

    id: str
    orchestration: str
    definition: str
    task: str
    reference: str = Field(description="JSON Pointer of the task in its definition.")
    title: str
    description: str | None
    status: HumanStatus
    candidates: Candidates
    assignee: str | None
    priority: int
    due_at: Instant | None
    timeout_at: Instant | None = Field(description="When it fails without an answer.")
    created_at: Instant
    overdue: bool
    links: dict[str, str]


class Escalation(Open):
    """What happens to it at an instant, if it is still open."""

    at: Instant
    candidates: Candidates | None
    priority: int | None
    remind: bool
    done: bool


class Handing(Open):
    """A step of who had it. `actor` asked for it, `user` is the person."""

    at: Instant
    what: Literal["assigned", "claimed", "released", "reassigned", "escalated", "answered"]
    user: str | None
    actor: str | None
    reason: str | None


class HumanTask(HumanTaskEntry):
    """A task for people with all that is asked."""

    form: Any = Field(description="JSON Schema of the answer; null: anything.")
    data: Any = Field(description="What is shown to the person.")
    escalations: list[Escalation]
    output: Any
    error: dict[str, Any] | None
    handings: list[Handing] = Field(description="The latest 100; the history has all.")


class HumanTaskList(Open):
    """A page of open tasks, the most urgent first, then the oldest."""

    items: list[HumanTaskEntry]
    next: str | None
