"""Every refusal of the API, as `application/problem+json` (RFC 9457).

The slugs are a public contract: the last segment of `type`, documented at `/problems/<slug>` and never renamed. Use cases
raise `RetraceError`, whose `code` is the slug; what only the edge knows (a wrong media type, an unknown parameter) is a
`ProblemError`. `internal` carries a reference to the log and nothing of what went wrong.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import structlog
from starlette.responses import Response

from adapters.rest.lingering import LingeringResponse
from domain.errors import (
    BusinessKeyInUseError,
    ForkConflictError,
    IncidentResolvedError,
    InvalidDefinitionError,
    InvalidInputError,
    OrchestrationEndedError,
    OverloadedError,
    Problem,
    RetraceError,
    StorageAwayError,
    TooManyRequestsError,
)

MEDIA_TYPE = "application/problem+json"
TOO_MANY = 429
"""The status of `overloaded` where it is the client that is too fast."""

_STORAGE_AWAY = (
    "The database cannot be used at the moment; it is not certain whether the request took effect. Repeat it after the "
    "seconds in Retry-After, with the same Idempotency-Key."
)

_log = structlog.get_logger(__name__)


class Slug(NamedTuple):
    """One kind of problem: its status, its title and what a client can do."""

    status: int
    title: str
    advice: str
    retryable: bool = False


SLUGS: dict[str, Slug] = {
    "malformed-request": Slug(
        400,
        "Malformed request",
        "The request cannot be read: JSON that is not valid (duplicate members, NaN, lone surrogates, invalid UTF-8 and "
        "nesting deeper than 100 count), an unknown or malformed query parameter, or a malformed header. Mend the request.",
    ),
    "invalid-input": Slug(
        422,
        "Invalid input",
        "The request can be read but has not the form that is asked for. Each entry of errors names a place (JSON Pointer) "
        "and what is wrong there. Nothing was done.",
    ),
    "invalid-definition": Slug(
        422,
        "Invalid definition",
        "The document cannot be deployed. Every problem is listed with its JSON Pointer, line and column. Nothing was "
        "stored.",
    ),
    "definition-exists": Slug(
        409,
        "Definition exists",
        "A deployed version never changes. Raise document.version, or choose another resource path if that is taken.",
    ),
    "not-found": Slug(
        404, "Not found", "There is nothing here, or nothing that you may see; the answer is the same for both."
    ),
    "method-not-allowed": Slug(405, "Method not allowed", "The header Allow lists the methods of this resource."),
    "not-acceptable": Slug(
        406, "Not acceptable", "The header Accept excludes every form in which this can be answered."
    ),
    "unsupported-media-type": Slug(
        415,
        "Unsupported media type",
        "The Content-Type is not one that this operation reads; detail lists those it does.",
    ),
    "payload-too-large": Slug(
        413, "Payload too large", "The body exceeds the limit of this server (1 MiB unless set)."
    ),
    "business-key-in-use": Slug(
        409,
        "Business key in use",
        "An unfinished orchestration of this definition has this business key; the member orchestration names it.",
    ),
    "idempotency-key-in-use": Slug(
        409,
        "Idempotency key in use",
        "The first request with this Idempotency-Key is still in progress. Repeat later: the answer will be its answer.",
        retryable=True,
    ),
    "idempotency-key-reused": Slug(
        422,
        "Idempotency key reused",
        "This Idempotency-Key was sent before with another method, path or body. Use a new key for a new request.",
    ),
    "event-id-reused": Slug(
        409,
        "Event id reused",
        "An event with this source and id but other content was received before. An event's source and id name it for ever.",
    ),
    "fork-conflict": Slug(
        409,
        "Fork conflict",
        "The original could still undo what the fork would build on, has undone it, or did what the fork would do again; "
        "errors has each case. Choose another version, or accept that with force: true.",
    ),
    "orchestration-ended": Slug(
        409,
        "Orchestration ended",
        "The orchestration has ended, or the incident was resolved before: nothing is left to decide. detail says how it "
        "came to that, current_status where the orchestration stands now.",
    ),
    "past-pivot": Slug(
        409,
        "Past the pivot",
        "The orchestration has passed its point of no return. A cancel with override_pivot: true undoes all that can be.",
    ),
    "version-mismatch": Slug(
        412,
        "Version mismatch",
        "The orchestration no longer has the version named in If-Match. Read it again and decide again.",
    ),
    "stale-token": Slug(
        409, "Stale token", "The token is no longer valid: the task ended, or someone else has it now."
    ),
    "task-claimed": Slug(
        409,
        "Task claimed",
        "Somebody else has this task now: claimed it first, or was given it. Read it again to see who.",
    ),
    "task-ended": Slug(
        409,
        "Task ended",
        "The task was answered, its time was over, or what it belongs to has ended. The answer was not taken.",
    ),
    "unauthorized": Slug(401, "Unauthorized", "Send Authorization: Bearer with a token of this server."),
    "overloaded": Slug(
        503,
        "Overloaded",
        "The server cannot take this on at the moment (503), or more is begun than is brought to its end (429). Where its "
        "database is away (503, detail says so) it is not certain whether the request took effect. Repeat after the "
        "seconds given in Retry-After; with an Idempotency-Key nothing is done twice.",
        retryable=True,
    ),
    "content-missing": Slug(
        500,
        "Content missing",
        "A file or a large value that is needed here is not there any more, or is not what it was; detail names its digest "
        "and its orchestration. An operator has to restore it where large values are kept.",
    ),
    "internal": Slug(
        500,
        "Internal error",
        "Something went wrong on our side, and it is not certain whether the request took effect. detail has a reference "
        "for the operator's log. Repeat with the same Idempotency-Key, or look at the state first.",
    ),
}


class ProblemError(Exception):
    """A refusal that only the edge knows. `more` are further members of the problem, `headers` of the answer."""

    def __init__(
        self,
        slug: str,
        detail: str,
        *,
        errors: Sequence[Problem] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.slug = slug
        self.detail = detail
        self.errors = errors
        self.headers = headers
        self.more = more
        super().__init__(detail)


def malformed(detail: str) -> ProblemError:
    """400: the request cannot be read."""
    return ProblemError("malformed-request", detail)


def problem_response(
    slug: str,
    detail: str,
    *,
    errors: Sequence[Problem] = (),
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
    status: int | None = None,
) -> Response:
    """The answer for a slug, with its own status unless another is given. Absent members are left out; 503 and 429 always say
    when to come back.
    """
    kind = SLUGS[slug]
    status = status or kind.status
    members: dict[str, Any] = {
        "type": f"/problems/{slug}",
        "title": kind.title,
        "status": status,
        "detail": detail,
    }
    if errors:
        members["errors"] = [error_member(each) for each in errors]
    if kind.retryable:
        members["retryable"] = True
    members.update(more or {})
    sent = dict(headers or {})
    if kind.retryable:
        sent.setdefault("Retry-After", "1")
    answer = LingeringResponse if slug == "payload-too-large" else Response
    return answer(msgspec.json.encode(members), status, sent, MEDIA_TYPE)


def error_member(problem: Problem) -> dict[str, Any]:
    """One entry of `errors`; line and column only where they are known."""
    entry: dict[str, Any] = {"pointer": problem.pointer, "detail": problem.detail, "code": problem.code}
    if problem.line is not None:
        entry["line"] = problem.line
    if problem.column is not None:
        entry["column"] = problem.column
    return entry


def refusal(error: ProblemError | RetraceError) -> Response:
    """The answer for a refusal, of the edge or of a use case."""
    if isinstance(error, ProblemError):
        return problem_response(error.slug, error.detail, errors=error.errors, headers=error.headers, more=error.more)
    if error.code not in SLUGS or error.code == "internal":
        return internal(error)
    match error:
        case InvalidInputError() | InvalidDefinitionError() | ForkConflictError():
            return problem_response(error.code, error.detail, errors=error.problems)
        case BusinessKeyInUseError():
            return problem_response(error.code, error.detail, more={"orchestration": error.orchestration})
        case OrchestrationEndedError() | IncidentResolvedError():
            return problem_response(error.code, error.detail, more={"current_status": error.current_status})
        case OverloadedError():
            headers = {"Retry-After": str(error.retry_after_s)}
            status = TOO_MANY if isinstance(error, TooManyRequestsError) else None
            return problem_response(error.code, error.detail, headers=headers, status=status)
        case StorageAwayError():
            _log.warning("request.storage_away", detail=error.detail)
            return problem_response(error.code, _STORAGE_AWAY)
        case _:
            return problem_response(error.code, error.detail)


def internal(error: BaseException) -> Response:
    """500 with a reference; what happened goes to the log alone."""
    reference = secrets.token_hex(4)
    _log.error("request.failed", reference=reference, exc_info=error)
    return problem_response("internal", f"An unexpected error. Reference for the operator: {reference}.")
