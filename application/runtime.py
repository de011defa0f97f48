"""One running node over given ports: puts the parts of the application together, starts and stops them in order.

Everything from outside comes in as `World`, so a service, a test and a simulation run the same node.
"""

from __future__ import annotations

import structlog

from application.access_book import AccessBook
from application.archive import ArchiveReader
from application.archivist import Archivist
from application.attached_log import AttachedLog
from application.auditing import Audit
from application.blob_collector import BlobCollector
from application.blob_store import BlobStore
from application.bundles import Bundles
from application.business_keys import BusinessKeys
from application.callbacks import Callbacks
from application.checkpoints import Checkpoints, fingerprint
from application.claims import TaskClaims
from application.commands import OrchestrationCommands
from application.definitions import DefinitionRegistry
from application.dry_runs import DryRuns
from application.effects import Effects
from application.engine import Engine
from application.exchange import EventExchange
from application.exporting import Exporter
from application.facts import FactFinder
from application.feed import AuditFeed
from application.feed_context import FeedContext
from application.files import Files
from application.forking import ForkSources
from application.function_controls import FunctionControls
from application.heads import HeadWatch
from application.held_events import HeldEvents
from application.histories import Histories
from application.housekeeping import Housekeeping
from application.human_tasks import HumanTasks, People
from application.identity import Identity
from application.intake import Intake
from application.journal import Journal
from application.leases import NodeIdentity
from application.lifecycle_feed import LifecycleFeed
from application.live import LiveCache
from application.lives import Lives
from application.load import Load
from application.log_pages import LogPages
from application.nodes import Nodes
from application.operations import Operations
from application.outbox import Outbox
from application.outside_blobs import OutsideBlobs
from application.ownership import Ownership, Tenant
from application.projection_catalog import StoredCatalog
from application.projections import Projections
from application.projector import StatusProjector
from application.queries import OrchestrationQueries
from application.reader import Reader
from application.remote_work import RemoteWork
from application.routing import Router
from application.schedule_catalog import ScheduleCatalog
from application.schedules import Schedules
from application.serving import InboxServer
from application.sinks import CountedSink, NoSink
from application.snapshots import Snapshots
from application.timers import Timers
from application.verification import Verification
from application.watching import Watch
from application.what_if import WhatIf
from application.whole_log import WholeLog
from application.world import Options, World

_log = structlog.get_logger(__name__)


class Node:
    """A running node. `start` joins the others and takes its partitions; `go_on` takes up what was unfinished in them;
    `stop` lets go.
    """

    def __init__(self, world: World, options: Options) -> None:
        self.world = world
        self.options = options
        self.definitions = DefinitionRegistry(
            world.storage.definitions,
            world.documents,
            world.expressions,
            world.schemas,
            world.callouts,
            world.clock,
            revise=options.revise,
            limits=options.limits,
            connections=world.connections,
        )
        self.partitions = 0

    async def start(self) -> None:
        """Raises StorageError (or what the storage raises when it cannot be had)."""
        world, options = self.world, self.options
        storage = world.storage
        self.blobs = await self._blobs()
        log, signals = AttachedLog(storage.log, self.blobs), storage.signals
        self.partitions = await log.open(options.partitions, options.lease_s)
        identity = Identity(await log.salt(), self.partitions, world.chance, in_a_row=options.ids_in_a_row)
        self.journal = Journal(
            storage.log, world.codec, blobs=self.blobs, clock=world.clock, blob_threshold=options.blob_threshold
        )
        self.cache = LiveCache(
            log,
            storage.snapshots,
            world.codec,
            identity,
            self.journal.epoch,
            capacity=options.live_orchestrations,
            large_bytes=options.live_large_bytes,
            snapshot_after=options.snapshot_after,
            known=world.callouts.knows,
        )
        facts = FactFinder(
            world.expressions, world.schemas, world.resources, self.definitions, identity, world.callouts.knows
        )
        self.engine = Engine(
            journal=self.journal,
            cache=self.cache,
            facts=facts,
            plans=self.definitions,
            identity=identity,
            clock=world.clock,
            chance=world.chance,
            limits=options.limits,
            known=world.callouts.knows,
        )
        self.lives = Lives(self.engine)
        self.ownership = Ownership(
            self._introduction(),
            storage.leases,
            world.liveness,
            signals,
            world.clock,
            lease_s=options.lease_s,
            drain_s=options.drain_s,
        )
        self.journal.on_lost(self.ownership.lose)
        reader = Reader(self.ownership, self.cache, log, world.codec, identity)
        self.files = Files(self.blobs, identity, reader, world.clock)
        self.router = Router(self.engine, self.ownership, storage.inbox, signals, identity, world.clock, world.chance)
        dry_runs = DryRuns(self.engine, self.cache, facts, self.definitions, options.limits)
        self._call_out(reader, identity)
        self.timers = Timers(self.engine, log, self.ownership)
        self.watch = Watch(self.engine, self.ownership, log)
        self.snapshots = Snapshots(self.engine, storage.snapshots, world.codec.states, after=options.snapshot_after)
        self.projector = StatusProjector(self.engine, self.journal, log, storage.view, self.ownership)
        self.exchange = EventExchange(
            self.engine,
            storage.held,
            log,
            self.router,
            reader,
            self.ownership,
            self.partitions,
            hold_s=options.held_events_for_s,
        )
        self._publish()
        self.inbox = InboxServer(
            self.engine, self.journal, self.ownership, storage.inbox, signals, storage.keys, self.exchange
        )
        self.router.carries_out(self.inbox.here)
        self.operations = Operations(
            storage.operations, world.clock, world.chance, self.ownership.me.node, lambda: self.watch.closed
        )
        self._vouch(identity)
        archive = ArchiveReader(storage.archive, log)
        self._keep_house(log, archive)
        pages = LogPages(log, archive, world.codec)
        self.projections = Projections(
            world.folds,
            storage.projections,
            pages,
            log,
            self.journal,
            self.ownership,
            signals,
            world.clock,
            revise=options.revise,
        )
        self.catalog = StoredCatalog(
            self.projections.folds, storage.projections, pages, log, signals, world.clock, identity.sealing_key()
        )
        keys = BusinessKeys(storage.keys, self.router, reader)
        self._schedule(reader, identity)
        self.commands = OrchestrationCommands(
            self.engine,
            self.definitions,
            facts,
            keys,
            self.exchange,
            self.router,
            reader,
            self.ownership,
            dry_runs,
            archive,
            self.callbacks,
            ForkSources(identity, log, world.codec, archive, reader),
            Load(
                self.journal,
                self.effects,
                most_waiting=options.most_waiting_commits,
                most_in_progress=options.most_in_progress,
            ),
        )
        self.human_tasks = HumanTasks(
            storage.human_tasks,
            self.router,
            reader,
            identity,
            facts,
            self.commands.admit_change,
            world.clock,
            People(options.groups, options.on_behalf),
        )
        self.queries = OrchestrationQueries(
            self.engine,
            log,
            storage.view,
            world.codec,
            self.watch,
            self.projector,
            reader,
            dry_runs,
            Nodes(storage.leases, self.ownership),
            archive,
            Bundles(
                identity,
                reader,
                log,
                archive,
                storage.checkpoints,
                storage.definitions,
                world.codec,
                world.clock,
                options.version,
                self.blobs,
            ),
            world.callouts.knows,
        )
        self.intake = Intake(self.commands.publish_event, world.sources)
        self.audit = self._audit(identity)
        histories = Histories(log, archive, world.codec, identity)
        self.what_if = WhatIf(histories, self.definitions, facts, storage.view, self.projector, self.operations)
        for tenant in (self.journal, self.cache, self.projector, self.projections, self.watch):
            self.ownership.add(tenant)
        await self._begin_following()
        self.journal.start()
        await self.projector.start()
        await signals.open()
        await self.ownership.join()
        self.projections.start()

    def _vouch(self, identity: Identity) -> None:
        """What proves that the log is what was written."""
        world, options, storage = self.world, self.options, self.world.storage
        self.verification = Verification(
            storage.audit_log,
            storage.checkpoints,
            world.keys,
            identity,
            storage.log,
            storage.archive,
            world.codec,
            self.operations,
            storage.view,
            self.blobs,
        )
        self.checkpoints = Checkpoints(
            storage.checkpoints,
            world.clock,
            fingerprint(identity.place_key()),
            self.journal.heads,
            world.signer,
            world.outlet,
            every_s=options.checkpoint_every_s,
        )

    def _keep_house(self, log: AttachedLog, archive: ArchiveReader) -> None:
        storage, options = self.world.storage, self.options
        self.collector = BlobCollector(self.engine, self.blobs, log, archive, storage.audit_log, self.journal.heads)
        self.housekeeping = Housekeeping(
            storage.requests,
            storage.held,
            storage.inbox,
            storage.operations,
            storage.accesses,
            storage.tasks,
            self.world.clock,
            hold_s=options.held_events_for_s,
            retention_s=options.retention_s,
        )
        self.archivist = Archivist(
            self.engine,
            log,
            storage.view,
            storage.archive,
            self.world.codec,
            self.projector,
            self.journal.heads,
            options.retention_s,
        )

    async def _blobs(self) -> BlobStore:
        world = self.world
        if world.vault is None:
            return world.storage.blobs
        await world.vault.check()
        return OutsideBlobs(world.storage.blobs, world.vault)

    def _call_out(self, reader: Reader, identity: Identity) -> None:
        """What sends, and what hands out to workers."""
        world, storage = self.world, self.world.storage
        log, tasks, signals = storage.log, storage.tasks, storage.signals
        self.callbacks = Callbacks(identity, self.options.public_url)
        self.effects = Effects(
            self.engine,
            world.callouts,
            world.expressions,
            world.secrets,
            log,
            self.ownership,
            self.callbacks,
            self.files,
        )
        self.remote = RemoteWork(self.engine, tasks, log, self.ownership, signals, world.callouts, self.effects)
        self.claims = TaskClaims(
            tasks,
            reader,
            identity,
            self.remote,
            signals,
            world.expressions,
            world.secrets,
            self.callbacks,
            world.clock,
            world.chance,
        )
        self.functions = FunctionControls(tasks, self.definitions, world.callouts)

    async def _begin_following(self) -> None:
        await self.projections.begin()  # the one thing here that code may be refused for
        if self.lifecycle is not None:
            await self.lifecycle.begin(self.partitions)

    def _publish(self) -> None:
        sink = CountedSink("events", self.world.sink)
        self.sinks = {} if isinstance(self.world.sink, NoSink) else {sink.name: sink}
        self.outbox = Outbox(self.engine, self.world.storage.log, self.exchange, sink, self.ownership)

    def _schedule(self, reader: Reader, identity: Identity) -> None:
        world = self.world
        self.schedules = Schedules(
            world.storage.schedules,
            self.definitions,
            self.router,
            reader,
            self.ownership,
            identity,
            world.storage.signals,
            world.clock,
            world.crons,
        )
        self.exchange.start_with(self.schedules.start_by)
        hold_s = self.options.held_events_for_s
        self.held_events = HeldEvents(world.storage.held, reader, identity, hold_s=hold_s)
        self.schedule_catalog = ScheduleCatalog(self.schedules, world.clock, world.crons)

    def _introduction(self) -> NodeIdentity:
        options, world = self.options, self.world
        return NodeIdentity(
            f"{options.host}:{options.pid}:{world.chance.random_bytes(4).hex()}",
            options.host,
            options.pid,
            options.process,
            options.version,
            world.clock.now(),
        )

    def _audit(self, identity: Identity) -> Audit:
        storage, clock = self.world.storage, self.world.clock
        whole = WholeLog(AttachedLog(storage.log, self.blobs), storage.archive, self.world.codec)
        context = FeedContext(whole, storage.archive, storage.view, identity)
        feed = AuditFeed(whole, context, HeadWatch(whole, self.watch, self.partitions), identity, clock)
        self.access_book = AccessBook(storage.accesses, clock, self.world.chance, self.partitions)
        self.lifecycle: LifecycleFeed | None = None
        if self.world.lifecycle is not None:
            self.sinks["lifecycle"] = sink = CountedSink("lifecycle", self.world.lifecycle)
            self.lifecycle = LifecycleFeed(
                sink, storage.followers, whole, context, self.journal, self.ownership, self.world.secrets
            )
        exporter = Exporter(whole, context, identity, clock, storage.checkpoints, self.world.keys, self.blobs)
        return Audit(feed, exporter, self.access_book, storage.accesses, identity)

    async def go_on(self) -> None:
        """Take up what was unfinished when the last owner ended: attempts in flight, timers, events, the outbox; from now on
        also of every partition that is gained.
        """
        tenants: list[Tenant] = [self.effects, self.remote, self.timers, self.exchange, self.outbox, self.inbox]
        for tenant in (*tenants, self.schedules, *([self.lifecycle] if self.lifecycle else ())):
            self.ownership.add(tenant)
            for partition in self.ownership.held:
                tenant.gained(self.journal.head(partition))
        self.ownership.drain_with(self.effects.drain)
        self.remote.start()
        self.timers.start()
        self.schedules.start()
        await self.exchange.start()
        self.outbox.start()
        if self.lifecycle is not None:
            self.lifecycle.start()
        self.housekeeping.start()
        self.inbox.start()
        self.snapshots.start()
        self.archivist.start()
        self.collector.start()
        self.checkpoints.start()
        self.ownership.start()
        self.intake.start()

    async def stop(self, grace_s: float = 0.0) -> None:
        """Wake whoever waits, let callouts end, commit what was decided, let go of the partitions, close the database."""
        self.watch.close()
        self.claims.close()
        await self.intake.stop()
        await self.operations.stop()
        await self.ownership.stop()
        await self.housekeeping.stop()
        await self.archivist.stop()
        await self.collector.stop()
        await self.snapshots.stop()
        await self.schedules.stop()
        await self.timers.stop()
        await self.outbox.stop()
        if self.lifecycle is not None:
            await self.lifecycle.stop()
        await self.effects.stop(grace_s)
        await self.remote.stop()
        await self.inbox.stop()
        await self.exchange.stop()
        await self.router.stop()
        await self.access_book.stop()
        await self.projections.stop()
        await self.projector.stop()
        await self.journal.stop()
        await self.checkpoints.stop()
        await self.ownership.leave()
        await self.world.storage.signals.close()
        await self.world.storage.log.close()
