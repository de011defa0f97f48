"""``call: http``: from the task's ``with`` to the outcome of one attempt.

`HttpCallouts.send` takes a callout as the engine hands it over. `HttpCallouts.deliver` is the part behind it that
``call: openapi`` shares: authenticate, send, renew a refused token once, judge the answer.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from importlib import metadata
from typing import Any, cast

import aiohttp
import msgspec
from yarl import URL

from adapters.callouts.authentication import Authenticator, Credentials
from adapters.callouts.binaries import is_binary, kept
from adapters.callouts.circuits import Circuits
from adapters.callouts.content import UnreadableError, is_field_value
from adapters.callouts.exchange import Exchange, LostError, PostponedError, Request, UnsentError
from adapters.callouts.forms import encoded
from adapters.callouts.network import NetworkPolicy
from adapters.callouts.oauth import Tokens
from adapters.callouts.outcome import Output, judge, succeeded, unusable
from adapters.callouts.uris import address, json_kind, scalar_text, with_query
from application.ports import Callout, CalloutResult, Declined, Doubtful, OrchestrationFiles, Postponed, Secrets
from application.tracing import traceparent
from domain.errors import fault

INPUT = "$input"
"""Member that the engine adds to the arguments: the task's transformed input, for URI templates."""
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_OURS = frozenset({"idempotency-key", "retrace-compensates"})
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"})
_OUTPUTS = ("raw", "content", "response")
_PARAMETERS = {"method", "endpoint", "headers", "query", "body", "output", "redirect"}


def user_agent() -> str:
    """``retrace/<version>``."""
    try:
        return f"retrace/{metadata.version('retrace')}"
    except metadata.PackageNotFoundError:
        return "retrace"


_USER_AGENT = user_agent()


class Delivery(msgspec.Struct, frozen=True):
    """A request with all that decides how it is sent and what becomes of its answer."""

    request: Request
    authentication: Any = None
    variables: Any = None
    """The task's input."""
    output: Output = "content"
    redirect: bool = False
    files: OrchestrationFiles | None = None
    """Where an answer that is no text goes; None: into the output, as base64."""


class HttpCallouts:
    """Sends HTTP requests. The session is shared and guarded (network.open_session); `close` closes it."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        secrets: Secrets,
        *,
        max_answer_bytes: int = 10_000_000,
        policy: NetworkPolicy | None = None,
        circuits: Circuits | None = None,
    ) -> None:
        self.exchange = Exchange(session, max_answer_bytes=max_answer_bytes, policy=policy, circuits=circuits)
        self.authenticator = Authenticator(Tokens(self.exchange), secrets)
        self._redact = secrets.redact
        self._session = session

    async def close(self) -> None:
        """Close every connection; what is in flight fails."""
        await self._session.close()

    async def send(self, callout: Callout) -> CalloutResult:
        """One attempt of a ``call: http``. Returns within the callout's timeout."""
        deadline = asyncio.get_running_loop().time() + callout.timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                delivery = await _delivery(callout)
        except UnsentError as problem:
            return Declined(problem.fault, problem.retry_after_s)
        except TimeoutError:
            return Declined(fault("timeout", "the files to send were not there in time; nothing was sent"))
        return await self.deliver(delivery, deadline)

    async def deliver(self, delivery: Delivery, deadline: float) -> CalloutResult:
        """Authenticate, send and judge, until `deadline` (loop time)."""
        try:
            credentials = await self.authenticator.credentials(delivery.authentication, delivery.variables, deadline)
            request = _with_credentials(delivery.request, credentials)
            reply = await self.exchange.send(request, deadline, credentials.middlewares)
            if reply.status == 401 and credentials.renewable:
                # 401 is a definite no, so the same attempt may go out again with a fresh token.
                credentials = await self.authenticator.credentials(
                    delivery.authentication, delivery.variables, deadline, renew=True
                )
                request = _with_credentials(delivery.request, credentials)
                reply = await self.exchange.send(request, deadline, credentials.middlewares)
        except PostponedError as problem:
            return Postponed(problem.fault, problem.after_s)
        except UnsentError as problem:
            return Declined(problem.fault, problem.retry_after_s)
        except LostError as problem:
            return Doubtful(problem.fault)
        file = None
        usable = succeeded(reply, redirect=delivery.redirect) and reply.damage is None
        if usable and delivery.files is not None and delivery.output != "raw" and is_binary(reply):
            try:
                file = await kept(reply, delivery.files, deadline, self._redact)
            except UnreadableError as problem:
                return unusable(request, reply, str(problem))
        return judge(request, reply, output=delivery.output, redirect=delivery.redirect, file=file)


def _with_credentials(request: Request, credentials: Credentials) -> Request:
    if not credentials.headers:
        return request
    kept = {name: value for name, value in request.headers.items() if name.lower() != "authorization"}
    return msgspec.structs.replace(request, headers=kept | credentials.headers)


async def _delivery(callout: Callout) -> Delivery:
    if not isinstance(callout.arguments, dict):
        raise UnsentError(fault("configuration", f"with must be an object, not {json_kind(callout.arguments)}"))
    arguments = dict(callout.arguments)
    variables = arguments.pop(INPUT, None)
    if unknown := arguments.keys() - _PARAMETERS:
        raise UnsentError(fault("configuration", f"call: http has no parameter {', '.join(sorted(unknown))}"))
    uri, authentication = endpoint(arguments.get("endpoint"))
    url = with_query(address(uri, variables), arguments.get("query"))
    headers = read_headers(arguments.get("headers"))
    request = await compose(callout, _method(arguments.get("method")), url, headers, arguments.get("body"))
    return Delivery(request, authentication, variables, *form_of_answer(arguments), callout.files)


def endpoint(value: Any) -> tuple[Any, Any]:
    """URI (template) and authentication of an endpoint, which is a URI or an object. Raises UnsentError."""
    if not isinstance(value, dict):
        return value, None
    if unknown := value.keys() - {"uri", "authentication"}:
        raise UnsentError(fault("configuration", f"an endpoint has no member {', '.join(sorted(unknown))}"))
    return value.get("uri"), value.get("authentication")


def form_of_answer(arguments: dict[str, Any]) -> tuple[Output, bool]:
    """``output`` and ``redirect`` of an HTTP or OpenAPI call. Raises UnsentError."""
    output, redirect = arguments.get("output", "content"), arguments.get("redirect", False)
    if output not in _OUTPUTS:
        raise UnsentError(fault("configuration", f"output must be one of {', '.join(_OUTPUTS)}, not {output!r}"))
    if not isinstance(redirect, bool):
        raise UnsentError(fault("configuration", f"redirect must be a boolean, not {json_kind(redirect)}"))
    return cast(Output, output), redirect


async def compose(callout: Callout, method: str, url: URL, headers: dict[str, str], body: Any) -> Request:
    """A complete request: body encoded, and the headers that every callout carries. Raises UnsentError."""
    names = {name.lower(): name for name in headers}
    content_type = headers.get(names.get("content-type", ""))
    made = await encoded(body, content_type, callout.files)
    if made.content_type != content_type:  # it was not given, or a boundary belongs to it
        headers = {name: value for name, value in headers.items() if name.lower() != "content-type"}
        names.pop("content-type", None)
    standard = {"User-Agent": _USER_AGENT, "Accept": "application/json, text/*;q=0.9, */*;q=0.8"}
    if made.content_type is not None:
        standard["Content-Type"] = made.content_type
    if url.user is not None:
        # Credentials in the URI travel as the header that they stand for, and are shown nowhere.
        pair = f"{url.user}:{url.password or ''}"
        standard["Authorization"] = "Basic " + b64encode(pair.encode()).decode()
        url = url.with_user(None)
    complete = {name: value for name, value in standard.items() if name.lower() not in names} | headers
    complete["Idempotency-Key"] = callout.idempotency_key
    if callout.trace is not None and "traceparent" not in names:
        complete["traceparent"] = traceparent(callout.trace, callout.idempotency_key, callout.attempt)
    if callout.compensates is not None:
        complete["Retrace-Compensates"] = callout.compensates
    return Request(method, url, complete, made.data)


def read_headers(value: Any) -> dict[str, str]:
    """Headers as they are sent; null ones are left out. Raises UnsentError for what no header can be."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UnsentError(fault("configuration", f"headers must be an object, not {json_kind(value)}"))
    headers: dict[str, str] = {}
    for name, content in value.items():
        if content is None:
            continue
        if name.lower() in _OURS | _FRAMING:
            who = "Retrace sets it" if name.lower() in _OURS else "it belongs to the connection"
            raise UnsentError(fault("configuration", f"the header {name} cannot be set: {who}"))
        if isinstance(content, (dict, list)):
            raise UnsentError(fault("configuration", f"the header {name} must be text, not {json_kind(content)}"))
        text = scalar_text(content)
        if not _TOKEN.fullmatch(name) or not is_field_value(text):
            raise UnsentError(fault("configuration", f"{name!r} with this value is not a valid header"))
        headers[name] = text
    return headers


def _method(value: Any) -> str:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value) or value.upper() in ("CONNECT", "TRACE"):
        raise UnsentError(fault("configuration", f"{value!r} is not a method that a call can use"))
    return value.upper()
