"""Definitions: deploying documents, finding them again, and the plans that are compiled from them.

Deployment checks everything that can be checked without the outside: the document, its graph, each expression (compiled in
the jail) and each schema. An unknown function or child is a warning, since it may be deployed later. Plans are cached by
digest; an orchestration keeps the digest it started with.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

import msgspec

from application.checking import problems_of
from application.ports import AnyConnection, Callouts, Clock, Connections, Expressions, Schemas
from application.rehearsals import Rehearsals
from application.service import Deployed, RehearsalRequest
from application.storage import DefinitionRecord, DefinitionStore
from domain.decision import Limits
from domain.errors import DefinitionExistsError, InvalidDefinitionError, NotFoundError, Problem
from domain.expressions import Expression
from domain.plan import Plan, Run, Schema

MediaType = Literal["application/yaml", "application/json"]
_SEMVER = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?")
_KEPT_PLANS = 500
_REMEMBERED = timedelta(seconds=1)
_OF_THE_MOMENT = frozenset({"unknown-function", "unknown-child", "unknown-connection"})
"""Warnings about other things than the document."""


class ReadDefinition(Protocol):
    """A document that was read: its plan, warnings and parsed value; `placed` adds line and column to a problem."""

    @property
    def plan(self) -> Plan: ...
    @property
    def warnings(self) -> list[Problem]: ...
    @property
    def source(self) -> Any: ...
    def placed(self, problem: Problem) -> Problem: ...


class Documents(Protocol):
    """The notation of definitions: from text to plan, and pictures of plans."""

    def read(self, text: bytes, media_type: MediaType) -> ReadDefinition: ...
    def compile(self, value: Any, digest: str) -> Plan: ...
    def expressions_of(self, plan: Plan) -> list[tuple[str, Expression, tuple[str, ...] | None]]: ...
    def schemas_of(self, plan: Plan) -> list[tuple[str, Schema]]: ...
    def functions_of(self, plan: Plan) -> list[tuple[str, str]]: ...
    def connections_of(self, plan: Plan) -> list[tuple[str, str]]: ...
    def children_of(self, plan: Plan) -> list[tuple[str, Run]]: ...
    def diagram(self, plan: Plan, kind: Literal["mermaid", "svg"]) -> str: ...


def semver_key(version: str) -> tuple[Any, ...]:
    """Order of SemVer 2.0.0, releases above all their pre-releases."""
    match = _SEMVER.match(version)
    if match is None:
        return (0, 0, 0, 0, ())
    pre = match[4]
    parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in pre.split(".")) if pre else ()
    return (int(match[1]), int(match[2]), int(match[3]), 0 if pre else 1, parts)


def latest(records: list[DefinitionRecord]) -> DefinitionRecord:
    """The highest release; a pre-release only where there is nothing else."""
    return max(records, key=lambda r: (semver_key(r.version)[3], semver_key(r.version)))


def split_reference(reference: str) -> tuple[str, str, str]:
    """(namespace, name, version) of "name", "namespace/name" or "namespace/name@version"."""
    path, _, version = reference.partition("@")
    namespace, slash, name = path.partition("/")
    return (namespace, name, version or "latest") if slash else ("default", namespace, version or "latest")


class DefinitionRegistry:
    """Implements the use cases of `application.service.Definitions` and the engine's `Plans`."""

    def __init__(
        self,
        store: DefinitionStore,
        documents: Documents,
        expressions: Expressions,
        schemas: Schemas,
        callouts: Callouts,
        clock: Clock,
        *,
        revise: bool = False,
        limits: Limits | None = None,
        connections: Connections = AnyConnection(),  # noqa: B008 - it holds nothing
    ) -> None:
        self._store = store
        self._documents = documents
        self._expressions = expressions
        self._schemas = schemas
        self._callouts = callouts
        self._clock = clock
        self._connections = connections
        self._revise = revise
        self._rehearsals = Rehearsals(self.find, documents, expressions, schemas, clock.now, limits or Limits())
        self._plans: OrderedDict[str, Plan] = OrderedDict()
        self._current: dict[tuple[str, str, str], tuple[DefinitionRecord, datetime]] = {}
        """What was found and when: another node may have deployed a later version since."""
        self._listeners: list[Callable[[], None]] = []

    def on_deployed(self, listener: Callable[[], None]) -> None:
        """Called after every deployment that changed something."""
        self._listeners.append(listener)

    # Deploying --------------------------------------------------------------------------------------------------------

    async def check(self, text: bytes, media_type: MediaType) -> tuple[list[Problem], list[Problem]]:
        """(errors, warnings); nothing is stored."""
        try:
            read = self._documents.read(text, media_type)
        except InvalidDefinitionError as error:
            return error.problems, []
        errors = await self._errors(read)
        return errors, [*read.warnings, *await self._warnings(read)]

    async def deploy(self, text: bytes, media_type: MediaType) -> Deployed:
        read = self._documents.read(text, media_type)
        if errors := await self._errors(read):
            raise InvalidDefinitionError(errors)
        warnings = [*read.warnings, *await self._warnings(read)]
        plan = read.plan
        record = DefinitionRecord(
            plan.namespace,
            plan.name,
            plan.version,
            plan.digest,
            media_type,
            text,
            msgspec.json.encode(read.source.value),
            plan.resource.path if plan.resource else None,
            msgspec.json.encode(warnings),
            self._clock.now(),
        )
        try:
            known = await self._store.put(record, revise=self._revise)
        except ValueError as taken:
            problem = Problem("/resource/path", str(taken), "resource-taken")
            raise InvalidDefinitionError([read.placed(problem)]) from taken
        if known is not None and known.digest != plan.digest and not self._revise:
            raise DefinitionExistsError(f"{plan.reference} is deployed with other content; raise the version.")
        changed = known is None or known.digest != plan.digest
        if changed:
            self._current = {}  # what is being read at the moment goes into the one before
            for listener in self._listeners:
                listener()
        stored = _deployed(record if changed or known is None else known, created=changed)
        return msgspec.structs.replace(stored, warnings=warnings)

    async def trial(self, document: Any) -> Plan:
        """The plan of a parsed document that is not deployed; nothing is stored. Raises InvalidDefinitionError."""
        read = self._documents.read(msgspec.json.encode(document), "application/json")
        if errors := await self._errors(read):
            raise InvalidDefinitionError(errors)
        return read.plan

    async def _errors(self, read: ReadDefinition) -> list[Problem]:
        found = await problems_of(read.plan, self._documents, self._expressions, self._schemas)
        return [read.placed(problem) for problem in found]

    async def _warnings(self, read: ReadDefinition) -> list[Problem]:
        found = []
        for pointer, function in self._documents.functions_of(read.plan):
            if not self._callouts.knows(function):
                text = (
                    f"no function named {function} is in this process; this task waits for a remote worker that has it"
                )
                found.append(Problem(pointer, text, "unknown-function"))
        for pointer, name in self._documents.connections_of(read.plan):
            if (setting := self._connections.missing(name)) is not None:
                text = f"there is no connection {name} here: {setting} is not set; this task would fail"
                found.append(Problem(pointer, text, "unknown-connection"))
        for pointer, child in self._documents.children_of(read.plan):
            own = (child.namespace, child.name) == (read.plan.namespace, read.plan.name)
            if not own and await self.find(child.namespace, child.name, child.version) is None:
                text = f"{child.namespace}/{child.name}@{child.version} is not deployed yet"
                found.append(Problem(pointer, text, "unknown-child"))
        return [read.placed(problem) for problem in found]

    # Rehearsing -------------------------------------------------------------------------------------------------------

    async def rehearse(self, request: RehearsalRequest) -> dict[str, Any]:
        if isinstance(request.definition, str):
            plan, warnings = self._plan(await self.record(*split_reference(request.definition))), []
        else:
            read = self._documents.read(request.definition, "application/json")
            plan, warnings = read.plan, read.warnings
        return await self._rehearsals.of_plan(plan, warnings, request.input, request.outputs, request.limit)

    # Finding ----------------------------------------------------------------------------------------------------------

    async def record(self, namespace: str, name: str, version: str) -> DefinitionRecord:
        """Raises NotFoundError."""
        key = (namespace, name, version)
        now, current = self._clock.now(), self._current
        if (known := current.get(key)) is not None:
            if now - known[1] < _REMEMBERED:
                return known[0]
            current[key] = known[0], now  # one looks again, and the others go on with it meanwhile
        if version == "latest":
            records = await self._store.versions(namespace, name)
            found = latest(records) if records else None
        else:
            found = await self._store.get(namespace, name, version)
        if found is None:
            current.pop(key, None)
            raise NotFoundError(await self._missing(namespace, name, version))
        current[key] = found, now
        return found

    async def _missing(self, namespace: str, name: str, version: str) -> str:
        """What is said about a definition that is not there, with the nearest that is."""
        if version != "latest" and (others := await self._store.versions(namespace, name)):
            ordered = sorted((record.version for record in others), key=semver_key, reverse=True)
            return f"There is no version {version} of {namespace}/{name}; there is {', '.join(ordered[:5])}."
        elsewhere = sorted({each.namespace for each in await self._store.versions(None, name)} - {namespace})
        if namespace == "default" and elsewhere:
            there = " or ".join(f"{each}/{name}" for each in elsewhere[:5])
            return f"There is no definition {name} in the namespace default; did you mean {there}?"
        return f"There is no definition {namespace}/{name}; deploy it first."

    async def find(self, namespace: str, name: str, version: str) -> Plan | None:
        try:
            return self._plan(await self.record(namespace, name, version))
        except NotFoundError:
            return None

    async def functions(self) -> set[str]:
        """Names of all functions that deployed definitions call."""
        found: set[str] = set()
        for record in await self._store.versions():
            plan = await self.by_digest(record.digest)
            found |= {name for _, name in self._documents.functions_of(plan)}
        return found

    async def plan(self, reference: str) -> Plan:
        """That of "name", "namespace/name" or "namespace/name@version". Raises NotFoundError."""
        return self._plan(await self.record(*split_reference(reference)))

    async def by_digest(self, digest: str) -> Plan:
        plan = self._plans.get(digest)
        if plan is not None:
            return plan
        record = await self._store.by_digest(digest)
        if record is None:
            raise NotFoundError(f"The definition with digest {digest} is not in this database.")
        return self._plan(record)

    def _plan(self, record: DefinitionRecord) -> Plan:
        plan = self._plans.get(record.digest)
        if plan is None:
            plan = self._documents.compile(msgspec.json.decode(record.value), record.digest)
            self._plans[record.digest] = plan
            if len(self._plans) > _KEPT_PLANS:
                self._plans.popitem(last=False)
        return plan

    # Reading for people -----------------------------------------------------------------------------------------------

    async def list(self, *, namespace: str | None = None, name: str | None = None) -> list[Deployed]:
        """Latest versions; with namespace and name all versions of that definition."""
        records = await self._store.versions(namespace, name)
        if namespace is not None and name is not None:
            ordered = sorted(records, key=lambda r: semver_key(r.version), reverse=True)
            return [_deployed(record) for record in ordered]
        groups: dict[tuple[str, str], list[DefinitionRecord]] = {}
        for record in records:
            groups.setdefault((record.namespace, record.name), []).append(record)
        return [_deployed(latest(group)) for group in groups.values()]

    async def document(self, namespace: str, name: str, version: str) -> tuple[Deployed, bytes, str, Any]:
        record = await self.record(namespace, name, version)
        return _deployed(record), record.document, record.media_type, msgspec.json.decode(record.value)

    async def diagram(self, namespace: str, name: str, version: str, kind: Literal["mermaid", "svg"]) -> str:
        return self._documents.diagram(self._plan(await self.record(namespace, name, version)), kind)

    async def latest_of_all(self) -> Sequence[DefinitionRecord]:
        """The record of the latest version of each definition. Raises StorageError."""
        groups: dict[tuple[str, str], list[DefinitionRecord]] = {}
        for record in await self._store.versions():
            groups.setdefault((record.namespace, record.name), []).append(record)
        return [latest(group) for group in groups.values()]

    async def resources(self) -> dict[str, tuple[Deployed, Any, dict[str, str]]]:
        """Path -> (latest version, schema of its input, labels)."""
        found: dict[str, tuple[Deployed, Any, dict[str, str]]] = {}
        for newest in await self.latest_of_all():
            plan = self._plan(newest)
            if plan.resource is not None:
                schema = plan.input_schema.document if plan.input_schema else None
                found[plan.resource.path] = (_deployed(newest), schema, plan.resource.labels)
        return found


def _deployed(record: DefinitionRecord, *, created: bool = False) -> Deployed:
    warnings = msgspec.json.decode(record.warnings, type=list[Problem])
    return Deployed(
        created,
        record.namespace,
        record.name,
        record.version,
        record.digest,
        record.resource,
        record.created_at,
        # What was missing at the deployment may be there by now.
        [warning for warning in warnings if warning.code not in _OF_THE_MOMENT],
    )
