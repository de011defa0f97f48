"""The first step of a coroutine, made at once: whatever it does there works as in any task."""

from __future__ import annotations

import asyncio
import contextvars
import gc

import anyio
import pytest

from adapters.callouts import headstart

pytestmark = pytest.mark.anyio
_MARK: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="outside")


async def test_what_does_not_wait_has_ended_at_once_and_its_task_ends_by_itself():
    async def seven():
        return 7

    task, ended = headstart.begin(seven())
    assert ended is not None
    assert (ended.value, ended.problem, task.done()) == (7, None, False)
    await task
    assert task.exception() is None


async def test_what_waits_is_taken_up_by_the_task():
    door = asyncio.Event()
    steps = []

    async def two_rooms():
        steps.append("first")
        await door.wait()
        steps.append("second")
        await asyncio.sleep(0)
        return 7

    task, ended = headstart.begin(two_rooms())
    assert (ended, steps) == (None, ["first"])
    door.set()
    assert (await task, steps) == (7, ["first", "second"])


async def test_a_bare_turn_of_the_loop_is_waited_for():
    async def turn():
        await asyncio.sleep(0)
        return 7

    task, ended = headstart.begin(turn())
    assert (ended, await task) == (None, 7)


@pytest.mark.parametrize("waits", [False, True])
async def test_the_current_task_is_its_own_all_along(waits):
    seen = []

    async def looks():
        seen.append(asyncio.current_task())
        if waits:
            await asyncio.sleep(0)
        seen.append(asyncio.current_task())

    around = asyncio.current_task()
    task, _ = headstart.begin(looks())
    assert asyncio.current_task() is around
    await task
    assert seen == [task, task]


async def test_context_variables_stay_inside_and_last_over_a_wait():
    async def marks():
        assert _MARK.get() == "outside"
        _MARK.set("inside")
        await asyncio.sleep(0)
        return _MARK.get()

    task, _ = headstart.begin(marks())
    assert (_MARK.get(), await task, _MARK.get()) == ("outside", "inside", "outside")


async def test_timeouts_and_groups_that_begin_in_the_first_step_hold_the_right_task():
    async def slow():
        await asyncio.Event().wait()

    async def limited():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await slow()
        with anyio.move_on_after(0.001) as scope:
            await slow()
        async with asyncio.TaskGroup() as group:
            found = group.create_task(asyncio.sleep(0, "found"))
        return scope.cancelled_caught, found.result()

    task, ended = headstart.begin(limited())
    assert (ended, await task) == (None, (True, "found"))


async def test_a_problem_is_told_once_and_nobody_reports_it_as_never_retrieved():
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    async def breaks():
        raise ValueError("broken")

    task, ended = headstart.begin(breaks())
    assert ended is not None
    assert isinstance(ended.problem, ValueError)
    await task
    del task, ended
    gc.collect()
    assert reported == []


@pytest.mark.parametrize("how", ["raises", "cancels"])
async def test_one_that_cancels_itself_was_cancelled(how):
    async def gives_up():
        if how == "raises":
            raise asyncio.CancelledError
        current = asyncio.current_task()
        assert current is not None
        current.cancel()

    task, ended = headstart.begin(gives_up())
    assert ended is not None
    assert isinstance(ended.problem, asyncio.CancelledError)
    await asyncio.wait([task])
    around = asyncio.current_task()
    assert around is not None
    assert around.cancelling() == 0


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_a_cancellation_reaches_what_is_waited_for_also_before_the_task_has_begun(turns):
    inner = asyncio.create_task(asyncio.Event().wait())
    cleaned = []

    async def waits():
        try:
            await inner
        finally:
            cleaned.append(inner.cancelled())

    task, _ = headstart.begin(waits())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == [True]


async def test_a_cancellation_before_the_task_has_begun_may_be_survived():
    async def stubborn():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            return "still here"

    task, _ = headstart.begin(stubborn())
    task.cancel()
    assert await task == "still here"


async def test_a_turn_of_the_loop_is_cancelled_before_the_task_has_begun():
    async def turns():
        await asyncio.sleep(0)

    task, _ = headstart.begin(turns())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
