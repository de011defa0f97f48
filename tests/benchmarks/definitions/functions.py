"""What the steps do: nothing, so that only the service is measured."""

from __future__ import annotations

from retrace import Refused, function


@function("step")
async def step(n: int) -> dict[str, int]:
    return {"n": n}


@function("undo")
async def undo(n: int) -> dict[str, int]:
    return {"undone": n}


@function("refuse")
async def refuse(n: int) -> dict[str, int]:
    raise Refused("sold-out", f"there is no {n}")
