"""Callouts: sent after the commit, sent again under the same key, and secrets that are written down nowhere."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from application.ports import Answered, Declined, Doubtful
from application.service import CommandRequest
from domain.errors import Fault, StorageError, fault
from tests.simulation.folded import folded
from tests.simulation.loop import Process, simulate
from tests.simulation.memory_storage import MemoryData
from tests.simulation.nodes import Scripted, deploy, ended, running, start
from tests.simulation.participants import KnownSecrets

SECRET = "hunter2-and-a-half"


async def never(callout):
    await asyncio.get_running_loop().create_future()


def restarted(tasks, **top):
    """A node that dies while its callouts are in flight, and the next: (what each sent, the status at the end)."""

    async def main(loop):
        data = MemoryData()
        lost, found = Scripted(never), Scripted()
        first = Process(loop, 1)
        node = await first.call(running(loop, data, lost))
        await first.call(deploy(node, tasks, **top))
        id_ = await first.call(start(node))
        await asyncio.sleep(1)
        first.kill()
        node = await running(loop, data, found, seed=2)
        return lost.sent, found.sent, await ended(node, id_, 3600), folded(data)

    return simulate(1, main)


def test_what_was_in_flight_is_sent_again_under_the_same_key():
    lost, found, status, _ = restarted([{"a": {"call": "act", "with": {"n": 1}, "timeout": {"after": {"seconds": 9}}}}])
    assert status["status"] == "completed"
    assert [lost[0]] == [found[0]]
    assert (found[0].attempt, found[0].timeout_s) == (1, 9)
    assert status["tasks"][0]["attempts"] == 1, "it uses up no retry"


def test_what_may_not_be_sent_twice_is_uncertain():
    undo = {"call": "undo", "with": {"of": "${ $task.key }"}}
    tasks = [{"a": {"call": "act", "idempotent": False, "compensate": undo}}]
    lost, found, status, _ = restarted(tasks)
    assert [callout.function for callout in found] == ["undo"]
    assert found[0].compensates == lost[0].idempotency_key
    assert status["status"] == "compensated"
    assert status["rollback"]["steps"][0]["outcome"] == "uncertain"


def test_a_branch_in_flight_is_sent_again_beside_another():
    branches = [{name: {"call": name}} for name in ("left", "right")]
    lost, found, status, _ = restarted([{"f": {"fork": {"branches": branches}}}])
    assert {callout.function: callout.idempotency_key for callout in lost} == {
        callout.function: callout.idempotency_key for callout in found
    }
    assert status["status"] == "completed"


def test_nothing_is_sent_before_it_is_committed():
    async def main(loop):
        data = MemoryData()
        callouts = Scripted()
        broken = set()

        async def step(operation):
            if operation in broken:
                raise StorageError("broken")
            await asyncio.sleep(0)

        node = await running(loop, data, callouts, step=step)
        await deploy(node, [{"a": {"call": "act"}}])
        broken |= {"write", "heads"}
        with pytest.raises(StorageError):
            await start(node)
        broken.clear()
        await asyncio.sleep(60)
        assert callouts.sent == []

    simulate(1, main)


def test_a_result_waits_for_the_database():
    async def main(loop):
        data = MemoryData()
        broken = set()

        async def step(operation):
            if operation in broken:
                raise StorageError("broken")

        async def answer(callout):
            broken.update({"write", "heads"})
            return Answered({"fine": True})

        callouts = Scripted(answer)
        node = await running(loop, data, callouts, step=step)
        await deploy(node, [{"a": {"call": "act"}}])
        id_ = await start(node)
        await asyncio.sleep(300)
        broken.clear()
        status = await ended(node, id_, 60)
        assert (status["status"], status["output"]) == ("completed", {"fine": True})
        assert len(callouts.sent) == 1

    simulate(1, main)


@pytest.mark.parametrize("broken", [RuntimeError("a defect"), ZeroDivisionError()])
def test_an_adapter_that_breaks_leaves_the_outcome_uncertain(broken):
    async def main(loop):
        async def answer(callout):
            raise broken

        node = await running(loop, callouts=Scripted(answer))
        await deploy(node, [{"a": {"call": "act"}}])
        status = await ended(node, await start(node))
        assert (status["status"], status["tasks"][0]["status"]) == ("faulted", "uncertain")

    simulate(1, main)


def with_a_defect(**members):
    """A node that cannot handle the first result: its expressions break once. (the callouts, the status at the end)"""

    async def main(loop):
        callouts = Scripted()
        node = await running(loop, callouts=callouts)
        expressions: Any = node.world.expressions
        sound = expressions.evaluate

        async def broken(batch):
            expressions.evaluate = sound
            raise RuntimeError("a defect")

        call = {"call": "act", "output": {"as": "{n: (1 + 1)}"}, "compensate": {"call": "undo"}, **members}
        await deploy(node, [{"f": {"fork": {"branches": [{"a": call}, {"b": {"call": "slow"}}]}}}])
        callouts._answer = answer_of(loop)
        expressions.evaluate = broken
        id_ = await start(node)
        await asyncio.sleep(5)
        status = await node.queries.status(id_)
        assert [incident["kind"] for incident in status["incidents"]] == ["poison"]
        assert sorted(callout.function for callout in callouts.sent) == ["act", "slow"]
        await node.commands.resolve(CommandRequest(id=id_, reason="repaired"), number=1, action="retry")
        return callouts.sent, await ended(node, id_, 3600)

    def answer_of(loop):
        async def answer(callout):
            if callout.function == "slow":
                await asyncio.sleep(60)
            return Answered({})

        return answer

    return simulate(1, main)


def test_what_could_not_be_handled_is_sent_again_when_the_incident_is_resolved():
    """Under the same key; what is really in flight is not sent twice."""
    sent, status = with_a_defect()
    assert (status["status"], status["output"][0], status["incidents"]) == ("completed", {"n": 2}, [])
    assert [callout.function for callout in sent][2:] == ["act"]
    first = next(callout for callout in sent if callout.function == "act")
    assert (first.idempotency_key, first.attempt) == (sent[2].idempotency_key, sent[2].attempt)


def test_what_could_not_be_handled_and_may_not_be_sent_twice_is_uncertain():
    sent, status = with_a_defect(idempotent=False)
    assert [callout.function for callout in sent][2:] == ["undo"]
    assert (status["status"], status["rollback"]["steps"][0]["outcome"]) == ("compensated", "uncertain")
    assert status["error"]["detail"] == "its result could not be handled"


# Secrets ----------------------------------------------------------------------------------------------------------------


def with_secret(answer, tasks=None):
    """Everything that was stored and shown, after a task that used the secret."""

    async def main(loop):
        data = MemoryData()
        callouts = Scripted(answer)
        node = await running(loop, data, callouts, secrets=KnownSecrets(token=SECRET))
        tasks_ = tasks or [{"a": {"call": "act", "with": {"header": '${ "Bearer " + $secrets.token }', "n": 1}}}]
        await deploy(node, tasks_, use={"secrets": ["token"]})
        id_ = await start(node)
        status = await ended(node, id_)
        history, _ = await node.queries.history(id_)
        await node.projector.caught_up()
        stored = [record.state for partition in data.partitions for record in partition.log]
        stored += [row.summary for row in data.status.values()]
        return callouts.sent, status, repr((status, history)), b"".join(stored)

    return simulate(1, main)


def test_a_secret_reaches_the_participant_and_nobody_else():
    async def answer(callout):
        return Answered({"echo": callout.arguments, "nested": [{SECRET: f"x{SECRET}y"}]})

    sent, status, shown, stored = with_secret(answer)
    assert sent[0].arguments == {"header": f"Bearer {SECRET}", "n": 1}
    assert status["status"] == "completed"
    assert status["output"]["echo"]["header"] == "Bearer ***"
    assert SECRET not in shown
    assert SECRET.encode() not in stored
    assert b"$secrets.token" in stored, "what is recorded is the expression"


def test_faults_are_redacted():
    async def answer(callout):
        return Declined(Fault("https://test.invalid/no", 401, "No", f"not {SECRET}", response={"content": [SECRET]}))

    _, status, shown, stored = with_secret(answer)
    assert status["error"]["detail"] == "not ***"
    assert SECRET not in shown
    assert SECRET.encode() not in stored


def test_an_uncertain_outcome_is_redacted():
    async def answer(callout):
        return Doubtful(fault("communication", f"lost while sending {SECRET}"))

    _, status, shown, stored = with_secret(answer)
    assert status["status"] == "faulted"
    assert SECRET not in shown
    assert SECRET.encode() not in stored


def test_a_program_that_fails_does_not_tell_the_secret():
    tasks = [{"a": {"call": "act", "with": {"n": "${ $secrets.token | tonumber }"}}}]
    sent, status, shown, stored = with_secret(None, tasks)
    assert sent == []
    assert status["status"] == "faulted"
    assert SECRET not in shown
    assert SECRET.encode() not in stored


def test_a_secret_that_is_not_there_is_a_definite_failure():
    async def main(loop):
        callouts = Scripted()
        node = await running(loop, callouts=callouts)
        await deploy(node, [{"a": {"call": "act", "with": {"t": "${ $secrets.token }"}}}], use={"secrets": ["token"]})
        status = await ended(node, await start(node))
        assert callouts.sent == []
        assert status["tasks"][0]["status"] == "failed"
        assert status["error"]["type"].endswith("/authorization")

    simulate(1, main)


def test_secrets_are_evaluated_at_every_sending():
    async def main(loop):
        secrets = KnownSecrets(token="old")

        async def answer(callout):
            secrets._secrets["token"] = "new"
            return Doubtful(fault("timeout", "no answer")) if len(callouts.sent) == 1 else Answered({})

        callouts = Scripted(answer)
        node = await running(loop, callouts=callouts, secrets=secrets)
        task = {"call": "act", "with": {"t": "${ $secrets.token }"}, "retry": {"limit": {"attempt": {"count": 2}}}}
        await deploy(node, [{"a": task}], use={"secrets": ["token"]})
        assert (await ended(node, await start(node)))["status"] == "completed"
        assert [callout.arguments["t"] for callout in callouts.sent] == ["old", "new"]

    simulate(1, main)
