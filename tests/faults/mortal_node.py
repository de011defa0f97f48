"""A node in a process of its own that kills itself with SIGKILL right before or right after a write of its log.

It is forked from a server that has imported everything already, so that hundreds of deaths take seconds.
"""

from __future__ import annotations

import asyncio
import os
import platform
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from adapters.bootstrap import ServerlessWorkflowDocuments, open_storage
from adapters.callouts.dispatch import CalloutDispatch
from adapters.callouts.functions import FunctionCallouts
from adapters.callouts.http import HttpCallouts
from adapters.callouts.network import NetworkPolicy, open_session
from adapters.callouts.openapi import OpenApiCallouts
from adapters.callouts.resources import HttpResources
from adapters.callouts.secrets import EnvironmentSecrets
from adapters.cron import next_cron
from adapters.expressions.inline import InlineJq
from adapters.expressions.schemas import JsonSchemas
from adapters.stored_events import EventMapper
from adapters.system import ProcessLiveness, SystemChance, SystemClock, process_mark
from application.database import Storage
from application.runtime import Node
from application.service import StartRequest
from application.sinks import NoSink
from application.storage import LogStore, PartitionWrite
from application.world import Options, World

Moment = Literal["before", "after"]
TRIP = Path(__file__).parents[2] / "examples" / "trip" / "trip.yaml"


class Life(msgspec.Struct, frozen=True):
    """One life of the node. It dies at its `boundary`-th write; 0: it lives until the trip has ended."""

    database: str
    participants: str
    city: str
    boundary: int
    moment: Moment


class MortalLog:
    """A `LogStore` whose process does not survive one of its writes."""

    def __init__(self, log: LogStore, boundary: int, moment: Moment) -> None:
        self._log = log
        self._boundary = boundary
        self._moment = moment
        self._writes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def write(self, writes: Sequence[PartitionWrite]) -> list[bool]:
        self._writes += 1
        if self._writes == self._boundary and self._moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        held = await self._log.write(writes)
        if self._writes == self._boundary:
            os.kill(os.getpid(), signal.SIGKILL)
        return held


class MortalStorage:
    """A `Storage` with such a log."""

    def __init__(self, storage: Storage, life: Life) -> None:
        self._storage = storage
        self.log = MortalLog(storage.log, life.boundary, life.moment)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


def live(life: Life) -> None:
    """What the process does: deploy, start (a repeat finds the first start), go on until the end."""
    asyncio.run(_live(life))


async def _live(life: Life) -> None:
    policy = NetworkPolicy(allow_loopback=True)
    secrets = EnvironmentSecrets({})
    async with open_session(policy) as session:
        http = HttpCallouts(session, secrets)
        storage: Any = MortalStorage(open_storage(life.database), life)
        world = World(
            storage=storage,
            codec=EventMapper(),
            documents=ServerlessWorkflowDocuments(),
            expressions=InlineJq(),
            schemas=JsonSchemas(),
            resources=HttpResources(http),
            callouts=CalloutDispatch(http, OpenApiCallouts(http, policy), FunctionCallouts({})),
            sink=NoSink(),
            secrets=secrets,
            clock=SystemClock(),
            chance=SystemChance(),
            liveness=ProcessLiveness(),
            crons=next_cron,
        )
        node = Node(
            world, Options(partitions=2, host=platform.node(), pid=os.getpid(), process=process_mark(os.getpid()))
        )
        await node.start()
        await node.go_on()
        document = TRIP.read_text(encoding="utf-8").replace("http://127.0.0.1:8090", life.participants)
        await node.definitions.deploy(document.encode(), "application/yaml")
        request = StartRequest(
            definition="travel/trip-booking", input={"traveller": "Ada", "city": life.city}, idempotency_key="one trip"
        )
        id_ = await node.commands.start(request)
        await node.queries.wait(id_, 30)
        await node.stop()
