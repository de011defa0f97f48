"""The feed of lifecycle events takes one partition after the other, also where one is never at rest."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from structlog.testing import capture_logs

from application.lifecycle_feed import LifecycleFeed
from application.ports import SinkAwayError
from application.storage import Head
from domain import events as e
from tests.simulation.loop import simulate

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Log:
    """A partition 0 into which something is committed whenever somebody looks, and a quiet partition 1."""

    def __init__(self) -> None:
        self.heads_ = {0: 1, 1: 0}
        self.commits: Any = None
        self.at: dict[int, int] = {}

    # As a journal
    def on_commit(self, told: Any) -> None:
        self.commits = told

    def epoch(self, partition: int) -> int:
        return 1

    def position(self, partition: int) -> int:
        return self.heads_[partition]

    # As the whole log
    async def window(self, partition: int, after: int, until: int, limit: int) -> list[Any]:
        await asyncio.sleep(0.01)
        self.commit(0, 300)  # more than a window holds
        place = {"orchestration": UUID(int=partition), "version": 2, "state": b"", "topic": ""}
        return [SimpleNamespace(position=each, **place) for each in range(after + 1, until + 1)][:limit]

    def event(self, record: Any) -> e.Event:
        return e.OrchestrationSuspended(at=AT, actor="a", cause="c")

    def commit(self, partition: int, count: int = 1) -> None:
        self.heads_[partition] += count
        self.commits()

    # As followers
    async def begin(self, partition: int, name: str, position: int) -> int:
        return self.at.setdefault(partition, 0)

    async def move(self, partition: int, name: str, after: int, until: int) -> bool:
        self.at[partition] = until
        return True


class Context:
    def learn(self, *_: Any) -> None: ...

    async def origin(self, partition: int, orchestration: UUID) -> Any:
        return SimpleNamespace(id=f"o_{partition}", definition="shop/order@1.0.0")

    def holds(self, partition: int) -> bool:
        return True

    def redact(self, data: Any) -> Any:
        return data


class Sink:
    def __init__(self) -> None:
        self.got: list[str] = []

    async def publish(self, event: dict[str, Any]) -> None:
        self.got.append(event["subject"])


class Away:
    async def publish(self, event: dict[str, Any]) -> None:
        raise SinkAwayError("nobody there")


def test_a_sink_that_is_away_is_told_once_and_not_for_each_partition():
    async def main(loop: Any) -> None:
        log: Any = Log()
        log.heads_ = dict.fromkeys(range(8), 1)
        log.commit = lambda *_: None
        context: Any = Context()
        feed = LifecycleFeed(Away(), log, log, context, log, context, context)
        for partition in range(8):
            feed.gained(Head(partition, 1, 0, b""))
        with capture_logs() as told:
            feed.start()
            await asyncio.sleep(0.1)
        assert [each["event"] for each in told] == ["lifecycle.not_sent"]
        await feed.stop()

    simulate(1, main)


def test_a_partition_that_is_never_at_rest_does_not_hold_up_another():
    async def main(loop: Any) -> None:
        log: Any = Log()
        context: Any = Context()
        sink = Sink()
        feed = LifecycleFeed(sink, log, log, context, log, context, context)
        feed.gained(Head(0, 1, 0, b""))
        feed.gained(Head(1, 1, 0, b""))
        feed.start()
        await asyncio.sleep(0.1)
        log.commit(1)
        await asyncio.sleep(0.1)
        assert sink.got.count("o_1") == 2, "that it is suspended, and its phase"
        assert sink.got.count("o_0") > 0
        await feed.stop()

    simulate(1, main)
