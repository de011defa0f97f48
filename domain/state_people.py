"""What the state of an orchestration knows of a task for people: what is asked, of whom, and who has had it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from domain.events import Candidates, Escalation


class Handing(msgspec.Struct, array_like=True):
    """A step of who had a task for people: ``assigned | claimed | released | reassigned | escalated | answered``. `user` has
    it after that, gave it back, or answered.
    """

    at: datetime
    what: str
    user: str | None
    actor: str | None
    reason: str | None = None


class Human(msgspec.Struct, array_like=True):
    """A task for people: what is asked, of whom, and who has it."""

    number: int
    title: str
    description: str | None = None
    form: Any = None
    data: Any = None
    candidates: Candidates = Candidates()
    assignee: str | None = None
    priority: int = 0
    due_at: datetime | None = None
    asked_at: datetime | None = None
    escalations: tuple[Escalation, ...] = ()
    escalated: int = 0
    """How many of them took place."""
    answered: bytes | None = None
    """Digest of the answer."""
    outcome: str | None = None
    handings: list[Handing] = []
    """The latest; the history has all."""
    candidates_before: tuple[Candidates, ...] = ()
    """The latest of those that others have taken the place of."""

    @property
    def next_at(self) -> datetime | None:
        """When it is escalated next."""
        return self.escalations[self.escalated].at if self.escalated < len(self.escalations) else None
