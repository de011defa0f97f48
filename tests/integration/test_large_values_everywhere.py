"""Large values where features meet: people, remote workers, children, branches, events, forks, what-if, time travel, and the
archive see the values, and histories stay small.
"""

from __future__ import annotations

from typing import Any

import pytest

from adapters.bundles import open_bundle
from tests.integration.test_large_values import verified
from tests.support.audited import archive, database, feed, serving  # noqa: F401 - a fixture

pytestmark = pytest.mark.anyio
CHILD = """
document: {dsl: '1.0.3', namespace: shop, name: reader, version: '1.0.0'}
do:
  - read: {set: {text: '${ .text }', length: '${ .text | length }'}}
"""
SAGA = """
document: {dsl: '1.0.3', namespace: shop, name: office, version: '1.0.0'}
do:
  - approve:
      call: human
      with:
        title: Read it
        data: {letter: '${ $workflow.input.text }'}
        form: {type: object, properties: {comment: {type: string}}}
        candidates: {users: [ann]}
  - pack:
      call: pack
      with: {text: '${ $workflow.input.text }', comment: '${ .comment }'}
      compensate: {call: unpack, with: {box: '${ .box }'}}
  - child: {run: {workflow: {namespace: shop, name: reader, version: latest, input: {text: '${ .box }'}}}}
  - each:
      for: {each: item, in: '["a", "b", "c"]'}
      parallel: {}
      do:
        - one: {set: {text: '${ $workflow.input.text + $item }'}}
  - event: {listen: {to: {one: {with: {type: go}}}}}
  - last: {set: {length: '${ $outputs.event[0].text | length }', child: '${ $outputs.child.length }'}}
"""
LETTER, COMMENT, BOX, TOLD = ("x" * 200_000, "y" * 200_001, "z" * 200_002, "w" * 200_003)


async def answered(api: Any, id_: str) -> None:
    await api.waiting(id_, "approve")
    [item] = (await api.done("GET", "/v1/human-tasks", params={"candidate": "ann"}))["items"]
    task = await api.done("GET", f"/v1/human-tasks/{item['id']}")
    assert task["data"] == {"letter": LETTER}
    path = f"/v1/human-tasks/{item['id']}"
    await api.done("POST", f"{path}/claim", json={"user": "ann"})
    await api.done("POST", f"{path}/complete", json={"user": "ann", "output": {"comment": COMMENT}})


async def packed(api: Any) -> None:
    claim = {"functions": ["pack"], "worker": "w", "max": 1, "wait": 10, "lease": 30}
    [task] = (await api.done("POST", "/v1/tasks/claim", json=claim))["items"]
    assert task["arguments"] == {"text": LETTER, "comment": COMMENT}
    report = {"token": task["token"], "output": {"box": BOX}}
    await api.done("POST", f"/v1/tasks/{task['task_id']}/complete", json=report)
    await api.done("POST", f"/v1/tasks/{task['task_id']}/complete", json=report)


async def office(api: Any) -> str:
    for document in (CHILD, SAGA):
        deployed = await api.deploy(document)
        assert deployed["http_status"] == 201, deployed["errors"]
    id_ = str((await api.start("shop/office", {"text": LETTER}))["id"])
    await answered(api, id_)
    await packed(api)
    await api.waiting(id_, "event")
    event = {"specversion": "1.0", "id": "1", "source": "/test", "type": "go", "data": {"text": TOLD}}
    headers = {"Content-Type": "application/cloudevents+json"}
    for outcome in ("matched", "duplicate"):
        told = await api.done("POST", "/v1/events", json=event, headers=headers)
        assert told["outcome"] == outcome
    return id_


async def test_every_feature_sees_the_values(database):  # noqa: F811
    async with serving(database, blob_threshold=64 * 1024) as (node, api):
        id_ = await office(api)
        status = await api.ended(id_)
        assert (status["status"], status["output"]) == ("completed", {"length": len(TOLD), "child": len(BOX)})
        history = await api.http.get(f"/v1/orchestrations/{id_}/history", params={"limit": 500})
        assert len(history.content) < 60_000
        node.cache.forget(node.engine.identity.locate(id_)[1])
        for version in range(1, status["version"] + 1):
            then = await api.done("GET", f"/v1/orchestrations/{id_}", params={"at_version": version})
            assert then["input"] == {"text": LETTER}
        same = await api.done("POST", f"/v1/orchestrations/{id_}/what-if", json={})
        assert (same["outcome"], same["status"]) == ("same", "completed")
        items = await feed(api)
        assert all(len(str(each)) < 10_000 for each in items)
        assert (await verified(node))["sound"]


async def test_a_fork_and_the_archive_have_the_values(database):  # noqa: F811
    async with serving(database, blob_threshold=64 * 1024) as (node, api):
        id_ = await office(api)
        await api.ended(id_)
        history = await api.history(id_)
        told = next(each["version"] for each in history if each["type"] == "event.received")
        wanted = {"from_version": told - 1, "reason": "a look", "force": True}
        answer = await api.http.post(f"/v1/orchestrations/{id_}/fork", json=wanted)
        assert answer.status_code == 201, answer.text
        fork = answer.json()["id"]
        status = await api.waiting(fork, "event")
        assert (status["input"], len(status["tasks"][1]["output"]["box"])) == ({"text": LETTER}, len(BOX))
        copied = await api.http.get(f"/v1/orchestrations/{fork}/history", params={"limit": 500})
        assert len(copied.content) < 60_000 + len(LETTER)  # its first event tells the input that it took over
        bundle = await api.http.get(f"/v1/orchestrations/{fork}/bundle")
        open_bundle(bundle.json())
        await api.done("POST", f"/v1/orchestrations/{fork}/terminate", json={"reason": "enough"})
        await archive(node)
        page = await api.done("GET", f"/v1/orchestrations/{id_}/history", params={"archive": "true", "limit": 500})
        assert page["items"][0]["data"]["input"]["text"]["bytes"] == len(LETTER)
        same = await api.done("POST", f"/v1/orchestrations/{id_}/what-if", json={})
        assert (same["outcome"], same["status"]) == ("same", "completed")
        assert (await verified(node))["sound"]
