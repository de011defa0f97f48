"""The order's functions: the warehouse speaks no dialect that a definition could, so Python talks to it.

A plain ``def`` runs in a thread. `Refused` says that nothing was done; any other exception leaves the outcome
uncertain, and then the rollback includes the reservation that may or may not be there.
"""

import json
import os
import urllib.error
import urllib.request
from typing import Any

from retrace import Refused, TaskContext, function

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


def _ask(method: str, order: str, body: Any, context: TaskContext) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Idempotency-Key": context.idempotency_key}
    if context.compensates is not None:
        headers["Retrace-Compensates"] = context.compensates
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{WAREHOUSE}/stock/{order}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=4) as answer:
        return dict(json.load(answer))
