"""The work on Restate's Python SDK, served by hypercorn in Restate's own environment; imports nothing of this project."""

from __future__ import annotations

from typing import Any

import restate
from restate import Workflow, WorkflowContext, WorkflowSharedContext
from restate.exceptions import TerminalError

steps, undone, parked = Workflow("Steps"), Workflow("Undone"), Workflow("Parked")


async def step(n: int) -> dict[str, int]:
    return {"n": n}


async def undo(n: int) -> dict[str, int]:
    return {"undone": n}


async def refuse(n: int) -> dict[str, int]:
    raise TerminalError(f"there is no {n}")


@steps.main()
async def run(ctx: WorkflowContext, n: int) -> Any:
    first = await ctx.run_typed("first", step, n=n)
    second = await ctx.run_typed("second", step, n=first["n"])
    return await ctx.run_typed("third", step, n=second["n"])


@undone.main("run")
async def run_undone(ctx: WorkflowContext, n: int) -> dict[str, Any]:
    done: list[int] = []
    try:
        done.append((await ctx.run_typed("first", step, n=n))["n"])
        done.append((await ctx.run_typed("second", step, n=n))["n"])
        await ctx.run_typed("third", refuse, n=n)
    except TerminalError as refusal:
        for each in reversed(done):
            await ctx.run_typed("undo", undo, n=each)
        return {"compensated": str(refusal)}
    return {}


@parked.main("run")
async def run_parked(ctx: WorkflowContext, n: int) -> Any:
    await ctx.promise("go", type_hint=str)
    return await ctx.run_typed("first", step, n=n)


@parked.handler()
async def go(ctx: WorkflowSharedContext, what: str) -> None:
    await ctx.promise("go", type_hint=str).resolve(what)


app = restate.app(services=[steps, undone, parked])
