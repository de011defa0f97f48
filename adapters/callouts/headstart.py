"""A coroutine begins at once, inside a task of its own, and the task takes up where that left off.

Most in-process functions return without ever waiting. To wait for their task (a turn of the loop, a timer, callbacks)
costs several times what they do. So the first step is made here and now, and only what is not done then is waited for.
Python 3.12 knows this as ``eager_start``; 3.11 does not.

The coroutine sees what it would see in any task: `asyncio.current_task` is its own, its context variables are a copy, and
a cancellation reaches what it waits for. For the first the tasks are swapped, as documented for other kinds of tasks in
"Extending" of the asyncio manual.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any


def begin(coroutine: Coroutine[Any, Any, Any]) -> tuple[asyncio.Task[Any], Ended | None]:
    """Make the first step. Gives its task, and how it ended if it did not have to wait.

    A task whose coroutine has ended ends by itself, without a result. Only KeyboardInterrupt and SystemExit are raised.
    """
    loop, context, underway = asyncio.get_running_loop(), copy_context(), _Underway(coroutine)
    task: asyncio.Task[Any] = asyncio.Task(underway, loop=loop, context=context, name="function")
    around = asyncio.current_task(loop)
    if around is not None:
        _leave_task(loop, around)
    _enter_task(loop, task)
    try:
        context.run(underway.first_step)
    finally:
        _leave_task(loop, task)
        if around is not None:
            _enter_task(loop, around)
    if underway.ended is not None and task.cancelling():
        return task, Ended(problem=asyncio.CancelledError())  # as a task does whose coroutine cancelled it and returned
    return task, underway.ended


class Ended:
    """How a coroutine ended: with a value, or with a problem (a CancelledError included)."""

    __slots__ = ("problem", "value")

    def __init__(self, value: Any = None, problem: BaseException | None = None) -> None:
        self.value = value
        self.problem = problem


class _Underway(Coroutine[Any, Any, Any]):
    """What the task runs: the coroutine without its first step; `_offered` is what that one waits for."""

    __slots__ = ("_coroutine", "_offered", "_offers", "ended")

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._offers = False
        self._offered: Any = None
        self.ended: Ended | None = None

    def first_step(self) -> None:
        try:
            self._offered = self._coroutine.send(None)
            self._offers = True
        except StopIteration as end:
            self.ended = Ended(end.value)
        except (KeyboardInterrupt, SystemExit) as problem:
            self.ended = Ended(problem=problem)
            raise
        except BaseException as problem:  # noqa: BLE001 - handed on, as a task does
            self.ended = Ended(problem=problem)

    def send(self, value: Any) -> Any:
        if self.ended is not None:
            raise StopIteration
        if self._offers:
            return self._take()
        return self._coroutine.send(value)

    def throw(self, problem: Any, *rest: Any) -> Any:
        if self.ended is not None:
            raise problem
        # Cancelled before the task knew what is waited for: that has to be cancelled first, as a task does.
        if self._offers and isinstance(self._offered, asyncio.Future) and self._offered.cancel():
            return self._take()
        self._offers, self._offered = False, None
        return self._coroutine.throw(problem, *rest)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Any:
        raise TypeError("only a task runs this")

    def _take(self) -> Any:
        offered, self._offers, self._offered = self._offered, False, None
        return offered
