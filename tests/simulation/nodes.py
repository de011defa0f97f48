"""Nodes in a simulated world, made by hand: for tests that choose themselves what happens."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from adapters.bootstrap import ServerlessWorkflowDocuments
from adapters.cron import next_cron
from adapters.expressions.inline import InlineJq
from adapters.expressions.schemas import JsonSchemas
from adapters.stored_events import EventMapper
from application.leases import NodeIdentity
from application.ports import Answered, Callout, CalloutResult, Callouts, EventSink
from application.projections import Folds, NoFolds
from application.runtime import Node
from application.service import StartRequest
from application.world import Options, World
from tests.simulation.loop import SeededChance, SimulatedClock, SimulatedLoop
from tests.simulation.memory_storage import MemoryData, MemoryStorage, Step
from tests.simulation.participants import KnownSecrets, NoResources, SimulatedSink
from tests.simulation.signing import SimulatedKey

Answer = Callable[[Callout], Awaitable[CalloutResult]]


class Scripted:
    """`Callouts` that a test answers; `sent` is what arrived."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.sent: list[Callout] = []
        self._answer = answer

    def knows(self, function: str) -> bool:
        return True

    async def send(self, callout: Callout) -> CalloutResult:
        self.sent.append(callout)
        return Answered({"key": callout.idempotency_key}) if self._answer is None else await self._answer(callout)


class NobodyKnows:
    """`Liveness` that knows nothing: only time tells."""

    def is_gone(self, other: NodeIdentity) -> bool:
        return False


def world_of(
    loop: SimulatedLoop,
    data: MemoryData,
    callouts: Callouts,
    *,
    chance: random.Random,
    step: Step | None = None,
    sink: SimulatedSink | None = None,
    secrets: KnownSecrets | None = None,
    off_s: float = 0.0,
    alone: bool = True,
    folds: Folds | None = None,
    lifecycle: EventSink | None = None,
) -> World:
    """Everything around a node, over this database. `alone`: it takes everything over from whoever was there before."""
    key = SimulatedKey()
    return World(
        storage=MemoryStorage(data, alone=alone) if step is None else MemoryStorage(data, step=step, alone=alone),
        codec=EventMapper(),
        documents=ServerlessWorkflowDocuments(),
        expressions=InlineJq(),
        schemas=JsonSchemas(),
        resources=NoResources(),
        callouts=callouts,
        sink=sink or SimulatedSink(),
        secrets=secrets or KnownSecrets(),
        clock=SimulatedClock(loop, off_s),
        chance=SeededChance(chance),
        liveness=NobodyKnows(),
        crons=next_cron,
        signer=key,
        keys=key,
        folds=folds or NoFolds(),
        lifecycle=lifecycle,
    )


async def running(
    loop: SimulatedLoop, data: MemoryData | None = None, callouts: Callouts | None = None, **members: Any
) -> Node:
    """A node that has taken up its work."""
    options = {
        name: members.pop(name) for name in ("live_orchestrations", "snapshot_after", "retention_s") if name in members
    }
    chance = members.pop("chance", None) or random.Random(f"node {members.pop('seed', 0)}")
    world = world_of(loop, data or MemoryData(), callouts or Scripted(), chance=chance, **members)
    node = Node(world, Options(partitions=4, ids_in_a_row=1, **options))
    await node.start()
    await node.go_on()
    return node


async def deploy(node: Node, tasks: list[Any], name: str = "x", **top: Any) -> None:
    document = {"document": {"dsl": "1.0.3", "namespace": "test", "name": name, "version": "1.0.0"}, "do": tasks, **top}
    await node.definitions.deploy(msgspec.json.encode(document), "application/json")


async def start(node: Node, input_: Any = None, *, name: str = "x", **members: Any) -> str:
    return await node.commands.start(StartRequest(definition=f"test/{name}", input=input_ or {}, **members))


async def ended(node: Node, id_: str, timeout_s: float = 86_400.0) -> dict[str, Any]:
    """The status after its end."""
    await node.queries.wait(id_, timeout_s)
    return await node.queries.status(id_)
