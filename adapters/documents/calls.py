"""`call` and `run`: what reaches outside the service.

A name that is defined in ``use.functions`` is not a callout but a scope with the function's task. Any other name that
is no call of the standard is a function in Python or of a remote worker; whether one exists is not known here.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from adapters.documents.compilation import Compilation, Task
from adapters.documents.data import graft, template
from adapters.documents.people import human
from adapters.documents.positions import escape
from adapters.documents.reader import Cursor
from adapters.documents.sql import sql
from domain.expressions import is_wrapped
from domain.plan import Call, Do, Human, Retry, Run, Template

_UNSUPPORTED = frozenset({"grpc", "asyncapi", "a2a", "mcp"})
_OURS: dict[str, Literal["http", "openapi", "sql"]] = {"http": "http", "openapi": "openapi", "sql": "sql"}
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_METHOD = re.compile(r"[A-Za-z][A-Za-z-]*\Z")
_HTTP = re.compile(r"https?://", re.IGNORECASE)
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\Z")
_VERSION = re.compile(r"latest\Z|(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)([-+][0-9A-Za-z.+-]+)?\Z")


def call(task: Task) -> Call | Human | Do:
    """``call``: HTTP, an operation of OpenAPI, SQL, a person, or a function."""
    called = task.members["call"]
    name = called.text("the name of a function")
    if name in task.making.use.functions:
        return _defined_function(name, task)
    if name == "human":
        return human(task)
    arguments = Template({})
    method, reads = None, False
    if name in _UNSUPPORTED:
        called.refuse(f"`call: {name}` is not supported", "unsupported")
    elif "://" in name or "@" in name:
        called.refuse("`call` of a function of a catalog is not supported", "unsupported")
    elif is_wrapped(name):
        called.refuse("the name of a function cannot be an expression", "unsupported")
    elif name in _OURS and "with" not in task.members:
        task.cursor.refuse("the member 'with' is missing", "missing")
    elif name == "http":
        arguments, method = _http(task.members["with"], task.making)
    elif name == "openapi":
        arguments = _openapi(task.members["with"], task.making)
    elif name == "sql":
        arguments, reads = sql(task.members["with"], task)
    elif "with" in task.members and task.members["with"].is_object():
        arguments = template(task.members["with"], task.making.secrecy)
    callback = "callback" in task.members and task.members["callback"].flag()
    if callback:
        _check_callback(task, arguments)
    return Call(
        kind=_OURS.get(name, "function"),
        function=name,
        with_=arguments,
        retry=_retry(task),
        idempotent=task.members["idempotent"].flag() if "idempotent" in task.members else True,
        safe=method in _SAFE or reads,
        deletes=method == "DELETE",
        callback=callback,
    )


def _check_callback(task: Task, arguments: Template) -> None:
    """Somebody has to be told where to call back."""
    if not any("callback" in hole.expression.variables for hole in arguments.holes):
        detail = "nothing in `with` mentions $callback.url or $callback.token, so nobody could call back"
        task.members["callback"].refuse(detail, "missing")


def run(task: Task) -> Run:
    """``run: workflow``: a child orchestration."""
    process = task.members["run"]
    unsupported = [
        name for name in ("container", "script", "shell") if isinstance(process.value, dict) and name in process.value
    ]
    for name in unsupported:
        process.step(name).refuse(
            f"`run: {name}` is not supported: a service does not run it on its own machine", "unsupported"
        )
    if unsupported:
        return Run("", "", "")
    if isinstance(process.value, dict) and "return" in process.value:
        process.step("return").refuse("`return` is not supported: a workflow gives its output", "unsupported")
    found = process.members(("workflow", "await", "return"), ("workflow",))
    child = (
        found["workflow"].members(("namespace", "name", "version", "input"), ("namespace", "name"))
        if "workflow" in found
        else {}
    )
    given = child.get("input")
    if given is not None and not (isinstance(given.value, str) and is_wrapped(given.value)):
        given.is_object()
    return Run(
        namespace=child["namespace"].text("a namespace", _NAME) if "namespace" in child else "",
        name=child["name"].text("a name of a definition", _NAME) if "name" in child else "",
        version=child["version"].text("a version (1.2.3) or latest", _VERSION) if "version" in child else "latest",
        input=template(given) if given is not None else None,
        await_=found["await"].flag() if "await" in found else True,
        retry=_retry(task),
    )


def _retry(task: Task) -> Retry | None:
    undo = task.around.undo
    if "retry" in task.members:
        return task.making.use.retry(task.members["retry"], "doubt" if undo else "transient")
    return task.making.undo_retry if undo else None


def _defined_function(name: str, task: Task) -> Call | Do:
    making, around = task.making, task.around
    function = making.use.functions[name]
    for keyword in ("retry", "idempotent", "callback"):
        if keyword in task.members:
            detail = f"`{keyword}` belongs to the tasks of the function {name!r}; for all of them use a `try` around it"
            task.members[keyword].refuse(detail, "unsupported")
    if name in around.functions:
        chain = " -> ".join((*around.functions, name))
        task.members["call"].refuse(f"the function {name!r} calls itself: {chain}", "recursive-function")
        return Call("function", name, Template({}))
    making.use.called.add(name)
    inner = around.calling(name, function.pointer, f"{around.at(task.cursor.pointer)}/call/{escape(name)}")
    given = task.members.get("with")
    if given is not None:
        given.is_object()
    return Do(making.single(function, name, inner), template(given) if given is not None else None)


def _http(cursor: Cursor, making: Compilation) -> tuple[Template, str | None]:
    found = cursor.members(
        ("method", "endpoint", "headers", "query", "body", "output", "redirect"), ("method", "endpoint")
    )
    arguments = template(cursor, making.secrecy)
    method = None
    if "method" in found and not (isinstance(found["method"].value, str) and is_wrapped(found["method"].value)):
        method = found["method"].text("an HTTP method", _METHOD).upper()
    for name in ("headers", "query"):
        if name in found:
            _scalars(found[name])
    if "headers" in found and "body" in found and _is_multipart(found["headers"].value):
        _parts(found["body"])
    _answer(found)
    if "endpoint" in found:
        arguments = _endpoint(found["endpoint"], arguments, ("endpoint",), making)
    return arguments, method


def _is_multipart(headers: Any) -> bool:
    named = (
        [each for name, each in headers.items() if name.lower() == "content-type"] if isinstance(headers, dict) else []
    )
    return any(isinstance(each, str) and each.strip().lower().startswith("multipart/form-data") for each in named)


def _parts(body: Cursor) -> None:
    """The body of a form: an object whose members are parts, as far as they are not expressions."""
    if _is_expression(body.value):
        return
    if not isinstance(body.value, dict):
        body.refuse("the body of a form is an object whose members are its parts", "wrong-type")
        return
    for _, part in body.entries():
        if isinstance(part.value, dict) and "digest" not in part.value:
            members = part.members(("content", "content_base64", "content_type", "filename"), ())
            if ("content" in members) == ("content_base64" in members):
                part.refuse("expected text, or a file: content or content_base64, content_type, filename", "wrong-type")


def _openapi(cursor: Cursor, making: Compilation) -> Template:
    found = cursor.members(
        ("document", "operationId", "parameters", "authentication", "output", "redirect"), ("document", "operationId")
    )
    arguments = template(cursor, making.secrecy)
    if "operationId" in found:
        found["operationId"].text("the id of an operation")
    if "parameters" in found and not _is_expression(found["parameters"].value):
        found["parameters"].is_object()
    _answer(found)
    if "authentication" in found:
        arguments = graft(arguments, ("authentication",), making.use.authentication(found["authentication"]))
    if "document" in found:
        document = found["document"].members(("name", "endpoint"), ("endpoint",))
        if "endpoint" in document:
            arguments = _endpoint(document["endpoint"], arguments, ("document", "endpoint"), making)
    return arguments


def _endpoint(cursor: Cursor, arguments: Template, path: tuple[str, ...], making: Compilation) -> Template:
    uri: Cursor | None = cursor
    if isinstance(cursor.value, dict):
        found = cursor.members(("uri", "authentication"), ("uri",))
        uri = found.get("uri")
        if "authentication" in found:
            policy = making.use.authentication(found["authentication"])
            arguments = graft(arguments, (*path, "authentication"), policy)
    if uri is not None:
        text = uri.text("a URI, or an object with a uri")
        if text and not is_wrapped(text) and not _HTTP.match(text):
            uri.refuse("expected a URI that begins with http:// or https://, or an expression ${ ... }")
    return arguments


def _answer(found: dict[str, Cursor]) -> None:
    if "output" in found:
        found["output"].choice("content", "raw", "response")
    if "redirect" in found:
        found["redirect"].flag()


def _scalars(cursor: Cursor) -> None:
    if _is_expression(cursor.value):
        return
    for _, member in cursor.entries():
        if isinstance(member.value, dict | list):
            member.refuse("expected a string, a number or a boolean", "wrong-type")


def _is_expression(value: Any) -> bool:
    return isinstance(value, str) and is_wrapped(value)
