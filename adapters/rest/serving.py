"""One operation as an ASGI application: the steps that every request takes, whichever way it came.

The router and the short way of the hot paths lead to the same object. It reads what stands before the body (Accept, query),
lets the request in or refuses it, reads the body, keeps idempotency keys, calls the operation's own function, turns refusals
into problems, and stays until the answer is taken. FastAPI's own parsing is left out: requests are read more strictly here
than it reads them, and large bodies never pass through a model.
"""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapters.rest.admission import Gate
from adapters.rest.calls import Call
from adapters.rest.delivery import deliver
from adapters.rest.idempotency import once, read_key
from adapters.rest.metering import METER
from adapters.rest.negotiation import negotiate
from adapters.rest.operations import Operation
from adapters.rest.origin import with_request_id
from adapters.rest.parameters import read_query
from adapters.rest.problems import ProblemError, refusal
from adapters.rest.services import Services
from domain.errors import RetraceError


class Served:
    """An operation over the services behind it."""

    def __init__(self, operation: Operation, services: Services) -> None:
        self.operation = operation
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        patience_s = self._services.patience_s
        meter = scope.get(METER)
        if meter is not None:
            meter.operation = self.operation.id
        call = Call(scope, receive, self._services)
        try:
            self._understand(call)
            gate = self._gate(call)
            if meter is not None:
                meter.waits = gate is self._services.admission.waiting
            gate.enter()
        except (RetraceError, ProblemError) as error:
            await deliver(with_request_id(refusal(error), call.headers), scope, receive, send, patience_s)
            return
        try:
            answer = with_request_id(await self._answer(call), call.headers)
            await deliver(answer, scope, receive, send, patience_s)
        finally:
            gate.leave()

    def _understand(self, call: Call) -> None:
        call.accepted = negotiate(call.headers.get("accept"), self.operation.produces)
        call.query = read_query(call.scope["query_string"], self.operation.parameters)

    def _gate(self, call: Call) -> Gate:
        admission, operation = self._services.admission, self.operation
        if operation.always or (operation.open and operation.body is None):
            return admission.always
        return admission.waiting if operation.lasts is not None and operation.lasts(call) else admission.requests

    async def _answer(self, call: Call) -> Response:
        try:
            return await self._carry_out(call)
        except (RetraceError, ProblemError) as error:
            return refusal(error)

    async def _carry_out(self, call: Call) -> Response:
        operation = self.operation
        if operation.body is None:
            return await operation.endpoint(call)
        # A key belongs to its caller; where nobody has to say who calls, those of strangers would meet.
        key = None if operation.open else read_key(call.headers)
        content = await operation.body.read(call)
        call.body = content.value
        if key is None:
            return await operation.endpoint(call)
        services = self._services
        stale_s = services.idempotency_start_stale_s if operation.starts else services.idempotency_stale_s
        return await once(call, key, content.canonical(), operation.endpoint, stale_s)
