"""Five banks over HTTP, one of them slow, one broken."""

from __future__ import annotations

import pytest

from tests.support.running_examples import running_examples

pytestmark = pytest.mark.anyio
FASTER = {"{seconds: 2}": "{milliseconds: 500}"}
PATIENT = {"{seconds: 2}": "{seconds: 20}"}
"""Where the worker's own patience, of two seconds, is to end first, however busy the machine is."""


async def quotes(api, amount, years):
    started = await api.done("POST", "/quotes", json={"amount": amount, "years": years})
    status = await api.ended(started["id"])
    return status, await api.done("GET", f"/quotes/{started['id']}")


async def test_the_lowest_rate_wins(tmp_path):
    async with running_examples(tmp_path, "quotes", faster=PATIENT) as (api, participants):
        _, shown = await quotes(api, 250_000, 20)
        assert shown["status"] == "Offered"
        assert shown["output"] == {"best": {"bank": "harbour", "rate": 3.7}, "silent": []}
        assert len(participants.requests) == 5


async def test_a_slow_bank_does_not_spoil_it(tmp_path):
    async with running_examples(tmp_path, "quotes", faster=PATIENT) as (api, _):
        status, shown = await quotes(api, 250_000, 35)
        assert status["status"] == "completed"
        assert shown["output"]["best"]["bank"] == "coastal"
        assert [each["bank"] for each in shown["output"]["silent"]] == ["harbour"]


async def test_a_broken_and_a_slow_bank(tmp_path):
    async with running_examples(tmp_path, "quotes", faster=PATIENT) as (api, _):
        _, shown = await quotes(api, 750_000, 35)
        assert shown["output"]["best"]["bank"] == "lakeside"
        assert [each["bank"] for each in shown["output"]["silent"]] == ["coastal", "harbour"]


async def test_questions_that_no_worker_takes_count_as_no_offer(tmp_path):
    async with running_examples(tmp_path, "quotes", faster=FASTER) as (api, participants):
        await api.done("POST", "/v1/functions/askBank/pause")
        _, shown = await quotes(api, 250_000, 20)
        assert shown["status"] == "Declined"
        assert participants.requests == []


async def test_nobody_lends(tmp_path):
    async with running_examples(tmp_path, "quotes") as (api, _):
        status, shown = await quotes(api, 2_000_000, 20)
        assert (status["status"], shown["status"]) == ("faulted", "Declined")
        assert status["error"]["type"] == "https://example.com/errors/nobody-lends"
