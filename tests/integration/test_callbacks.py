"""Tasks that are called back, over the real service: what a participant is told, what it may post, and to which node."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from application.callbacks import CallbackReport
from application.ports import Answered, Callout, CalloutResult
from application.service import CommandRequest
from domain.errors import NotFoundError, StaleTokenError
from retrace.functions import Function
from tests.integration.participants import raw_server, read_request
from tests.simulation.folded import folded
from tests.simulation.loop import Process, ProcessDiedError, simulate
from tests.simulation.memory_data import MemoryData
from tests.simulation.nodes import Scripted, deploy, ended, running, start
from tests.support.service import Api, running_service

pytestmark = pytest.mark.anyio
ASKING = """
document: {dsl: '1.0.3', namespace: default, name: asking, version: '1.0.0'}
do:
  - ask:
      call: ask
      callback: true
      with: {to: '${ $callback.url }', token: '${ $callback.token }', city: '${ .city }'}
      output: {as: '${ .answer }'}
"""
HTTP = """
document: {{dsl: '1.0.3', namespace: default, name: http, version: '1.0.0'}}
do:
  - ask:
      call: http
      callback: true
      with: {{method: post, endpoint: '{url}/ask', body: {{to: '${{ "\\($callback.url)/fail" }}'}}}}
"""


class Asked:
    """A participant that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def functions(self) -> dict[str, Function]:
        async def ask(to: str, token: str, city: str) -> str:
            self.told.append({"to": to, "token": token, "city": city})
            return f"will answer to {to}"

        return {"ask": Function("ask", ask, is_async=True, source="here")}


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
async def api(tmp_path, asked) -> AsyncIterator[Api]:
    tokens = {"ada": hashlib.sha256(b"secret").hexdigest()}
    settings: dict[str, Any] = {"api_tokens": tokens, "public_url": "https://retrace.example/base/"}
    async with running_service(tmp_path, asked.functions(), **settings) as running:
        running.http.headers["Authorization"] = "Bearer secret"
        assert (await running.deploy(ASKING))["http_status"] == 201
        yield running


async def waiting(api: Api, asked: Asked) -> tuple[str, str]:
    """(public id, path of the callback) of one that waits."""
    id_ = (await api.start("asking", {"city": "Porto"}))["id"]
    await api.waiting(id_, "ask")
    (told,) = asked.told
    assert told["to"] == f"https://retrace.example/base/v1/callbacks/{told['token']}"
    return id_, f"/v1/callbacks/{told['token']}"


async def test_a_task_is_called_back_without_any_other_token(api, asked):
    id_, path = await waiting(api, asked)
    status = await api.status(id_)
    assert [each["kind"] for each in status["waiting_for"]] == ["callback"]
    del api.http.headers["Authorization"]
    answer = await api.http.post(path, json={"answer": 42})
    assert (answer.status_code, answer.json()) == (200, {"outcome": "accepted"})
    again = await api.http.post(path, json={"answer": 42})
    assert (again.status_code, again.json()) == (200, {"outcome": "accepted"})
    other = await api.http.post(path, json={"answer": 43})
    assert (other.status_code, other.json()["type"]) == (409, "/problems/stale-token")
    assert (await api.http.get(f"/v1/orchestrations/{id_}")).status_code == 401
    api.http.headers["Authorization"] = "Bearer secret"
    assert (await api.ended(id_))["output"] == 42


async def test_the_token_stands_nowhere_in_what_is_recorded(api, asked):
    id_, path = await waiting(api, asked)
    token = path.rpartition("/")[2]
    await api.http.post(path, json={"answer": 1})
    assert token not in str(await api.history(id_))
    assert token not in str(await api.status(id_))


async def test_a_failure_has_a_form(api, asked):
    id_, path = await waiting(api, asked)
    wrong = await api.http.post(f"{path}/fail", json={"error": {"status": 42}, "more": 1})
    assert wrong.status_code == 422
    assert {each["pointer"] for each in wrong.json()["errors"]} == {"/error/status", "/more"}
    answer = await api.http.post(f"{path}/fail", json={"error": {"type": "no-seats", "detail": "sold out"}})
    assert answer.status_code == 200
    status = await api.ended(id_)
    assert status["status"] == "faulted"
    assert (status["error"]["type"], status["error"]["detail"]) == (
        "https://retrace.invalid/errors/no-seats",
        "sold out",
    )


async def test_a_failure_whose_type_is_no_word_has_a_uri_all_the_same(api, asked):
    id_, path = await waiting(api, asked)
    await api.http.post(f"{path}/fail", json={"error": {"type": "no seats"}})
    assert (await api.ended(id_))["error"]["type"] == "https://retrace.invalid/errors/no%20seats"


async def test_after_a_cancel_the_token_is_void_and_what_it_says_is_recorded(api, asked):
    id_, path = await waiting(api, asked)
    await api.done("POST", f"/v1/orchestrations/{id_}/cancel")
    await api.ended(id_)
    answer = await api.http.post(path, json={"answer": 1})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/stale-token")
    assert (await api.history(id_))[-1]["type"] == "result.late"


@pytest.mark.parametrize("token", ["x", "AAAA", "\u00e9", "a" * 5000])
async def test_what_is_no_token_is_not_found(api, token):
    answer = await api.http.post(f"/v1/callbacks/{token}", json=1)
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


async def test_participants_that_choose_the_same_idempotency_key_do_not_meet(api, asked):
    paths = [(await waiting(api, asked))[1]]
    asked.told.clear()
    paths.append((await waiting(api, asked))[1])
    answers = [await api.http.post(path, json={"answer": path}, headers={"Idempotency-Key": "1"}) for path in paths]
    assert [answer.status_code for answer in answers] == [200, 200]


async def test_a_token_of_one_task_is_none_of_another(api, asked):
    _, path = await waiting(api, asked)
    changed = path[:-1] + ("A" if path[-1] != "A" else "B")
    assert (await api.http.post(changed, json=1)).status_code == 404


async def test_an_answer_over_http_that_repeats_the_address_does_not_bring_it_into_the_history(tmp_path):
    bodies: list[bytes] = []

    async def participant(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append((await read_request(reader)).rpartition(b"\r\n\r\n")[2])
        head = b"HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(bodies[-1]) + bodies[-1])
        await writer.drain()

    async with raw_server(participant) as url, running_service(tmp_path) as running:
        assert (await running.deploy(HTTP.format(url=url)))["http_status"] == 201
        id_ = (await running.start("http"))["id"]
        status = await running.ended(id_)
        assert b"/v1/callbacks/" in bodies[0]
        assert status["error"]["response"]["content"] == {"to": "http://127.0.0.1:8080/v1/callbacks/***/fail"}


# Several nodes ----------------------------------------------------------------------------------------------------------

TASK = {"ask": {"call": "ask", "callback": True, "with": {"token": "${ $callback.token }"}}}


def test_any_node_takes_it_and_a_restart_loses_nothing():
    """Posted to a node that owns nothing of it; the wait outlives the node that began it."""

    async def main(loop):
        data, callouts = MemoryData(), Scripted()
        first = await running(loop, data, callouts, alone=False)
        second = await running(loop, data, callouts, seed=1, alone=False)
        await asyncio.sleep(30)
        await deploy(first, [TASK])
        ids = [await start(first) for _ in range(6)]
        await asyncio.sleep(1)
        assert len(callouts.sent) == 6
        tokens = {callout.orchestration: callout.arguments["token"] for callout in callouts.sent}
        for id_ in ids[:3]:
            for node in (second, first, second):
                await node.commands.take_callback(tokens[id_], CallbackReport("completed", {"n": 1}))
            with pytest.raises(StaleTokenError):
                await second.commands.take_callback(tokens[id_], CallbackReport("completed", {"n": 2}))
            assert (await ended(second, id_))["output"] == {"n": 1}
        await first.stop()
        await asyncio.sleep(30)
        assert len(callouts.sent) == 6, "what waits for a callback is not sent again"
        for id_ in ids[3:]:
            await second.commands.take_callback(tokens[id_], CallbackReport("completed", {"n": 1}))
            assert (await ended(second, id_))["status"] == "completed"
        with pytest.raises(NotFoundError):
            await second.commands.take_callback("x", CallbackReport("completed"))
        await second.stop()

    simulate(1, main)


def test_a_callback_while_the_call_is_still_in_flight_is_not_lost():
    async def main(loop):
        async def answer(callout: Callout) -> CalloutResult:
            report = CallbackReport("completed", {"n": 1})
            await node.commands.take_callback(callout.arguments["token"], report)
            return Answered("received")

        node = await running(loop, MemoryData(), Scripted(answer))
        await deploy(node, [TASK])
        assert (await ended(node, await start(node)))["output"] == {"n": 1}
        await node.stop()

    simulate(1, main)


def test_the_deadline_holds_through_a_restart():
    async def main(loop):
        data, callouts = MemoryData(), Scripted()
        node = await running(loop, data, callouts)
        await deploy(node, [{"ask": {**TASK["ask"], "timeout": {"after": {"hours": 1}}}}])
        id_ = await start(node)
        await asyncio.sleep(1)
        await node.stop()
        following = await running(loop, data, callouts, seed=1)
        await asyncio.sleep(3500)
        assert (await following.queries.status(id_))["status"] == "running"
        await asyncio.sleep(200)
        status = await following.queries.status(id_)
        assert (status["status"], status["error"]["status"]) == ("faulted", 408)
        await following.stop()

    simulate(1, main)


def test_posts_at_once_at_several_nodes_have_one_winner():
    """Different answers, each twice: all posts of one succeed, all of the others are refused."""
    winners = set()

    async def main(loop):
        data, callouts = MemoryData(), Scripted()
        nodes = [await running(loop, data, callouts, seed=each, alone=False) for each in range(2)]
        await asyncio.sleep(30)
        await deploy(nodes[0], [TASK])
        id_ = await start(nodes[0])
        await asyncio.sleep(1)
        token = callouts.sent[0].arguments["token"]

        async def post(node, number):
            try:
                await node.commands.take_callback(token, CallbackReport("completed", {"n": number}))
            except StaleTokenError:
                return None
            return number

        told = await asyncio.gather(*[post(nodes[each % 2], each % 3) for each in range(12)])
        [won] = {each for each in told if each is not None}
        assert told.count(won) == 4
        assert (await ended(nodes[1], id_))["output"] == {"n": won}
        winners.add(won)
        for node in nodes:
            await node.stop()

    for seed in range(8):
        simulate(seed, main)
    assert len(winners) > 1


def test_a_post_while_suspended_counts_at_the_resume_after_a_takeover():
    async def main(loop):
        data, callouts = MemoryData(), Scripted()
        process = Process(loop, 1)
        node = await process.call(running(loop, data, callouts))
        await process.call(deploy(node, [TASK]))
        id_ = await process.call(start(node))
        await asyncio.sleep(1)
        token = callouts.sent[0].arguments["token"]
        await process.call(node.commands.suspend(CommandRequest(id=id_)))
        await process.call(node.commands.take_callback(token, CallbackReport("completed", {"n": 1})))
        process.kill()
        other = await running(loop, data, callouts, seed=1)
        await asyncio.sleep(20)
        assert (await other.queries.status(id_))["status"] == "suspended"
        await other.commands.take_callback(token, CallbackReport("completed", {"n": 1}))
        with pytest.raises(StaleTokenError):
            await other.commands.take_callback(token, CallbackReport("completed", {"n": 2}))
        await other.commands.resume(CommandRequest(id=id_))
        assert (await ended(other, id_))["output"] == {"n": 1}
        assert len(callouts.sent) == 1
        await other.stop()

    simulate(1, main)


def test_a_post_to_an_owner_that_dies_meanwhile_is_repeated_and_taken_once():
    """Whenever the owner dies, the repeat gets the same answer, and the history has one callback."""
    taken_before: list[bool] = []

    async def main(steps, loop):
        data, callouts = MemoryData(), Scripted()
        process = Process(loop, 1)
        node = await process.call(running(loop, data, callouts))
        await process.call(deploy(node, [TASK]))
        id_ = await process.call(start(node))
        await asyncio.sleep(1)
        token = callouts.sent[0].arguments["token"]
        loop.at_step = (loop.steps + steps, process.kill)
        report = CallbackReport("completed", {"n": 1})
        try:
            await process.call(node.commands.take_callback(token, report))
        except ProcessDiedError:
            taken_before.append(False)
        else:
            taken_before.append(True)
            process.kill()
        loop.at_step = None
        other = await running(loop, data, callouts, seed=1)
        await other.commands.take_callback(token, report)
        assert (await ended(other, id_))["output"] == {"n": 1}
        [history] = [each.events for each in folded(data) if each.state.id == id_]
        assert [type(event).__name__ for event in history].count("CallbackReceived") == 1
        await other.stop()

    for steps in range(1, 40, 2):
        simulate(3, partial(main, steps))
    assert not all(taken_before)
