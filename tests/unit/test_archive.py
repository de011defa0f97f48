"""What ended long ago is archived: out of the way, still provable, still readable."""

from __future__ import annotations

import asyncio
import contextlib
import random
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from application.archive import Packing, unpacked
from application.service import CommandRequest, ListRequest
from application.storage import StoredRecord
from domain.errors import ArchivedError, BusinessKeyInUseError, NotFoundError, OrchestrationEndedError, StorageError
from tests.simulation.folded import folded
from tests.simulation.loop import simulate
from tests.simulation.memory_storage import MemoryData
from tests.simulation.nodes import Scripted, deploy, ended, running, start
from tests.support.verified import breaks

STEPS = [{"a": {"call": "act"}}, {"b": {"call": "act"}}]
WAIT = [{"w": {"listen": {"to": {"one": {"with": {"type": "go"}}}}}}]
LONG_S = 300.0


def chain_breaks(data):
    return [complaint for each in data.partitions for complaint in breaks(each.head, each.log)]


async def archive_all(node, *, older_than_s=0.0):
    await node.projector.caught_up()  # the archive looks where the lists look
    return await node.archivist.archive(node.engine.clock.now() - timedelta(seconds=older_than_s))


async def listed(node):
    return [msgspec.json.decode(item)["id"] for item in (await node.queries.list(ListRequest()))["items"]]


async def finished(node, **members):
    id_ = await start(node, **members)
    await ended(node, id_)
    return id_


def simulated(main):
    simulate(1, main)


def test_it_leaves_the_view_and_the_memory_and_says_how_to_read_it():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data)
        await deploy(node, STEPS)
        id_ = await finished(node)
        history = await node.queries.history(id_)
        assert await archive_all(node) == 1
        for refused in (
            node.queries.status(id_),
            node.queries.status(id_, at_version=2),
            node.queries.history(id_),
            node.queries.tasks(id_),
            node.queries.wait(id_, 1),
            node.commands.add_note(CommandRequest(id=id_), text="late"),
            node.commands.cancel(CommandRequest(id=id_)),
            node.commands.cancel(CommandRequest(id=id_, dry_run=True)),
            node.commands.send_event(id_, {"specversion": "1.0", "id": "1", "source": "/s", "type": "go"}),
        ):
            with pytest.raises(ArchivedError, match="archive=true"):
                await refused
        assert await listed(node) == []
        assert await node.queries.history(id_, archive=True) == history
        assert not chain_breaks(data)
        assert sum(len(record.state) for each in data.partitions for record in each.log) == 0

    simulated(main)


def test_an_archived_history_is_read_page_by_page_and_by_another_node():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data)
        await deploy(node, STEPS)
        ids = [await finished(node) for _ in range(2)]
        wholes = [(await node.queries.history(id_))[0] for id_ in ids]
        await archive_all(node)
        again = await running(loop, data)
        for id_, whole in zip(ids, wholes, strict=True):
            found: list[Any] = []
            after: int | None = 0
            while after is not None:
                items, after = await again.queries.history(id_, after=after, limit=2, archive=True)
                found += items
            assert found == whole
        assert (await again.queries.history(ids[0], after=999, archive=True)) == ([], None)

    simulated(main)


def test_the_archive_is_asked_only_for_what_is_archived():
    async def main(loop):
        node = await running(loop)
        await deploy(node, STEPS)
        id_ = await finished(node)
        assert await node.queries.history(id_, archive=True) == await node.queries.history(id_)
        with pytest.raises(NotFoundError):
            await node.queries.history(node.engine.identity.draw(), archive=True)

    simulated(main)


def test_what_has_not_ended_long_enough_stays():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data)
        await deploy(node, STEPS)
        await deploy(node, WAIT, name="waits")
        old = await finished(node)
        await asyncio.sleep(LONG_S)
        noted, young = await finished(node), await finished(node)
        open_ = await start(node, name="waits")
        await asyncio.sleep(LONG_S)
        await node.commands.add_note(CommandRequest(id=noted), text="the customer called")
        assert await archive_all(node, older_than_s=1.5 * LONG_S) == 1
        assert await archive_all(node, older_than_s=0.5 * LONG_S) == 1
        assert sorted(await listed(node)) == sorted([noted, open_])
        assert {record.public_id for record in data.archive.values()} == {old, young}

    simulated(main)


def test_it_happens_by_itself_after_the_retention():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data, retention_s=2 * LONG_S)
        await deploy(node, STEPS)
        await finished(node)
        await asyncio.sleep(2 * LONG_S - 60)
        assert not data.archive
        await asyncio.sleep(180)
        assert len(data.archive) == 1
        await node.stop()
        kept = MemoryData()
        node = await running(loop, kept)
        await deploy(node, STEPS)
        await finished(node)
        await asyncio.sleep(5 * LONG_S)
        assert not kept.archive, "without a retention everything stays"

    simulated(main)


def test_a_repeated_start_starts_nothing_and_the_business_key_is_free():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data)
        await deploy(node, STEPS)
        id_ = await finished(node, idempotency_key="k", business_key="b")
        assert await start(node, idempotency_key="k", business_key="b") == id_
        await archive_all(node)
        with pytest.raises(OrchestrationEndedError, match=id_) as refused:
            await start(node, idempotency_key="k", business_key="b")
        assert refused.value.current_status == "completed"
        await deploy(node, WAIT, name="y")
        other = await start(node, business_key="b")
        assert other != id_
        assert len(folded(data)) == 2
        waiting = await start(node, name="y", business_key="c")
        with pytest.raises(BusinessKeyInUseError):
            await start(node, name="y", business_key="c")
        assert waiting

    simulated(main)


PARENT = [{"r": {"run": {"workflow": {"namespace": "test", "name": "child", "version": "1.0.0"}}}}, *STEPS]


def test_a_family_goes_together_and_only_when_all_have_ended():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data)
        await deploy(node, STEPS, name="child")
        await deploy(node, [*PARENT, *WAIT])
        id_ = await start(node)
        await asyncio.sleep(LONG_S)
        assert len(await listed(node)) == 2
        assert await archive_all(node) == 0, "the child has ended, its parent has not"
        await node.commands.terminate(CommandRequest(id=id_))
        assert await archive_all(node) == 2
        assert not await listed(node)
        assert not chain_breaks(data)

    simulated(main)


def test_a_child_that_outlives_its_parent_keeps_it():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data)
        await deploy(node, WAIT, name="child")
        workflow = {"namespace": "test", "name": "child", "version": "1.0.0"}
        await deploy(node, [{"r": {"run": {"workflow": workflow, "await": False}}}])
        await finished(node)
        assert await archive_all(node) == 0
        (child,) = (each.state.id for each in folded(data) if not each.state.final)
        await node.commands.terminate(CommandRequest(id=child))
        assert await archive_all(node) == 2

    simulated(main)


@pytest.mark.parametrize("steps", range(1, 14))
def test_a_crash_in_the_middle_is_mended_by_the_next_owner(steps):
    async def main(loop):
        data = MemoryData()
        left = -1

        async def step(operation):
            nonlocal left
            await asyncio.sleep(0)
            if left > 0 and operation.startswith("archive"):
                left -= 1
                if not left:
                    raise StorageError("the process is gone")

        node = await running(loop, data, step=step)
        await deploy(node, STEPS, name="grandchild")
        inner = {"namespace": "test", "name": "grandchild", "version": "1.0.0"}
        await deploy(node, [{"r": {"run": {"workflow": inner}}}, {"s": {"run": {"workflow": inner}}}], name="child")
        await deploy(node, PARENT)
        id_ = await finished(node)
        history = await node.queries.history(id_, limit=500)
        left = steps
        with contextlib.suppress(StorageError):
            await archive_all(node)
        archived = {record.public_id for record in data.archive.values()}
        roots = {each.state.root for each in folded(data) if each.archived}
        assert len(archived) == 4 or id_ not in archived, "the root goes last"
        assert roots <= {id_}
        assert not chain_breaks(data)
        await node.stop()
        again = await running(loop, data)
        if id_ not in archived:
            assert (await again.queries.status(id_))["status"] == "completed"
        await archive_all(again)
        assert len(data.archive) == 4
        assert await again.queries.history(id_, limit=500, archive=True) == history
        assert not chain_breaks(data)

    simulated(main)


def test_a_note_that_comes_in_between_wins():
    async def main(loop):
        data = MemoryData()
        noted: list[str] = []

        async def step(operation):
            await asyncio.sleep(0)
            if operation == "archive" and not noted:
                noted.append(operation)
                # Another process of ours: its command is decided and committed while this one is about to archive.
                partition = data.partitions[place[0]]
                partition.streams[place[1]].append(msgspec.structs.replace(partition.log[-1], version=12))

        node = await running(loop, data, step=step)
        await deploy(node, STEPS)
        id_ = await finished(node)
        place = node.engine.identity.locate(id_)
        assert await archive_all(node) == 0
        assert noted
        assert not data.archive

    simulated(main)


def test_an_owner_that_lost_the_partition_archives_nothing():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data)
        await deploy(node, STEPS)
        await finished(node)
        for partition in data.partitions:  # another node has taken over; this one has not heard of it
            partition.head = msgspec.structs.replace(partition.head, epoch=partition.head.epoch + 1)
        assert await archive_all(node) == 0
        assert not data.archive

    simulated(main)


def test_a_load_that_began_before_does_not_bring_it_back():
    async def main(loop):
        data = MemoryData()
        gate = asyncio.Event()
        slow: list[str] = []

        async def step(operation):
            await asyncio.sleep(0)
            if operation == "stream done" and slow == ["go"]:
                slow.append("held")
                await gate.wait()

        node = await running(loop, data, step=step)
        await deploy(node, STEPS)
        id_ = await finished(node)
        node.cache.forget(node.engine.identity.locate(id_)[1])
        slow.append("go")
        loading = asyncio.ensure_future(node.cache.load(id_))
        await asyncio.sleep(1)
        assert slow == ["go", "held"]
        assert await archive_all(node) == 1
        gate.set()
        with pytest.raises(ArchivedError):
            await loading
        assert node.cache.peek(id_) is None

    simulated(main)


def test_the_view_is_built_again_without_what_is_archived():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data)
        await deploy(node, STEPS)
        await finished(node)
        await archive_all(node)
        young = await finished(node)
        await node.projector.rebuild()
        assert await listed(node) == [young]
        again = await running(loop, data)
        assert await listed(again) == [young]

    simulated(main)


@pytest.mark.parametrize("seed", range(20))
def test_archiving_at_any_moment_changes_no_other_answer(seed):
    """The same world twice, once without an archive: what is not archived answers alike, what is has the same history."""
    chance = random.Random(seed)
    moments = sorted((chance.uniform(0, 60), chance.choice((0, 5))) for _ in range(4))
    starts = [(chance.uniform(0, 5), chance.choice(("x", "waits"))) for _ in range(8)]

    async def world(loop, *, archiving):
        data = MemoryData()
        node = await running(loop, data, Scripted())
        await deploy(node, STEPS, name="child")
        await deploy(node, PARENT)
        await deploy(node, [{"a": {"wait": {"seconds": 10}}}, *WAIT], name="waits")

        async def archive():
            for moment, age_s in moments:
                await asyncio.sleep(max(0.0, moment - loop.time()))
                if archiving:
                    await archive_all(node, older_than_s=age_s)

        tasks = asyncio.ensure_future(archive())
        ids = []
        for pause_s, name in starts:
            await asyncio.sleep(pause_s)
            ids.append(await start(node, name=name))
        await tasks
        await asyncio.sleep(60)
        histories = [await node.queries.history(id_, limit=500, archive=True) for id_ in ids]
        statuses = []
        for id_ in ids:
            try:
                statuses.append((await node.queries.status(id_))["status"])
            except ArchivedError:
                statuses.append("archived")
        assert not chain_breaks(data)
        return [[(item["type"], item.get("task")) for item in items] for items, _ in histories], statuses

    histories, statuses = simulate(seed, lambda loop: world(loop, archiving=True))
    plain, all_statuses = simulate(seed, lambda loop: world(loop, archiving=False))
    assert histories == plain
    for now, otherwise in zip(statuses, all_statuses, strict=True):
        assert now in (otherwise, "archived")
        assert now != "archived" or otherwise == "completed"


def test_the_chain_tells_what_was_changed():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data)
        await deploy(node, STEPS)
        for _ in range(8):
            await finished(node)
        await archive_all(node)
        await finished(node)
        assert not chain_breaks(data)
        partition = next(each for each in data.partitions if each.log)
        whole = list(partition.log)
        for change in ({"topic": "task.failed"}, {"event_hash": bytes(32)}, {"state_hash": bytes(32)}):
            partition.log[2] = msgspec.structs.replace(whole[2], **change)
            assert 3 in [position for _, position in breaks(partition.head, partition.log)]
        assert breaks(partition.head, [*whole[:3], *whole[4:]]) == [("gap", 4)]

    simulated(main)


def test_other_bytes_than_the_log_vouches_for_are_not_shown():
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data)
        await deploy(node, STEPS)
        id_ = await finished(node)
        await archive_all(node)
        ((key, record),) = data.archive.items()
        packing = Packing()
        states = unpacked(record.content)
        packing.add(
            [
                StoredRecord(n, key[1], n, "t", state + b"!" if n == 2 else state, b"", b"")
                for n, state in enumerate(states, 1)
            ]
        )
        for forged in (packing.content(), record.content[:-6], b"\x02" + record.content[1:], b""):
            data.archive[key] = msgspec.structs.replace(record, content=forged)
            again = await running(loop, data)
            with pytest.raises(StorageError):
                await again.queries.history(id_, archive=True)

    simulated(main)


def test_a_long_history_shrinks():
    packing = Packing()
    states = [b'{"order": "4711", "step": %d, "text": "as always"}' % n for n in range(5000)]
    for first in range(0, 5000, 700):
        page = states[first : first + 700]
        packing.add([StoredRecord(first + n, None, first + n, "t", s, b"", b"") for n, s in enumerate(page, 1)])  # type: ignore[arg-type]
    content = packing.content()
    assert unpacked(content) == states
    assert len(content) * 5 < sum(map(len, states))
    assert [position for position, _ in packing.stripped] == list(range(1, 5001))


def test_a_node_that_only_reads_notices_too():
    async def main(loop):
        data = MemoryData()
        owner = await running(loop, data, alone=False)
        await deploy(owner, STEPS)
        id_ = await finished(owner)
        other = await running(loop, data, seed=1, alone=False)
        await asyncio.sleep(60)  # until the partitions are shared
        reader = other if owner.ownership.holds(owner.engine.identity.locate(id_)[0]) else owner
        node = owner if reader is other else other
        assert (await reader.queries.status(id_))["status"] == "completed"
        assert await archive_all(node) == 1
        with pytest.raises(ArchivedError):
            await reader.queries.status(id_)
        with pytest.raises(ArchivedError):
            await reader.commands.add_note(CommandRequest(id=id_), text="late")
        items, _ = await reader.queries.history(id_, archive=True)
        assert items[-1]["type"] == "orchestration.completed"

    simulated(main)
