"""An event loop in which time is a number and the order of coroutines is a choice.

One callback runs at a time, drawn by the seed from all that are ready; when none is ready, time jumps to the next that is
scheduled. So every order of coroutines that asyncio allows, and some that it merely does not forbid, can happen, and one
seed gives one history. A process that dies is a *generation* (a context variable) whose callbacks are never run again:
no `finally`, no `except CancelledError`, exactly as after SIGKILL.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")
START = datetime(2030, 1, 1, tzinfo=UTC)
GENERATION: ContextVar[int] = ContextVar("generation", default=0)
"""Which process a callback belongs to; 0 is the outside, which never dies."""


class StuckError(Exception):
    """Nothing is ready and nothing is scheduled: somebody waits for ever."""


class RunawayError(Exception):
    """Far more steps than any history needs: somebody spins."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """`dead` generations do not run; `at_step` calls back before the step of this number."""

    def __init__(self, chance: random.Random, *, most_steps: int = 2_000_000) -> None:
        super().__init__()
        self._chance = chance
        self._virtual_s = 0.0
        self._most_steps = most_steps
        self.steps = 0
        self.dead: set[int] = set()
        self._stopped: dict[int, list[Any]] = {}
        """Generations that stand still, with what they have to do when they go on."""
        self.at_step: tuple[int, Callable[[], None]] | None = None
        self.failures: list[dict[str, Any]] = []
        self.remains: list[Any] = []
        """What dead processes left behind; kept, so that no garbage collector takes part in the history."""
        self.set_exception_handler(self._failed)

    def time(self) -> float:
        return self._virtual_s

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "was destroyed" not in context.get("message", ""):
            self.failures.append(context)

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled  # type: ignore[attr-defined]
        while scheduled and (scheduled[0]._cancelled or self._is_dead(scheduled[0])):
            heapq.heappop(scheduled)._scheduled = False
        if not ready:
            if not scheduled:
                raise StuckError(f"at {self._virtual_s} s everyone waits for someone else")
            self._virtual_s = max(self._virtual_s, scheduled[0]._when)
        while scheduled and scheduled[0]._when <= self._virtual_s:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        self.steps += 1
        if self.steps > self._most_steps:
            raise RunawayError(f"{self.steps} steps and {self._virtual_s} s")
        if self.at_step is not None and self.steps >= self.at_step[0]:
            callback = self.at_step[1]
            self.at_step = None
            callback()
        if ready:
            ready.rotate(-self._chance.randrange(len(ready)))
            handle = ready.popleft()
            if not handle._cancelled and not self._is_dead(handle) and not self._stands_still(handle):
                handle._run()

    def stop_still(self, generation: int) -> None:
        """Nothing of this process runs until `go_on`, whatever happens meanwhile: SIGSTOP."""
        self._stopped.setdefault(generation, [])

    def go_on(self, generation: int) -> None:
        """It runs again, and finds everything that has become due meanwhile: SIGCONT."""
        self._ready.extend(self._stopped.pop(generation, ()))  # type: ignore[attr-defined]

    def _stands_still(self, handle: Any) -> bool:
        if not self._stopped:
            return False
        waiting = self._stopped.get(handle._context.get(GENERATION, 0))
        if waiting is None:
            return False
        waiting.append(handle)
        return True

    def _is_dead(self, handle: Any) -> bool:
        return bool(self.dead) and handle._context.get(GENERATION, 0) in self.dead

    def _write_to_self(self) -> None:
        """There is no other thread to wake."""

    def _process_events(self, event_list: Any) -> None:
        """There are no sockets."""

    def _check_closed(self) -> None:
        """What a dead process left behind may still be collected when the history is over."""

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """What a dead process leaves behind stays as it is."""


class SimulatedClock:
    """`Clock`: the loop's time as instants, as a machine sees it whose clock is off by so much."""

    def __init__(self, loop: SimulatedLoop, off_s: float = 0.0) -> None:
        self._loop = loop
        self._off_s = off_s

    def now(self) -> datetime:
        return START + timedelta(seconds=self._loop.time() + self._off_s)


class SeededChance:
    """`Chance` that is the same in every run."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def random_bytes(self, count: int) -> bytes:
        return self._chance.randbytes(count)


class ProcessDiedError(Exception):
    """The connection to the process was lost; whether it did what was asked is unknown."""


class Process:
    """Everything that runs in one generation."""

    def __init__(self, loop: SimulatedLoop, generation: int) -> None:
        self._loop = loop
        self._generation = generation
        self._context: Context = copy_context()
        self._context.run(GENERATION.set, generation)
        self._callers: dict[asyncio.Future[Any], None] = {}
        self._remains: list[Any] = []

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the process do something, from outside of it. Raises ProcessDiedError."""
        if self._generation in self._loop.dead:
            work.close()
            raise ProcessDiedError
        answer: asyncio.Future[T] = self._loop.create_future()
        self._callers[answer] = None

        async def serve() -> None:
            try:
                result = await work
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets it
                if not answer.done():
                    answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(result)

        self._remains.append(work)
        self._context.run(self._loop.create_task, serve())
        try:
            return await answer
        finally:
            self._callers.pop(answer, None)

    def kill(self) -> None:
        self._loop.dead.add(self._generation)
        self._loop.remains += [*self._remains, *asyncio.all_tasks(self._loop)]
        self.disconnect()

    def stop_still(self) -> None:
        """As a whole, until `go_on`."""
        self._loop.stop_still(self._generation)

    def go_on(self) -> None:
        self._loop.go_on(self._generation)

    def disconnect(self) -> None:
        """Everyone who waits for it loses the connection."""
        for answer in self._callers:
            if not answer.done():
                answer.set_exception(ProcessDiedError())


def outside(work: Callable[[], T]) -> T:
    """Do something in the context of the world outside, which no crash touches."""
    context = copy_context()
    context.run(GENERATION.set, 0)
    return context.run(work)


def simulate(seed: int, main: Callable[[SimulatedLoop], Awaitable[T]], *, most_steps: int = 2_000_000) -> T:
    """Run a coroutine in a loop of its own."""
    loop = SimulatedLoop(random.Random(f"order {seed}"), most_steps=most_steps)

    async def run() -> T:
        return await main(loop)

    try:
        return loop.run_until_complete(run())
    finally:
        _bury([*loop.remains, *asyncio.all_tasks(loop)])
        loop.close()


def _bury(remains: list[Any]) -> None:
    """The history is over: end what is left of it without a word."""
    for each in remains:
        coroutine = each.get_coro() if isinstance(each, asyncio.Task) else each
        with contextlib.suppress(RuntimeError):  # it is running, or will not end: it is of no interest any more
            coroutine.close()
