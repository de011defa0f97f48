"""The order's functions: the warehouse speaks no dialect that a definition could, so Python talks to it.

A plain ``def`` runs in a thread. `Refused` says that nothing was done; any other exception leaves the outcome
uncertain, and then the rollback includes the reservation that may or may not be there.

`orders` is a projection: a table with a row per order, folded from everything that ever happened.
"""

import json
import os
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any

from retrace import Event, Refused, Row, TaskContext, function, projection

ENDS = {f"orchestration.{how}" for how in ("completed", "faulted", "compensated", "cancelled", "terminated")}
WAREHOUSE = os.environ.get("PARTICIPANTS_URL", "http://127.0.0.1:8090")


@function("reserveStock")
def reserve_stock(order: str, sku: str, quantity: int, context: TaskContext) -> dict[str, Any]:
    try:
        return _ask("PUT", order, {"sku": sku, "quantity": quantity}, context)
    except urllib.error.HTTPError as error:
        if error.code == 409:
            raise Refused("sold-out", f"{quantity} x {sku} cannot be had", status=409) from error
        raise


@function("releaseStock")
def release_stock(order: str, context: TaskContext) -> None:
    try:
        _ask("DELETE", order, None, context)
    except urllib.error.HTTPError as error:
        if error.code != 404:  # nothing was reserved, so nothing is left to release
            raise


@projection(
    "orders",
    key="order",
    table={"sku": str, "quantity": int, "status": str, "charged": bool, "placed_at": datetime, "ended_at": datetime},
)
def orders(row: Row | None, event: Event) -> Row | None:
    if not event.definition.startswith("shop/order@"):
        return None  # its shipping is an orchestration too
    if row is None:
        asked = event.data["input"]
        first = {"sku": asked["sku"], "quantity": asked["quantity"], "placed_at": event.at}
        return {**first, "status": "running", "charged": False}
    match event.type, event.task:
        case "task.completed", "/do/2/charge":
            row["charged"] = True
        case "compensation.completed", "/do/2/charge":
            row["charged"] = False
        case "rollback.started", _:
            row["status"] = "compensating"
        case topic, _ if topic in ENDS:
            row |= {"status": topic.removeprefix("orchestration."), "ended_at": event.at}
    return row


def _ask(method: str, order: str, body: Any, context: TaskContext) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Idempotency-Key": context.idempotency_key}
    if context.compensates is not None:
        headers["Retrace-Compensates"] = context.compensates
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{WAREHOUSE}/stock/{order}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=4) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        error.close()  # an answer too, with a connection of its own
        raise
