"""What-if over many histories of which some cannot be read any more: these are told, and the others are looked at."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from domain.errors import StorageError
from tests.support.audited import archive, database, serving  # noqa: F401 - a fixture
from tests.support.damaging import Database

pytestmark = pytest.mark.anyio
LARGE = "x" * 70_000


async def parcel(api: Any, city: str = "Faro") -> str:
    started = await api.start("shop/parcel", {"city": city})
    return str((await api.ended(started["id"]))["id"])


async def fleet(api: Any) -> dict[str, Any]:
    answer = await api.http.post("/v1/what-if", json={"definition": "shop/parcel"})
    operation: dict[str, Any] = await api.done("GET", answer.headers["Location"], params={"wait": 20})
    return operation


def alter(stored: Database, id_: str, version: int, change: str, *values: Any) -> None:
    [(partition, position)] = stored.run(
        "SELECT e.partition, e.position FROM events e JOIN status s"
        " ON s.partition = e.partition AND s.orchestration = e.orchestration WHERE s.public_id = ? AND e.version = ?",
        id_,
        version,
    )
    stored.run(f"{change} WHERE partition = ? AND position = ?", *values, partition, position)


@pytest.mark.parametrize(
    ("version", "change", "values", "why"),
    [
        (1, "UPDATE events SET state = ?", [b"\xc1"], "the event of version 1 is damaged"),
        (2, "UPDATE events SET state = ?", [b"\xc1"], "the event of version 2 is damaged"),
        (2, "UPDATE events SET topic = ?", ["task.teleported"], "unknown kind task.teleported"),
        (1, "DELETE FROM events", [], "the event of version 1 is missing"),
        (2, "DELETE FROM events", [], "the event of version 2 is missing"),
    ],
)
async def test_one_that_cannot_be_read_is_told_and_the_others_go_on(database, version, change, values, why):  # noqa: F811
    async with serving(database) as (node, api):
        ids = [await parcel(api) for _ in range(3)]
        await node.projector.caught_up()
        alter(Database(database), ids[1], version, change, *values)
        with structlog.testing.capture_logs() as logs:
            operation = await fleet(api)
        assert operation["status"] == "completed", operation
        told = operation["result"]
        assert (told["considered"], told["same"], told["cannot_continue"]) == (3, 2, 1)
        [group] = told["groups"]
        assert (group["outcome"], group["reason"]) == ("cannot_continue", "its history cannot be read")
        [example] = group["examples"]
        assert example["id"] == ids[1]
        assert why in example["detail"]
        assert [each["orchestration"] for each in logs if each["event"] == "what_if.unreadable"] == [ids[1]]


async def test_one_whose_events_cannot_have_happened_is_told_too(database):  # noqa: F811
    async with serving(database) as (node, api):
        ids = [await parcel(api) for _ in range(3)]
        await node.projector.caught_up()
        stored = Database(database)
        topic = "orchestration.completed"
        [(state,), *_] = stored.run("SELECT state FROM events WHERE topic = ?", topic)
        alter(stored, ids[1], 2, "UPDATE events SET topic = ?, state = ?", topic, bytes(state))
        told = (await fleet(api))["result"]
        assert (told["considered"], told["same"], told["cannot_continue"]) == (3, 2, 1)
        [group] = told["groups"]
        assert (group["reason"], [each["id"] for each in group["examples"]]) == ("its history cannot be read", [ids[1]])
        assert group["examples"][0]["detail"] == "KeyError"


async def test_one_whose_archive_is_damaged_is_told_too(database):  # noqa: F811
    async with serving(database) as (node, api):
        await parcel(api)
        await parcel(api)
        selected = node.what_if._selected

        async def archived_meanwhile(*asked: Any) -> list[str]:
            found: list[str] = await selected(*asked)
            await archive(node)
            Database(database).run("UPDATE archive SET content = ?", b"\x02")
            return found

        node.what_if._selected = archived_meanwhile
        told = (await fleet(api))["result"]
        [group] = told["groups"]
        assert (group["reason"], group["count"]) == ("its history cannot be read", 2)
        assert {each["detail"] for each in group["examples"]} == {
            "the archive has a form that this version does not know"
        }


async def test_one_whose_large_value_is_missing_is_told_too(database):  # noqa: F811
    async with serving(database, blob_threshold=65_536) as (_, api):
        whole, poor = await parcel(api), await parcel(api, LARGE)
        Database(database).run("DELETE FROM blobs")
        told = (await fleet(api))["result"]
        assert (told["same"], told["cannot_continue"]) == (1, 1)
        [group] = told["groups"]
        assert group["reason"] == "a large value of its history is missing"
        assert [each["id"] for each in group["examples"]] == [poor] != [whole]
        assert "sha256:" in group["examples"][0]["detail"]


async def test_a_database_that_fails_ends_the_operation(database, monkeypatch):  # noqa: F811
    """What is known of nobody is not told as the fault of each."""

    async def fails(*_: Any) -> Any:
        raise StorageError("The database could not be used.")

    async with serving(database) as (node, api):
        await parcel(api)
        monkeypatch.setattr(node.what_if._histories, "whole", fails)
        operation = await fleet(api)
        assert (operation["status"], operation["error"]["detail"]) == ("failed", "The database could not be used.")
