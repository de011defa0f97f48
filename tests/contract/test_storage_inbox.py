"""The contract of Inbox: a command is put once, and its reply comes with the transaction that it led to."""

from __future__ import annotations

from datetime import timedelta

import pytest

from application.inbox import InboxRow
from application.storage import PutReply
from tests.contract.storages import NOON, identity, minutes, written

pytestmark = pytest.mark.anyio


def command(name: str, partition: int = 0, *, kept: bool = False) -> InboxRow:
    return InboxRow(partition, name, b"\x00body " + name.encode(), kept)


async def replied(storage, partition, *replies: tuple[str, bytes], events=()):
    [head] = await storage.log.heads([partition])
    return await storage.log.write([written(head, *events, work=tuple(PutReply(*each) for each in replies))])


async def test_a_command_waits_for_its_partition(storage):
    assert await storage.inbox.put(command("a"), NOON) is None
    assert await storage.inbox.put(command("b", 1, kept=True), NOON) is None
    assert await storage.inbox.pending([0]) == [command("a")]
    assert await storage.inbox.pending([1, 2]) == [command("b", 1, kept=True)]
    assert await storage.inbox.pending([]) == []


async def test_the_oldest_come_first(storage):
    for number in (3, 1, 2):
        await storage.inbox.put(command(f"c{number}", number % 2), minutes(number))
    assert [row.command_id for row in await storage.inbox.pending([0, 1])] == ["c1", "c2", "c3"]
    assert [row.command_id for row in await storage.inbox.pending([0, 1], limit=2)] == ["c1", "c2"]


async def test_a_reply_is_written_with_the_events(storage):
    await storage.inbox.put(command("a"), NOON)
    await storage.inbox.put(command("b"), NOON)
    assert await storage.inbox.replies([(0, "a"), (0, "b")]) == {}
    assert await replied(storage, 0, ("a", b"\xffdone"), events=[(identity(1), 1)]) == [True]
    assert await storage.inbox.replies([(0, "a"), (0, "b"), (1, "a"), (0, "unknown")]) == {"a": b"\xffdone"}
    assert await storage.inbox.pending([0]) == [command("b")]


async def test_a_reply_behind_a_fence_that_does_not_hold_is_not_written(storage):
    await storage.inbox.put(command("a"), NOON)
    [head] = await storage.log.heads([0])
    await storage.log.write([written(head, (identity(1), 1))])
    assert await storage.log.write([written(head, work=(PutReply("a", b"stale"),))]) == [False]
    assert await storage.inbox.pending([0]) == [command("a")]


async def test_a_repeat_finds_what_is_there(storage):
    await storage.inbox.put(command("a"), NOON)
    assert await storage.inbox.put(InboxRow(0, "a", b"another body"), NOON) is None
    assert await storage.inbox.pending([0]) == [command("a")]
    await replied(storage, 0, ("a", b"done"))
    assert await storage.inbox.put(command("a"), NOON) == b"done"


async def test_what_has_its_reply_is_forgotten_after_a_while(storage):
    for name, kept in (("short", False), ("kept", True), ("open", False)):
        await storage.inbox.put(command(name, kept=kept), NOON)
    await replied(storage, 0, ("short", b"1"), ("kept", b"2"))
    assert await storage.inbox.expire(NOON, kept=False) == 0
    assert await storage.inbox.expire(NOON + timedelta(seconds=1), kept=False) == 1
    assert await storage.inbox.replies([(0, "short"), (0, "kept")]) == {"kept": b"2"}
    assert await storage.inbox.expire(minutes(1), kept=True) == 1
    assert await storage.inbox.pending([0]) == [command("open")], "what has no reply is never forgotten"


async def test_whoever_listens_hears_that_something_came(storage):
    import asyncio

    heard: asyncio.Queue[str] = asyncio.Queue()
    storage.signals.listen(heard.put_nowait)
    await storage.signals.open()
    try:
        # A hint may be lost while nobody listens yet, so it is repeated until it is heard.
        for number in range(200):
            await storage.inbox.put(command(f"c{number}"), NOON)
            try:
                assert await asyncio.wait_for(heard.get(), 0.1) == "inbox"
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("nothing was heard")
    finally:
        await storage.signals.close()
