"""Use cases that answer as the test says, behind the real REST API: for refusals and races no service gives to order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
from fastapi import FastAPI

from adapters.rest.app import Services, build_app
from application.callbacks import CallbackReport
from application.service import Answer, CommandRequest, DryRun, EventOutcome, ForkRequest, StartRequest
from tests.simulation.memory_storage import MemoryStorage

ID = "o_" + "a" * 22
OTHER_ID = "o_" + "b" * 22


def status_of(id_: str = ID, status: str = "running", version: int = 3, **members: Any) -> dict[str, Any]:
    """A status representation without links."""
    return {
        "id": id_,
        "definition": "default/demo@1.0.0",
        "digest": "sha256:00",
        "status": status,
        "version": version,
        "business_key": None,
        "tags": {},
        "input": {"city": "Lisbon"},
        "output": None,
        "error": None,
        "started_at": "2026-11-23T10:00:00Z",
        "updated_at": "2026-11-23T10:00:00Z",
        "ended_at": None,
        "tasks": [],
        "tasks_total": 0,
        "waiting_for": [],
        "rollback": None,
        "incidents": [],
        **members,
    }


class ScriptedCommands:
    """Every command asks `script`, which answers or raises; what was asked is in `asked`."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.script: Callable[[Any], Any] = lambda _: None

    async def _ask(self, what: Any) -> Any:
        self.asked.append(what)
        found = self.script(what)
        return await found if asyncio.iscoroutine(found) else found

    async def start(self, request: StartRequest) -> str:
        return await self._ask(request) or ID

    async def fork(self, request: ForkRequest) -> str | DryRun:
        found = await self._ask(request)
        return DryRun(0, [{"type": "orchestration.forked", "data": {}}]) if request.dry_run else found or ID

    async def _command(self, request: CommandRequest, *_: Any, **__: Any) -> Answer | DryRun:
        found = await self._ask(request)
        if request.dry_run:
            return DryRun(3, [{"type": "orchestration.cancelled", "data": {}}])
        return found or Answer(request.id, "running", 4)

    cancel = terminate = suspend = resume = resolve = add_note = migrate = _command

    async def send_event(self, id_: str, event: dict[str, Any], **_: Any) -> EventOutcome:
        return await self._ask(event) or EventOutcome("held", 4)

    async def publish_event(self, event: dict[str, Any], **_: Any) -> EventOutcome:
        return await self._ask(event) or EventOutcome("held")

    async def take_callback(self, token: str, report: CallbackReport, **_: Any) -> None:
        await self._ask((token, report))


class ScriptedQueries:
    """One orchestration, `current`; `waits` tells what was waited for, `items` is its history."""

    def __init__(self) -> None:
        self.current = status_of()
        self.waits: list[tuple[float, int | None]] = []
        self.items: list[dict[str, Any]] = []

    async def status(self, id_: str, *, at_version: int | None = None, at: datetime | None = None) -> dict[str, Any]:
        return {**self.current, "id": id_}

    async def wait(self, id_: str, timeout_s: float, *, after_version: int | None = None) -> None:
        self.waits.append((timeout_s, after_version))

    async def tasks(self, id_: str, *, after: int = 0, limit: int = 100) -> tuple[list[dict[str, Any]], int | None]:
        return [], None

    async def rollback_plan(self, id_: str) -> dict[str, Any]:
        return {"version": 3, "steps": [], "not_undone": [], "blocked_by_pivot": False}

    async def stream(self, id_: str, *, after: int = 0) -> AsyncIterator[dict[str, Any]]:
        for item in self.items:
            yield item


class NoDefinitions:
    """Nothing is deployed."""

    async def resources(self) -> dict[str, Any]:
        return {}


class NoProjections:
    """There are none."""

    async def list(self) -> dict[str, Any]:
        return {"items": [], "next": None}


class Scripted:
    """The API over scripted use cases and registers in memory, with a clock that is moved by hand."""

    def __init__(self, **settings: Any) -> None:
        self.commands = ScriptedCommands()
        self.queries = ScriptedQueries()
        self.now = datetime(2026, 11, 23, 10, tzinfo=UTC)
        self.readiness: Any = {"ready": True}
        self.requests = MemoryStorage().requests
        given = {"idempotency_wait_s": 0.0, "ready": self._ready, **settings}
        self.services = Services(
            commands=self.commands,
            queries=self.queries,  # type: ignore[arg-type]
            definitions=NoDefinitions(),  # type: ignore[arg-type]
            operations=None,  # type: ignore[arg-type]
            what_if=None,  # type: ignore[arg-type]
            verification=None,  # type: ignore[arg-type]
            projections=NoProjections(),  # type: ignore[arg-type]
            schedules=NoProjections(),  # type: ignore[arg-type]
            requests=self.requests,
            clock=lambda: self.now,
            **given,
        )
        self.app: FastAPI = build_app(self.services)

    async def _ready(self) -> dict[str, Any]:
        if isinstance(self.readiness, Exception):
            raise self.readiness
        return dict(self.readiness)

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def client(self) -> httpx2.AsyncClient:
        """A client without TCP; exceptions that leave the application fail the test."""
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.app), base_url="http://service")
