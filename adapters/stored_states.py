"""State <-> stored bytes: snapshots that open in a few milliseconds, however long the history.

A state of 100,000 events has tens of thousands of runs, and a command or a look at it touches a few. So each run and each
scope is packed by itself, and unpacked when somebody asks for it. Data that passes through many tasks is one object in
memory; it is stored once (`values`) and is one object again when it is read, or a snapshot could outgrow its history.

`format` names the shape of the bytes and the code that folded them: a snapshot of another format is no snapshot, since
the same events may fold to another state under other code. Invariant: `unpack(pack(state)) == state`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from copy import copy, deepcopy
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from zlib import crc32

import msgspec

from domain.state import Rollback, Run, ScopeState, State

if TYPE_CHECKING:
    from _collections_abc import dict_items, dict_values

T = TypeVar("T")
_PIECE: Final = 500
_CHECK_BYTES: Final = 4
_FOLDING: Final = ("evolve", "folding", "state", "events", "errors", "lifecycle", "positions", "prefix")
"""Modules of the domain whose code decides what events fold to, by the beginnings of their names."""


class _Stored(msgspec.Struct, array_like=True):
    """What a snapshot consists of. `state` has no runs and scopes; in all of them an index stands for each value."""

    state: State
    run_names: list[str]
    runs: list[msgspec.Raw]
    scope_names: list[str]
    scopes: list[msgspec.Raw]
    values: list[msgspec.Raw]


class StateMapper:
    """`seal` and `open_` are the hooks that stored events go through too: compression, encryption."""

    def __init__(self, seal: Callable[[bytes], bytes], open_: Callable[[bytes], bytes]) -> None:
        self._seal = seal
        self._open = open_
        self._encode = msgspec.msgpack.Encoder().encode
        self._stored = msgspec.msgpack.Decoder(_Stored).decode
        self._run = msgspec.msgpack.Decoder(Run).decode
        self._scope = msgspec.msgpack.Decoder(ScopeState).decode
        self.format: Final = _format()

    def pack(self, state: State) -> Generator[None, None, bytes]:
        """The bytes to store. Yields between pieces of a few milliseconds each, during which the state must not change."""
        values = _Placed()
        runs: list[msgspec.Raw] = []
        scopes: list[msgspec.Raw] = []
        for number, run in enumerate(state.runs.values(), 1):
            runs.append(msgspec.Raw(self._encode(_run_with(run, values.place))))
            if number % _PIECE == 0:
                yield
        for number, scope in enumerate(state.scopes.values(), 1):
            scopes.append(msgspec.Raw(self._encode(_scope_with(scope, values.place))))
            if number % _PIECE == 0:
                yield
        rest = _rest_with(state, values.place)
        rest.runs, rest.scopes = {}, {}
        yield
        packed = [msgspec.Raw(self._encode(value)) for value in values.all]
        stored = self._encode(_Stored(rest, list(state.runs), runs, list(state.scopes), scopes, packed))
        raw = self._seal(stored)
        return crc32(raw).to_bytes(_CHECK_BYTES) + raw

    def unpack(self, raw: bytes) -> State:
        """The state that was packed. Raises ValueError for bytes that are damaged: what is unpacked later has to be sound."""
        check, raw = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
        if crc32(raw).to_bytes(_CHECK_BYTES) != check:
            raise ValueError("these bytes are not what was packed")
        stored = self._stored(self._open(raw))
        found = _Found(stored.values)
        state = _rest_with(stored.state, found.value)
        runs = zip(stored.run_names, stored.runs, strict=True)
        scopes = zip(stored.scope_names, stored.scopes, strict=True)
        state.runs = Packed(runs, lambda packed: _run_with(self._run(packed), found.value))
        state.scopes = Packed(scopes, lambda packed: _scope_with(self._scope(packed), found.value))
        return state


class Packed(dict[str, T], Generic[T]):
    """A dict, in its order, whose values stay packed until they are asked for."""

    def __init__(self, items: Iterable[tuple[str, msgspec.Raw]], unpack: Callable[[msgspec.Raw], T]) -> None:
        super().__init__(items)  # type: ignore[arg-type]
        self._unpack = unpack
        self._all = False

    def __getitem__(self, key: str) -> T:
        value: Any = super().__getitem__(key)
        if type(value) is msgspec.Raw:
            value = self._unpack(value)
            super().__setitem__(key, value)
        return value  # type: ignore[no-any-return]

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401 - that would be this very method

    def values(self) -> dict_values[str, T]:
        self._unpack_all()
        return super().values()

    def items(self) -> dict_items[str, T]:
        self._unpack_all()
        return super().items()

    def _unpack_all(self) -> None:
        if not self._all:
            for key in self:
                self[key]  # asking for it unpacks it
            self._all = True

    def __eq__(self, other: object) -> bool:
        self._unpack_all()
        return super().__eq__(dict(other.items()) if isinstance(other, Packed) else other)

    __hash__ = None

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, T]:
        return {key: deepcopy(value, memo) for key, value in self.items()}


class _Placed:
    """The values met so far, each object once."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._known: dict[int, int] = {}

    def place(self, value: Any) -> Any:
        if value is None:
            return None
        index = self._known.get(id(value))
        if index is None:
            index = self._known[id(value)] = len(self.all)
            self.all.append(value)
        return index


class _Found:
    """The way back; each value is decoded once, so what was one object is one again."""

    def __init__(self, packed: list[msgspec.Raw]) -> None:
        self._all: list[Any] = packed
        self._decode = msgspec.msgpack.Decoder().decode

    def value(self, index: Any) -> Any:
        if index is None:
            return None
        value = self._all[index]
        if type(value) is msgspec.Raw:
            value = self._all[index] = self._decode(value)
        return value


Place = Callable[[Any], Any]


def _run_with(run: Run, place: Place) -> Run:
    run = copy(run)
    run.input, run.output, run.data = place(run.input), place(run.output), place(run.data)
    return run


def _scope_with(scope: ScopeState, place: Place) -> ScopeState:
    scope = copy(scope)
    scope.input, scope.output = place(scope.input), place(scope.output)
    if scope.variables:
        scope.variables = {name: place(value) for name, value in scope.variables.items()}
    return scope


def _rest_with(state: State, place: Place) -> State:
    state = copy(state)
    state.input, state.output, state.context = place(state.input), place(state.output), place(state.context)
    state.rollback_context = place(state.rollback_context)
    state.rollbacks = {name: _rollback_with(each, place) for name, each in state.rollbacks.items()}
    return state


def _rollback_with(rollback: Rollback, place: Place) -> Rollback:
    rollback = copy(rollback)
    rollback.context = place(rollback.context)
    return rollback


def _format() -> str:
    digest = sha256(files(__package__).joinpath("stored_states.py").read_bytes())
    for module in sorted(files("domain").iterdir(), key=lambda each: each.name):
        if module.name.endswith(".py") and module.name.startswith(_FOLDING):
            digest.update(module.read_bytes())
    return digest.hexdigest()[:16]
