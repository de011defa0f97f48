"""Memory, SQLite and PostgreSQL agree: any sequence of writes has the same outcome and leaves the same behind."""

from __future__ import annotations

from itertools import count

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.postgres.storage import PostgresStorage
from adapters.sqlite.storage import SqliteStorage
from application.database import Storage
from application.human_store import HumanQuery
from application.storage import (
    DropAgenda,
    DropHuman,
    DropSubscriptions,
    PutAgenda,
    PutEmitted,
    PutHuman,
    PutSubscription,
)
from domain.errors import StorageError
from tests.contract.storages import PARTITIONS, identity, minutes, written
from tests.simulation.memory_storage import MemoryStorage
from tests.support.owning import own

pytestmark = pytest.mark.anyio

FEW = st.integers(0, 3)
WORK = st.one_of(
    st.builds(PutAgenda, FEW, st.booleans(), st.none() | st.builds(minutes, FEW)),
    st.builds(DropAgenda, FEW),
    st.builds(PutEmitted, FEW, FEW, st.binary(max_size=3)),
    st.builds(PutSubscription, FEW, st.sampled_from("ab"), FEW, st.sampled_from([None, "paid", "shipped"])),
    st.builds(DropSubscriptions, FEW, st.sampled_from("ab")),
    st.builds(
        lambda orchestration, number, *rest: PutHuman(
            orchestration, number, f"o_{orchestration}", "bank", "loan", *rest
        ),
        FEW,
        st.integers(1, 3),
        st.just("open"),
        st.none(),
        st.sampled_from([("u:ann",), ("g:clerks", "u:ann"), ("*",)]),
        st.integers(-2, 0),
        st.none() | st.builds(minutes, FEW),
        st.builds(minutes, FEW),
        st.binary(max_size=3),
    ),
    st.builds(DropHuman, FEW, st.integers(1, 3)),
)
WRITE = st.fixed_dictionaries(
    {
        "partition": st.integers(0, 1),
        "stale": st.sampled_from([{}, {}, {}, {"epoch": 0}, {"position": 10**6}]),
        "events": st.lists(st.tuples(FEW, st.sampled_from([0, 0, 0, 1])), max_size=4),
        "work": st.lists(WORK, max_size=6),
    }
)
STEPS = st.lists(
    st.lists(WRITE, min_size=1, max_size=2, unique_by=lambda write: write["partition"]) | st.just("take over"),
    min_size=1,
    max_size=8,
)
examples = count(1)


@pytest.fixture
async def trio(tmp_path, fresh_postgres):
    storages: list[Storage] = [MemoryStorage(), SqliteStorage(tmp_path / "retrace.db"), PostgresStorage(fresh_postgres)]
    for storage in storages:
        await own(storage, "owner", PARTITIONS)
    yield storages
    for storage in storages:
        await storage.log.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=STEPS)
async def test_they_agree(trio, steps):
    # Examples share the databases, so each has orchestrations of its own.
    base = next(examples) * 100
    model, *others = trio
    for step in steps:
        outcomes = [await play(storage, step, base, model) for storage in (*others, model)]
        assert outcomes == outcomes[:1] * len(outcomes)
        images = [await image(storage, base) for storage in trio]
        assert images == images[:1] * len(images)


async def play(storage, step, base, model):
    if step == "take over":
        return await own(storage, "owner", PARTITIONS)
    heads = await model.log.heads(range(PARTITIONS))
    writes = [await a_write(model, heads[each["partition"]], each, base) for each in step]
    try:
        return await storage.log.write(writes)
    except StorageError:
        return "refused"


async def a_write(model, head, wanted, base):
    """Versions go on from what the model holds, or repeat the last one where the step says so."""
    versions: dict[int, int] = {}
    events = []
    for number, back in wanted["events"]:
        orchestration = identity(base + number)
        known = versions.get(number)
        if known is None:
            known = len(await model.log.stream(head.partition, orchestration))
        versions[number] = max(1, known + 1 - back)
        events.append((orchestration, versions[number]))
    work = [whose(each, base, head.partition) for each in wanted["work"]]
    return written(msgspec.structs.replace(head, **wanted["stale"]), *events, work=tuple(work))


def whose(change, base, partition):
    """Of an orchestration of this example."""
    number = base + change.orchestration
    if isinstance(change, PutHuman):
        change = msgspec.structs.replace(change, public_id=f"o_{number}_{partition}")
    return msgspec.structs.replace(change, orchestration=identity(number))


async def image(storage, base):
    """All that a reader of the log and its work can see."""
    log = storage.log
    seen: dict[str, object] = {"heads": await log.heads(range(PARTITIONS))}
    for partition in range(2):
        seen[f"log {partition}"] = await log.log(partition)
        seen[f"streams {partition}"] = [await log.stream(partition, identity(base + each)) for each in range(4)]
        seen[f"in flight {partition}"] = await log.in_flight(partition, limit=5)
        seen[f"emitted {partition}"] = await log.emitted(partition)
    seen["due"] = await log.due(range(PARTITIONS), minutes(2), limit=50)
    seen["due in one"] = await log.due([1], minutes(2), limit=50)
    seen["subscribers"] = await log.subscribers("paid", limit=50)
    seen["people"] = await storage.human_tasks.list(HumanQuery(people=["g:clerks", "*"]))
    seen["overdue"] = await storage.human_tasks.list(HumanQuery(overdue=(minutes(1), True), limit=2))
    seen["after"] = await log.subscribers("shipped", after=(0, identity(base + 1)))
    return seen
