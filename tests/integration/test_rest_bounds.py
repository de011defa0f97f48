"""What the edge takes on is bounded: requests in progress, clients that wait, and what slow clients leave lying."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from adapters.rest.admission import Admission
from adapters.rest.delivery import SLICE_BYTES
from tests.integration.rest_scripted import ID, Scripted, status_of

pytestmark = pytest.mark.anyio
START, STATUS = "/v1/orchestrations", f"/v1/orchestrations/{ID}"
BODY = {"definition": "demo"}


class Door:
    """Use cases wait here until it opens; how many do is known."""

    def __init__(self) -> None:
        self.waiting = 0
        self._news = asyncio.Condition()
        self._open = False

    async def wait(self, *_: Any, **__: Any) -> None:
        async with self._news:
            self.waiting += 1
            self._news.notify_all()
            await self._news.wait_for(lambda: self._open)
            self.waiting -= 1

    async def reached(self, count: int) -> None:
        async with self._news:
            await self._news.wait_for(lambda: self.waiting == count)

    async def open(self) -> None:
        async with self._news:
            self._open = True
            self._news.notify_all()


@pytest.fixture
def door() -> Door:
    return Door()


def bounded(door: Door, requests: int = 2, waiting: int = 1, **settings: Any) -> Scripted:
    """Starts and long polls wait at the door."""
    scripted = Scripted(admission=Admission(requests, waiting), **settings)
    scripted.commands.script = door.wait
    scripted.queries.wait = door.wait  # type: ignore[method-assign]
    return scripted


def inside(scripted: Scripted) -> tuple[int, int]:
    return scripted.services.admission.requests.inside, scripted.services.admission.waiting.inside


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while True:
            if holds():
                return
            await asyncio.sleep(0)


def refused(answer: httpx2.Response) -> bool:
    if answer.status_code != 503:
        return False
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["type"] == "/problems/overloaded"
    assert answer.json()["retryable"] is True
    return True


async def test_more_requests_than_the_bound_are_refused_until_one_has_its_answer(door):
    scripted = bounded(door)
    async with scripted.client() as http:
        first = [asyncio.create_task(http.post(START, json=BODY)) for _ in range(2)]
        await door.reached(2)
        assert refused(await http.post(START, json=BODY))
        assert refused(await http.get(STATUS))
        assert refused(await http.get("/openapi.json"))
        await door.open()
        assert [answer.status_code for answer in await asyncio.gather(*first)] == [201, 201]
        assert (await http.post(START, json=BODY)).status_code == 201
    assert inside(scripted) == (0, 0)


async def test_a_request_is_refused_before_its_body_is_read(door):
    scripted = bounded(door, requests=0)

    async def never() -> dict[str, Any]:
        raise AssertionError("the body was read")

    sent = await asked(scripted, "POST", START, receive=never)
    assert sent[0]["status"] == 503


async def test_health_readiness_and_explanations_always_answer(door):
    scripted = bounded(door, requests=0, waiting=0)
    async with scripted.client() as http:
        for path in ("/healthz", "/readyz", "/problems/overloaded"):
            assert (await http.get(path)).status_code == 200


async def test_probes_share_one_look_at_the_database(door):
    looks: list[None] = []

    async def ready() -> dict[str, Any]:
        looks.append(None)
        await door.wait()
        return {"ready": True}

    scripted = Scripted(ready=ready)
    async with scripted.client() as http:
        probes = [asyncio.create_task(http.get("/readyz")) for _ in range(5)]
        await door.reached(1)
        await until(lambda: scripted.services.admission.always.inside == 5)
        given_up = probes.pop()
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        await door.open()
        assert [answer.status_code for answer in await asyncio.gather(*probes)] == [200] * 4
        assert len(looks) == 1
        assert (await http.get("/readyz")).status_code == 200
    assert len(looks) == 2


async def test_who_may_not_come_in_does_not_learn_how_full_it_is(door):
    scripted = bounded(door, requests=0, tokens={"ada": "00"})
    async with scripted.client() as http:
        assert (await http.post(START, json=BODY)).status_code == 401


LASTING = [
    ("GET", f"{STATUS}?wait=60", {}),
    ("POST", START, {"Prefer": "wait=60"}),
    ("GET", f"{STATUS}/stream", {}),
    ("GET", f"{STATUS}/history", {"Accept": "application/x-ndjson"}),
]


@pytest.mark.parametrize(("method", "path", "headers"), LASTING)
async def test_long_polls_and_streams_have_a_bound_of_their_own(door, method, path, headers):
    scripted = bounded(door)
    async with scripted.client() as http:
        poll = asyncio.create_task(http.get(f"{STATUS}?wait=60"))
        await door.reached(1)
        assert inside(scripted) == (0, 1)
        assert refused(await http.request(method, path, headers=headers, json=BODY if method == "POST" else None))
        assert (await http.get(STATUS)).status_code == 200
        assert (await http.get(f"{STATUS}?wait=0")).status_code == 200
        await door.open()
        assert (await poll).status_code == 200
    assert inside(scripted) == (0, 0)


async def test_a_stream_keeps_its_place_until_its_end(door):
    scripted = bounded(door)

    async def items(id_: str, *, after: int = 0) -> AsyncIterator[dict[str, Any]]:
        await door.wait()
        yield {"version": 1, "type": "orchestration.completed"}

    scripted.queries.stream = items  # type: ignore[method-assign]
    async with scripted.client() as http:
        watching = asyncio.create_task(http.get(f"{STATUS}/stream"))
        await door.reached(1)
        assert refused(await http.get(f"{STATUS}/stream"))
        await door.open()
        assert "event: orchestration.completed" in (await watching).text
    assert inside(scripted) == (0, 0)


async def test_a_place_is_given_back_whatever_happens(door):
    scripted = bounded(door)
    async with scripted.client() as http:
        cut = asyncio.create_task(http.post(START, json=BODY))
        await door.reached(1)
        cut.cancel()
        await asyncio.gather(cut, return_exceptions=True)

        def broken(_: object) -> None:
            raise LookupError("a defect")

        scripted.commands.script = broken
        with capture_logs():
            assert (await http.post(START, json=BODY)).status_code == 500
        assert (await http.post(START, content=b"{")).status_code == 415
        assert (await http.post(START, json={})).status_code == 422
    assert inside(scripted) == (0, 0)


# Slow clients ---------------------------------------------------------------------------------------------------------


async def asked(
    scripted: Scripted,
    method: str,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    receive: Any = None,
    send: Any = None,
) -> list[dict[str, Any]]:
    """The messages of one request to the application; `receive` and `send` may be the test's own."""
    sent: list[dict[str, Any]] = []

    async def nothing() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def keep(message: Any) -> None:
        sent.append(message)

    given = {"content-type": "application/json", **(headers or {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    await scripted.app(scope, receive or nothing, send or keep)
    return sent


def pieces(*bodies: bytes) -> Any:
    """A client that sends these and then nothing more, though it announced more."""
    left = iter(bodies)

    async def receive() -> dict[str, Any]:
        for body in left:
            return {"type": "http.request", "body": body, "more_body": True}
        return await asyncio.Future()

    return receive


async def test_a_body_that_does_not_end_is_given_up():
    scripted = Scripted(patience_s=0.0)
    sent = await asked(scripted, "POST", START, receive=pieces(b'{"definition"', b":"))
    assert sent[0]["status"] == 400
    assert (b"connection", b"close") in sent[0]["headers"]
    assert inside(scripted) == (0, 0)


async def test_a_body_in_pieces_is_put_together():
    scripted = Scripted()
    whole = iter([(b'{"defin', True), (b"", True), (b'ition": "demo"}', False)])

    async def receive() -> dict[str, Any]:
        body, more = next(whole)
        return {"type": "http.request", "body": body, "more_body": more}

    assert (await asked(scripted, "POST", START, receive=receive))[0]["status"] == 201
    assert scripted.commands.asked[0].definition == "demo"


@pytest.mark.parametrize("size", [SLICE_BYTES // 2, SLICE_BYTES, SLICE_BYTES * 3, SLICE_BYTES * 3 + 1])
async def test_a_large_answer_goes_out_in_slices(size):
    scripted = Scripted()
    scripted.queries.current = status_of(input="x" * size)
    sent = await asked(scripted, "GET", STATUS)
    parts = [message["body"] for message in sent[1:]]
    length = next(int(value) for name, value in sent[0]["headers"] if name == b"content-length")
    assert sum(map(len, parts)) == length
    assert max(map(len, parts)) <= 65_536
    assert [message.get("more_body", False) for message in sent[1:]] == [True] * (len(parts) - 1) + [False]
    async with scripted.client() as http:
        assert (await http.get(STATUS)).json()["input"] == "x" * size


def taking(count: int) -> Any:
    """A client that takes so many messages and then no more."""
    taken: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        if len(taken) == count:
            await asyncio.Future()
        taken.append(message)

    return send


async def test_a_client_that_takes_nothing_is_given_up_and_its_place_is_free():
    scripted = Scripted(patience_s=0.0)
    scripted.queries.current = status_of(input="x" * SLICE_BYTES * 10)
    with capture_logs() as logs:
        await asked(scripted, "GET", STATUS, send=taking(3))
    assert [entry["event"] for entry in logs] == ["answer.cut"]
    assert inside(scripted) == (0, 0)


@pytest.mark.parametrize(
    ("path", "accept"), [(f"{STATUS}/history", "application/x-ndjson"), (f"{STATUS}/stream", "text/event-stream")]
)
async def test_a_stream_reads_no_further_than_its_client(path, accept):
    scripted = Scripted(patience_s=0.0)
    read: list[int] = []

    async def history(
        _: str, *, after: int = 0, limit: int = 100, archive: bool = False
    ) -> tuple[list[dict[str, Any]], int]:
        read.append(after)
        return [{"version": after + 1, "type": "note.added"}], after + 1

    async def stream(_: str, *, after: int = 0) -> AsyncIterator[dict[str, Any]]:
        for version in endless(after + 1):
            read.append(version)
            yield {"version": version, "type": "note.added"}

    scripted.queries.history = history  # type: ignore[attr-defined]
    scripted.queries.stream = stream  # type: ignore[method-assign, assignment]
    with capture_logs() as logs:
        await asked(scripted, "GET", path, headers={"accept": accept}, send=taking(5))
    assert [entry["event"] for entry in logs] == ["answer.cut"]
    assert len(read) <= 5
    assert inside(scripted) == (0, 0)


def endless(first: int) -> Iterable[int]:
    while True:
        yield first
        first += 1
