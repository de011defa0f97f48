"""A document becomes a plan, or a list of everything that is wrong with it.

Works on parsed data without positions, so that a stored document is compiled again by the same code after a restart
or an upgrade. Deployment fetches nothing: what a document points to outside is looked at when it is first used.
"""

from __future__ import annotations

import re
from typing import Any

from adapters.documents import checks, tasks
from adapters.documents.assembly import MAX_DEPTH
from adapters.documents.compilation import MAX_TASKS, Compilation, Surroundings, TooManyTasksError
from adapters.documents.inspection import nodes_in
from adapters.documents.policies import UNDO_RETRY
from adapters.documents.positions import join
from adapters.documents.reader import Cursor, Log
from adapters.documents.reusables import Reusables, secrecy_of
from adapters.documents.schedules import schedule
from adapters.documents.streams import streams
from domain.errors import InvalidDefinitionError, Problem
from domain.plan import Plan, Resource, Retry, Scope

_TOP = (
    "document",
    "input",
    "use",
    "do",
    "timeout",
    "output",
    "evaluate",
    "resource",
    "compensation",
    "schedule",
    "streams",
)
_USE = ("authentications", "errors", "functions", "retries", "secrets", "timeouts")
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\Z")
_IDENTIFIER = r"(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_NUMBER = r"(?:0|[1-9]\d*)"
_SEMVER = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_IDENTIFIER}(?:\.{_IDENTIFIER})*)?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?\Z",
    re.ASCII,
)
_PATH = re.compile(r"[a-z][a-z0-9-]*\Z")
_OUR_PATHS = frozenset({"v1", "docs", "openapi.json", "healthz", "readyz", "metrics", "problems"})
_STATUSES = ("running", "suspended", "compensating", "completed", "faulted", "compensated", "cancelled", "terminated")


def compile_plan(value: Any, digest: str) -> tuple[Plan, list[Problem]]:
    """Compile a document.

    Args:
        value: the parsed document, plain JSON data.
        digest: its digest, see `canonical.digest`.

    Returns:
        The plan, and warnings without line and column.

    Raises:
        InvalidDefinitionError: with every problem, without line and column.
    """
    log = Log()
    _check_plain(value)
    plan = _plan(Cursor(value, "", log), digest)
    if log.problems or plan is None:
        raise InvalidDefinitionError(list(log.problems))
    checks.check(plan, log)
    return plan, list(log.warnings)


def _plan(top: Cursor, digest: str) -> Plan | None:
    found = top.members(_TOP, ("document", "do"))
    identity = _identity(found["document"]) if "document" in found else {}
    use = _use(found["use"]) if "use" in found else {}
    secrecy = secrecy_of(use)
    reusables = Reusables(use, secrecy)
    if "evaluate" in found:
        _evaluate(found["evaluate"])
    undo_retry, parallel_undo = (
        _compensation(found["compensation"], reusables) if "compensation" in found else (UNDO_RETRY, False)
    )
    making = Compilation(top.log, secrecy, reusables, undo_retry, task_list=tasks.task_list, single=tasks.single)
    root = _tasks(found["do"], making) if "do" in found else None
    made = identity | tasks.data_flow(found, "input", "output")
    if "timeout" in found:
        made["timeout"] = reusables.timeout(found["timeout"])
    if "resource" in found:
        made["resource"] = _resource(found["resource"])
    if "schedule" in found:
        made["schedule"] = schedule(found["schedule"])
    if "streams" in found:
        made["streams"] = streams(found["streams"])
    if root is None or top.log.problems:
        return None
    return Plan(
        digest=digest,
        document=top.value,
        root=root,
        nodes={node.pointer: node for node in nodes_in(root)},
        parallel_undo=parallel_undo,
        secrets=tuple(sorted(secrecy.declared)),
        **made,
    )


def _tasks(cursor: Cursor, making: Compilation) -> Scope | None:
    try:
        root = making.scope(cursor, Surroundings())
        for name, function in making.use.functions.items():
            if name not in making.use.called:
                making.single(function, name, Surroundings().calling(name, function.pointer, function.pointer))
    except TooManyTasksError:
        cursor.refuse(f"the definition has more than {MAX_TASKS} tasks (functions count once per call)", "too-large")
        return None
    return root


def _identity(cursor: Cursor) -> dict[str, Any]:
    found = cursor.members(
        ("dsl", "namespace", "name", "version", "title", "summary", "tags", "metadata"),
        ("dsl", "namespace", "name", "version"),
    )
    if "dsl" in found:
        dsl = found["dsl"].text("a version of the DSL, e.g. 1.0.3", _SEMVER)
        if dsl and not dsl.startswith("1.0."):
            found["dsl"].refuse(f"version {dsl} of the DSL is not supported, only 1.0.x", "unsupported")
    for name in ("title", "summary"):
        if name in found and not isinstance(found[name].value, str):
            found[name].text()
    for name in ("tags", "metadata"):
        if name in found:
            found[name].is_object()
    forms = {
        "namespace": (_NAME, "a name of at most 63 letters, digits and hyphens"),
        "name": (_NAME, "a name of at most 63 letters, digits and hyphens"),
        "version": (_SEMVER, "a semantic version, e.g. 1.0.0"),
    }
    return {name: found[name].text(what, form) for name, (form, what) in forms.items() if name in found}


def _use(cursor: Cursor) -> dict[str, Cursor]:
    found = cursor.members((*_USE, "extensions", "catalogs"))
    for name in ("extensions", "catalogs"):
        if name in found:
            found[name].refuse(f"`use.{name}` is not supported", "unsupported")
    return found


def _evaluate(cursor: Cursor) -> None:
    found = cursor.members(("language", "mode"))
    if "language" in found:
        language = found["language"].text("the name of a language")
        if language and language != "jq":
            found["language"].refuse(f"expressions in {language!r} are not supported, only jq", "unsupported")
    if "mode" in found and found["mode"].choice("strict", "loose") == "loose":
        detail = (
            "outside fields that are expressions by definition, strings without ${ } stay as they are in loose mode too"
        )
        cursor.log.remark(found["mode"].pointer, detail, "loose-mode")


def _compensation(cursor: Cursor, use: Reusables) -> tuple[Retry, bool]:
    found = cursor.members(("order", "retry"))
    parallel = "order" in found and found["order"].choice("reverse", "parallel") == "parallel"
    return use.retry(found["retry"], "doubt") if "retry" in found else UNDO_RETRY, parallel


def _resource(cursor: Cursor) -> Resource:
    found = cursor.members(("path", "labels"), ("path",))
    path = (
        found["path"].text("one path segment: lower-case letters, digits and hyphens", _PATH) if "path" in found else ""
    )
    if path in _OUR_PATHS:
        found["path"].refuse(f"the path {path!r} is taken by the service itself")
    labels: dict[str, str] = {}
    if "labels" in found:
        labels = {name: label.text("a label") for name, label in found["labels"].members(_STATUSES).items()}
    return Resource(path, labels)


def _check_plain(value: Any) -> None:
    left: list[tuple[Any, tuple[str | int, ...]]] = [(value, ())]
    while left:
        item, path = left.pop()
        if len(path) > MAX_DEPTH:
            raise InvalidDefinitionError(
                [Problem("", f"the document nests deeper than {MAX_DEPTH} levels", "too-deep")]
            )
        if isinstance(item, dict):
            for name, member in item.items():
                if not isinstance(name, str):
                    raise InvalidDefinitionError(
                        [Problem(join("", *path), "names of members are strings", "non-string-key")]
                    )
                if isinstance(member, dict | list):
                    left.append((member, (*path, name)))
        elif isinstance(item, list):
            left += [(member, (*path, index)) for index, member in enumerate(item) if isinstance(member, dict | list)]
