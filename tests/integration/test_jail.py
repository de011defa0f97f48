"""What only the jail promises: budgets, deaths and their neighbours, cancellation, no process left behind."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.expressions.jail import JqJail
from domain.expressions import Evaluated, Evaluation, EvaluationFailed

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="the jail needs a POSIX system")]

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"], scope="module")
def anyio_backend(request):
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
async def jail():
    port = JqJail(size=2, deadline_s=0.3, memory_bytes=256 << 20)
    yield port
    await port.close()


def program(text, dot=1):
    return Evaluation(text, (), (dot,))


def pids(port):
    return {worker._running.get_pid() for worker in port._alive if not worker.ended}


async def until(condition):
    while not condition():  # noqa: ASYNC110 - the jail does not announce it
        await asyncio.sleep(0)


def exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    "endless", ["def f: f; f", "[range(1e12)] | length", "until(false; .)", "last(range(1e12))", "last(repeat(.))"]
)
async def test_an_endless_program_fails_alone_and_in_time(jail, endless):
    async with asyncio.timeout(10):
        results = await jail.evaluate(
            [program(".", 1), program(endless), program(".", 2), program(endless), program(".", 3)]
        )
    assert [results[0], results[2], results[4]] == [Evaluated(1), Evaluated(2), Evaluated(3)]
    for result in (results[1], results[3]):
        assert isinstance(result, EvaluationFailed)
        assert result.detail == "took longer than 0.3 s" or "memory" in result.detail


async def test_a_memory_eater_fails_alone_and_is_told_so():
    jail = JqJail(size=1, deadline_s=20, memory_bytes=200 << 20)
    eater = 'reduce range(40) as $i ("x" * 1000; . + .) | length'
    results = await jail.evaluate([program(".", 1), program(eater), program(".", 2)])
    await jail.close()
    assert [results[0], results[2]] == [Evaluated(1), Evaluated(2)]
    assert results[1] == EvaluationFailed("needed more than 200 MB of memory, or recursed too deeply")


async def test_a_check_survives_the_end_of_its_child(jail):
    await jail.start()
    [victim] = pids(jail)
    os.kill(victim, signal.SIGKILL)
    assert await jail.check(".a", ()) is None


async def test_a_child_that_is_killed_is_replaced(jail):
    await jail.start()
    [first] = pids(jail)
    os.kill(first, signal.SIGKILL)
    assert await jail.evaluate([program(".", 7)]) == [Evaluated(7)]
    [second] = pids(jail)
    assert first != second


async def test_a_child_killed_at_work_has_its_work_done_again():
    jail = JqJail(size=1, deadline_s=30)
    await jail.start()
    [first] = pids(jail)
    work = asyncio.ensure_future(jail.evaluate([program("last(range(2e6))"), program(".", 2)]))
    await until(jail._free.empty)
    os.kill(first, signal.SIGKILL)
    assert await work == [Evaluated(1_999_999), Evaluated(2)]
    await jail.close()


async def test_a_stopped_child_is_noticed():
    jail = JqJail(size=1, deadline_s=0.1)
    await jail.start()
    [stopped] = pids(jail)
    os.kill(stopped, signal.SIGSTOP)
    assert await jail.evaluate([program(".", 1)]) == [EvaluationFailed("took longer than 0.1 s")]
    assert await jail.evaluate([program(".", 2)]) == [Evaluated(2)]
    await jail.close()


async def test_a_cancelled_caller_leaves_nothing_for_the_next(jail):
    for _ in range(5):
        callers = [
            asyncio.ensure_future(jail.evaluate([program("def f: f; f"), program(".", "stale")])) for _ in range(6)
        ]
        await until(jail._free.empty)
        for caller in callers:
            caller.cancel()
        ended = await asyncio.gather(*callers, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended)
        assert await jail.evaluate([program(".", "fresh")]) == [Evaluated("fresh")]


async def test_no_more_children_than_asked_for(jail):
    await asyncio.gather(*(jail.evaluate([program(".", number)]) for number in range(50)))
    assert 1 <= len(pids(jail)) <= 2


async def test_close_leaves_no_process_and_ends_those_at_work(jail):
    work = asyncio.ensure_future(jail.evaluate([program("def f: f; f")]))
    await until(lambda: pids(jail))
    left = pids(jail)
    await jail.close()
    with pytest.raises(RuntimeError, match="closed"):
        await work
    assert not any(exists(pid) for pid in left), "a child lives, or was not reaped"
    with pytest.raises(RuntimeError, match="closed"):
        await jail.evaluate([program(".")])
    await jail.start()
    assert await jail.evaluate([program(".", 3)]) == [Evaluated(3)]


async def test_a_child_sees_no_file_and_no_environment(jail, monkeypatch):
    monkeypatch.setenv("RETRACE_SECRET_TOKEN", "hunter2")
    await jail.start()
    [pid] = pids(jail)
    process = Path(f"/proc/{pid}")
    if not process.exists():
        pytest.skip("no /proc here")
    assert (process / "environ").read_bytes().strip(b"\0") == b""
    descriptors = sorted(int(each.name) for each in (process / "fd").iterdir())
    [limit] = [line for line in (process / "limits").read_text().splitlines() if line.startswith("Max open files")]
    assert int(limit.split()[3]) == len(descriptors) == descriptors[-1] + 1, "it could open one more"


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd")
@pytest.mark.parametrize("doing", [".", "def f: f; f"], ids=["idle", "busy"])
def test_children_end_with_a_parent_that_is_killed(doing):
    source = f"""
import asyncio
from adapters.expressions.jail import JqJail
from domain.expressions import Evaluation

async def main():
    jail = JqJail(size=1, deadline_s=1.0)
    await jail.start()
    work = asyncio.ensure_future(jail.evaluate([Evaluation({doing!r}, (), (1,))]))
    await asyncio.sleep(0)
    print(next(iter(jail._alive))._running.get_pid(), flush=True)
    await asyncio.gather(work, asyncio.Event().wait())

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", source], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ready, _, _ = select.select([child], [], [], 10)
    os.close(child)
    assert ready, "the child outlived its parent"
