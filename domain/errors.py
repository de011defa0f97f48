"""The errors of Retrace, drawn.

Two things are called "error" in this field and are kept apart here:

*Faults* are data. A fault is what a task of an orchestration met: a refused request, a timeout, an expression
that failed. It has the shape of RFC 9457, is recorded in events, caught by ``catch`` and shown to clients.

*Exceptions* are for programs. They tell the caller of a use case why nothing was done::

    RetraceError                    code
    ├── NotFoundError               not-found
    │   └── ArchivedError           not-found               its history can still be read
    ├── OutsideLifeError            malformed-request
    ├── InvalidInputError           invalid-input           problems: one entry per violation
    ├── InvalidDefinitionError      invalid-definition      problems: one entry per problem, with line and column
    ├── DefinitionExistsError       definition-exists
    ├── ForkConflictError           fork-conflict           problems: what a fork would do twice, or what may be undone
    ├── BusinessKeyInUseError       business-key-in-use     orchestration: the public id that holds it
    ├── IdempotencyKeyReusedError   idempotency-key-reused
    ├── IdempotencyKeyInUseError    idempotency-key-in-use
    ├── EventIdReusedError          event-id-reused
    ├── OrchestrationEndedError     orchestration-ended     current_status
    ├── PastPivotError              past-pivot
    ├── IncidentResolvedError       orchestration-ended     current_status; the incident is at its end
    ├── VersionMismatchError        version-mismatch
    ├── StaleTokenError             stale-token
    ├── TaskClaimedError            task-claimed            somebody else has the task for people
    ├── TaskEndedError              task-ended              it was answered or withdrawn
    ├── OverloadedError             overloaded              retry_after_s
    │   ├── TooManyRequestsError    overloaded              the client is too fast for what is in progress
    │   ├── OwnershipLostError      overloaded              another node took the partition over; nothing was done
    │   └── NodeUnavailableError    overloaded              no answer yet from the node that has it
    └── StorageError                internal                the database failed; nothing is known to be committed
        ├── StorageAwayError        overloaded              it cannot be had at the moment
        ├── HistoryUnreadableError  internal                of one orchestration; the others are as they were
        └── BlobStorageError        internal                the folder or object store beside it failed

``code`` is stable: clients and adapters may rely on it, messages may change.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec

SPEC = "https://serverlessworkflow.io/spec/1.0.0/errors/"
"""Prefix of the standard's error types."""
KIT = "https://serverlessworkflow.io/dsl/errors/types/"
"""Prefix that the standard's test kit uses for the same types; equal in ``catch``."""
OURS = "https://retrace.invalid/errors/"
"""Prefix of error types that a bare word names."""
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a task met, as RFC 9457 problem details; ``response`` is our extension for an answer of a participant."""

    type: str
    status: int
    title: str | None = None
    detail: str | None = None
    instance: str | None = None
    response: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """The fault as clients and expressions see it: absent members are left out."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}

    def at(self, pointer: str) -> Fault:
        """The same fault, telling where it happened unless it already does."""
        return self if self.instance is not None else msgspec.structs.replace(self, instance=pointer)


def error_type(named: str) -> str:
    """A URI as it is; a bare word becomes one of ours."""
    return named if _URI.match(named) else OURS + quote(named, safe="")


def fault(name: str, detail: str, *, status: int | None = None, title: str | None = None) -> Fault:
    """A fault of one of the standard's kinds, e.g. ``fault("timeout", "no answer within 30 s")``."""
    default_status, default_title = STANDARD[name]
    return Fault(SPEC + name, status or default_status, title or default_title, detail)


STANDARD: dict[str, tuple[int, str]] = {
    "configuration": (400, "Configuration Error"),
    "validation": (400, "Validation Error"),
    "expression": (400, "Expression Error"),
    "authentication": (401, "Authentication Error"),
    "authorization": (403, "Authorization Error"),
    "timeout": (408, "Timeout Error"),
    "communication": (500, "Communication Error"),
    "runtime": (500, "Runtime Error"),
    "cancelled": (499, "Cancelled"),
}


class RetraceError(Exception):
    """The request could not be carried out."""

    code: ClassVar[str] = "internal"

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or (self.__class__.__doc__ or "").strip().splitlines()[0]
        super().__init__(self.detail)


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong with a document or a body: where (JSON Pointer, line and column from 1) and what."""

    pointer: str
    detail: str
    code: str = "invalid"
    line: int | None = None
    column: int | None = None


class _ProblemsError(RetraceError):
    def __init__(self, problems: list[Problem], detail: str | None = None) -> None:
        self.problems = problems
        super().__init__(detail)


class NotFoundError(RetraceError):
    """There is no such thing here."""

    code = "not-found"


class ArchivedError(NotFoundError):
    """It ended long ago and is archived; its history can be read: add archive=true, or use retrace history ID --archive."""


class OutsideLifeError(RetraceError):
    """The orchestration did not exist then; choose a version or an instant within its life."""

    code = "malformed-request"


class InvalidInputError(_ProblemsError):
    """The input does not have the form that the definition asks for."""

    code = "invalid-input"


class InvalidDefinitionError(_ProblemsError):
    """The definition has problems; each is listed with its place."""

    code = "invalid-definition"


class DefinitionExistsError(RetraceError):
    """This version is already deployed with other content; raise the version."""

    code = "definition-exists"


class ForkConflictError(_ProblemsError):
    """The original could still undo what the fork would build on, or the fork would do something twice."""

    code = "fork-conflict"


class BusinessKeyInUseError(RetraceError):
    """An unfinished orchestration of this definition already has this business key."""

    code = "business-key-in-use"

    def __init__(self, orchestration: str | None) -> None:
        self.orchestration = orchestration
        super().__init__()


class IdempotencyKeyReusedError(RetraceError):
    """This Idempotency-Key was used before with another request."""

    code = "idempotency-key-reused"


class IdempotencyKeyInUseError(RetraceError):
    """The first request with this Idempotency-Key is still in progress; repeat it later."""

    code = "idempotency-key-in-use"


class EventIdReusedError(RetraceError):
    """An event with this source and id but other content was received before."""

    code = "event-id-reused"


class OrchestrationEndedError(RetraceError):
    """The orchestration has ended."""

    code = "orchestration-ended"

    def __init__(self, current_status: str, detail: str | None = None) -> None:
        self.current_status = current_status
        super().__init__(detail or f"The orchestration has ended as {current_status}.")


class PastPivotError(RetraceError):
    """The pivot was passed; a cancel needs override_pivot: true, which undoes all that can be undone."""

    code = "past-pivot"


class IncidentResolvedError(RetraceError):
    """The incident is resolved already."""

    code = "orchestration-ended"

    def __init__(self, current_status: str, detail: str | None = None) -> None:
        self.current_status = current_status
        super().__init__(detail)


class VersionMismatchError(RetraceError):
    """The orchestration has another version than If-Match asks for."""

    code = "version-mismatch"


class StaleTokenError(RetraceError):
    """The token is not valid any more: the time is over, the task is not wanted any more, or somebody else has it."""

    code = "stale-token"


class TaskClaimedError(RetraceError):
    """Somebody else has the task."""

    code = "task-claimed"


class TaskEndedError(RetraceError):
    """The task was answered, or is not wanted any more."""

    code = "task-ended"


class OverloadedError(RetraceError):
    """Too much is going on here at the moment; repeat the request later."""

    code = "overloaded"

    def __init__(self, detail: str | None = None, retry_after_s: int = 1) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(detail)


class TooManyRequestsError(OverloadedError):
    """More is begun than is brought to its end here; begin no more for a while."""


class OwnershipLostError(OverloadedError):
    """Another node has taken over the partition; repeat the request."""


class NodeUnavailableError(OverloadedError):
    """The node that has this orchestration has not answered; repeat the request with the same Idempotency-Key."""


class StorageError(RetraceError):
    """The database could not be used; nothing is known to be committed."""


class HistoryUnreadableError(StorageError):
    """The history cannot be read any more."""


class BlobStorageError(StorageError):
    """The folder or object store of large values could not be used."""


class ContentMissingError(RetraceError):
    """A large value that an event refers to is not there any more, or is not what it was."""

    code = "content-missing"

    def __init__(self, orchestration: str, digest: str) -> None:
        self.orchestration = orchestration
        self.digest = digest
        of = f" of the orchestration {orchestration}" if orchestration else ""
        super().__init__(f"The content {digest}{of} is missing: restore it, or nothing can be done with what needs it.")


class StorageAwayError(StorageError):
    """The database cannot be used at the moment, and it is not certain whether this took effect; repeat the request with the
    same Idempotency-Key.
    """

    code = "overloaded"
