"""What may be asked of an orchestration. Commands are imperative and carry what the domain must not make itself: the
instant, the actor, and a seed from which ids are derived.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from domain.errors import Fault
from domain.events import Origin, Remark


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """`at`: now (UTC). `seed`: random bytes, never used twice. `actor`: the caller's name for commands of people. `trace` (32
    hexadecimal digits) and `request_id`: of the request that asked for it; they are recorded and change nothing.
    """

    at: datetime
    seed: bytes
    actor: str | None = None
    trace: str | None = None
    request_id: str | None = None


class Start(Command, frozen=True, kw_only=True):
    """Begin. `request` is the digest of the request that asked for it; `parent` is (public id, run); `scheduled_for`: the
    occurrence of the definition's schedule that it is.
    """

    id: str
    input: Any = None
    business_key: str | None = None
    tags: dict[str, str] = {}
    request: bytes | None = None
    parent: tuple[str, str] | None = None
    root: str | None = None
    depth: int = 0
    scheduled_for: datetime | None = None


class Fork(Command, frozen=True, kw_only=True):
    """Begin as a copy of another orchestration. `prefix`: its events up to the fork (`domain.prefix`). `to`: digest of the
    version of the definition to go on under, if another; `mapping` as for `Migrate`. `input`: another one, if there.
    """

    id: str
    origin: Origin
    prefix: tuple[tuple[str, bytes], ...]
    to: str | None = None
    mapping: dict[str, str] = {}
    reason: str | None = None
    input: Any | UnsetType = UNSET
    business_key: str | None = None
    tags: dict[str, str] = {}
    request: bytes | None = None
    remarks: tuple[Remark, ...] = ()


class Migrate(Command, frozen=True, kw_only=True):
    """Go on under the version of the definition with digest `to`. `mapping`: old task -> new task, each as a pointer or a
    short name (`domain.positions`), where names alone do not tell.
    """

    to: str
    mapping: dict[str, str] = {}
    reason: str | None = None


class ReportResult(Command, frozen=True, kw_only=True):
    """What is known of an attempt: it took effect, was refused, nobody knows, its answer cannot be used, or it was never
    handed out to anyone (`unsent`). `retryable`: what a worker says of trying again; None leaves it to the rules.
    """

    run: str
    number: int
    outcome: Literal["completed", "refused", "uncertain", "unusable", "unsent"]
    output: Any = None
    fault: Fault | None = None
    retry_after_s: float | None = None
    retryable: bool | None = None


class ReportCallback(Command, frozen=True, kw_only=True):
    """A task is called back: it is done (`output`), or it failed, definitely or perhaps (`error`: members of a `Fault`).
    `digest`: of what was posted.
    """

    run: str
    digest: bytes
    outcome: Literal["completed", "refused", "uncertain"]
    output: Any = None
    error: dict[str, Any] | None = None
    retryable: bool = False


class ClaimTask(Command, frozen=True, kw_only=True):
    """`user`, who is in `groups`, takes the task for people with this number."""

    number: int
    user: str
    groups: list[str] = []


class ReleaseTask(Command, frozen=True, kw_only=True):
    """`user` gives it back."""

    number: int
    user: str
    groups: list[str] = []


class ReassignTask(Command, frozen=True, kw_only=True):
    """It is for somebody else: for `assignee`, or (None) for whoever of the candidates takes it. `users` and `groups` are the
    candidates from now on; the same as before where both are None.
    """

    number: int
    reason: str
    assignee: str | None = None
    users: list[str] | None = None
    groups: list[str] | None = None


class AnswerTask(Command, frozen=True, kw_only=True):
    """`user` answers: it is done (`output`), or definitely not (`error`: members of a `Fault`). `digest`: of user and
    answer.
    """

    number: int
    user: str
    digest: bytes
    outcome: Literal["completed", "refused"]
    groups: list[str] = []
    output: Any = None
    error: dict[str, Any] | None = None


class FireTimers(Command, frozen=True, kw_only=True):
    """Handle every timer that is due."""


class ReceiveEvent(Command, frozen=True, kw_only=True):
    """A CloudEvent (JSON object). `hold`: keep it when nobody waits for it yet; else it is only offered."""

    event: dict[str, Any]
    digest: bytes
    hold: bool = True


class Cancel(Command, frozen=True, kw_only=True):
    reason: str | None = None
    override_pivot: bool = False


class Terminate(Command, frozen=True, kw_only=True):
    reason: str | None = None


class Suspend(Command, frozen=True, kw_only=True):
    reason: str | None = None


class Resume(Command, frozen=True, kw_only=True):
    reason: str | None = None


class Resolve(Command, frozen=True, kw_only=True):
    """Resolve an incident: ``retry``, ``skip``, ``complete`` (with `output`) or ``fail``."""

    number: int
    action: Literal["retry", "skip", "complete", "fail"]
    reason: str | None = None
    output: Any = None


class AddNote(Command, frozen=True, kw_only=True):
    text: str


class ReportPoison(Command, frozen=True, kw_only=True):
    """A command could not be decided because of a defect; an operator must look."""

    detail: str


class ReportChild(Command, frozen=True, kw_only=True):
    """From a child that ended, or that answers to `UndoChild` (`undone`; with `fault` when it could not)."""

    run: str
    child: str
    status: str
    output: Any = None
    fault: Fault | None = None
    undone: bool = False


class UndoChild(Command, frozen=True, kw_only=True):
    """From the parent: undo yourself, also when completed."""

    run: str
    fault: Fault | None = None


class Message(msgspec.Struct, frozen=True):
    """A command for another orchestration of the same family, decided in the same transaction. `to` is a public id;
    for `Start`, `digest` names the definition.
    """

    to: str
    command: Command
    digest: str | None = None


def target_of(command: Command) -> str | None:
    """Digest of the definition that a command moves an orchestration to, if it does."""
    return command.to if isinstance(command, Fork | Migrate) else None
