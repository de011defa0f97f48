"""The order: a grace period in which it may be called off, and a child that ships it."""

from __future__ import annotations

import pytest

from adapters.expressions.schemas import JsonSchemas
from domain import commands as c
from tests.support.examples_script import Script, example, names
from tests.support.pure_world import World, refused

ORDER = example("order/order.yaml")
SHIPPING = example("order/shipping.yaml")
INPUT = {"sku": "teapot", "quantity": 2, "country": "Italy", "card": "4711"}
COLLECTED = "com.example.parcel.collected.v1"


def order(input_=None, **answers):
    script = Script(**answers)
    world = World({plan.name: plan for plan in (ORDER, SHIPPING)}, script)
    world.start(INPUT | (input_ or {}))
    return world, script


def shipped(world):
    """The id of the child, once the grace period is over."""
    world.pass_time(31)
    (child,) = set(world.states) - {"o_root"}
    return child


def test_the_grace_period_is_half_a_minute():
    world, script = order()
    world.pass_time(29)
    assert script.calls() == ["reserveStock"]
    world.pass_time(2)
    assert script.calls() == ["reserveStock", "put payments", "put shipments"]


def test_the_grace_period_can_be_chosen():
    world, script = order({"grace": "PT2H"})
    world.pass_time(7199)
    assert script.calls() == ["reserveStock"]
    world.pass_time(2)
    assert "put payments" in script.calls()


def test_collected_by_the_carrier_it_is_shipped():
    world, script = order()
    child = shipped(world)
    world.receive(COLLECTED, id_=child, subject="o_root")
    assert world.states[child].status == "completed"
    assert world.root.status == "completed"
    assert world.root.output == {"shipment": "o_root", "collected": True}
    assert script.undos() == []


def test_the_parcel_of_another_order_does_not_count():
    world, _ = order()
    child = shipped(world)
    world.receive(COLLECTED, id_=child, subject="o_other")
    assert world.states[child].status == "running"


def test_cancel_in_the_grace_period_releases_the_stock_and_charges_nothing():
    world, script = order()
    world.pass_time(10)
    world.do("o_root", c.Cancel, reason="bought too much")
    assert world.root.status == "cancelled"
    assert script.calls() == ["reserveStock", "releaseStock"]
    world.pass_time(3600)
    assert script.calls() == ["reserveStock", "releaseStock"]


def test_cancel_while_it_ships_undoes_the_child_first():
    world, script = order()
    child = shipped(world)
    world.do("o_root", c.Cancel, reason="too late?")
    assert world.states[child].status == "cancelled"
    assert world.root.status == "cancelled"
    assert script.undos() == ["delete shipments", "delete payments", "releaseStock"]


def test_cancel_of_the_child_rolls_the_order_back():
    world, script = order()
    child = shipped(world)
    world.do(child, c.Cancel, reason="the carrier is on strike")
    assert world.states[child].status == "cancelled"
    assert world.root.status == "compensated"
    assert script.undos() == ["delete shipments", "delete payments", "releaseStock"]
    assert world.root.fault.instance == "/do/3/ship"


def test_a_country_without_a_carrier_refunds_and_releases():
    world, script = order(put_shipments=[refused(409)])
    child = shipped(world)
    assert world.states[child].status == "faulted"
    assert world.root.status == "compensated"
    assert script.undos() == ["delete payments", "releaseStock"]


def test_a_parcel_that_nobody_collects_for_three_days_is_undone():
    world, script = order()
    shipped(world)
    world.pass_time(3 * 24 * 3600)
    assert world.root.status == "compensated"
    assert script.undos() == ["delete shipments", "delete payments", "releaseStock"]


def test_sold_out_leaves_nothing_to_undo():
    world, script = order(reserveStock=[refused(409)])
    assert world.root.status == "faulted"
    assert script.calls() == ["reserveStock"]


def test_a_declined_card_releases_the_stock():
    world, script = order(put_payments=[refused(402)])
    world.pass_time(31)
    assert world.root.status == "compensated"
    assert script.undos() == ["releaseStock"]
    assert names(world, world.root.rollbacks[""].steps) == ["reserveStock"]


@pytest.mark.parametrize("grace", ["soon", "PT", "30S", "PT5SS"])
def test_a_grace_period_of_the_wrong_form_is_refused(grace):
    assert ORDER.input_schema is not None
    violations = JsonSchemas().violations(ORDER.input_schema.document, INPUT | {"grace": grace})
    assert [place for place, _ in violations] == ["/grace"]
