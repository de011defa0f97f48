"""What a reader of the feed wants to see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from application.feed_items import Origin
from domain.events import TOPICS, Event

CLOCKS_DIFFER: Final = timedelta(seconds=5)
"""The times of a partition run forward but for what the clocks of its owners differ."""
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class FeedFilter(msgspec.Struct, frozen=True, kw_only=True):
    """`types`: topics, or their beginnings with ``*`` at the end. `since` and `until` are included. Empty or None: any."""

    actors: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    namespace: str | None = None
    name: str | None = None
    definition_version: str | None = None
    orchestration: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def topics(self) -> tuple[str, ...] | None:
        """Every topic that `types` names; None: all. A type that is unknown here names itself: a newer node may write it."""
        if not self.types or "*" in self.types:
            return None
        found: dict[str, None] = {}
        for wanted in self.types:
            if wanted.endswith("*"):
                found |= dict.fromkeys(topic for topic in TOPICS if topic.startswith(wanted[:-1]))
            else:
                found[wanted] = None
        return tuple(found)

    @property
    def by_definition(self) -> bool:
        return not (self.namespace is None and self.name is None and self.definition_version is None)

    def takes(self, event: Event | None) -> bool:
        """Whether an event of a topic that is wanted is; one that cannot be read is, for nobody knows."""
        if event is None:
            return True
        if self.actors and event.actor not in self.actors:
            return False
        return not (
            (self.since is not None and event.at < self.since) or (self.until is not None and event.at > self.until)
        )

    def takes_from(self, origin: Origin) -> bool:
        """Whether events of this orchestration are wanted."""
        if not self.by_definition or origin.definition is None:
            return True
        return origin.is_of(self.namespace, self.name, self.definition_version)

    @property
    def begins_at(self) -> datetime | None:
        """Whatever has an earlier time has nothing before it that is wanted. None: anything may be wanted."""
        return None if self.since is None else max(self.since, _FIRST + CLOCKS_DIFFER) - CLOCKS_DIFFER

    @property
    def ends_at(self) -> datetime | None:
        """Whatever has a later time has nothing after it that is wanted. None: it goes on for ever."""
        return None if self.until is None else min(self.until, _LAST - CLOCKS_DIFFER) + CLOCKS_DIFFER

    def told(self) -> dict[str, Any]:
        """Its members as they were asked for, without those that were not."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return {name: value for name, value in found.items() if value not in (None, [], ())}
