"""Functions that orchestrations call: the decorator, the registry, and what a function may say and ask.

A function registers under the name that definitions use (``call: bookHotel``). The registry only remembers; arguments
are validated and functions are called by the service. ``load_functions`` executes a user's ``functions.py`` under a
module name of its own, so several folders may each have one, and a repeated load of the same file starts afresh.

Invariants: a name is registered once per registry; registering never calls the function; a failed load leaves no
module behind.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from retrace.projections import ProjectionRegistry, collecting

ERRORS = "https://retrace.invalid/errors/"
"""Prefix of the error types that a bare word names."""

_F = TypeVar("_F", bound=Callable[..., Any])
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class Refused(Exception):
    """A definite no: nothing was done, nothing is to be undone, and the call is not tried again.

    Any other exception leaves open whether the function took effect. A bare word as type becomes
    ``https://retrace.invalid/errors/<word>``, which a ``catch`` may name by that URI. The constructor accepts anything,
    for an error in a refusal would turn a definite no into an uncertain outcome.
    """

    def __init__(self, type: str, detail: str | None = None, title: str | None = None, status: int = 422) -> None:  # noqa: A002 - the member's name in RFC 9457
        self.type = type if _ABSOLUTE.match(type) else ERRORS + quote(type, safe="")
        self.detail = detail
        self.title = title
        self.status = status
        super().__init__(detail or title or self.type)


@dataclass(frozen=True, slots=True)
class TaskContext:
    """The attempt that a function serves; given to the parameter that is annotated with this class."""

    idempotency_key: str
    """The same for every attempt of a run; hand it on to whatever the function calls."""
    attempt: int
    """1 for the first."""
    deadline: datetime
    """After this instant (UTC) the attempt counts as timed out."""
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger]
    orchestration: str
    """Public id."""
    task: str
    """Reference (JSON Pointer) of the task in its definition."""
    compensates: str | None = None
    """For an undo: the idempotency key of the run that is undone."""


@dataclass(frozen=True, slots=True)
class Function:
    """One registered function."""

    name: str
    callable: Callable[..., Any]
    is_async: bool
    source: str
    """Where it was defined, as ``file:line``."""


class DuplicateFunctionError(ValueError):
    """Two functions ask for one name."""

    def __init__(self, first: Function, second: Function) -> None:
        self.first = first
        self.second = second
        super().__init__(f"The function name {first.name!r} is taken twice: at {first.source} and at {second.source}.")


class Registry(Mapping[str, Function]):
    """Functions by name, in the order of their registration."""

    def __init__(self) -> None:
        self._functions: dict[str, Function] = {}
        self.projections = ProjectionRegistry()
        """The projections of the same files."""

    def add(self, function: Function) -> None:
        """Register a function; the same callable again changes nothing.

        Raises:
            DuplicateFunctionError: another function has the name.
        """
        known = self._functions.setdefault(function.name, function)
        if known.callable is not function.callable:
            raise DuplicateFunctionError(known, function)

    def __getitem__(self, name: str) -> Function:
        return self._functions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)


REGISTRY = Registry()
"""What was registered by ordinary imports, outside ``load_functions``."""

_collecting: ContextVar[Registry] = ContextVar("retrace_functions_collecting", default=REGISTRY)


def function(name: str) -> Callable[[_F], _F]:
    """Offer a function, ``def`` or ``async def``, to orchestrations under a name; the function itself stays as it is.

    Raises:
        TypeError: used without a name, or on something that cannot be called for one result.
        DuplicateFunctionError: another function has the name.
    """
    if not isinstance(name, str) or not name:
        raise TypeError('@function needs the name that definitions call it by, as in @function("bookHotel")')

    def register(callable_: _F) -> _F:
        _collecting.get().add(_described(name, callable_))
        return callable_

    return register


def load_functions(path: Path) -> Registry:
    """Execute a file of functions and projections, and return what it registered.

    The file is loaded like the ``__init__`` of a package in its folder: ``from .prices import price`` finds
    ``prices.py`` beside it. Whatever the file raises comes through, with a note that names the file.

    Raises:
        FileNotFoundError: there is no such file.
        DuplicateFunctionError: two functions in it ask for one name.
        DuplicateProjectionError: two projections in it do.
    """
    path = path.resolve()
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of functions at {path}.")
    module_name = "retrace_functions_" + hashlib.sha256(str(path).encode()).hexdigest()[:16]
    _forget(module_name)
    spec = importlib.util.spec_from_file_location(module_name, path, submodule_search_locations=[str(path.parent)])
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pydantic look their module up while its classes are being made.
    sys.modules[module_name] = module
    registry = Registry()
    token, token_of_projections = _collecting.set(registry), collecting.set(registry.projections)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        _forget(module_name)
        error.add_note(f"while loading the functions of {path}")
        raise
    finally:
        _collecting.reset(token)
        collecting.reset(token_of_projections)
    return registry


def _described(name: str, callable_: Callable[..., Any]) -> Function:
    if not callable(callable_) or inspect.isclass(callable_):
        raise TypeError(f"@function({name!r}) goes on a function, not on {callable_!r}")
    target = inspect.unwrap(callable_)
    if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        raise TypeError(f"@function({name!r}): a function returns one result; {target.__qualname__} generates")
    is_async = inspect.iscoroutinefunction(callable_) or inspect.iscoroutinefunction(type(callable_).__call__)
    code = getattr(target, "__code__", None)
    source = f"{code.co_filename}:{code.co_firstlineno}" if code else f"{type(callable_).__module__}"
    return Function(name, callable_, is_async, source)


def _forget(module_name: str) -> None:
    for known in [known for known in sys.modules if known == module_name or known.startswith(module_name + ".")]:
        del sys.modules[known]
