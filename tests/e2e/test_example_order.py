"""The order over HTTP: Python functions, a grace period, a child."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.running_examples import running_examples

pytestmark = pytest.mark.anyio
TEAPOT = {"sku": "teapot", "quantity": 2, "country": "Italy", "card": "4711"}
AT_ONCE = {"grace": "PT0S"}
SENT = [("done", "stock"), ("done", "payments"), ("done", "shipments")]
UNDONE = [("undone", "shipments"), ("undone", "payments"), ("undone", "stock")]


def collected(id_):
    return {
        "ce-specversion": "1.0",
        "ce-id": "parcel-1",
        "ce-source": "/carrier",
        "ce-type": "com.example.parcel.collected.v1",
        "ce-subject": id_,
    }


async def order(api, **members):
    return str((await api.done("POST", "/orders", json=TEAPOT | members))["id"])


async def test_shipped(tmp_path):
    async with running_examples(tmp_path, "order") as (api, participants):
        id_ = await order(api, **AT_ONCE)
        await participants.until("done", "shipments", id_)
        sent = await api.http.post("/v1/events", headers=collected(id_))
        assert sent.status_code == 202
        status = await api.ended(id_)
        assert (status["status"], status["output"]) == ("completed", {"shipment": id_, "collected": True})
        assert participants.effects(id_) == SENT
        assert (await api.done("GET", f"/orders/{id_}"))["status"] == "Shipped"


async def test_cancel_in_the_grace_period(tmp_path):
    async with running_examples(tmp_path, "order") as (api, participants):
        id_ = await order(api)
        await api.waiting(id_, "gracePeriod")
        plan = await api.done("GET", f"/v1/orchestrations/{id_}/rollback-plan")
        assert [step["task"] for step in plan["steps"]] == ["reserveStock"]
        assert (await api.http.delete(f"/orders/{id_}", params={"reason": "too much"})).status_code == 202
        status = await api.ended(id_)
        assert (status["status"], status["rollback"]["outcome"]) == ("cancelled", "complete")
        assert participants.effects(id_) == [("done", "stock"), ("undone", "stock")]
        assert (await api.done("GET", f"/orders/{id_}"))["status"] == "Cancelled"


async def child_of(api, id_):
    """The public id of the shipping that an order waits for."""
    return next(task["child"] for task in (await api.status(id_))["tasks"] if task["name"] == "ship")


async def test_cancel_while_it_ships(tmp_path):
    async with running_examples(tmp_path, "order") as (api, participants):
        id_ = await order(api, **AT_ONCE)
        await participants.until("done", "shipments", id_)
        await api.done("POST", f"/v1/orchestrations/{id_}/cancel", json={"reason": "changed my mind"})
        assert (await api.ended(id_))["status"] == "cancelled"
        assert participants.effects(id_) == SENT + UNDONE


async def test_cancel_of_the_child_rolls_the_order_back(tmp_path):
    async with running_examples(tmp_path, "order") as (api, participants):
        id_ = await order(api, **AT_ONCE)
        await participants.until("done", "shipments", id_)
        child = await child_of(api, id_)
        await api.done("POST", f"/v1/orchestrations/{child}/cancel", json={"reason": "strike"})
        status = await api.ended(id_)
        assert (status["status"], status["error"]["instance"]) == ("compensated", "/do/3/ship")
        assert (await api.status(child))["status"] == "cancelled"
        assert participants.effects(id_) == SENT + UNDONE


async def test_a_country_without_a_carrier(tmp_path):
    async with running_examples(tmp_path, "order") as (api, participants):
        id_ = await order(api, country="Atlantis", **AT_ONCE)
        assert (await api.ended(id_))["status"] == "compensated"
        assert participants.effects(id_) == [*SENT[:2], *UNDONE[1:]]


async def test_a_declined_card(tmp_path):
    async with running_examples(tmp_path, "order") as (api, participants):
        id_ = await order(api, card="declined", **AT_ONCE)
        assert (await api.ended(id_))["status"] == "compensated"
        assert participants.effects(id_) == [SENT[0], UNDONE[2]]


async def test_sold_out(tmp_path):
    async with running_examples(tmp_path, "order") as (api, participants):
        id_ = await order(api, sku="unicorn")
        status = await api.ended(id_)
        assert (status["status"], status["error"]["type"]) == ("faulted", "https://retrace.invalid/errors/sold-out")
        assert participants.effects(id_) == []


async def table(api):
    return {each["order"]: each for each in (await api.done("GET", "/v1/projections/orders/rows"))["items"]}


async def test_the_table_of_orders_tells_what_became_of_each(tmp_path):
    async with running_examples(tmp_path, "order") as (api, participants):
        refused = await order(api, sku="unicorn", **AT_ONCE)
        called_off = await order(api)
        await api.waiting(called_off, "gracePeriod")
        await api.http.delete(f"/orders/{called_off}")
        charged_back = await order(api, country="Atlantis", **AT_ONCE)
        shipping = await order(api, **AT_ONCE)
        await participants.until("done", "shipments", shipping)
        for id_ in (refused, called_off, charged_back):
            await api.ended(id_)
        expected = {refused: "faulted", called_off: "cancelled", charged_back: "compensated", shipping: "running"}
        rows: dict[str, Any] = {}
        for _ in range(200):
            rows = await table(api) if (await api.done("GET", "/v1/projections"))["items"][0]["live"] else {}
            if {id_: row["status"] for id_, row in rows.items()} == expected and rows[shipping]["charged"]:
                break
            await asyncio.sleep(0.05)
        assert {id_: row["status"] for id_, row in rows.items()} == expected
        assert {id_ for id_, row in rows.items() if row["charged"]} == {shipping}
        assert rows[charged_back]["quantity"] == 2
        assert [id_ for id_, row in rows.items() if row["ended_at"] is None] == [shipping]
