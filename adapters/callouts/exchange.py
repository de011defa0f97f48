"""One request over the wire, and how far it came.

The question behind every error is "did it leave?". Before a connection stands (name resolution, connect, TLS) nothing
was sent: `UnsentError`, a definite failure. After that, without a status line, nobody knows: `LostError`. With a
status line there is a `Reply`, even if the body is lost; `damage` then says why it is incomplete. The deadline covers
all of it, so a peer that sends a byte a minute gains nothing. The byte cap counts decompressed bytes.

A host that is away is not asked at all for a while (`circuits`): `PostponedError`, an `UnsentError` like any other for who
does not want to wait.
"""

from __future__ import annotations

import asyncio
import errno
import io
import ssl
from collections.abc import Mapping

import aiohttp
import msgspec
from yarl import URL

from adapters.callouts.circuits import GATEWAY_STATUSES, Circuits, TurnedAwayError, host_of
from adapters.callouts.network import NetworkPolicy, Progress, name_was_judged
from domain.errors import SPEC, Fault, fault

_AT_ONCE_BYTES = 256 * 1024
FAULT_BODY_BYTES = 64_000
"""What is read and kept of an answer that is an error."""
_PATIENT_S = 1.0
"""Who gives up on an answer sooner than this learns nothing of the host."""


class UnsentError(Exception):
    """Nothing took effect; the fault says why."""

    def __init__(self, problem: Fault, retry_after_s: float | None = None) -> None:
        self.fault = problem
        self.retry_after_s = retry_after_s
        super().__init__(problem.detail)


class PostponedError(UnsentError):
    """Nothing was sent, because the host is known to be away; `after_s`: when it is worth another try."""

    def __init__(self, problem: Fault, after_s: float) -> None:
        self.after_s = after_s
        super().__init__(problem, after_s)


class LostError(Exception):
    """It was sent, or may have been, and there is no answer; the fault says what happened."""

    def __init__(self, problem: Fault) -> None:
        self.fault = problem
        super().__init__(problem.detail)


class Request(msgspec.Struct, frozen=True):
    """A request ready to be sent; the method in upper case."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | None = None

    @property
    def title(self) -> str:
        """The request for messages: without query and user info, which may hold secrets."""
        return f"{self.method} {self.url.with_user(None).with_query(None).with_fragment(None)}"


class Reply(msgspec.Struct, frozen=True):
    """An answer: names of headers in lower case, repeated ones joined by a comma."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes
    damage: str | None = None
    """Why `body` is not the whole of it."""


class Exchange:
    """Sends requests over the shared, guarded session. Follows no redirect and repeats nothing."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        max_answer_bytes: int = 10_000_000,
        policy: NetworkPolicy | None = None,
        circuits: Circuits | None = None,
    ) -> None:
        self._session = session
        self._circuits = circuits
        self._policy = policy
        self._max_answer_bytes = max_answer_bytes

    async def send(
        self, request: Request, deadline: float, middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = ()
    ) -> Reply:
        """Send and read until `deadline` (loop time). Raises UnsentError or LostError; see the module."""
        circuits = self._circuits
        if circuits is None:
            return await self._send(request, deadline, middlewares)
        host, patience_s = host_of(request.url), deadline - asyncio.get_running_loop().time()
        try:
            probe = circuits.enter(host)
        except TurnedAwayError as away:
            why = fault("communication", f"{request.title}: {away}; nothing was sent", status=503)
            raise PostponedError(why, away.after_s) from None
        told = False
        try:
            reply = await self._send(request, deadline, middlewares)
            told = True
            if reply.status in GATEWAY_STATUSES:
                circuits.failed(host, probe, f"it answered {reply.status}")
            else:
                circuits.succeeded(host, probe)
            return reply
        except (UnsentError, LostError) as problem:
            # Who hardly waits learns nothing of the host, and must not shut it for those that do.
            if _tells_of_the_host(problem.fault, patience_s):
                told = True
                # Without the path, which may be somebody's own business: operators see it for the whole host.
                circuits.failed(host, probe, str(problem.fault.detail).removeprefix(f"{request.title}: "))
            raise
        finally:
            if not told:
                circuits.unknown(host, probe)

    async def _send(
        self, request: Request, deadline: float, middlewares: tuple[aiohttp.ClientMiddlewareType, ...]
    ) -> Reply:
        if self._policy is not None and (complaint := self._policy.name(request.url)) is not None:
            raise UnsentError(fault("configuration", f"{request.title}: {complaint}"))
        progress = Progress()
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._session.request(
                    request.method,
                    request.url,
                    headers=request.headers,
                    data=_payload(request.body),
                    allow_redirects=False,
                    middlewares=middlewares,
                    trace_request_ctx=progress,
                )
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as problem:
            raise _no_answer(request, problem, progress) from problem
        finally:
            name_was_judged()
        try:
            body, damage = await self._body(response, deadline)
        finally:
            # Gives the connection back if the body was read to its end, closes it otherwise.
            response.release()
        return Reply(response.status, _text(response.reason or ""), _headers(response), body, damage)

    async def _body(self, response: aiohttp.ClientResponse, deadline: float) -> tuple[bytes, str | None]:
        cap = self._max_answer_bytes if response.status < 400 else min(self._max_answer_bytes, FAULT_BODY_BYTES)
        body = bytearray()
        try:
            async with asyncio.timeout_at(deadline):
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > cap:
                        response.close()
                        return bytes(body[:cap]), f"the answer is larger than {cap} bytes"
        except TimeoutError:
            response.close()
            return bytes(body), "the answer did not end in time"
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            response.close()
            return bytes(body), f"the answer broke off: {_text(str(problem)) or type(problem).__name__}"
        return bytes(body), None


def _payload(body: bytes | None) -> bytes | io.BytesIO | None:
    """A large body is handed over as a file, which is sent in pieces: others get their turn."""
    return io.BytesIO(body) if body is not None and len(body) > _AT_ONCE_BYTES else body


def _tells_of_the_host(problem: Fault, patience_s: float) -> bool:
    if problem.type == SPEC + "timeout":
        return patience_s >= _PATIENT_S
    return problem.type == SPEC + "communication"


def _no_answer(request: Request, problem: Exception, progress: Progress) -> UnsentError | LostError:
    reason = _reason(problem)
    if isinstance(problem, TimeoutError):
        if progress.connected:
            return LostError(fault("timeout", f"{request.title}: no answer in time"))
        return UnsentError(fault("timeout", f"{request.title}: no connection in time"))
    if isinstance(problem, (aiohttp.InvalidURL, ValueError)) and not progress.connected:
        return UnsentError(fault("configuration", f"{request.title}: the request is not valid: {reason}"))
    if _is_refused_address(problem):
        return UnsentError(fault("configuration", f"{request.title}: {reason}"))
    if type(problem) is aiohttp.ClientError:
        # Only the digest middleware raises the bare class: a challenge (401) that it cannot answer.
        return UnsentError(fault("authentication", f"{request.title}: {reason}"))
    detail = fault("communication", f"{request.title}: {reason}")
    return LostError(detail) if progress.connected else UnsentError(detail)


def _is_refused_address(problem: Exception) -> bool:
    if not isinstance(problem, aiohttp.ClientConnectorError) or isinstance(problem.os_error, ssl.SSLError):
        return False
    # Not by class: of several refused addresses of one name aiohttp makes a plain OSError with their common number.
    return problem.os_error.errno == errno.EPERM


def _reason(problem: Exception) -> str:
    if isinstance(problem, aiohttp.ClientConnectorDNSError):
        return f"the name {problem.host} cannot be resolved"
    if isinstance(problem, aiohttp.ClientConnectorCertificateError):
        return f"the certificate is not trusted: {_text(str(problem.certificate_error))}"
    if isinstance(problem, aiohttp.ClientConnectorError):
        inner = problem.os_error
        what = "TLS failed" if isinstance(inner, ssl.SSLError) else "cannot connect"
        return f"{what}: {_text(inner.strerror or str(inner) or type(inner).__name__)}"
    if isinstance(problem, aiohttp.ClientResponseError):
        return "the answer is not HTTP"
    if isinstance(problem, aiohttp.ServerDisconnectedError):
        return "the connection was closed before an answer came"
    return _text(str(problem)) or type(problem).__name__


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    merged: dict[str, str] = {}
    for name, value in response.headers.items():
        key = _text(name).lower()
        merged[key] = f"{merged[key]}, {_text(value)}" if key in merged else _text(value)
    return merged


def _text(value: str) -> str:
    """Clean text: aiohttp keeps undecodable bytes as lone surrogates, which no JSON storage takes."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
