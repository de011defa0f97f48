"""The real service inside the test's own event loop: everything that `open_service` puts together, spoken to over HTTP.

Only the TCP connection between client and service is left out (ASGI transport); callouts leave through real sockets. Each
service has a database of its own, by default SQLite in the test's folder. When it has stopped, every history that it leaves
must replay.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx2

from adapters.bootstrap import open_service
from adapters.settings import Settings
from retrace.functions import Function
from retrace.projections import Projection
from tests.support.soundness import histories_complaints
from tests.support.stored import read_stored

ENDED = frozenset({"completed", "faulted", "compensated", "cancelled", "terminated"})


class Api:
    """A client with the few calls that every test makes. `http` is for all others."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http

    async def deploy(self, text: str) -> dict[str, Any]:
        """Deploy a YAML document; the answer, whatever it says, with ``http_status``."""
        answer = await self.http.post(
            "/v1/definitions", content=text.encode(), headers={"Content-Type": "application/yaml"}
        )
        return {**answer.json(), "http_status": answer.status_code}

    async def start(self, definition: str, input_: Any = None) -> dict[str, Any]:
        """Start an orchestration; its status representation."""
        body = {"definition": definition} | ({} if input_ is None else {"input": input_})
        return await self.done("POST", "/v1/orchestrations", json=body)

    async def status(self, id_: str) -> dict[str, Any]:
        return await self.done("GET", f"/v1/orchestrations/{id_}")

    async def ended(self, id_: str) -> dict[str, Any]:
        """The status once the orchestration has ended."""
        return await self.reached(id_, lambda status: status["status"] in ENDED)

    async def reached(self, id_: str, holds: Any, turns: int = 200) -> dict[str, Any]:
        """The first status for which `holds`; asks whenever the version has changed."""
        status = await self.status(id_)
        for _ in range(turns):
            if holds(status) or status["status"] in ENDED:
                break
            query = {"wait": 10, "after": status["version"]}
            status = await self.done("GET", f"/v1/orchestrations/{id_}", params=query)
        assert holds(status), status
        return status

    async def waiting(self, id_: str, task: str) -> dict[str, Any]:
        """The status once a task of this name waits for an event or a timer."""
        return await self.reached(
            id_, lambda status: any(each["name"] == task and each["status"] == "waiting" for each in status["tasks"])
        )

    async def history(self, id_: str) -> list[dict[str, Any]]:
        page = await self.done("GET", f"/v1/orchestrations/{id_}/history", params={"limit": 500})
        return list(page["items"])

    async def done(self, method: str, url: str, **request: Any) -> dict[str, Any]:
        """The body of a success."""
        answer = await self.http.request(method, url, **request)
        assert answer.is_success, f"{method} {url}: {answer.status_code} {answer.text}"
        return dict(answer.json())


@contextlib.asynccontextmanager
async def running_service(
    folder: Path,
    functions: Mapping[str, Function] | None = None,
    *,
    projections: Iterable[Projection] = (),
    development: bool = False,
    **settings: Any,
) -> AsyncIterator[Api]:
    """A service while the block runs; `settings` by field name."""
    given: dict[str, Any] = {
        "database": f"sqlite:///{folder}/retrace.db",
        "partitions": 2,
        "allow_loopback": True,
        "grace": 1.0,
    }
    service_settings = Settings(**(given | settings))
    service = await open_service(
        service_settings, functions=functions or {}, projections=projections, development=development
    )
    try:
        transport = httpx2.ASGITransport(app=service.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", timeout=30) as http:
            yield Api(http)
    finally:
        await service.close()
    assert histories_complaints(read_stored(service_settings.database)) == []
