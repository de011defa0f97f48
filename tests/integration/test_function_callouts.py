"""Python functions as callouts: arguments, outcomes, time."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
import math
import threading
from datetime import UTC, date, datetime
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from adapters.callouts.functions import FunctionCallouts, UnfitFunctionError
from application.ports import Answered, Declined, Doubtful, Unusable
from domain.errors import OURS, SPEC
from retrace.functions import Function, Refused, TaskContext
from tests.integration.participants import function_callout

pytestmark = pytest.mark.anyio


class Guest(BaseModel):
    name: str
    age: int = Field(ge=0)


@dataclasses.dataclass
class Booking:
    id: str
    on: date


def offered(*callables: Any, max_threads: int = 4) -> FunctionCallouts:
    return FunctionCallouts(
        {c.__name__: Function(c.__name__, c, inspect.iscoroutinefunction(c), "test") for c in callables},
        max_threads=max_threads,
    )


# Arguments -------------------------------------------------------------------------------------------------------


async def test_arguments_are_validated_and_converted():
    async def book(city: str, guest: Guest, nights: int = 1, *, on: date, tags: list[str] | None = None) -> Any:
        return [city, guest.name, type(guest).__name__, nights, on.year, tags]

    arguments = {"city": "Rome", "guest": {"name": "Zoë", "age": 3}, "on": "2026-01-02"}
    assert await offered(book).send(function_callout("book", arguments)) == Answered(
        ["Rome", "Zoë", "Guest", 1, 2026, None]
    )


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"guest": {"name": "a", "age": 1}}, "city"),
        ({"city": "Rome", "guest": {"name": "a", "age": -1}}, "guest.age"),
        ({"city": ["Rome"], "guest": {"name": "a", "age": 1}}, "city"),
        ({"city": "Rome", "guest": {"name": "a", "age": 1}, "colour": "red"}, "colour"),
        ("Rome", "object"),
        (None, "city"),
    ],
)
async def test_wrong_arguments_do_not_enter_the_function(arguments, word):
    entered = []

    async def book(city: str, guest: Guest) -> None:
        entered.append(city)

    result = await offered(book).send(function_callout("book", arguments))
    assert isinstance(result, Declined)
    assert result.fault.type == SPEC + "validation"
    assert "book" in (result.fault.detail or "")
    assert word in (result.fault.detail or "")
    assert entered == []


async def test_any_parameter_name_and_open_keywords_are_served():
    async def odd(model_config: int, copy: str, _x: int, **rest: Any) -> Any:
        return [model_config, copy, _x, rest]

    arguments = {"model_config": 1, "copy": "c", "_x": 2, "more": 3}
    assert await offered(odd).send(function_callout("odd", arguments)) == Answered([1, "c", 2, {"more": 3}])


async def test_annotated_constraints_hold():
    async def pay(amount: Annotated[int, Field(gt=0)]) -> int:
        return amount

    assert isinstance(await offered(pay).send(function_callout("pay", {"amount": 0})), Declined)


async def test_the_task_context_tells_about_the_attempt():
    seen: list[TaskContext] = []

    async def book(context: TaskContext, city: str) -> None:
        seen.append(context)

    await offered(book).send(function_callout("book", {"city": "Rome"}))
    context = seen[0]
    assert (context.idempotency_key, context.attempt, context.compensates) == ("key-1", 2, "key-0")
    assert 0 < (context.deadline - datetime.now(UTC)).total_seconds() <= 5
    assert isinstance(context.logger, logging.LoggerAdapter)


async def test_a_task_context_cannot_be_given_by_a_document():
    async def book(context: TaskContext) -> None: ...

    assert isinstance(await offered(book).send(function_callout("book", {"context": {}})), Declined)


async def test_a_function_that_cannot_take_keywords_is_refused_when_registered():
    def book(city: str, /) -> None: ...

    with pytest.raises(UnfitFunctionError, match="city"):
        offered(book)


async def test_an_unknown_function_is_a_configuration_fault():
    result = await offered().send(function_callout("nobody"))
    assert isinstance(result, Declined)
    assert result.fault.type == SPEC + "configuration"


# Outcomes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [True, False])
async def test_refused_is_a_definite_no(is_async):
    async def later() -> None:
        raise Refused("sold-out", "no room", status=409)

    def book() -> None:
        raise Refused("sold-out", "no room", status=409)

    function = later if is_async else book
    result = await offered(function).send(function_callout(function.__name__))
    assert isinstance(result, Declined)
    assert (result.fault.type, result.fault.status, result.fault.detail) == (OURS + "sold-out", 409, "no room")


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("problem", [ValueError("no\nroom"), SystemExit(3), StopIteration(1), asyncio.CancelledError()])
async def test_any_other_exception_leaves_it_uncertain(is_async, problem):
    async def later() -> None:
        raise problem

    def book() -> None:
        raise problem

    function = later if is_async else book
    result = await offered(function).send(function_callout(function.__name__))
    assert isinstance(result, Doubtful)
    assert result.fault.type == SPEC + "runtime"
    assert function.__name__ in (result.fault.detail or "")
    assert "Traceback" not in (result.fault.detail or "")


async def test_an_exception_is_named_with_its_message(caplog):
    caplog.set_level(logging.CRITICAL, logger="adapters.callouts.functions")  # reports of tests take no lone surrogates

    async def book() -> None:
        raise ValueError("no\nroom \ud800")

    result = await offered(book).send(function_callout("book"))
    assert isinstance(result, Doubtful)
    assert result.fault.detail == "function book raised ValueError: no room ?"


async def test_models_dataclasses_and_dates_are_json():
    async def book() -> Any:
        return {"b": Booking("1", date(2026, 1, 2)), "g": Guest(name="a", age=1), "t": (1, 2)}

    assert await offered(book).send(function_callout("book")) == Answered(
        {"b": {"id": "1", "on": "2026-01-02"}, "g": {"name": "a", "age": 1}, "t": [1, 2]}
    )


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "value",
    [math.nan, {"a": [math.inf]}, "\ud800", {"\ud800": 1}, object(), {object()}, CYCLE, 2**70, b"\xff", lambda: 1],
)
async def test_a_value_that_is_not_json_is_unusable_and_names_the_function(value):
    async def book() -> Any:
        return value

    result = await offered(book).send(function_callout("book"))
    assert isinstance(result, Unusable)
    assert "function book" in (result.fault.detail or "")


# Time ------------------------------------------------------------------------------------------------------------


async def test_a_function_that_does_not_wait_is_answered_without_a_turn_of_the_loop():
    async def book(n: int) -> int:
        return n

    turned: list[bool] = []
    asyncio.get_running_loop().call_soon(turned.append, True)
    assert await offered(book).send(function_callout("book", {"n": 1})) == Answered(1)
    assert turned == []


async def test_a_function_that_cancels_itself_is_uncertain():
    async def book() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()

    result = await offered(book).send(function_callout("book"))
    assert isinstance(result, Doubtful)
    assert "cancelled from inside" in (result.fault.detail or "")


async def test_a_timeout_is_uncertain_and_cancels_the_coroutine():
    cancelled = asyncio.Event()

    async def book() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    result = await offered(book).send(function_callout("book", timeout_s=0.05))
    assert isinstance(result, Doubtful)
    assert (result.fault.type, result.fault.status) == (SPEC + "timeout", 408)
    await asyncio.wait_for(cancelled.wait(), 1)


async def test_a_coroutine_that_swallows_its_cancellation_is_left_behind():
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    result = await asyncio.wait_for(offered(stubborn).send(function_callout("stubborn", timeout_s=0.05)), 1)
    assert isinstance(result, Doubtful)
    release.set()


async def test_a_thread_that_outlives_its_timeout_is_uncertain_and_the_next_one_without_a_thread_was_never_called():
    release = threading.Event()
    entered: list[int] = []

    def book(n: int) -> None:
        entered.append(n)
        release.wait(10)

    functions = offered(book, max_threads=1)
    first = await functions.send(function_callout("book", {"n": 1}, timeout_s=0.05))
    second = await functions.send(function_callout("book", {"n": 2}, timeout_s=0.05))
    release.set()
    functions.close()
    assert isinstance(first, Doubtful)
    assert isinstance(second, Declined)
    assert second.fault.type == SPEC + "timeout"
    assert entered == [1]


async def test_a_plain_function_does_not_block_the_loop():
    other_ran = threading.Event()

    def book() -> bool:
        return other_ran.wait(5)

    sending = asyncio.create_task(offered(book).send(function_callout("book")))
    asyncio.get_running_loop().call_soon(other_ran.set)
    assert await sending == Answered(True)


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_cancellation_from_outside_goes_through(is_async):
    started, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    async def later() -> None:
        started.set()
        await asyncio.Event().wait()

    def book() -> None:
        loop.call_soon_threadsafe(started.set)
        release.wait(5)

    function = later if is_async else book
    sending = asyncio.create_task(offered(function).send(function_callout(function.__name__)))
    await started.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    release.set()
