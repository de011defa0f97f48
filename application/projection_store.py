"""The port of users' projections: their tables, what is known of each, and how far each has seen the log.

A *build* is one table made by one version of a fold: `building` until it has caught up, then `live`, at last `retired`,
when its table is gone. Of a name at most one build is live. Rows, the position up to which a build has seen a partition, and
why it stopped there change in one transaction, and only from the position that the writer believes; so every event counts
exactly once, however many nodes believe that a partition is theirs. Positions of one build never go back: building anew is
another build.

Rows of a build are keyed by (partition, key).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, Protocol

import msgspec

from domain.errors import RetraceError

Kind = Literal["text", "integer", "number", "boolean", "instant", "json"]
KINDS: Final[tuple[Kind, ...]] = ("text", "integer", "number", "boolean", "instant", "json")
Value = str | int | float | bool | datetime | None
"""JSON is a text here."""
Row = tuple[Value, ...]
"""In the order of the columns of its shape, without the key."""


class Column(msgspec.Struct, frozen=True):
    name: str
    kind: Kind


class Shape(msgspec.Struct, frozen=True):
    """A table: `key` is a column of text, `columns` are the others."""

    key: str
    columns: tuple[Column, ...]


class Build(msgspec.Struct, frozen=True):
    """`number` counts the builds of one version."""

    name: str
    version: int
    number: int
    shape: Shape
    state: Literal["building", "live", "retired"]
    created_at: datetime

    @property
    def tracking(self) -> str:
        """Its name among all that follow the log."""
        return f"{self.name}@{self.version}.{self.number}"

    @property
    def table(self) -> str:
        """The table with its rows."""
        return f"projection_{self.name}_v{self.version}" + (f"_{self.number}" if self.number > 1 else "")

    @property
    def view(self) -> str:
        """What shows the live build of its name."""
        return f"projection_{self.name}"


class Failure(msgspec.Struct, frozen=True):
    """Why a build stopped: the event that could not be folded, and the error."""

    orchestration: str
    version: int
    type: str
    error: str
    at: datetime


class Progress(msgspec.Struct, frozen=True):
    """Up to where a build has seen a partition, and why it goes no further, if it does not."""

    position: int
    failure: Failure | None = None


class ProjectionChangedError(RetraceError):
    """A projection has other columns than its version was built with; raise the version."""

    code = "definition-exists"


class ProjectionStore(Protocol):
    """What changes tables (`begin`, `swap`, `end`) waits for nobody long: it raises StorageError when somebody reads them."""

    async def builds(self) -> list[Build]:
        """All of them, by name, version and number."""
        ...

    async def begin(
        self, name: str, version: int, shape: Shape, at: datetime, *, revise: bool = False, anew: bool = False
    ) -> Build | None:
        """The build of this version, made with its table when there is none, as `planned` says. Idempotent unless `anew`.
        Raises ProjectionChangedError.
        """
        ...

    async def progress(self, build: Build) -> dict[int, Progress]:
        """By partition, all of them; nothing once it is retired."""
        ...

    async def rows(self, build: Build, partition: int, keys: Collection[str]) -> dict[str, Row]:
        """Those of these keys that there are."""
        ...

    async def apply(
        self,
        build: Build,
        partition: int,
        after: int,
        until: int,
        rows: Mapping[str, Row | None],
        failure: Failure | None = None,
    ) -> bool:
        """Put rows (None: remove), and move from `after` to `until`; with a failure nothing moves further before `retry`.
        False (nothing done) when it is not at `after`, has failed, or is retired.
        """
        ...

    async def swap(self, build: Build) -> bool:
        """Make a build that is `building` the live one, and retire those that it replaces. False (nothing done) when it is
        not building any more, or is behind the live one anywhere.
        """
        ...

    async def end(self, build: Build) -> bool:
        """Retire it, whatever its state, with its table and the view. False when it is retired already."""
        ...

    async def retry(self, build: Build) -> int:
        """Forget its failures; gives how many there were."""
        ...

    async def page(
        self, build: Build, where: Sequence[tuple[str, Value]], after: tuple[int, str] | None = None, limit: int = 100
    ) -> list[tuple[int, str, Row]]:
        """(partition, key, row) in this order, those after `after` whose columns have these values."""
        ...


class Plan(msgspec.Struct, frozen=True):
    """What beginning a build comes to: one that is there, or one to be made and those that it makes needless."""

    known: Build | None = None
    make: Build | None = None
    retire: tuple[Build, ...] = ()


def planned(
    builds: Sequence[Build], name: str, version: int, shape: Shape, at: datetime, *, revise: bool, anew: bool
) -> Plan:
    """What every implementation of `begin` does. An older version than one that is there is left alone: its code is on its
    way out. `revise`: another shape of the same version is built anew instead of refused.
    """
    same_name = [each for each in builds if each.name == name]
    active = [each for each in same_name if each.state != "retired"]
    if any(each.version > version for each in active):
        return Plan()
    same = [each for each in active if each.version == version]
    if same and not anew:
        newest = max(same, key=lambda each: each.number)
        if newest.shape == shape:
            return Plan(known=newest)
        if not revise:
            raise ProjectionChangedError(
                f"The projection {name} has other columns than its version {version} was built with; raise the version."
            )
    number = max((each.number for each in same_name if each.version == version), default=0) + 1
    needless = tuple(each for each in active if each.state == "building")
    return Plan(make=Build(name, version, number, shape, "building", at), retire=needless)


def replaced(builds: Sequence[Build], build: Build) -> tuple[Build, ...] | None:
    """What is retired when a build goes live; None when it cannot, for it is not building, or a newer one is live."""
    active = [each for each in builds if each.name == build.name and each.state != "retired"]
    order = (build.version, build.number)
    if not any(each.tracking == build.tracking and each.state == "building" for each in active):
        return None
    if any(each.state == "live" and (each.version, each.number) > order for each in active):
        return None
    return tuple(each for each in active if (each.version, each.number) < order)
