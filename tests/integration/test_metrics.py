"""`/metrics` over the real service: the values move as what they count does, and tell nothing that they should not."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from adapters.metrics import METRICS
from adapters.rest.admission import Admission
from adapters.signatures import make_key
from retrace.functions import Function, Refused
from tests.integration.rest_scripted import Scripted
from tests.support.service import Api, running_service

pytestmark = pytest.mark.anyio

FLOW = """
document: {dsl: '1.0.3', namespace: default, name: flow, version: '1.0.0'}
resource: {path: flows}
do:
  - rest: {wait: {milliseconds: 10}}
  - work: {call: NAME}
  - shape: {set: {doubled: '${ [range(4)] | add }'}}
"""
Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def double() -> int:
    return 2


def refuse() -> int:
    raise Refused("never")


FUNCTIONS = {each.__name__: Function(each.__name__, each, is_async=False, source="test") for each in (double, refuse)}


def flow(name: str, called: str) -> str:
    return FLOW.replace("name: flow", f"name: {name}").replace("flows", f"{name}s").replace("NAME", called)


async def scraped(api: Api) -> Samples:
    answer = await api.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = text_string_to_metric_families(answer.text)
    return {(each.name, frozenset(each.labels.items())): each.value for f in families for each in f.samples}


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


async def run(api: Api, name: str) -> dict[str, Any]:
    return await api.ended((await api.start(name))["id"])


async def test_values_move_with_what_they_count(tmp_path):
    async with running_service(tmp_path, FUNCTIONS) as api:
        for name in FUNCTIONS:
            assert (await api.deploy(flow(name, name)))["http_status"] == 201
        before = await scraped(api)
        good, bad = await run(api, "double"), await run(api, "refuse")
        assert (good["status"], bad["status"]) == ("completed", "faulted")
        after = await scraped(api)

        def moved(name: str, **labels: str) -> float:
            return value(after, name, **labels) - value(before, name, **labels)

        assert moved("retrace_orchestrations_started_total") == 2
        assert moved("retrace_orchestrations_ended_total", status="completed") == 1
        assert moved("retrace_orchestrations_ended_total", status="faulted") == 1
        assert moved("retrace_orchestrations_ended_total", status="cancelled") == 0
        assert moved("retrace_events_committed_total") == good["version"] + bad["version"]
        assert moved("retrace_commit_events_sum") == good["version"] + bad["version"]
        assert moved("retrace_commit_seconds_count") == moved("retrace_commit_events_count") > 0
        assert moved("retrace_callout_seconds_count", kind="function", outcome="completed") == 1
        assert moved("retrace_callout_seconds_count", kind="function", outcome="refused") == 1
        assert moved("retrace_timer_lateness_seconds_count") == 2
        assert moved("retrace_expression_evaluations_total") >= 1
        assert moved("retrace_http_requests_total", method="POST", operation="startOrchestration", status="2xx") == 2
        assert value(after, "retrace_partitions_held") == 2
        assert value(after, "retrace_orchestrations_in_memory") == 2
        assert value(after, "retrace_http_requests_in_progress") == 1  # this one


async def test_every_metric_is_told_and_nothing_that_identifies(tmp_path):
    async with running_service(tmp_path, FUNCTIONS, audit_key=private_key(tmp_path)) as api:
        await api.deploy(flow("double", "double"))
        ended = await run(api, "double")
        await api.http.get(f"/doubles/{ended['id']}")
        await api.http.get("/nowhere/at/all")
        text = (await api.http.get("/metrics")).text
    told = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    assert {name for name in told if name.startswith("retrace_")} == set(METRICS)
    assert 'operation="read_resource"' in text
    assert 'operation="none"' in text
    assert re.search(r"^retrace_checkpoint_age_seconds \d", text, re.MULTILINE)
    for secret in (ended["id"], "partition=", "/doubles", "nowhere"):
        assert secret not in text
    assert re.search(r"[0-9a-f]{8}-[0-9a-f]{4}|\bo_\w{22}", text) is None


def private_key(folder: Any) -> str:
    make_key(folder / "key.pem")
    return str(folder / "key.pem")


async def test_head_has_the_headers_alone(tmp_path):
    async with running_service(tmp_path) as api:
        answer = await api.http.head("/metrics")
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        samples = await scraped(api)
        assert value(samples, "retrace_http_requests_total", method="HEAD", operation="metrics", status="2xx") == 1


async def test_what_prometheus_says_it_accepts_is_accepted(tmp_path):
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
    async with running_service(tmp_path) as api:
        assert (await api.http.get("/metrics", headers={"Accept": accept})).status_code == 200
        assert (await api.http.get("/metrics", headers={"Accept": "application/json"})).status_code == 406


@pytest.mark.parametrize(("metrics", "status"), [(None, 401), ("open", 200)])
async def test_a_token_is_needed_unless_it_is_open(tmp_path, metrics, status):
    tokens = {"alice": hashlib.sha256(b"a-token").hexdigest()}
    async with running_service(tmp_path, api_tokens=tokens, metrics=metrics) as api:
        assert (await api.http.get("/metrics")).status_code == status
        known = {"Authorization": "Bearer a-token"}
        text = (await api.http.get("/metrics", headers=known)).text
        refused = 'retrace_http_requests_total{method="GET",operation="none",status="4xx"} 1.0'
        assert (refused in text) == (status == 401)
        row = (await api.http.get("/openapi.json", headers=known)).json()["paths"]["/metrics"]["get"]
        assert row["security"] == ([] if metrics else [{"bearer": []}])
        assert (await api.http.get("/v1/orchestrations")).status_code == 401


async def test_it_is_answered_however_much_is_going_on():
    async def exposition() -> bytes:
        return b"retrace_info 1\n"

    full = Scripted(admission=Admission(0, 0), exposition=exposition)
    async with full.client() as http:
        assert (await http.get("/v1/orchestrations")).status_code == 503
        assert (await http.get("/metrics")).text == "retrace_info 1\n"
    assert full.services.meter.refused == {429: 0, 503: 1}
