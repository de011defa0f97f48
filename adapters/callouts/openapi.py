"""``call: openapi``: an operation of an OpenAPI or Swagger document, written as an HTTP request and sent like one.

``with`` is ``{document: {endpoint}, operationId, parameters, authentication, output, redirect}``. A parameter goes
where the document says. What no parameter of the document claims is the body: the parameter ``body``, or else the
remaining ones as an object. A required parameter that is missing, or one that the operation does not know, sends
nothing.
"""

from __future__ import annotations

import asyncio
import re
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlencode

from yarl import URL

from adapters.callouts.content import FORM, is_json
from adapters.callouts.exchange import PostponedError, UnsentError
from adapters.callouts.forms import MULTIPART
from adapters.callouts.http import INPUT, Delivery, HttpCallouts, compose, endpoint, form_of_answer, read_headers
from adapters.callouts.network import NetworkPolicy
from adapters.callouts.openapi_documents import Document, Documents, Operation
from adapters.callouts.openapi_parameters import header_text, pairs_of, path_text, writing_of
from adapters.callouts.uris import address, json_kind
from application.ports import Callout, CalloutResult, Declined, Postponed
from domain.errors import fault

_PARAMETERS = {"document", "operationId", "parameters", "authentication", "output", "redirect"}


class OpenApiCallouts:
    """Sends operations of documents through the HTTP callouts."""

    def __init__(self, http: HttpCallouts, policy: NetworkPolicy) -> None:
        self._http = http
        self._documents = Documents(http.exchange, http.authenticator, policy)

    async def send(self, callout: Callout) -> CalloutResult:
        """One attempt of a ``call: openapi``. Fetching the document counts against the callout's timeout."""
        deadline = asyncio.get_running_loop().time() + callout.timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                delivery = await self._delivery(callout, deadline)
        except PostponedError as problem:
            return Postponed(problem.fault, problem.after_s)
        except UnsentError as problem:
            return Declined(problem.fault, problem.retry_after_s)
        except TimeoutError:
            return Declined(
                fault("timeout", "the OpenAPI document was not there in time; the operation was not called")
            )
        return await self._http.deliver(delivery, deadline)

    async def _delivery(self, callout: Callout, deadline: float) -> Delivery:
        arguments = callout.arguments
        if not isinstance(arguments, dict):
            raise UnsentError(fault("configuration", f"with must be an object, not {json_kind(arguments)}"))
        if unknown := arguments.keys() - _PARAMETERS - {INPUT}:
            raise UnsentError(fault("configuration", f"call: openapi has no parameter {', '.join(sorted(unknown))}"))
        resource = arguments.get("document")
        if not isinstance(resource, dict) or "endpoint" not in resource:
            raise UnsentError(fault("configuration", "document must be an object with an endpoint"))
        variables = arguments.get(INPUT)
        uri, authentication = endpoint(resource["endpoint"])
        document = await self._documents.get(uri, authentication, variables, deadline)
        operation = document.operation(str(arguments.get("operationId")))
        values = arguments.get("parameters") or {}
        if not isinstance(values, dict):
            raise UnsentError(fault("configuration", f"parameters must be an object, not {json_kind(values)}"))
        draft = _Draft(document, operation, values)
        request = await compose(callout, operation.method.upper(), draft.url(), draft.all_headers(), draft.body)
        form = form_of_answer(arguments)
        return Delivery(request, arguments.get("authentication"), variables, *form, callout.files)


class _Draft:
    """The parts of a request while parameters are put in their places."""

    def __init__(self, document: Document, operation: Operation, values: dict[str, Any]) -> None:
        self._document = document
        self._operation = operation
        self._path = operation.path
        self._query: list[tuple[str, str]] = []
        self._headers: dict[str, Any] = {}
        self._cookies: list[tuple[str, str]] = []
        self._form: list[tuple[str, str]] = []
        self.body: Any = None
        self._content_type: str | None = None
        rest = dict(values)
        for parameter in operation.parameters:
            self._place(parameter, values)
            rest.pop(str(parameter.get("name")), None)
        if document.is_swagger:
            self._swagger_body(values, rest)
        else:
            self._request_body(rest)
        if rest:
            raise self._problem(f"it has no parameter {', '.join(sorted(rest))}")

    def _problem(self, why: str) -> UnsentError:
        name = self._operation.item.get("operationId")
        return UnsentError(fault("configuration", f"the operation {name!r} cannot be called: {why}"))

    def _place(self, parameter: dict[str, Any], values: dict[str, Any]) -> None:
        writing = writing_of(parameter, is_swagger=self._document.is_swagger)
        if writing.place == "body":
            return
        value = values.get(writing.name)
        if value is None:
            if parameter.get("required") or writing.place == "path":
                raise self._problem(f"the {writing.place} parameter {writing.name!r} is required")
            return
        if writing.place == "path":
            self._path = self._path.replace("{" + writing.name + "}", path_text(writing, value))
        elif writing.place == "query":
            self._query += pairs_of(writing, value)
        elif writing.place == "header":
            self._headers[writing.name] = header_text(writing, value)
        elif writing.place == "cookie":
            self._cookies += pairs_of(writing, value)
        elif writing.place == "formData":
            self._form += pairs_of(writing, value)
        else:
            raise self._problem(f"the place {writing.place!r} of the parameter {writing.name!r} is not known")

    def _swagger_body(self, values: dict[str, Any], rest: dict[str, Any]) -> None:
        consumes = self._operation.item.get("consumes") or self._document.root.get("consumes") or []
        for parameter in self._operation.parameters:
            if parameter.get("in") == "body":
                name = str(parameter.get("name"))
                # "body" is always understood; otherwise the document's name, otherwise what is left over.
                given = values[name] if name in values else rest.pop("body", None)
                if given is None and rest:
                    given = dict(rest)
                    rest.clear()
                self._set_body(given, consumes or ["application/json"], required=bool(parameter.get("required")))
        if self._form:
            if MULTIPART in consumes:
                names = {each.get("name") for each in self._operation.parameters if each.get("in") == "formData"}
                self.body = {name: value for name, value in values.items() if name in names}
                self._content_type = MULTIPART
                return
            if consumes and FORM not in consumes:
                raise self._problem(f"forms as {', '.join(consumes)} are not supported")
            self.body, self._content_type = urlencode(self._form), FORM

    def _request_body(self, rest: dict[str, Any]) -> None:
        if (described := self._operation.item.get("requestBody")) is None:
            return
        described = self._document.follow(described)
        given: Any = rest.pop("body", None)
        if given is None and rest:
            given = dict(rest)
            rest.clear()
        self._set_body(given, list(described.get("content") or {}), required=bool(described.get("required")))

    def _set_body(self, body: Any, types: list[str], *, required: bool) -> None:
        if body is None:
            if required:
                raise self._problem("a body is required; give it as the parameter 'body'")
            return
        media = next((each for each in types if is_json(each.partition(";")[0].strip().lower())), None)
        media = media or next((each for each in types if each == FORM), None)
        media = media or next((each for each in types if each.startswith(MULTIPART)), None)
        media = media or next((each for each in types if not each.startswith("multipart/")), None)
        if media is None:
            raise self._problem(f"bodies as {', '.join(types) or 'nothing'} are not supported")
        self.body, self._content_type = body, "application/json" if media == "*/*" else media

    def all_headers(self) -> dict[str, str]:
        headers = dict(self._headers)
        if self._content_type is not None:
            headers = {n: v for n, v in headers.items() if n.lower() != "content-type"}
            headers["Content-Type"] = self._content_type
        if self._cookies:
            headers["Cookie"] = "; ".join(map(self._cookie, self._cookies))
        return read_headers(headers)

    def _cookie(self, pair: tuple[str, str]) -> str:
        try:
            return SimpleCookie({pair[0]: pair[1]})[pair[0]].OutputString([])
        except CookieError as problem:
            raise self._problem(f"{pair[0]!r} is not a cookie: {problem}") from problem

    def url(self) -> URL:
        if left := re.findall(r"\{([^{}]+)\}", self._path):
            raise self._problem(f"nothing describes {left[0]!r} in its path")
        root = self._server().rstrip("/")
        return address(root + "/" + self._path.lstrip("/"), None).extend_query(self._query)

    def _server(self) -> str:
        document = self._document
        location = document.location
        if document.is_swagger:
            schemes = document.root.get("schemes") or [location.scheme]
            # The way the document came is known to work; then the safer one.
            scheme = next((each for each in (location.scheme, "https") if each in schemes), schemes[0])
            host = document.root.get("host") or location.authority
            return f"{scheme}://{host}{document.root.get('basePath') or ''}"
        servers = self._operation.servers
        server: dict[str, Any] = servers[0] if isinstance(servers, list) and servers else {"url": "/"}
        variables = {name: each.get("default", "") for name, each in (server.get("variables") or {}).items()}
        text = re.sub(
            r"\{([^{}]+)\}", lambda match: str(variables.get(match[1], match[0])), str(server.get("url", "/"))
        )
        if "{" in text:
            raise self._problem(f"the server {text!r} has a variable without default")
        # A relative server is relative to the document (OpenAPI 3, "Server Object").
        return str(location.join(URL(text, encoded=True)))
