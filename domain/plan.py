"""The plan: a definition compiled for the interpreter.

A tree of scopes, each a graph of nodes with edges. A document's ``do`` list is a chain, ``then`` an edge, ``fork`` a scope
per branch, ``for`` a scope that is entered again, ``try`` a scope with an error boundary, ``compensate`` a scope that is
entered when its task is undone. A later notation compiles to the same plan: `Split` and `Join` are part of it, and several
tokens may live in one scope.

Plans are immutable, never stored, and never read when events are folded. Whatever can be prepared (expressions, edges,
defaults) is prepared when a plan is made, or found out once, at its first use (`cached_property`). Nodes are addressed by
the JSON Pointer of their task in the document.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import msgspec

from domain.expressions import Expression
from domain.schedule import Schedule

EXIT = "exit"
"""Edge out of the scope."""
END = "end"
"""Edge out of the whole orchestration."""


class Hole(msgspec.Struct, frozen=True):
    """A place in a template that an expression fills; the empty path is the whole value."""

    path: tuple[str | int, ...]
    expression: Expression


class Template(msgspec.Struct, frozen=True, dict=True):
    """A JSON value with holes. `value` holds the literal parts (null where a hole is)."""

    value: Any = None
    holes: tuple[Hole, ...] = ()

    @cached_property
    def plain(self) -> bool:
        """Whether nothing has to be asked, now or at a sending, to fill it."""
        return not self.late_holes and all(hole.expression.path is not None for hole in self.holes)

    @cached_property
    def open_holes(self) -> tuple[Hole, ...]:
        """Those that are filled when the task runs."""
        return tuple(hole for hole in self.holes if not hole.expression.late)

    @cached_property
    def late_holes(self) -> tuple[Hole, ...]:
        """Those that are filled at each sending, and recorded nowhere."""
        return tuple(hole for hole in self.holes if hole.expression.late)


class Duration(msgspec.Struct, frozen=True):
    """A length of time in seconds, or an expression that gives one (ISO 8601 string, or an object of units)."""

    seconds: float = 0.0
    expression: Expression | None = None


class Schema(msgspec.Struct, frozen=True):
    """A JSON Schema: inline, or `resource` (``{"endpoint": ...}``) that is fetched at first use."""

    document: Any = None
    resource: Any = None


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """A retry policy.

    `on` tells what is retried: ``caught`` whatever the surrounding ``try`` caught, ``transient`` the failures that
    language.md lists for the short form, ``doubt`` every uncertain outcome and 425 and 429 (the default of undos).
    `max_retries` counts retries after the first attempt; None is no limit.
    """

    on: Literal["caught", "transient", "doubt"] = "caught"
    when: Expression | None = None
    except_when: Expression | None = None
    delay: Duration = Duration()
    backoff: Literal["constant", "linear", "exponential"] = "constant"
    factor: float = 2.0
    max_delay_s: float | None = None
    jitter_from: Duration | None = None
    jitter_to: Duration | None = None
    max_retries: int | None = None
    max_duration: Duration | None = None
    attempt_timeout: Duration | None = None


class EventFilter(msgspec.Struct, frozen=True):
    """Which events match: every attribute equals its literal, or its expression (``.`` is the attribute) is true."""

    attributes: tuple[tuple[str, Any | Expression], ...] = ()
    correlate: tuple[tuple[str, Expression, Template | None], ...] = ()
    """(name, from, expect); without `expect` the first event sets the value."""

    @property
    def event_type(self) -> str | None:
        """The literal type that an event must have, if the filter says one."""
        return next((value for name, value in self.attributes if name == "type" and isinstance(value, str)), None)


class EventStream(msgspec.Struct, frozen=True, kw_only=True):
    """Events with an order of their own: those that have these attributes, as an `EventFilter` says it.

    The number of an event is its attribute `attribute`, or what `by` gives; with `per` every value of that expression has
    numbers of its own. They begin with `first` and have no gaps.
    """

    name: str
    attributes: tuple[tuple[str, Any | Expression], ...]
    attribute: str = "sequence"
    by: Expression | None = None
    first: int = 1
    per: Expression | None = None
    gap_s: float | None = None
    """How long a missing event is waited for; None: for ever."""
    gap_then: Literal["fault", "continue"] = "fault"

    @property
    def pointer(self) -> str:
        return f"/streams/{self.name}"

    @property
    def event_type(self) -> str | None:
        """The literal type of its events, if it says one."""
        return EventFilter(self.attributes).event_type


class Strategy(msgspec.Struct, frozen=True):
    """Which events a listen consumes: `one`, `any` (no filters: every event), or `all` (each filter once)."""

    mode: Literal["one", "any", "all"]
    filters: tuple[EventFilter, ...] = ()
    until: Expression | None = None
    """Over the array of the events consumed so far."""
    until_events: Strategy | None = None


# What a node does ------------------------------------------------------------------------------------------------


class Set(msgspec.Struct, frozen=True, tag="set"):
    value: Template


class Case(msgspec.Struct, frozen=True):
    """One case of a switch; without `when` it is the default. `then` is a pointer, EXIT or END."""

    name: str
    when: Expression | None
    then: str


class Switch(msgspec.Struct, frozen=True, tag="switch"):
    cases: tuple[Case, ...]


class Raise(msgspec.Struct, frozen=True, tag="raise"):
    """`error` gives an object with type, status, and optionally title, detail, instance."""

    error: Template


class Wait(msgspec.Struct, frozen=True, tag="wait"):
    duration: Duration


class Emit(msgspec.Struct, frozen=True, tag="emit"):
    """`event`: the CloudEvent's attributes and data."""

    event: Template


class Listen(msgspec.Struct, frozen=True, tag="listen"):
    to: Strategy
    read: Literal["data", "envelope", "raw"] = "data"
    scope: Scope | None = None
    """``foreach.do``: entered once per event, one after the other."""
    item: str = "item"
    at: str = "index"
    foreach_output: Template | None = None
    foreach_export: Template | None = None


class Call(msgspec.Struct, frozen=True, tag="call"):
    """A callout. `with_` is the task's ``with``, named authentications already inlined."""

    kind: Literal["http", "openapi", "sql", "function"]
    function: str
    with_: Template
    retry: Retry | None = None
    idempotent: bool = True
    safe: bool = False
    """It changes nothing outside (HTTP GET, HEAD, OPTIONS, a query in SQL), so there is nothing to leave behind."""
    deletes: bool = False
    """An HTTP DELETE: in an undo, 404 and 410 mean that nothing is left to undo."""
    callback: bool = False
    """The answer only acknowledges; the task is done when it is called back."""

    @property
    def attempt_timeout(self) -> Duration | None:
        """What its retry policy allows one attempt."""
        return self.retry.attempt_timeout if self.retry else None


class Human(msgspec.Struct, frozen=True, tag="human"):
    """A task for a person. `with_`: its ``with`` but for the form; `form`: what the answer has to look like."""

    with_: Template
    form: Schema | None = None


class Run(msgspec.Struct, frozen=True, tag="run"):
    """A child orchestration. `version` may be ``latest``."""

    namespace: str
    name: str
    version: str
    input: Template | None = None
    await_: bool = True
    retry: Retry | None = None


class Do(msgspec.Struct, frozen=True, tag="do"):
    """A nested scope. With `arguments` they become its input (a call of a function from ``use.functions``)."""

    scope: Scope
    arguments: Template | None = None


class Parallel(msgspec.Struct, frozen=True, kw_only=True):
    """How branches run side by side: those of a ``fork``, or the turns of a ``for``."""

    limit: int | None = None
    """How many may be in progress at once; None: all."""
    need: int | None = None
    """So many have to complete, and the others are given up then; None: all."""
    alone: bool = False
    """The output is that of the one that completed, instead of a list (``first``)."""
    tolerate: int | None = 0
    """So many may fail; None: as many as leave enough."""

    def spare(self, total: int) -> int:
        """How many of so many branches may fail; below zero: there are not enough."""
        most = total - (self.need or 0)
        return most if self.tolerate is None else min(most, self.tolerate)


class Fork(msgspec.Struct, frozen=True, tag="fork"):
    branches: tuple[Scope, ...]
    compete: bool = False
    parallel: Parallel | None = None


class For(msgspec.Struct, frozen=True, tag="for"):
    scope: Scope
    in_: Expression
    each: str = "item"
    at: str = "index"
    while_: Expression | None = None
    parallel: Parallel | None = None
    """None: one turn after the other, each from the output of the one before."""


class Catch(msgspec.Struct, frozen=True, kw_only=True):
    """The error boundary of a try. `errors` maps members of the error to a literal or an expression."""

    errors: tuple[tuple[str, Template], ...] = ()
    as_: str = "error"
    when: Expression | None = None
    except_when: Expression | None = None
    retry: Retry | None = None
    scope: Scope | None = None
    compensate: bool = False
    then: str | None = None


class Try(msgspec.Struct, frozen=True, tag="try"):
    scope: Scope
    catch: Catch


class Split(msgspec.Struct, frozen=True, tag="split"):
    """One token in, one token out along each edge of `targets`."""

    targets: tuple[str, ...]


class Join(msgspec.Struct, frozen=True, tag="join"):
    """Waits for `tokens` tokens, then lets one go on."""

    tokens: int


Work = Set | Switch | Raise | Wait | Emit | Listen | Call | Human | Run | Do | Fork | For | Try | Split | Join
KINDS: dict[type, str] = {cls: cls.__struct_config__.tag for cls in Work.__args__}


class Compensation(msgspec.Struct, frozen=True):
    """How a task is undone. `after`: from which outcome on there is something to undo."""

    scope: Scope
    after: Literal["completed", "uncertain", "attempted"] = "uncertain"
    if_: Expression | None = None


class Node(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One task of a definition, with what surrounds every kind of task."""

    pointer: str
    name: str
    work: Work
    then: str
    """Where the token goes: a pointer in the same scope, EXIT or END."""
    if_: Expression | None = None
    skip_to: str | None = None
    """Where the token goes instead of `then` when `if` is false: `then` belongs to the completion of a task, so a task
    that is skipped is followed by the next one in line. None: the same as `then`."""
    input_schema: Schema | None = None
    input_from: Template | None = None
    output_as: Template | None = None
    output_schema: Schema | None = None
    export_as: Template | None = None
    export_schema: Schema | None = None
    timeout: Duration | None = None
    compensate: Compensation | None = None
    pivot: bool = False

    @cached_property
    def kind(self) -> str:
        return KINDS[type(self.work)]

    @cached_property
    def effectful(self) -> bool:
        """Whether the work may change something outside."""
        return isinstance(self.work, Emit | Run) or (isinstance(self.work, Call) and not self.work.safe)

    @cached_property
    def undoable(self) -> str | None:
        """The ``after`` of its compensation; None when it has none."""
        return self.compensate.after if self.compensate else None

    @cached_property
    def prepares(self) -> bool:
        """Whether anything has to be looked at between the token and the work; the timeout of a call is the call's."""
        timed = self.timeout is not None and not isinstance(self.work, Call)
        return timed or any(each is not None for each in (self.if_, self.input_schema, self.input_from))

    @cached_property
    def transforms(self) -> bool:
        """Whether anything has to be looked at between the work and the next task."""
        return any(each is not None for each in (self.output_as, self.output_schema, self.export_as))


class Scope(msgspec.Struct, frozen=True):
    """A graph of nodes. `start` is None when it is empty."""

    pointer: str
    nodes: dict[str, Node]
    start: str | None


class Resource(msgspec.Struct, frozen=True):
    """A REST resource of its own: its path segment, and labels by status."""

    path: str
    labels: dict[str, str] = {}


class Plan(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A compiled definition. `nodes` finds every node of every scope by pointer."""

    namespace: str
    name: str
    version: str
    digest: str
    """``sha256:`` of the canonical (RFC 8785) document."""
    document: dict[str, Any]
    root: Scope
    nodes: dict[str, Node]
    input_schema: Schema | None = None
    input_from: Template | None = None
    output_as: Template | None = None
    output_schema: Schema | None = None
    timeout: Duration | None = None
    resource: Resource | None = None
    schedule: Schedule | None = None
    streams: dict[str, EventStream] = {}
    parallel_undo: bool = False
    secrets: tuple[str, ...] = ()

    @cached_property
    def reference(self) -> str:
        return f"{self.namespace}/{self.name}@{self.version}"
