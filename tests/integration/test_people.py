"""Tasks for people over the real service: finding, claiming, answering, races, nodes, and who may act for whom."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.service import Api, running_service

pytestmark = pytest.mark.anyio
LOAN = """
document: {dsl: '1.0.3', namespace: bank, name: loan, version: '1.0.0'}
do:
  - approve:
      call: human
      with:
        title: '${ "Approve \\(.amount)" }'
        candidates: {users: [ann], groups: [clerks]}
        priority: '${ .priority // 0 }'
        due: {hours: 4}
        form: {type: object, required: [approved], properties: {approved: {type: boolean}}, additionalProperties: false}
        data: '${ . }'
"""
DEADLINE = """
document: {dsl: '1.0.3', namespace: bank, name: deadline, version: '1.0.0'}
do:
  - guard:
      try:
        - approve:
            call: human
            timeout: {after: {milliseconds: 150}}
            with: {title: Quick}
        - paid: {set: {outcome: paid}}
      catch:
        errors: {with: {status: 408}}
        do: [{declined: {set: {outcome: declined}}}]
"""


@pytest.fixture
async def api(tmp_path) -> AsyncIterator[Api]:
    async with running_service(tmp_path, {}) as running:
        for document in (LOAN, DEADLINE):
            assert (await running.deploy(document))["http_status"] == 201
        yield running


async def asked(api: Api, **input_: Any) -> dict[str, Any]:
    """A new loan's task."""
    id_ = (await api.start("bank/loan", {"amount": 5} | input_))["id"]
    (waits,) = (await api.status(id_))["waiting_for"]
    return dict(waits)


async def post(api: Api, task: str, verb: str, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = await api.http.post(f"/v1/human-tasks/{task}/{verb}", json=body)
    return answer.status_code, answer.json()


async def listed(api: Api, **query: Any) -> list[dict[str, Any]]:
    answer = await api.http.get("/v1/human-tasks", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def test_a_task_is_found_claimed_and_answered(api):
    task = (await asked(api))["id"]
    (entry,) = await listed(api, candidate="bob", group="clerks", definition="bank/loan", overdue="false")
    assert (entry["id"], entry["title"], entry["status"], entry["overdue"]) == (task, "Approve 5", "open", False)
    assert (
        await listed(api, candidate="eve")
        == await listed(api, assignee="bob")
        == await listed(api, overdue="true")
        == []
    )
    status, shown = await post(api, task, "claim", user="bob", groups=["clerks"])
    assert (status, shown["assignee"], shown["status"], shown["data"]) == (200, "bob", "claimed", {"amount": 5})
    assert [each["id"] for each in await listed(api, assignee="bob", status="claimed")] == [task]
    status, problem = await post(api, task, "claim", user="ann")
    assert (status, problem["type"], problem["detail"]) == (409, "/problems/task-claimed", "bob has the task.")
    assert (await post(api, task, "claim", user="eve"))[0] == 404
    status, problem = await post(api, task, "complete", user="bob", output={"approved": "yes"})
    assert (status, problem["errors"][0]["pointer"]) == (422, "/output/approved")
    status, done = await post(api, task, "complete", user="bob", output={"approved": True})
    assert (status, done["status"], done["output"]) == (200, "completed", {"approved": True})
    assert await post(api, task, "complete", user="bob", output={"approved": True}) == (status, done)
    assert (await post(api, task, "complete", user="bob", output={"approved": False}))[0] == 409
    assert await listed(api) == []
    history = await api.history(done["orchestration"])
    told = {entry["type"]: entry for entry in history}
    assert told["task.claimed"]["data"]["user"] == "bob"
    assert told["task.answered"]["actor"] == "anonymous"


async def test_of_many_who_claim_at_once_one_has_it(api):
    task = (await asked(api))["id"]
    people = [f"clerk{number}" for number in range(20)]
    answers = await asyncio.gather(*[post(api, task, "claim", user=name, groups=["clerks"]) for name in people])
    assert sorted(status for status, _ in answers) == [200] + [409] * 19
    (winner,) = [shown["assignee"] for status, shown in answers if status == 200]
    assert (await listed(api))[0]["assignee"] == winner


async def test_an_answer_and_the_deadline_race_until_both_orders_were_seen(api):
    seen: set[str] = set()
    for attempt in range(200):
        id_ = (await api.start("bank/deadline"))["id"]
        await asyncio.sleep(0.130 + (attempt % 9) * 0.005)  # the race itself: the answer is sent about when time is up
        status, problem = await post(api, f"{id_}-1", "complete", user="ann", output=1)
        ended = await api.ended(id_)
        assert ended["output"]["outcome"] == ("paid" if status == 200 else "declined")
        assert status == 200 or (status, problem["type"]) == (409, "/problems/task-ended")
        seen.add(ended["output"]["outcome"])
        if seen == {"paid", "declined"}:
            return
    raise AssertionError(f"only {seen} was seen")


async def test_lists_are_paged_with_the_most_urgent_first(api):
    tasks = [(await asked(api, amount=number, priority=number % 3))["id"] for number in range(7)]
    found: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        page = (await api.http.get("/v1/human-tasks", params=query)).json()
        found += [each["id"] for each in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert found == [tasks[n] for n in (2, 5, 1, 4, 0, 3, 6)]


async def test_it_is_reassigned_given_back_and_refused(api):
    task = (await asked(api))["id"]
    assert (await post(api, task, "reassign", reason="no one"))[0] == 422
    status, shown = await post(api, task, "reassign", assignee="mia", reason="she knows the customer")
    assert (status, shown["assignee"], shown["handings"][-1]["reason"]) == (200, "mia", "she knows the customer")
    assert (await post(api, task, "release", user="mia"))[1]["status"] == "open"
    await post(api, task, "reassign", candidates={"groups": ["managers"]}, reason="too large")
    assert [each["id"] for each in await listed(api, group="managers")] == [task]
    error = {"type": "too-risky", "status": 422, "title": "Too risky"}
    status, shown = await post(api, task, "fail", user="mia", groups=["managers"], error=error)
    assert (status, shown["status"], shown["error"]["title"]) == (200, "refused", "Too risky")
    ended = await api.ended(shown["orchestration"])
    assert (ended["status"], ended["error"]["type"]) == ("faulted", "https://retrace.invalid/errors/too-risky")


async def test_a_cancel_takes_it_from_the_list(api):
    task = (await asked(api))["id"]
    id_ = task.rpartition("-")[0]
    await api.http.post(f"/v1/orchestrations/{id_}/cancel", json={})
    assert await listed(api) == []
    status, problem = await post(api, task, "complete", user="ann", output={"approved": True})
    assert (status, problem["type"]) == (409, "/problems/task-ended")
    assert (await api.http.get(f"/v1/human-tasks/{task}")).json()["status"] == "withdrawn"


@pytest.mark.parametrize("task", ["nonsense", "o_0000000000000000000000-1", "%00-1"])
async def test_unknown_ids_are_not_found(api, task):
    assert (await api.http.get(f"/v1/human-tasks/{task}")).status_code == 404
    assert (await post(api, task, "claim"))[0] == 404


async def test_who_has_a_token_acts_for_itself_unless_it_may_act_for_others(tmp_path):
    tokens = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "bob", "eve", "portal")}
    settings: dict[str, Any] = {"api_tokens": tokens, "groups": {"clerks": ["bob"]}, "on_behalf": ["portal"]}
    async with running_service(tmp_path, {}, **settings) as api:
        api.http.headers["Authorization"] = "Bearer portal"
        await api.deploy(LOAN)
        one, other = (await asked(api))["id"], (await asked(api))["id"]
        status, shown = await post(api, one, "claim", user="carl", groups=["clerks"])
        assert (status, shown["handings"][-1]["user"], shown["handings"][-1]["actor"]) == (200, "carl", "portal")
        api.http.headers["Authorization"] = "Bearer eve"
        assert (await post(api, other, "claim", groups=["clerks"]))[0] == 404
        assert (await post(api, other, "claim", user="ann"))[0] == 404
        api.http.headers["Authorization"] = "Bearer bob"
        assert [each["id"] for each in await listed(api, candidate="bob")] == [one, other]
        assert (await post(api, other, "claim"))[1]["assignee"] == "bob"


REMINDING = """
document: {dsl: '1.0.3', namespace: bank, name: reminding, version: '1.0.0'}
do:
  - approve:
      call: human
      with: {title: Quick, candidates: [ann], escalation: [{after: PT0.05S, remind: true, priority: 7}]}
"""
LISTENING = """
document: {dsl: '1.0.3', namespace: bank, name: listening, version: '1.0.0'}
do:
  - wait: {listen: {to: {one: {with: {type: retrace.human.escalated.v1}}}}}
"""


async def test_a_reminder_is_an_event_for_whoever_listens(api):
    for document in (REMINDING, LISTENING):
        assert (await api.deploy(document))["http_status"] == 201
    listener = (await api.start("bank/listening"))["id"]
    id_ = (await api.start("bank/reminding"))["id"]
    (told,) = (await api.ended(listener))["output"]
    assert (told["id"], told["title"], told["candidates"]["users"], told["priority"]) == (
        f"{id_}-1",
        "Quick",
        ["ann"],
        7,
    )
    assert (await listed(api, definition="bank/reminding"))[0]["priority"] == 7
    assert await listed(api, definition="reminding") == []


AGAIN = """
document: {dsl: '1.0.3', namespace: bank, name: again, version: '1.0.0'}
do:
  - t:
      try: [{approve: {call: human, with: {title: Once more}}}]
      catch: {retry: {limit: {attempt: {count: 3}}}}
"""


async def test_a_refusal_that_is_asked_again_at_once_is_answered(api):
    assert (await api.deploy(AGAIN))["http_status"] == 201
    id_ = (await api.start("bank/again", {"amount": 5}))["id"]
    for number in (1, 2, 3):
        error = {"type": "no", "status": 422}
        status, shown = await post(api, f"{id_}-{number}", "fail", user="ann", error=error)
        assert (status, shown["status"]) == (200, "refused")
        await api.reached(
            id_, lambda status, number=number: [w.get("id") for w in status["waiting_for"]] == [f"{id_}-{number + 1}"]
        )
        status, shown = await post(api, f"{id_}-{number}", "fail", user="ann", error=error)
        assert (status, shown["status"]) == (200, "refused")
