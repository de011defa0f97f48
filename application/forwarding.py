"""What nodes ask of each other, and what they answer: the bodies and replies of inbox rows.

A forwarded request names its partition and says everything that its owner needs to carry it out as if it had been asked
there. A refusal travels as the name of its class and its members, and is raised again where the client waits.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import msgspec

from domain import errors
from domain.errors import Problem, RetraceError


class Execute(msgspec.Struct, frozen=True, tag=True):
    """A domain command, by the name of its class, for one orchestration. Answer: `Done`."""

    orchestration: UUID
    command: str
    members: dict[str, Any]
    if_match: int | None = None


class Begin(msgspec.Struct, frozen=True, tag=True):
    """Begin an orchestration of the definition with this digest, by `Start` or `Fork`. Answer: `Done`; `new` tells whether
    it did not exist.
    """

    id: str
    digest: str
    members: dict[str, Any]
    drawn: bool = False
    """The id was just drawn, so it cannot exist."""
    reserved: tuple[str, str] | None = None
    """(definition, business key): begin only while the key is still reserved for this id."""
    command: str = "Start"


class Sender(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who sent an event, and in which request; `NOBODY` where it is offered again later."""

    actor: str | None = None
    trace: str | None = None
    request_id: str | None = None


NOBODY: Final = Sender()


class Publish(msgspec.Struct, frozen=True, tag=True):
    """An event for whoever waits. Answer: ``{"outcome"}``."""

    event: dict[str, Any]
    actor: str | None
    trace: str | None = None
    request_id: str | None = None


class Offer(msgspec.Struct, frozen=True, tag=True):
    """A held event for one orchestration that has begun to wait. Answer: None."""

    source: str
    id: str
    to: tuple[int, UUID]


class Exists(msgspec.Struct, frozen=True, tag=True):
    """Whether an orchestration exists and is unfinished, with no start of it under way. Answer: a boolean."""

    id: str


Request = Execute | Begin | Publish | Offer | Exists


class Done(msgspec.Struct, frozen=True):
    """What a command led to, after the commit. `received`: what became of an event, or of a callback that came too
    late.
    """

    id: str
    status: str
    version: int
    received: str | None = None
    new: bool = False


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """`value`: what was answered (`Done` as its members); `refused`: (class of the error, its members)."""

    value: Any = None
    refused: tuple[str, dict[str, Any]] | None = None


_encode = msgspec.msgpack.Encoder().encode
_request = msgspec.msgpack.Decoder(Request).decode
_reply = msgspec.msgpack.Decoder(Reply).decode


def encoded(message: Request | Reply) -> bytes:
    """The bytes of a body or a reply."""
    return _encode(message)


def request_of(body: bytes) -> Request:
    request: Request = _request(body)
    return request


def refusal(error: RetraceError) -> Reply:
    """The reply that raises this error again at the other end."""
    return Reply(refused=(type(error).__name__, msgspec.to_builtins(vars(error))))


def opened(reply: bytes) -> Any:
    """What was answered. Raises the RetraceError that was refused with."""
    found = _reply(reply)
    if found.refused is None:
        return found.value
    name, members = found.refused
    cls = getattr(errors, name, RetraceError)
    error = RetraceError.__new__(cls if issubclass(cls, RetraceError) else RetraceError)
    if "problems" in members:
        members["problems"] = msgspec.convert(members["problems"], list[Problem])
    vars(error).update(members)
    error.args = (members["detail"],)
    raise error
