"""A whole life of a service from one seed: clients, operators, participants, a database that fails, nodes that die.

First everything that can go wrong does. Then the world calms down, operators resolve what waits for them, and at the end
`checker` looks whether what was promised holds. `fingerprint` is the same for every run of a seed.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import msgspec

from application.identity import Identity
from application.live import subscribers_in
from application.operations import Progress
from application.projection_store import Build
from application.runtime import Node
from application.service import CommandRequest, StartRequest
from application.verifying import Scope
from application.world import Options
from domain.decision import Limits
from domain.errors import (
    BusinessKeyInUseError,
    InvalidDefinitionError,
    NodeUnavailableError,
    OrchestrationEndedError,
    RetraceError,
    StorageError,
)
from tests.simulation.changing import another_version, change
from tests.simulation.folded import folded
from tests.simulation.loop import (
    START,
    Process,
    ProcessDiedError,
    SeededChance,
    SimulatedLoop,
    simulate,
)
from tests.simulation.memory_storage import MemoryData
from tests.simulation.nodes import world_of
from tests.simulation.participants import Elsewhere, Moods, SimulatedParticipants, SimulatedSink, UnreliableSink
from tests.simulation.people import NAMES, Answers, SimulatedPerson
from tests.simulation.programs import TYPES, Author
from tests.simulation.workers import FUNCTIONS, Handed, SimulatedWorker, Tempers

T = TypeVar("T")
PARTITIONS = 4
LEASE_S = 10.0


class Trouble(msgspec.Struct, frozen=True):
    """How much goes wrong besides the participants."""

    storage: float = 0.01
    crashes: int = 3
    crash_within: int = 2000
    """Steps of the loop after which the next crash comes at the latest."""
    ghosts: float = 0.3
    """How likely a node that is gone still works."""
    nodes: int = 0
    """How many nodes there are; 0: one, two or three, as the seed has it."""
    pauses: float = 0.3
    """How likely a node of several stands still for a while instead of dying."""
    stops: float = 0.2
    orchestrations: int = 4
    events: int = 6
    commands: int = 4
    live_orchestrations: int = 3
    snapshot_after: int = 6
    retention_s: float | None = None
    changes: int = 0
    """Forks and migrations."""
    workers: int | None = None
    """How many remote workers there are; None: in one world of four two, else nobody needs any."""
    people: bool = False
    """Whether there are tasks for people, and people; and events in order."""
    moves: float = 0.1
    """How likely a node of a world with workers has their functions itself."""
    folds: Any = None
    """Projections (`application.projections.Folds`) that every node keeps."""
    lifecycle: float | None = None
    """How likely a lifecycle event is refused, or taken and the sender told otherwise; None: there are none."""


class Seat:
    """A place where one node after the other runs."""

    def __init__(self) -> None:
        self.process: Process | None = None
        self.node: Node | None = None


class Simulation:
    """One seed's world. After `run`: the database, the ledger, and what clients were told."""

    def __init__(
        self, seed: int, loop: SimulatedLoop, trouble: Trouble | None = None, moods: Moods | None = None
    ) -> None:
        self.seed = seed
        self.loop = loop
        self.trouble = trouble or Trouble()
        self.chance = random.Random(f"world {seed}")
        self.data = MemoryData()
        self.participants = SimulatedParticipants(random.Random(f"participants {seed}"), moods or Moods())
        self.sink = SimulatedSink()
        unreliable = self.trouble.lifecycle
        self.lifecycle = None if unreliable is None else UnreliableSink(random.Random(f"sink {seed}"), unreliable)
        self.acknowledged: dict[str, str] = {}
        """Name of the start -> public id that the client was given."""
        self.definitions: list[str] = []
        self.overdue: list[str] = []
        self.alarms: list[Any] = []
        """What verifications found, of which every one is false."""
        self.verified = 0
        self.calm = False
        self.restarts = 0
        self.changes = 0
        """Forks and migrations that were made."""
        self._delays = random.Random(f"storage {seed}")
        self._seats = [Seat() for _ in range(self.trouble.nodes or self.chance.choice((1, 1, 2, 3)))]
        self._alone = len(self._seats) == 1 and self.chance.random() < 0.5
        """A database that only one process can be at work on, such as a file."""
        self._events = 0
        self._ghosts: list[Process] = []
        workers = self.trouble.workers
        self.workers = (2 if self.chance.random() < 0.25 else 0) if workers is None else workers
        self.handed = Handed()
        self.moved = False
        """Whether the functions of workers were in the process of some node for a while."""
        self._working: list[asyncio.Task[None]] = []
        self.answers = Answers()

    # The node and its deaths ------------------------------------------------------------------------------------------

    async def _storage_step(self, operation: str) -> None:
        await asyncio.sleep(self._delays.choice((0, 0, 0, 0.001, 0.02)))
        if not self.calm and self._delays.random() < self.trouble.storage:
            raise StorageError(f"made to fail: {operation}")

    async def open(self, seat: Seat) -> None:
        """A new process over the same database."""
        while True:
            self.restarts += 1
            process = Process(self.loop, self.restarts)
            moved = self.workers > 0 and not self.calm and self.chance.random() < self.trouble.moves
            self.moved |= moved
            missing = FUNCTIONS if self.workers and not moved else ()
            world = world_of(
                self.loop,
                self.data,
                Elsewhere(self.participants, missing),
                chance=random.Random(f"node {self.seed} {self.restarts}"),
                step=self._storage_step,
                sink=self.sink,
                off_s=self.chance.uniform(-0.7, 0.7),
                alone=self._alone,
                folds=self.trouble.folds,
                lifecycle=self.lifecycle,
            )
            options = Options(
                host="host",
                pid=self.restarts,
                partitions=PARTITIONS,
                live_orchestrations=self.trouble.live_orchestrations,
                lease_s=LEASE_S,
                limits=Limits(portion=2, max_undos=2),
                snapshot_after=self.trouble.snapshot_after,
                retention_s=self.trouble.retention_s,
                checkpoint_every_s=7.0,
                ids_in_a_row=1,
            )
            node = Node(world, options)
            seat.process = process
            try:
                await process.call(node.start())
                await process.call(node.go_on())
            except (RetraceError, ProcessDiedError):
                process.kill()
                continue
            seat.node = node
            return

    async def ask(self, work: Callable[[Node], Coroutine[Any, Any, T]]) -> T:
        """A request from outside, to any node. Raises ProcessDiedError."""
        seat = self.chance.choice(self._seats)
        if seat.node is None or seat.process is None:
            raise ProcessDiedError
        return await seat.process.call(work(seat.node))

    def crash(self, seat: Seat) -> None:
        """The node is gone: dead, or cut off and still at work, believing that it owns what another takes over."""
        assert seat.process is not None
        seat.node = None
        for ghost in self._ghosts:
            ghost.kill()
        self._ghosts.clear()
        if not self._alone and self.chance.random() < self.trouble.ghosts:
            self._ghosts.append(seat.process)
            seat.process.disconnect()
        else:
            seat.process.kill()
        self._gone.set()

    async def _keep_alive(self) -> None:
        """Nodes die at steps that the seed draws, stand still for a while, or are stopped in good order; and are there
        again.
        """
        for _ in range(self.chance.randint(0, self.trouble.crashes)):
            seat = self.chance.choice(self._seats)
            if self.chance.random() < self.trouble.stops:
                await asyncio.sleep(self.chance.uniform(0, 20))
                await self._stop(seat, self.chance.choice((0.0, 3.0)))
            elif len(self._seats) > 1 and self.chance.random() < self.trouble.pauses:
                await asyncio.sleep(self.chance.uniform(0, 20))
                assert seat.process is not None
                seat.process.stop_still()
                await asyncio.sleep(self.chance.uniform(0, 3 * LEASE_S))
                seat.process.go_on()
                continue
            else:
                self._gone.clear()
                self.loop.at_step = (self.loop.steps + int(self._steps_to_crash()), partial(self.crash, seat))
                await self._gone.wait()
            await self.open(seat)

    async def _stop(self, seat: Seat, grace_s: float) -> None:
        node, process, began_s = seat.node, seat.process, self.loop.time()
        assert node is not None
        assert process is not None
        seat.node = None
        await process.call(node.stop(grace_s))
        if self.loop.time() > began_s + grace_s + 15:
            self.overdue.append(f"a stop took {self.loop.time() - began_s} s with {grace_s} s of grace")
        process.kill()

    def _steps_to_crash(self) -> float:
        return float(self.trouble.crash_within ** self.chance.uniform(0.3, 1))

    async def insist(self, work: Callable[[Node], Coroutine[Any, Any, T]]) -> T:
        """Ask until there is an answer; a client that repeats its requests."""
        while True:
            try:
                return await self.ask(work)
            except (StorageError, NodeUnavailableError, ProcessDiedError):
                await asyncio.sleep(self.chance.uniform(0.05, 1))

    # Those who use it -------------------------------------------------------------------------------------------------

    async def _deploy(self) -> None:
        names: tuple[str, ...] = ()
        while len(self.definitions) < 3:
            name = f"d{len(self.definitions)}"
            text = msgspec.json.encode(
                Author(self.chance, names, workers=bool(self.workers), people=self.trouble.people).definition(name)
            )
            try:
                await self.insist(partial(_deploy, text))
            except InvalidDefinitionError:
                continue
            if self.trouble.changes:
                await self.insist(partial(_deploy, another_version(text, self.chance)))
            self.definitions.append(name)
            names = tuple(self.definitions)

    async def _client(self, number: int) -> None:
        await asyncio.sleep(self.chance.uniform(0, 5))
        definition = f"sim/{self.chance.choice(self.definitions)}"
        wanted = self.chance.choice((None, None, "k1", "k2"))
        request = StartRequest(
            definition=definition, input={"n": number}, idempotency_key=f"start {number}", business_key=wanted
        )
        try:
            id_ = await self.insist(lambda node: node.commands.start(request))
        except BusinessKeyInUseError:
            return
        except OrchestrationEndedError:  # an earlier try has started it, and it is archived already
            id_ = Identity(self.data.salt, PARTITIONS, SeededChance(self.chance)).derived(
                request.actor, f"start {number}"
            )
        self.acknowledged[f"start {number}"] = id_

    async def _publisher(self) -> None:
        """Events for everyone or for one, early, late, twice."""
        await asyncio.sleep(self.chance.uniform(0, 60))
        await self.publish(repeats=self.chance.choice((1, 1, 2)))

    async def publish(
        self, *, repeats: int = 1, to: str | None = None, kind: str | None = None, number: int | None = None
    ) -> None:
        self._events += 1
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": f"e{self._events}",
            "source": "https://outside.test",
            "type": kind or self.chance.choice(TYPES),
        }
        if self.trouble.people:
            event["sequence"] = number or self.chance.randint(1, 4)
        ids = [*self.acknowledged.values(), None, None]
        to = to or self.chance.choice(ids)
        for _ in range(repeats):
            try:
                await self.insist(partial(_send, event, to))
            except StorageError:
                raise
            except RetraceError:
                return  # it has ended

    async def _operator(self) -> None:
        await asyncio.sleep(self.chance.uniform(0.1, 60))
        if not self.acknowledged:
            return
        request = CommandRequest(id=self.chance.choice(list(self.acknowledged.values())), reason="because")
        kind = self.chance.choice(("cancel", "cancel", "suspend", "suspend", "terminate", "override", "note"))
        try:
            await self.insist(partial(_command, kind, request))
        except StorageError:
            raise
        except RetraceError:
            return

    async def _auditor(self) -> None:
        """Verifies the log while all that goes on; gives up where the storage fails too often for a whole one."""
        await asyncio.sleep(self.chance.uniform(1, 60))
        for _ in range(3):
            try:
                await self.verify()
            except (StorageError, ProcessDiedError):
                await asyncio.sleep(self.chance.uniform(0.05, 5))
            else:
                return

    async def verify(self) -> None:
        """Verify the log through some node: nobody has damaged it."""
        since = await self.ask(lambda node: node.world.storage.checkpoints.latest())
        scope = Scope(since=since if self.chance.random() < 0.3 else ())
        result = await self.ask(lambda node: node.verification._all(scope, Progress()))
        self.alarms += result["findings"]
        self.verified += 1

    # The end ----------------------------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Nothing goes wrong any more; operators and publishers see to it that everything comes to an end."""
        for _ in range(60):
            await asyncio.sleep(120)
            unfinished = False
            for each in folded(self.data):
                state = each.state
                if state.final:
                    continue
                unfinished = True
                due = state.next_due()
                if due is not None and due < START + timedelta(seconds=self.loop.time() - 90):
                    self.overdue.append(f"{state.id}: what was due at {due} was not handled")
                request = CommandRequest(id=state.id, reason="the end")
                if state.suspended:
                    await self._try(partial(_command, "resume", request))
                for incident in state.open_incidents():
                    action = self.chance.choice(incident.actions)
                    await self._try(partial(_resolve, request, incident.number, action))
                for kind in TYPES if subscribers_in(state) else ():
                    orders = [order for stream in state.streams.values() for order in stream.orders.values()]
                    await self.publish(to=state.id, kind=kind, number=orders[0].next if orders else 1)
            if not unfinished:
                return

    async def _try(self, work: Callable[[Node], Coroutine[Any, Any, Any]]) -> None:
        try:
            await self.insist(work)
        except StorageError:
            raise
        except RetraceError:
            return

    async def run(self) -> None:
        self._gone = asyncio.Event()
        await asyncio.gather(*(self.open(seat) for seat in self._seats))
        await self._deploy()
        keeper = asyncio.ensure_future(self._keep_alive())
        for number in range(self.workers):
            chance = random.Random(f"worker {self.seed} {number}")
            worker = SimulatedWorker(f"w{number}", self.ask, self.participants, self.handed, chance, Tempers())
            self._working.append(asyncio.ensure_future(worker.run()))
        for name in NAMES if self.trouble.people else ():
            chance = random.Random(f"{name} {self.seed}")
            person = SimulatedPerson(name, self.ask, self.answers, chance, lambda: self.calm)
            self._working.append(asyncio.ensure_future(person.run()))
        trouble = self.trouble
        await asyncio.gather(
            *(self._client(number) for number in range(trouble.orchestrations)),
            *(self._publisher() for _ in range(trouble.events)),
            *(self._operator() for _ in range(trouble.commands)),
            self._auditor(),
            self._auditor(),
            *(change(self, number, PARTITIONS) for number in range(trouble.changes)),
        )
        await asyncio.sleep(self.chance.uniform(0, 30))
        self.loop.at_step = None
        keeper.cancel()
        self.calm = self.participants.calm = True
        for seat in self._seats:
            assert seat.process is not None
            seat.process.go_on()
            if seat.node is None:
                seat.process.kill()
                await self.open(seat)
        for ghost in self._ghosts:
            ghost.kill()
        await self._settle()
        for working in self._working:
            working.cancel()
        for seat in self._seats:
            assert seat.node is not None
            assert seat.process is not None
            await seat.process.call(seat.node.projector.caught_up())
        await self.verify()
        await self._projected()
        await self._told()

    async def _told(self) -> None:
        """Lifecycle events of everything have been sent."""
        if self.lifecycle is None:
            return
        self.lifecycle.calm = True
        until = self.loop.time() + 60
        while any(
            self.data.followers[number, "lifecycle"] < partition.head.position
            for number, partition in enumerate(self.data.partitions)
        ):
            if self.loop.time() > until:
                self.overdue.append("lifecycle events are not sent")
                return
            await asyncio.sleep(1)

    async def _projected(self) -> None:
        """Projections have seen everything and are live."""
        until = self.loop.time() + 60
        while any(self._is_behind(build) for build in self.data.builds.values()):
            if self.loop.time() > until:
                self.overdue.append("the projections do not catch up")
                return
            await asyncio.sleep(1)

    def _is_behind(self, build: Build) -> bool:
        heads = [partition.head.position for partition in self.data.partitions]
        seen = [self.data.progress.get((build.tracking, each)) for each in range(len(heads))]
        return build.state != "retired" and (
            build.state != "live" or any(at is None or at.position < head for at, head in zip(seen, heads, strict=True))
        )

    @property
    def nodes(self) -> list[Node]:
        """Those that are there at the end."""
        return [seat.node for seat in self._seats if seat.node is not None]

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr(sorted(self.acknowledged.items())).encode())
        for partition in self.data.partitions:
            digest.update(repr(partition.head).encode())
        digest.update(repr(list(self.participants.ledger.items())).encode())
        return digest.hexdigest()


def _deploy(text: bytes, node: Node) -> Coroutine[Any, Any, Any]:
    return node.definitions.deploy(text, "application/json")


def _send(event: dict[str, Any], to: str | None, node: Node) -> Coroutine[Any, Any, Any]:
    return node.commands.publish_event(event) if to is None else node.commands.send_event(to, event)


def _command(kind: str, request: CommandRequest, node: Node) -> Coroutine[Any, Any, Any]:
    match kind:
        case "override":
            return node.commands.cancel(request, override_pivot=True)
        case "note":
            return node.commands.add_note(request, text="noted")
    work: Coroutine[Any, Any, Any] = getattr(node.commands, kind)(request)
    return work


def _resolve(request: CommandRequest, number: int, action: Any, node: Node) -> Coroutine[Any, Any, Any]:
    return node.commands.resolve(request, number=number, action=action)


def run_seed(seed: int, trouble: Trouble | None = None, moods: Moods | None = None) -> Simulation:
    """The world of a seed after its life."""

    async def main(loop: SimulatedLoop) -> Simulation:
        world = Simulation(seed, loop, trouble, moods)
        await world.run()
        return world

    return simulate(seed, main)
