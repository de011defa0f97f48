"""What must not hurt: documents, expressions and participants that misbehave, through the real service over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.participants import Handler, raw_server
from tests.support.service import Api, running_service

pytestmark = pytest.mark.anyio

ID = "o_" + "a" * 22


def document(do: str, name: str = "x", extra: str = "") -> str:
    return f"document: {{dsl: '1.0.3', namespace: test, name: {name}, version: '1.0.0'}}\n{extra}do:\n{do}"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running_service(tmp_path, expression_timeout=0.3, callout_timeout=1.0) as api:
        yield api


async def run(api: Api, do: str, input_: Any = None) -> dict[str, Any]:
    deployed = await api.deploy(document(do))
    assert deployed["http_status"] == 201, deployed
    return await api.ended((await api.start("test/x", input_))["id"])


NAMELESS = (
    "unknown",
    ID,
    "x" * 10_000,
    "%00",
    "..%2F..%2Fetc%2Fpasswd",
    "o_" + "%C3%A4" * 22,
    "o_" + "a" * 21 + "%0A",
    "%FF",
    "'%20OR%201=1--",
)


async def test_ids_that_name_nothing(api: Api) -> None:
    for id_ in NAMELESS:
        for path in ("", "/history", "/tasks", "/rollback-plan", "/stream"):
            answer = await api.http.get(f"/v1/orchestrations/{id_}{path}")
            assert answer.status_code in (400, 404), (id_, path, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ("do: [", None),
        (
            "a: &a [x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
            + "".join(f"c{n}: &c{n} [{','.join(['*c' + str(n - 1) if n else '*b'] * 9)}]\n" for n in range(9)),
            None,
        ),
        (document("  - a: {set: {x: 1}}\n    a: {set: {x: 1}}"), None),
        (document("  - a: {set: {x: 1}, then: nowhere}"), "/do/0/a/then"),
        (document("  - a: {wait: 5}"), "/do/0/a/wait"),
        (document("  - a: {call: http, with: {method: get}}"), "/do/0/a/with"),
        (document("  - a: {set: {x: '${ .a | }'}}"), "/do/0/a/set/x"),
        (document("  - a: {set: {x: '${ $nope }'}}"), "/do/0/a/set/x"),
        (document("  - a: {run: {script: {language: js, code: '1'}}}"), "/do/0/a/run/script"),
    ],
)
async def test_documents_that_cannot_be(api: Api, text: str, pointer: str | None) -> None:
    answer = await api.deploy(text)
    assert answer["http_status"] == 422, answer
    assert answer["errors"]
    assert all(problem["line"] for problem in answer["errors"])
    if pointer is not None:
        assert pointer in [problem["pointer"] for problem in answer["errors"]]


async def test_a_thousand_levels_are_refused_with_a_place(api: Api) -> None:
    nested = '{"do": [{"n": ' * 1000 + '{"set": {"x": 1}}' + "}]}" * 1000
    head = '{"dsl": "1.0.3", "namespace": "test", "name": "deep", "version": "1.0.0"}'
    body = f'{{"document": {head}, "do": [{{"n": {nested}}}]}}'
    answer = await api.http.post("/v1/definitions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"


async def test_ten_thousand_tasks_run_within_limits(api: Api) -> None:
    do = "\n".join(f"  - t{n}: {{set: {{n: {n}}}}}" for n in range(10_000))
    deployed = await api.deploy(document(do))
    if deployed["http_status"] == 422:
        assert deployed["errors"]
        return
    ended = await api.ended((await api.start("test/x"))["id"])
    assert ended["tasks_total"] == 10_000 or ended["error"]


async def test_a_definition_that_calls_itself_ends(api: Api) -> None:
    ended = await run(api, "  - again: {run: {workflow: {namespace: test, name: x, version: '1.0.0'}}}")
    assert ended["status"] == "faulted"
    assert ended["error"]["type"].endswith("/configuration")


async def test_a_loop_of_then_without_a_wait_ends(api: Api) -> None:
    ended = await run(api, "  - a: {set: {x: 1}, then: b}\n  - b: {set: {x: 2}, then: a}")
    assert ended["status"] == "faulted"


@pytest.mark.parametrize(
    "program",
    [
        "def f: f; f",
        "[range(1e12)] | length",
        '"x" | . * 1e9 | length',
        "[limit(1e9; repeat(1))]",
        "reduce range(1e9) as $i ([]; . + [$i])",
    ],
)
async def test_an_expression_that_loops_or_eats_memory_faults_its_task_and_no_other(api: Api, program: str) -> None:
    deployed = await api.deploy(document(f"  - bad: {{set: {{x: '${{ {program} }}'}}}}", "bad"))
    assert deployed["http_status"] == 201, deployed
    assert (await api.deploy(document("  - good: {set: {x: '${ [1,2] | add }'}}", "good")))["http_status"] == 201
    bad = await api.start("test/bad")
    neighbours = await asyncio.gather(*(api.start("test/good") for _ in range(5)))
    ended = await api.ended(bad["id"])
    assert (ended["status"], ended["error"]["type"].rpartition("/")[2]) == ("faulted", "expression")
    for neighbour in neighbours:
        assert (await api.ended(neighbour["id"]))["output"] == {"x": 3}


async def answer_html(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<p>hello</p>\n")
    await writer.drain()


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1073741824\r\n\r\n")
    for _ in range(1024):
        writer.write(b"x" * 1_048_576)
        await writer.drain()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nx")
    await writer.drain()
    await reader.read()


async def test_a_participant_that_answers_html(api: Api) -> None:
    async with raw_server(answer_html) as address:
        ended = await run(api, f"  - a: {{call: http, with: {{method: get, endpoint: '{address}'}}}}")
    assert (ended["status"], ended["output"]) == ("completed", "<p>hello</p>\n")


@pytest.mark.parametrize("misbehave", [flood, drip])
async def test_an_answer_without_end_is_bounded_and_its_effect_counts_as_done(api: Api, misbehave: Handler) -> None:
    async with raw_server(misbehave) as address:
        ended = await run(api, f"  - a: {{call: http, with: {{method: put, endpoint: '{address}'}}}}")
    assert ended["status"] == "faulted"
    assert ended["error"]["type"].rpartition("/")[2] in ("communication", "timeout")
    assert ended["rollback"]["left_behind"] == [{"task": "a", "why": "it has no compensation"}]
