"""Asks banks, in a process of its own: ``retrace worker examples/quotes/worker.py``. Start as many as you like."""

from __future__ import annotations

import os

import httpx2

from retrace import Refused, function

BANKS = os.environ.get("PARTICIPANTS_URL", "http://127.0.0.1:8090")


@function("askBank")
async def ask_bank(bank: str, amount: float, years: int) -> dict[str, object]:
    """The offer of one bank: ``{bank, rate}``."""
    async with httpx2.AsyncClient(base_url=BANKS, timeout=2) as http:
        answer = await http.get(f"/banks/{bank}/offer", params={"amount": amount, "years": years})
    if answer.status_code == 422:
        raise Refused("https://example.com/errors/no-offer", f"{bank} does not lend that", title="No offer")
    answer.raise_for_status()
    offer: dict[str, object] = answer.json()
    return offer
