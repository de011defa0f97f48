"""Small changes share a commit on both databases, and one that fails does not fail its neighbours."""

from __future__ import annotations

import asyncio
import threading

import pytest

from domain.errors import StorageError

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)]


def reserve(key: str, holder: str | None, *, then: Exception | None = None):
    def work(transaction):
        transaction.run("reserve_key", {"partition": 0, "definition": "d", "key": key, "holder": holder})
        if then is not None:
            raise then
        return key

    return work


async def together(storage, *changes):
    """Run changes in one commit: they arrive while the writer is busy."""
    busy, go_on = threading.Event(), threading.Event()

    def hold_up(_transaction):
        busy.set()
        assert go_on.wait(30)

    first = asyncio.create_task(storage._database.change(hold_up))
    assert await asyncio.to_thread(busy.wait, 30)
    waiting = [asyncio.create_task(storage._database.change(each)) for each in changes]
    await asyncio.sleep(0)  # one turn of the loop: every task has handed its change over
    go_on.set()
    await first
    return await asyncio.gather(*waiting, return_exceptions=True)


async def holder(storage, key):
    return await storage._database.read("key_holder", {"partition": 0, "definition": "d", "key": key})


async def test_an_exception_takes_back_its_own_change_alone(storage):
    problem = LookupError("of the caller")
    done = await together(storage, reserve("a", "x"), reserve("b", "x", then=problem), reserve("c", "x"))
    assert done == ["a", problem, "c"]
    assert [await holder(storage, key) for key in "abc"] == [[("x",)], [], [("x",)]]


async def test_a_refusal_of_the_database_is_told_to_one_alone(storage):
    # A holder is NOT NULL.
    before, refused, after = await together(storage, reserve("a", "x"), reserve("b", None), reserve("c", "x"))
    assert (before, after) == ("a", "c")
    assert isinstance(refused, StorageError)
    assert [await holder(storage, key) for key in "abc"] == [[("x",)], [], [("x",)]]


async def test_a_change_whose_caller_left_before_its_turn_is_not_made(storage):
    busy, go_on = threading.Event(), threading.Event()

    def hold_up(_transaction):
        busy.set()
        assert go_on.wait(30)

    first = asyncio.create_task(storage._database.change(hold_up))
    assert await asyncio.to_thread(busy.wait, 30)
    left = asyncio.create_task(storage._database.change(reserve("a", "x")))
    await asyncio.sleep(0)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    go_on.set()
    await first
    await storage._database.change(reserve("b", "x"))
    assert [await holder(storage, key) for key in "ab"] == [[], [("x",)]]
