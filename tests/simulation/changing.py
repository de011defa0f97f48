"""Operators of a simulated world who change what goes on: they fork from any version and migrate to another version.

The other version of each definition has tasks that do nothing between those of the first, so that most positions map; what
does not is refused, which is as good.
"""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any

import msgspec

from application.identity import Identity
from application.service import CommandRequest, ForkRequest
from domain.errors import OrchestrationEndedError, RetraceError, StorageError
from tests.simulation.loop import SeededChance

if TYPE_CHECKING:
    from tests.simulation.world import Simulation

VERSIONS = ("1.0.0", "1.1.0")


def another_version(text: bytes, chance: Any) -> bytes:
    """The same with more tasks on the way."""
    document = copy.deepcopy(msgspec.json.decode(text))
    document["document"]["version"] = VERSIONS[1]
    tasks = []
    for number, task in enumerate(document["do"]):
        if chance.random() < 0.7:
            tasks.append({f"more{number}": {"set": "${ . }"}})
        tasks.append(task)
    document["do"] = tasks
    return bytes(msgspec.json.encode(document))


async def change(world: Simulation, number: int, partitions: int) -> None:
    """One change by one operator, at some time."""
    await asyncio.sleep(world.chance.uniform(0.1, 90))
    if not world.acknowledged:
        return
    id_ = world.chance.choice(list(world.acknowledged.values()))
    try:
        if world.chance.random() < 0.5:
            await _migrate(world, id_)
        else:
            await _fork(world, id_, f"fork {number}", partitions)
    except StorageError:
        raise
    except RetraceError:
        return


async def _migrate(world: Simulation, id_: str) -> None:
    definition = (await world.insist(lambda node: node.queries.status(id_)))["definition"].partition("@")[0]
    to = f"{definition}@{world.chance.choice(VERSIONS)}"
    request = CommandRequest(id=id_, reason="another version")
    await world.insist(lambda node: node.commands.migrate(request, definition=to))
    world.changes += 1


async def _fork(world: Simulation, id_: str, key: str, partitions: int) -> None:
    status = await world.insist(lambda node: node.queries.status(id_))
    definition = status["definition"].partition("@")[0]
    request = ForkRequest(
        id=id_,
        from_version=world.chance.randint(1, status["version"]),
        reason="another way",
        definition=world.chance.choice((None, *(f"{definition}@{version}" for version in VERSIONS))),
        force=True,
        idempotency_key=key,
    )
    try:
        forked = await world.insist(lambda node: node.commands.fork(request))
    except OrchestrationEndedError:  # an earlier try has begun it, and it is archived already
        identity = Identity(world.data.salt, partitions, SeededChance(world.chance))
        forked = identity.derived(request.actor, key)
    assert isinstance(forked, str)
    world.acknowledged[key] = forked
    world.changes += 1
