"""Python functions in this process.

What can be prepared (annotations, validators) is prepared when a function is registered; a call of an ``async def``
that returns without waiting costs about 10 us here: no timer and no turn of the loop (`headstart`). Arguments that do not
fit are a definite failure: the function was not entered. `retrace.Refused` is a definite no; any other exception leaves the
outcome uncertain.

A plain ``def`` runs in a bounded pool of threads. **A thread cannot be stopped**: after its timeout the outcome is
uncertain and the thread is left to finish by itself, holding its place in the pool until then. An ``async def`` that
blocks the loop cannot be bounded either; one that merely ignores its cancellation is left behind.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
import typing
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, NotRequired

import msgspec
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, SchemaValidator, to_jsonable_python
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from adapters.callouts import headstart
from adapters.callouts.http import INPUT
from adapters.callouts.uris import json_kind
from application.ports import Answered, Callout, CalloutResult, Declined, Doubtful, Unusable
from domain.errors import Fault, fault
from retrace.functions import Function, Refused, TaskContext

log = logging.getLogger(__name__)
"""Not structlog: in a worker nobody may have set it up, and then it shows local variables, with secrets among them."""
_FUNCTION_LOG = logging.getLogger("retrace.function")


class UnfitFunctionError(TypeError):
    """A registered function cannot be called with keyword arguments from JSON; the message says which and why."""


class _Prepared(msgspec.Struct, frozen=True):
    function: Function
    validate: Callable[[Any], dict[str, Any]]
    contexts: tuple[str, ...]
    """Parameters that get the TaskContext."""


class FunctionCallouts:
    """Calls registered functions. `start` and `close` bound the life of the thread pool."""

    def __init__(self, functions: Mapping[str, Function], *, max_threads: int = 32) -> None:
        """Raises UnfitFunctionError if a function's signature cannot be served."""
        self._functions = {name: _prepare(function) for name, function in functions.items()}
        self._threads = ThreadPoolExecutor(max_threads, thread_name_prefix="retrace-function")
        self.left_behind = 0
        """Threads whose function nobody waits for any more, and which runs on."""

    def close(self) -> None:
        """Start no more threads. Does not wait for functions that are still running."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def knows(self, name: str) -> bool:
        return name in self._functions

    async def send(self, callout: Callout) -> CalloutResult:
        """One attempt of a function. Returns within the callout's timeout."""
        begun = self.begin(callout)
        return await begun if isinstance(begun, Coroutine) else begun

    def begin(self, callout: Callout) -> CalloutResult | Coroutine[Any, Any, CalloutResult]:
        """The outcome of what is done at once; else what awaits it."""
        prepared = self._functions.get(callout.function)
        if prepared is None:
            return Declined(fault("configuration", f"there is no function {callout.function!r} here"))
        arguments = callout.arguments
        if arguments is None:
            arguments = {}
        elif not isinstance(arguments, dict):
            return Declined(_invalid(callout, f"with must be an object, not {json_kind(arguments)}"))
        elif INPUT in arguments:
            arguments = {name: value for name, value in arguments.items() if name != INPUT}
        try:
            arguments = prepared.validate(arguments)
        except ValidationError as problem:
            return Declined(_invalid(callout, _complaints(problem)))
        for name in prepared.contexts:
            arguments[name] = _context(callout)
        if not prepared.function.is_async:
            return self._call_in_thread(prepared.function, arguments, callout)
        # A task of its own: what the function does to its task (cancel, context variables) stays there, and one that
        # swallows its cancellation can be left behind.
        task, ended = headstart.begin(_awaited(prepared.function, arguments))
        return _waited_for(task, callout) if ended is None else _outcome(callout, ended.value, ended.problem)

    async def _call_in_thread(self, function: Function, arguments: dict[str, Any], callout: Callout) -> CalloutResult:
        run = functools.partial(contextvars.copy_context().run, function.callable, **arguments)
        try:
            running = self._threads.submit(_stopping_nothing, run)
        except RuntimeError:
            return Declined(fault("runtime", f"function {callout.function} was not called: the service is stopping"))
        waiting = asyncio.wrap_future(running)
        try:
            # Not wait_for: it would wait on for a future that is cancelled but cannot stop.
            await asyncio.wait((waiting,), timeout=callout.timeout_s)
        except asyncio.CancelledError:
            if not running.cancel():
                self._leave(waiting)
            raise
        if not waiting.done():
            if running.cancel():
                return Declined(fault("timeout", f"function {callout.function} was not called: no thread was free"))
            self._leave(waiting)
            return _timed_out(callout)
        problem = waiting.exception()
        return _outcome(callout, None if problem else waiting.result(), problem)

    def _leave(self, waiting: asyncio.Future[Any]) -> None:
        self.left_behind += 1
        waiting.add_done_callback(self._has_ended)

    def _has_ended(self, waiting: asyncio.Future[Any]) -> None:
        self.left_behind -= 1
        _look_at(waiting)


async def _waited_for(task: asyncio.Task[Any], callout: Callout) -> CalloutResult:
    try:
        await asyncio.wait((task,), timeout=callout.timeout_s)
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_look_at)
    if not task.done():
        return _timed_out(callout)
    if task.cancelled():
        return _outcome(callout, None, asyncio.CancelledError())
    problem = task.exception()
    return _outcome(callout, None if problem else task.result(), problem)


async def _awaited(function: Function, arguments: dict[str, Any]) -> Any:
    try:
        return await function.callable(**arguments)
    except SystemExit as problem:
        # From a task it would end the loop, and the service with it.
        raise RuntimeError(f"SystemExit: {problem}") from problem


def _stopping_nothing(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except (StopIteration, SystemExit, KeyboardInterrupt, asyncio.CancelledError) as problem:
        # These mean something to the loop or the process; from a function they are just a failure.
        raise RuntimeError(f"{type(problem).__name__}: {problem}") from problem


def _look_at(done: asyncio.Future[Any]) -> None:
    """Take the result of what was left behind, so that nobody reports it as never retrieved."""
    if not done.cancelled():
        done.exception()


# Outcomes --------------------------------------------------------------------------------------------------------


def _outcome(callout: Callout, value: Any, problem: BaseException | None) -> CalloutResult:
    if problem is None:
        return _returned(callout, value)
    if isinstance(problem, asyncio.CancelledError):
        return Doubtful(fault("runtime", f"function {callout.function} was cancelled from inside"))
    return _raised(callout, problem)


def _returned(callout: Callout, value: Any) -> CalloutResult:
    output: Any = None
    try:
        output = to_jsonable_python(value)
        # MessagePack refuses lone surrogates and integers that cannot be stored, but lets NaN and infinities pass.
        msgspec.msgpack.encode(output)
        complaint = None if _is_finite(output) else "NaN and infinity are not JSON"
    except (PydanticSerializationError, ValueError, TypeError, OverflowError, RecursionError) as problem:
        complaint = _one_line(problem)
    if complaint is None:
        return Answered(output)
    return Unusable(fault("runtime", f"function {callout.function} returned a value that is not JSON: {complaint}"))


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return value - value == 0.0
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    return not isinstance(value, list) or all(map(_is_finite, value))


def _raised(callout: Callout, problem: BaseException) -> CalloutResult:
    if isinstance(problem, Refused):
        return Declined(_refusal(problem))
    where = {"function": callout.function, "task": callout.task, "attempt": callout.attempt}
    log.warning("function raised", extra=where, exc_info=problem)
    detail = f"function {callout.function} raised {type(problem).__name__}: {_one_line(problem)}"
    return Doubtful(fault("runtime", detail))


def _refusal(refused: Refused) -> Fault:
    # Refused takes whatever it is given; what is recorded must have the form of RFC 9457.
    status: Any = refused.status
    status = status if type(status) is int else 422
    detail = None if refused.detail is None else _storable(str(refused.detail))
    return Fault(_storable(str(refused.type)), status, _storable(str(refused.title or "Refused")), detail)


def _timed_out(callout: Callout) -> CalloutResult:
    return Doubtful(fault("timeout", f"function {callout.function} did not return within {callout.timeout_s:g} s"))


def _invalid(callout: Callout, why: str) -> Fault:
    return fault("validation", f"function {callout.function}: {why}")


def _complaints(problem: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
        for each in problem.errors(include_url=False, include_input=False)
    )


def _one_line(problem: BaseException) -> str:
    try:
        text = " ".join(str(problem).split())
    except Exception:  # noqa: BLE001 - a broken __str__ of someone else's exception
        text = ""
    return _storable(text[:1000])


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


# Preparation -----------------------------------------------------------------------------------------------------


def _prepare(function: Function) -> _Prepared:
    """Build the validator of a function's keyword arguments, once."""
    target = function.callable
    try:
        hints = typing.get_type_hints(target, include_extras=True)
        parameters = inspect.signature(target).parameters.values()
    except (NameError, TypeError, ValueError) as problem:
        raise UnfitFunctionError(f"function {function.name} ({function.source}): {problem}") from problem
    fields: dict[str, Any] = {}
    contexts: list[str] = []
    extra: typing.Literal["forbid", "allow"] = "forbid"
    for parameter in parameters:
        annotation = hints.get(parameter.name, Any)
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = "allow"
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            raise UnfitFunctionError(
                f"function {function.name}: the parameter {parameter.name} must not be positional-only"
            )
        elif annotation is TaskContext:
            contexts.append(parameter.name)
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            optional = parameter.default is not parameter.empty
            fields[parameter.name] = NotRequired[annotation] if optional else annotation
    # A TypedDict, not a model: it takes every parameter name and gives back the dict that the call needs.
    arguments: Any = TypedDict("arguments", fields)  # type: ignore[misc]  # made at run time
    config = ConfigDict(extra=extra, arbitrary_types_allowed=True)
    setattr(arguments, "__pydantic_config__", config)  # noqa: B010 - a made type has no such attribute to mypy
    try:
        validator = TypeAdapter(arguments).validator
    except Exception as problem:  # pydantic raises many kinds for annotations that it cannot serve
        raise UnfitFunctionError(f"function {function.name} ({function.source}): {problem}") from problem
    assert isinstance(validator, SchemaValidator)
    return _Prepared(function, validator.validate_python, tuple(contexts))


def _context(callout: Callout) -> TaskContext:
    facts = {"function": callout.function, "orchestration": callout.orchestration, "task": callout.task}
    return TaskContext(
        idempotency_key=callout.idempotency_key,
        attempt=callout.attempt,
        deadline=datetime.now(UTC) + timedelta(seconds=callout.timeout_s),
        logger=logging.LoggerAdapter(_FUNCTION_LOG, {**facts, "attempt": callout.attempt}),
        orchestration=callout.orchestration,
        task=callout.task,
        compensates=callout.compensates,
    )
