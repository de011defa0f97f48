"""What a wide fan-out costs: ``for`` over many items, side by side, one call of a function in the process for each.

    python -m tests.benchmarks.fan_out [--branches 10000] [--limit 50] [--half] [--database sqlite]

Without ``--limit`` all are in progress at once. With ``--half`` it is cancelled when half of the branches are done, and
ends when all of those are undone. ``--database``: ``sqlite``, ``postgresql`` (a fresh database of a server of our own) or a
URL. The time is from the request that starts it until its end (processor time: of this process); memory is the most that the process had, over what it had
before; a status is read all the while, and at the end every page of the history and of the tasks.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2

from adapters.bootstrap import open_service
from adapters.settings import Settings
from adapters.system import calm_collector
from retrace.functions import Function
from tests.benchmarks.databases import fresh, postgres

_ENDED = frozenset({"completed", "faulted", "compensated", "cancelled", "terminated"})
_LOOK_S = 1.0


class _Participants:
    """Counts what is done and undone; at `half` it tells so, and answers nobody until `go`."""

    def __init__(self, half: int | None) -> None:
        self.done = self.undone = self.in_progress = self.most = 0
        self.order: list[int] = []
        self._half = half
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def work(self, item: int) -> Any:
        self.in_progress += 1
        self.most = max(self.most, self.in_progress)
        if self._half is not None and self.done >= self._half:
            self.reached.set()
            await self.go.wait()
        await asyncio.sleep(0)
        self.done += 1
        self.in_progress -= 1
        return {"item": item}

    async def undo(self, item: int) -> Any:
        self.undone += 1
        self.order.append(item)

    def functions(self) -> dict[str, Function]:
        return {
            each.__name__: Function(each.__name__, each, is_async=True, source="bench")
            for each in (self.work, self.undo)
        }


def definition(limit: int | None) -> dict[str, Any]:
    undo = {"call": "undo", "with": {"item": "${ .item }"}}
    one = {"call": "work", "with": {"item": "${ $item }"}, "compensate": undo}
    parallel = {} if limit is None else {"limit": limit}
    return {
        "document": {"dsl": "1.0.3", "namespace": "bench", "name": "fan-out", "version": "1.0.0"},
        "do": [{"each": {"for": {"in": ".items"}, "parallel": parallel, "do": [{"one": one}]}}],
    }


async def _run(url: str, branches: int, limit: int | None, *, half: bool) -> None:
    participants = _Participants(branches // 2 if half else None)
    settings = Settings(database=url, allow_loopback=True, auth="none", max_body_bytes=10_000_000)
    service = await open_service(settings, functions=participants.functions(), development=False)
    try:
        transport = httpx2.ASGITransport(app=service.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=300) as http:
            assert (await http.post("/v1/definitions", json=definition(limit))).status_code == 201
            calm_collector()  # as a server does
            await _measured(http, branches, participants, half=half)
    finally:
        await service.close()


async def _measured(http: httpx2.AsyncClient, branches: int, participants: _Participants, *, half: bool) -> None:
    memory, began, spent = _most_memory(), time.perf_counter(), time.process_time()
    body = {"definition": "bench/fan-out", "input": {"items": list(range(branches))}}
    answer = await http.post("/v1/orchestrations", json=body)
    assert answer.status_code == 201, answer.text
    url, looks = answer.headers["Location"], list[float]()
    if half:
        await participants.reached.wait()
        print(f"half done after {time.perf_counter() - began:.2f} s", flush=True)
        assert (await http.post(f"{url}/cancel", json={"reason": "half is enough"})).status_code == 202
        participants.go.set()
    while True:
        looked = time.perf_counter()
        status = (await http.get(url)).json()
        looks.append(time.perf_counter() - looked)
        if status["status"] in _ENDED:
            break
        await asyncio.sleep(_LOOK_S)
    took, spent = time.perf_counter() - began, time.process_time() - spent
    looks.sort()
    print(
        f"{status['status']}: {branches} branches in {took:.2f} s, {1e6 * took / branches:.0f} us each, "
        f"{1e6 * spent / branches:.0f} us of them processor time; "
        f"{participants.done} done, {participants.undone} undone, at most {participants.most} at once; "
        f"{status['version']} events; {(_most_memory() - memory) / 2**20:.0f} MiB more; status "
        f"{1000 * looks[len(looks) // 2]:.1f} ms at the median, {1000 * looks[-1]:.1f} ms at most",
        flush=True,
    )
    if half:
        assert participants.done == participants.undone
    for part in ("history", "tasks"):
        pages, count, most, size = await _pages(http, url, part)
        print(f"{part}: {count} in {pages} pages, the longest {1000 * most:.0f} ms, the largest {size / 1024:.0f} KiB")


async def _pages(http: httpx2.AsyncClient, url: str, part: str) -> tuple[int, int, float, int]:
    """(pages, items, seconds of the slowest, bytes of the largest)."""
    pages = count = size = 0
    most, after, position = 0.0, None, "after" if part == "history" else "cursor"
    while True:
        began = time.perf_counter()
        answer = await http.get(f"{url}/{part}", params={"limit": 500} | ({} if after is None else {position: after}))
        most, size = max(most, time.perf_counter() - began), max(size, len(answer.content))
        page = answer.json()
        pages, count = pages + 1, count + len(page["items"])
        after = page["next_after"] if part == "history" else page["next"]
        if after is None:
            return pages, count, most, size


def _most_memory() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextlib.contextmanager
def _database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder}/fan-out.db"
    elif kind == "postgresql":
        with postgres() as server, fresh("postgresql", server) as database:
            yield database.url
    else:
        yield kind


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--branches", type=int, default=10_000)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--half", action="store_true")
    parser.add_argument("--database", default="sqlite")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _database(chosen.database, Path(folder)) as url:
        asyncio.run(_run(url, chosen.branches, chosen.limit, half=chosen.half))


if __name__ == "__main__":
    main()
