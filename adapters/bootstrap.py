"""The composition root: settings in, a running service out. The only place where adapters meet the application."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from aiohttp import ClientSession
from fastapi import FastAPI

from adapters import documents
from adapters.blobs.opening import open_vault
from adapters.callouts.circuit_desk import CircuitDesk
from adapters.callouts.circuits import Circuits
from adapters.callouts.dispatch import CalloutDispatch
from adapters.callouts.functions import FunctionCallouts
from adapters.callouts.http import HttpCallouts
from adapters.callouts.network import NetworkPolicy, open_session
from adapters.callouts.openapi import OpenApiCallouts
from adapters.callouts.reach import read_rules
from adapters.callouts.resources import HttpResources
from adapters.callouts.secrets import EnvironmentSecrets
from adapters.callouts.sql.callouts import SqlCallouts
from adapters.callouts.sql.targets import Connections, read_targets
from adapters.callouts.sql.transaction import Bounds
from adapters.checkpoint_outlets import CheckpointFile, CheckpointReceiver
from adapters.cli.logs import hide_in_logs
from adapters.cron import next_cron
from adapters.documents.mermaid import mermaid
from adapters.documents.svg import svg
from adapters.expressions.jail import JqJail
from adapters.expressions.schemas import JsonSchemas
from adapters.messaging.addresses import read_sink, read_sources
from adapters.messaging.building import build_sink, build_sources
from adapters.metrics import Exposition
from adapters.neighbours import Neighbours, Place
from adapters.projections import PythonFolds
from adapters.rest.admission import Admission
from adapters.rest.app import build_app
from adapters.rest.metering import Meter
from adapters.rest.services import Services
from adapters.settings import Settings, SettingsError
from adapters.signatures import Ed25519Keys, Ed25519Signer, KeyUnusableError, make_key, read_private, read_public
from adapters.stored_events import EventMapper
from adapters.system import ProcessLiveness, SystemChance, SystemClock, process_mark
from application.checkpoint_store import CheckpointOutlet
from application.database import Storage
from application.definitions import DefinitionRegistry
from application.ports import EventSink
from application.runtime import Node
from application.sinks import NoSink
from application.world import Options, World
from domain.decision import Limits
from domain.expressions import Expression
from domain.plan import Plan, Run, Schema
from retrace import __version__
from retrace.functions import Function
from retrace.projections import Projection


class ServerlessWorkflowDocuments:
    """Implements `application.definitions.Documents` with `adapters.documents`."""

    def read(self, text: bytes, media_type: Literal["application/yaml", "application/json"]) -> documents.Definition:
        return documents.read_definition(text, media_type)

    def compile(self, value: Any, digest: str) -> Plan:
        return documents.compile_plan(value, digest)[0]

    def expressions_of(self, plan: Plan) -> list[tuple[str, Expression, tuple[str, ...] | None]]:
        return list(documents.expressions_of(plan))

    def schemas_of(self, plan: Plan) -> list[tuple[str, Schema]]:
        return documents.schemas_of(plan)

    def functions_of(self, plan: Plan) -> list[tuple[str, str]]:
        return documents.functions_of(plan)

    def connections_of(self, plan: Plan) -> list[tuple[str, str]]:
        return documents.connections_of(plan)

    def children_of(self, plan: Plan) -> list[tuple[str, Run]]:
        return documents.children_of(plan)

    def diagram(self, plan: Plan, kind: Literal["mermaid", "svg"]) -> str:
        return mermaid(plan) if kind == "mermaid" else svg(plan)


def open_storage(url: str) -> Storage:
    """The storage that a database URL names; nothing is opened yet."""
    if url.startswith("sqlite:///"):
        from adapters.sqlite.storage import SqliteStorage

        return SqliteStorage(Path(url.removeprefix("sqlite:///")))
    from adapters.postgres.storage import PostgresStorage

    return PostgresStorage(url)


class Service:
    """A running service: its ASGI application and the node behind it."""

    def __init__(self, node: Node, app: FastAPI, services: Services, stack: AsyncExitStack, grace_s: float) -> None:
        self.node = node
        self.app = app
        self._services = services
        self._stack = stack
        self._grace_s = grace_s

    @property
    def definitions(self) -> DefinitionRegistry:
        return self.node.definitions

    def leave(self) -> None:
        """The service is about to stop: not ready any more; streams and long polls end."""
        self._services.closing.set()
        self.node.watch.close()
        self.node.claims.close()

    async def close(self) -> None:
        """Stop gracefully; what is unfinished goes on at the next start."""
        self.leave()
        await self.node.stop(self._grace_s)
        await self._stack.aclose()


async def open_service(
    settings: Settings,
    *,
    functions: Mapping[str, Function],
    development: bool,
    projections: Iterable[Projection] = (),
    place: Place | None = None,
) -> Service:
    """Build and start a service; `place`: among others that share its port. Raises StorageError or the storage's own refusal
    when the database cannot be had.
    """
    targets = read_targets(os.environ)
    inlets = read_sources(os.environ)
    brokers = [inlet.address for inlet in inlets] + [read_sink(each) for each in _sinks(settings)]
    passwords = [target.password for target in targets.values()] + [broker.password for broker in brokers]
    secrets = EnvironmentSecrets(folder=settings.secrets_dir, hidden=filter(None, passwords))
    policy = NetworkPolicy(
        allow_loopback=settings.allow_loopback or development,
        allow_files=development,
        allow=read_rules(settings.network_allow),
        deny=read_rules(settings.network_deny),
    )
    jail = JqJail(settings.expression_workers, settings.expression_timeout, int(settings.expression_memory))
    python = FunctionCallouts(functions)
    folds = PythonFolds(projections)
    storage = open_storage(settings.database)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(folds.close)
        stack.callback(hide_in_logs(secrets.redact))
        session = open_session(policy, max_per_host=settings.max_per_host)
        circuits = Circuits(
            failures=settings.circuit_failures,
            pause_s=settings.circuit_pause,
            time=time.monotonic,
            now=SystemClock().now,
        )
        http = HttpCallouts(
            session, secrets, max_answer_bytes=int(settings.max_answer_bytes), policy=policy, circuits=circuits
        )
        bounds = Bounds(settings.sql_max_rows, int(settings.sql_max_bytes))
        sql = SqlCallouts(targets, connections=settings.sql_connections, bounds=bounds)
        callouts = CalloutDispatch(http, OpenApiCallouts(http, policy), python, sql)
        stack.push_async_callback(callouts.close)
        await jail.start()
        stack.push_async_callback(jail.close)
        world = World(
            storage=storage,
            codec=EventMapper(),
            documents=ServerlessWorkflowDocuments(),
            expressions=jail,
            schemas=JsonSchemas(),
            resources=HttpResources(http),
            callouts=callouts,
            sink=_opened_sink(settings.event_sink, settings, session, stack) or NoSink(),
            lifecycle=_opened_sink(settings.lifecycle_events, settings, session, stack),
            sources=tuple(build_sources(inlets, int(settings.max_body_bytes))),
            secrets=secrets,
            clock=SystemClock(),
            chance=SystemChance(),
            liveness=ProcessLiveness(),
            crons=next_cron,
            connections=Connections(targets),
            **_audit(settings, session, development=development),
            folds=folds,
            vault=open_vault(settings),
        )
        node = Node(world, _options(settings, development=development))
        stack.push_async_callback(storage.log.close)
        stack.push_async_callback(storage.signals.close)
        await node.start()

        async def ready() -> Mapping[str, Any]:
            # A node that owns nothing serves as well as any other; one whose clock is wrong should not be asked.
            ready = node.ownership.eligible and await storage.ready()
            return {"ready": ready, "database": storage.kind, "partitions": len(node.ownership.held)}

        meter = Meter()
        desk = CircuitDesk(circuits, node.ownership.me.node)
        exposition = Exposition(node, jail, meter, circuits)
        answers = {**desk.answers, "metrics": lambda _: exposition.samples()}
        neighbours = desk.neighbours = Neighbours(place, answers)
        await neighbours.open()
        stack.push_async_callback(neighbours.close)
        services = Services(
            commands=node.commands,
            queries=node.queries,
            definitions=node.definitions,
            operations=node.operations,
            what_if=node.what_if,
            verification=node.verification,
            projections=node.catalog,
            schedules=node.schedule_catalog,
            requests=storage.requests,
            audit=node.audit,
            tasks=node.claims,
            human_tasks=node.human_tasks,
            files=node.files,
            functions=node.functions,
            held_events=node.held_events,
            clock=world.clock.now,
            ready=ready,
            tokens=_tokens(settings, development=development),
            version=__version__,
            max_body_bytes=int(settings.max_body_bytes),
            admission=Admission(settings.max_requests, settings.max_waiting),
            meter=meter,
            circuits=desk,
            exposition=lambda: exposition.text_of_all(neighbours),
            metrics_open=settings.metrics == "open",
        )
        app = build_app(services)
        await node.go_on()
        return Service(node, app, services, stack.pop_all(), settings.grace)


def _sinks(settings: Settings) -> list[str]:
    return [each for each in (settings.event_sink, settings.lifecycle_events) if each is not None]


def _opened_sink(
    url: str | None, settings: Settings, session: ClientSession, stack: AsyncExitStack
) -> EventSink | None:
    if url is None:
        return None
    sink, close = build_sink(read_sink(url), settings.event_mode, session)
    stack.push_async_callback(close)
    return sink


def _audit(settings: Settings, session: ClientSession, *, development: bool) -> dict[str, Any]:
    """What signs checkpoints, what checks them, and where they go."""
    key = settings.audit_key or (developers_key(settings) if development else None)
    signer = None if key is None else Ed25519Signer(read_private(key))
    trusted = [read_public(each) for each in settings.audit_trust]
    outlet: CheckpointOutlet | None = None
    if settings.checkpoint_to is not None:
        is_address = settings.checkpoint_to.startswith(("http://", "https://"))
        outlet = (
            CheckpointReceiver(settings.checkpoint_to, session)
            if is_address
            else CheckpointFile(Path(settings.checkpoint_to))
        )
    keys = Ed25519Keys(trusted, current=None if signer is None else signer.public)
    return {"signer": signer, "keys": keys, "outlet": outlet}


def developers_key(settings: Settings) -> str | None:
    """A key file beside a developer's SQLite database, made when there is none, so that checkpoints work at once."""
    database = settings.sqlite_path
    if database is None:
        return None
    path = database.with_name(f"{database.name}.audit-key.pem")
    if not path.exists():
        with contextlib.suppress(FileExistsError):  # another process was quicker
            make_key(path)
    try:
        read_private(str(path))
    except KeyUnusableError as error:
        raise SettingsError([f"{path} {error}"]) from None
    return str(path)


def _options(settings: Settings, *, development: bool) -> Options:
    return Options(
        host=platform.node(),
        pid=os.getpid(),
        process=process_mark(os.getpid()),
        version=__version__,
        partitions=settings.partitions,
        lease_s=settings.lease,
        drain_s=settings.grace,
        most_in_progress=settings.max_in_progress,
        limits=Limits(
            settle_timeout_s=settings.settle_timeout,
            callout_timeout_s=settings.callout_timeout,
            runtime_version=__version__,
        ),
        held_events_for_s=settings.held_events_for,
        retention_s=settings.retention,
        checkpoint_every_s=settings.checkpoint_every,
        public_url=settings.public_url or f"http://{settings.host}:{settings.port}",
        revise=development,
        groups=settings.groups,
        on_behalf=None if _tokens(settings, development=development) is None else frozenset(settings.on_behalf),
        blob_threshold=int(settings.blob_threshold),
    )


def _tokens(settings: Settings, *, development: bool) -> Mapping[str, str] | None:
    """Who may come in; None lets everyone in."""
    return None if development or settings.auth == "none" or not settings.api_tokens else settings.api_tokens


def server_of(url: str) -> str:
    """The database for people: without user, password and parameters."""
    parts = urlsplit(url)
    return url if parts.scheme == "sqlite" else f"{parts.scheme}://{parts.hostname}{parts.path}"
