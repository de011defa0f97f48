"""What began as a fork, or was migrated, is in the feed, verifies, replays from its bundle, and is told apart by what-if."""

from __future__ import annotations

import json

import pytest

from retrace import replay
from tests.support.service import running_service

pytestmark = pytest.mark.anyio

FIRST = """\
document: {dsl: '1.0.3', namespace: demo, name: steps, version: '1.0.0'}
do:
  - a: {set: {n: 1}}
  - ask: {listen: {to: {one: {with: {type: go}}}}}
"""
SECOND = FIRST.replace("1.0.0", "1.1.0") + "  - b: {set: {n: 2}}\n"


async def test_forks_and_migrations_are_audited_like_all_others(tmp_path):
    async with running_service(tmp_path, development=True) as api:
        await api.deploy(FIRST)
        original = await api.start("demo/steps@1.0.0", {"customer": "Ada"})
        await api.waiting(original["id"], "ask")
        path = f"/v1/orchestrations/{original['id']}"
        await api.done("POST", f"{path}/terminate", json={"reason": "elsewhere"})
        version = (await api.history(original["id"]))[-2]["version"]
        forked = await api.done("POST", f"{path}/fork", json={"from_version": version, "reason": "again"})
        await api.deploy(SECOND)
        body = {"definition": "demo/steps@1.1.0", "reason": "one step more"}
        await api.done("POST", f"/v1/orchestrations/{forked['id']}/migrate", json=body)
        go = {"specversion": "1.0", "type": "go", "source": "/test", "id": "1"}
        await api.done(
            "POST",
            f"/v1/orchestrations/{forked['id']}/events",
            content=json.dumps(go).encode(),
            headers={"Content-Type": "application/cloudevents+json"},
        )
        assert (await api.ended(forked["id"]))["status"] == "completed"

        feed = await api.done("GET", "/v1/audit/events", params={"orchestration": forked["id"], "limit": 500})
        assert feed["items"][0]["type"] == "orchestration.forked"
        assert {item["orchestration"] for item in feed["items"]} == {forked["id"]}
        everything = await api.done("GET", "/v1/audit/events", params={"limit": 500})
        assert {item["orchestration"] for item in everything["items"]} == {original["id"], forked["id"]}

        verification = await api.done("POST", "/v1/audit/verify", json={})
        result = await api.done("GET", f"/v1/operations/{verification['id']}", params={"wait": 30})
        assert result["result"]["sound"] is True

        bundle = await api.done("GET", f"/v1/orchestrations/{forked['id']}/bundle", params={"redact": "customer"})
        assert "Ada" not in json.dumps(bundle)
        walked = replay.load(bundle)
        assert walked.verify() == []
        assert walked.unlike() == []
        assert [each["reference"] for each in bundle["earlier"]] == ["demo/steps@1.0.0"]

        asked = await api.http.post(f"/v1/orchestrations/{forked['id']}/what-if", json={})
        assert asked.status_code == 422
        assert asked.json()["errors"][0]["code"] == "forked"
        fleet = await api.done("POST", "/v1/what-if", json={"definition": "demo/steps@1.1.0", "status": ["completed"]})
        told = await api.done("GET", f"/v1/operations/{fleet['id']}", params={"wait": 30})
        assert "It is a fork" in json.dumps(told["result"])
