"""Attempts whose receiver is away: they wait, use up no retry, and are not sent once nobody wants them."""

from __future__ import annotations

import asyncio

import pytest

from application.ports import Answered, Callout, Postponed
from application.service import CommandRequest
from domain.errors import fault
from tests.simulation.folded import stored_of
from tests.simulation.loop import Process, simulate
from tests.simulation.memory_storage import MemoryData
from tests.simulation.nodes import Scripted, deploy, ended, running, start
from tests.support.soundness import histories_complaints

AWAY = fault("communication", "the circuit is open", status=503)
UNDO = {"call": "undo"}


class Away(Scripted):
    """The receiver of `act` is away until an instant of the loop's clock; `done` is what really arrived."""

    def __init__(self, until_s: float) -> None:
        super().__init__(self._answer)
        self.done: list[Callout] = []
        self.until_s = until_s

    async def _answer(self, callout):
        now = asyncio.get_running_loop().time()
        if callout.function == "act" and now < self.until_s:
            return Postponed(AWAY, 2.0)
        self.done.append(callout)
        return Answered(None)


def lived(tasks, until_s, command=None, **top):
    async def main(loop):
        data = MemoryData()
        callouts = Away(loop.time() + until_s)
        node = await running(loop, data, callouts)
        await deploy(node, tasks, **top)
        id_ = await start(node)
        if command is not None:
            await asyncio.sleep(5)
            assert node.effects.postponed == 1
            await command(node, id_)
        status = await ended(node, id_, 3600)
        await asyncio.sleep(100)
        assert histories_complaints(stored_of(data)) == []
        return callouts, status

    return simulate(1, main)


def test_it_is_sent_when_its_receiver_is_back_and_uses_up_no_retry():
    callouts, status = lived([{"a": {"call": "act"}}], 21)
    assert status["status"] == "completed"
    assert [(each.function, each.attempt, each.timeout_s) for each in callouts.done] == [("act", 1, 30)]
    assert status["tasks"][0]["attempts"] == 1


def test_after_its_timeout_it_has_failed_without_effect():
    callouts, status = lived([{"a": {"call": "act", "compensate": UNDO}}], 1000)
    assert status["status"] == "faulted"
    assert (status["error"]["type"].rpartition("/")[2], status["error"]["status"]) == ("communication", 503)
    assert (callouts.done, status["tasks"][0]["status"]) == ([], "failed")


def test_a_policy_tries_it_again():
    retry = {"delay": {"seconds": 1}, "limit": {"attempt": {"count": 3}}}
    callouts, status = lived([{"a": {"call": "act", "retry": retry}}], 70)
    assert status["status"] == "completed"
    assert callouts.done[0].attempt == 3


def test_an_undo_waits_as_often_as_it_takes():
    async def main(loop):
        data = MemoryData()
        back = loop.time() + 200

        async def answer(callout):
            away = callout.function == "undo" and loop.time() < back
            return Postponed(AWAY, 2.0) if away else Answered(None)

        node = await running(loop, data, Scripted(answer))
        await deploy(
            node,
            [
                {"a": {"call": "act", "compensate": UNDO}},
                {"b": {"raise": {"error": {"type": "https://x/y", "status": 400}}}},
            ],
        )
        return await ended(node, await start(node), 3600)

    status = simulate(1, main)
    assert (status["status"], status["incidents"]) == ("compensated", [])


def _said(verb):
    async def carry_out(node, id_):
        await getattr(node.commands, verb)(CommandRequest(id=id_, actor="ada"))

    return carry_out


@pytest.mark.parametrize(("verb", "final"), [("cancel", "cancelled"), ("terminate", "terminated")])
def test_what_nobody_wants_any_more_is_not_sent(verb, final):
    callouts, status = lived([{"a": {"call": "act", "compensate": UNDO}}], 20, _said(verb))
    assert status["status"] == final
    assert callouts.done == [], "neither it nor an undo of it"
    assert status["rollback"] is None or status["rollback"]["outcome"] == "none"


def test_a_scope_that_times_out_drops_it():
    tasks = [{"t": {"timeout": {"after": {"seconds": 5}}, "do": [{"a": {"call": "act", "compensate": UNDO}}]}}]
    callouts, status = lived(tasks, 20)
    assert status["status"] in ("faulted", "compensated")
    assert [each.function for each in callouts.done if each.function == "act"] == []


def test_another_node_takes_it_up():
    async def main(loop):
        data = MemoryData()
        first = Process(loop, 1)
        node = await first.call(running(loop, data, Away(loop.time() + 1000)))
        await first.call(deploy(node, [{"a": {"call": "act"}}]))
        id_ = await first.call(start(node))
        await asyncio.sleep(5)
        first.kill()
        callouts = Away(0)
        node = await running(loop, data, callouts, seed=2)
        return await ended(node, id_, 3600), callouts.done

    status, done = simulate(1, main)
    assert (status["status"], len(done), done[0].attempt) == ("completed", 1, 1)


@pytest.mark.parametrize(("idempotent", "attempts"), [(True, 1), (False, 2)])
def test_a_stop_does_not_wait_for_it(idempotent, attempts):
    async def main(loop):
        data = MemoryData()
        node = await running(loop, data, Away(loop.time() + 1000))
        retry = {"delay": {"seconds": 1}, "limit": {"attempt": {"count": 3}}}
        await deploy(node, [{"a": {"call": "act", "idempotent": idempotent, "retry": retry}}])
        id_ = await start(node)
        await asyncio.sleep(5)
        before = loop.time()
        await node.stop(10)
        assert loop.time() - before < 1
        callouts = Away(0)
        node = await running(loop, data, callouts, seed=2)
        return await ended(node, id_, 3600), callouts.done

    status, done = simulate(1, main)
    assert (status["status"], [each.attempt for each in done]) == ("completed", [attempts])
