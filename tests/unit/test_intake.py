"""What becomes of the messages of a source: accepted after the commit, rejected for good, or tried again, never lost."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from application.intake import Intake
from application.service import EventOutcome
from domain.errors import EventIdReusedError, OverloadedError, StorageAwayError
from tests.simulation.loop import simulate
from tests.support.queued import QueuedSource


def event(number: int) -> bytes:
    return json.dumps({"specversion": "1.0", "id": f"{number}", "source": "/x", "type": "go"}).encode()


class Service:
    """The use case, with a trouble for the first attempts."""

    def __init__(self, *troubles: Exception) -> None:
        self.troubles = list(troubles)
        self.taken: list[tuple[str, str]] = []
        self.asked = 0

    async def __call__(self, event: dict[str, Any], *, actor: str) -> EventOutcome:
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.troubles:
            raise self.troubles.pop(0)
        self.taken.append((event["id"], actor))
        return EventOutcome("held")


def taking(service: Any, source: QueuedSource, holds: Any, limit_s: float = 600.0) -> Intake:
    """Run until a condition holds; the intake, stopped."""

    async def main(loop: Any) -> Intake:
        intake = Intake(service, [source])
        intake.start()
        begun = loop.time()
        while not holds():
            assert loop.time() - begun < limit_s, "it takes too long"
            await asyncio.sleep(0.1)
        await intake.stop()
        return intake

    found: Intake = simulate(1, main)
    return found


def test_an_event_is_acknowledged_when_it_is_committed():
    source, service = QueuedSource("orders", 2), Service()
    for number in range(5):
        source.put(None, {}, event(number))
    intake = taking(service, source, lambda: len(service.taken) == 5 and not source.unsettled)
    assert sorted(service.taken) == [(f"{number}", "source:orders") for number in range(5)]
    assert (intake.outcomes["orders", "accepted"], intake.outcomes["orders", "rejected"]) == (5, 0)


@pytest.mark.parametrize("trouble", [OverloadedError(), StorageAwayError("gone")])
def test_while_the_service_is_overloaded_messages_wait_in_hand(trouble):
    source, service = QueuedSource("orders", 2), Service(*([trouble] * 30))
    source.put(None, {}, event(1))
    intake = taking(service, source, lambda: service.taken and not source.unsettled)
    assert (service.asked, source.kept, source.dead) == (31, 30, [])
    assert intake.outcomes["orders", "delayed"] == 30


def test_an_overload_lets_only_so_many_in():
    source, service = QueuedSource("orders", 3), Service(*([OverloadedError()] * 10_000))
    for number in range(50):
        source.put(None, {}, event(number))
    taking(service, source, lambda: service.asked > 12)
    assert service.asked < 40, "there is a pause between attempts"
    assert len(source.waiting) == 50, "all are given back, in order"
    assert [json.loads(body)["id"] for _, _, body in source.waiting][:3] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not valid JSON"),
        (b"{}", "/id: The attribute id is required"),
        (event(1)[:-1] + b',"data":"' + b"x" * 1000 + b'"}', "longer than 1000 bytes"),
    ],
)
def test_what_is_no_event_goes_to_the_dead_letters(body, words):
    source, service = QueuedSource("orders", 1), Service()
    source.put(None, {}, body)
    source.put(None, {}, event(2))
    taking(service, source, lambda: service.taken and not source.unsettled)
    assert [(found, words in reason) for found, reason in source.dead] == [(body, True)]


def test_an_id_with_other_content_goes_to_the_dead_letters():
    source, service = QueuedSource("orders", 1), Service(EventIdReusedError())
    source.put(None, {}, event(1))
    source.put(None, {}, event(2))
    taking(service, source, lambda: service.taken and not source.unsettled)
    assert [body for body, _ in source.dead] == [event(1)]


def test_what_breaks_the_service_every_time_holds_up_nobody():
    source, service = QueuedSource("orders", 1), Service(*([ZeroDivisionError()] * 5))
    source.put(None, {}, event(1))
    source.put(None, {}, event(2))
    taking(service, source, lambda: service.taken and not source.unsettled)
    assert [body for body, _ in source.dead] == [event(1)]
    assert service.taken == [("2", "source:orders")]


def test_a_dead_letter_waits_for_its_place():
    source, service = QueuedSource("orders", 2), Service()
    source.dead_away = True
    source.put(None, {}, b"bad")
    source.put(None, {}, event(2))

    def mended() -> bool:
        source.dead_away = not service.taken or source.kept < 3
        return bool(source.dead)

    taking(service, source, mended)


def test_a_source_that_is_cut_is_taken_up_again():
    source, service = QueuedSource("orders", 2), Service()
    source.put(None, {}, event(1))
    turns = 0

    def holds() -> bool:
        nonlocal turns
        turns += bool(service.taken)
        if turns == 1:
            source.cut()
            source.put(None, {}, event(2))
        if turns == 200:
            source.away = False
        return len({id_ for id_, _ in service.taken}) == 2

    taking(service, source, holds)


def test_stopping_gives_back_what_is_in_hand():
    source, service = QueuedSource("orders", 2), Service(*([OverloadedError()] * 1000))
    source.put(None, {}, event(1))
    intake = taking(service, source, lambda: service.asked)
    assert len(source.waiting) == 1
    assert intake.connected == {"orders": False}
