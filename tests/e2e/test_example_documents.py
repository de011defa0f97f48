"""The documents over HTTP: every order of the four events, each of them twice, and each of them lost in turn."""

from __future__ import annotations

import asyncio
from itertools import permutations
from typing import Any

import pytest

from tests.support.running_examples import running_examples
from tests.support.service import Api

pytestmark = pytest.mark.anyio
DOCUMENTS = ("issue", "schedule", "certificate", "welcome-pack")
SOURCES = {"issue": "/hr", "schedule": "/training", "certificate": "/training", "welcome-pack": "/reception"}
ORDERS = list(permutations(DOCUMENTS))
HEADERS = {"Content-Type": "application/cloudevents+json"}


async def tell(api: Api, employee: str, document: str, id_: str = "") -> str:
    """What became of the event of a document, which its system sends for whoever waits."""
    event = {
        "specversion": "1.0",
        "id": f"{id_ or 'only'}-{employee}-{document}",
        "source": SOURCES[document],
        "type": f"com.example.document.{document}",
        "subject": employee,
        "data": {"document": document},
    }
    return str((await api.done("POST", "/v1/events", json=event, headers=HEADERS))["outcome"])


def left(participants: Any, employee: str) -> list[str]:
    """The documents that have left, in their order."""
    return [each.id.removeprefix(f"{employee}-") for each in participants.ledger if each.id.startswith(f"{employee}-")]


def missing(status: dict[str, Any]) -> list[tuple[str, list[int]]]:
    return [(each["event"]["type"], each["missing"][0]["numbers"]) for each in status["waiting_for"]]


async def begun(api: Api, employee: str) -> str:
    return str((await api.done("POST", "/onboardings", json={"employee": employee}))["id"])


async def told_in(api: Api, employee: str, order: tuple[str, ...], lost: str | None) -> str:
    """Begin, and tell everything twice in this order but what is lost; gives the id."""
    id_ = await begun(api, employee)
    for document in order:
        if document != lost:
            await tell(api, employee, document)
            again = await tell(api, employee, document, id_="again" if lost else "")
            assert again in ("duplicate", "late")
    return id_


async def completes(api: Api, participants: Any, employee: str, order: tuple[str, ...]) -> None:
    status = await api.ended(await told_in(api, employee, order, None))
    assert (status["status"], status["output"]) == ("completed", {"employee": employee, "documents": 4})
    assert left(participants, employee) == list(DOCUMENTS)


async def waits(api: Api, participants: Any, employee: str, order: tuple[str, ...], lost: str) -> None:
    id_ = await told_in(api, employee, order, lost)
    place = DOCUMENTS.index(lost)
    name = "await" + lost.title().replace("-", "")
    status = await api.waiting(id_, name)
    assert [each["task"] for each in status["waiting_for"]] == [name]
    assert missing(status) == [(f"com.example.document.{lost}", [place + 1])]
    assert left(participants, employee) == list(DOCUMENTS[:place])
    await tell(api, employee, lost, id_="found")
    status = await api.ended(id_)
    assert status["status"] == "completed"
    assert left(participants, employee) == list(DOCUMENTS)


async def test_every_order_with_repeats_ends_with_all_documents_in_order_each_once(tmp_path):
    async with running_examples(tmp_path, "documents") as (api, participants):
        async with asyncio.TaskGroup() as group:
            for number, order in enumerate(ORDERS):
                group.create_task(completes(api, participants, f"E-{number}", order))
        assert len(participants.ledger) == 4 * len(ORDERS)


@pytest.mark.parametrize("lost", DOCUMENTS)
async def test_every_order_with_a_loss_waits_for_the_one_that_is_missing_and_goes_on_when_it_comes(tmp_path, lost):
    async with running_examples(tmp_path, "documents") as (api, participants):
        async with asyncio.TaskGroup() as group:
            for number, order in enumerate(ORDERS):
                group.create_task(waits(api, participants, f"E-{number}", order, lost))
        assert len(participants.ledger) == 4 * len(ORDERS)


async def test_what_is_told_before_anybody_waits_counts(tmp_path):
    async with running_examples(tmp_path, "documents") as (api, participants):
        for document in reversed(DOCUMENTS):
            assert await tell(api, "E-1", document) == "held"
        status = await api.ended(await begun(api, "E-1"))
        assert status["status"] == "completed"
        assert left(participants, "E-1") == list(DOCUMENTS)


async def test_one_that_is_missing_too_long_is_named_by_the_error(tmp_path):
    async with running_examples(tmp_path, "documents", faster={"{days: 14}": "{milliseconds: 50}"}) as (
        api,
        participants,
    ):
        id_ = await begun(api, "E-1")
        for document in ("issue", "certificate"):
            await tell(api, "E-1", document)
        status = await api.ended(id_)
        assert (status["status"], status["error"]["type"]) == ("faulted", "https://retrace.invalid/errors/event-gap")
        assert status["error"]["detail"] == "the stream documents lacks 2, and 1 wait behind"
        assert (await api.done("GET", f"/onboardings/{id_}"))["status"] == "Incomplete"
        assert left(participants, "E-1") == ["issue"]


async def test_events_of_others_are_left_to_them(tmp_path):
    async with running_examples(tmp_path, "documents") as (api, participants):
        await begun(api, "E-1")
        assert await tell(api, "E-2", "issue") == "held"
        assert participants.ledger == []
