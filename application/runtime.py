"""One running node over given ports: puts the parts of the application together, starts and stops them in order.

Everything from outside comes in as `World`, so a service, a test and a simulation run the same node.
"""

from __future__ import annotations

import msgspec
import structlog

from application.commands import OrchestrationCommands
from application.definitions import DefinitionRegistry, Documents
from application.effects import Effects
from application.engine import Engine
from application.exchange import EventExchange
from application.facts import FactFinder
from application.housekeeping import Housekeeping
from application.identity import Chance, Identity
from application.journal import Codec, Journal
from application.live import LiveCache
from application.outbox import Outbox
from application.ownership import Ownership
from application.ports import Callouts, Clock, EventSink, Expressions, Resources, Schemas, Secrets
from application.projector import StatusProjector
from application.queries import OrchestrationQueries
from application.snapshots import Snapshots
from application.storage import Storage
from application.timers import Timers
from application.watching import Watch
from domain.decision import Limits

_log = structlog.get_logger(__name__)


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What a node knows the outside by."""

    storage: Storage
    codec: Codec
    documents: Documents
    expressions: Expressions
    schemas: Schemas
    resources: Resources
    callouts: Callouts
    sink: EventSink
    secrets: Secrets
    clock: Clock
    chance: Chance


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers that the settings choose."""

    owner: str = "node"
    partitions: int = 16
    lease_s: float = 10.0
    limits: Limits = Limits()
    held_events_for_s: float = 7 * 86_400.0
    revise: bool = False
    live_orchestrations: int = 10_000
    snapshot_after: int = 1000
    """Events after which a history is long enough for a snapshot."""
    ask_for_ownership_s: float | None = None
    """How often the node asks whether the partitions are still its own; None: it learns when it writes."""


class Node:
    """A running node. `start` takes the partitions over and goes on with what was unfinished; `stop` lets go."""

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
        )
        self.partitions = 0

    async def start(self) -> None:
        """Raises StorageError (or what the storage raises when it cannot be had)."""
        world, options = self.world, self.options
        log = world.storage.log
        heads = await log.open(options.owner, options.partitions, options.lease_s)
        self.partitions = len(heads)
        identity = Identity(await log.salt(), len(heads), world.chance)
        self.journal = Journal(log, world.codec, heads)
        self.cache = LiveCache(
            log,
            world.storage.snapshots,
            world.codec,
            identity,
            capacity=options.live_orchestrations,
            snapshot_after=options.snapshot_after,
        )
        facts = FactFinder(world.expressions, world.schemas, world.resources, self.definitions, identity)
        self.engine = Engine(
            journal=self.journal,
            cache=self.cache,
            facts=facts,
            plans=self.definitions,
            identity=identity,
            clock=world.clock,
            chance=world.chance,
            limits=options.limits,
        )
        self.ownership = Ownership(self.journal, log, len(heads), options.ask_for_ownership_s)
        self.effects = Effects(self.engine, world.callouts, world.expressions, world.secrets)
        self.timers = Timers(self.engine, log)
        self.watch = Watch(self.engine)
        self.snapshots = Snapshots(
            self.engine, world.storage.snapshots, world.codec.states, after=options.snapshot_after
        )
        self.projector = StatusProjector(self.engine, self.journal, log, world.storage.view, len(heads))
        self.exchange = EventExchange(self.engine, world.storage.held, log, hold_s=options.held_events_for_s)
        self.outbox = Outbox(self.engine, log, self.exchange, world.sink, len(heads))
        self.housekeeping = Housekeeping(
            world.storage.requests, world.storage.held, world.clock, hold_s=options.held_events_for_s
        )
        self.commands = OrchestrationCommands(self.engine, self.definitions, facts, world.storage.keys, self.exchange)
        self.queries = OrchestrationQueries(
            self.engine, log, world.storage.view, world.codec, self.watch, self.projector
        )
        self.journal.start()
        await self.projector.start()

    async def go_on(self) -> None:
        """Take up what was unfinished when the last owner ended: attempts in flight, timers, events, the outbox."""
        for partition in range(self.partitions):
            after = None
            while page := await self.world.storage.log.in_flight(partition, after):
                for orchestration in page:
                    self.effects.resume(await self.cache.load_at(partition, orchestration))
                after = page[-1]
        self.timers.start()
        await self.exchange.start()
        self.outbox.start()
        self.housekeeping.start()
        self.snapshots.start()
        self.ownership.start()

    async def stop(self, grace_s: float = 0.0) -> None:
        """Wake whoever waits, let callouts end, commit what was decided, close the database."""
        self.watch.close()
        await self.ownership.stop()
        await self.housekeeping.stop()
        await self.snapshots.stop()
        await self.timers.stop()
        await self.outbox.stop()
        await self.effects.stop(grace_s)
        await self.exchange.stop()
        await self.projector.stop()
        await self.journal.stop()
        await self.world.storage.log.close()
