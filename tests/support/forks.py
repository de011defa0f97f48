"""Forks of what a pure world has recorded, at every version where one is possible, and definitions that are nearly the same."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import msgspec

from adapters.documents import compile_plan
from domain import commands as c
from domain import events as e
from domain.forking import folded
from domain.plan import Plan
from domain.prefix import packed
from domain.redeciding import steps
from domain.state import State
from tests.support.pure_world import World


def boundaries(world: World, id_: str = "o_root") -> list[int]:
    """The versions at which a decision had ended."""
    return [step.version + len(step.events) - 1 for step in steps(world.history[id_])]


def fork(world: World, version: int, id_: str = "o_fork", of: str = "o_root", **members: Any) -> State:
    """Begin a fork of what it had recorded at a version."""
    prefix = packed(world.history[of][:version])
    digest = folded(prefix).digest
    world.plan_of[id_] = next(plan for plan in world.plans.values() if plan.digest == digest)
    world.do(id_, c.Fork, id=id_, origin=e.Origin(of, version), prefix=prefix, **members)
    return world.states[id_]


def another(plan: Plan, tasks: list[Any] | None = None, version: str = "1.1.0", **top: Any) -> Plan:
    """The plan of another version of a definition; with the same tasks unless others are given."""
    document = copy.deepcopy(plan.document)
    document["document"]["version"] = version
    document |= top
    if tasks is not None:
        document["do"] = tasks
    return compile_plan(document, f"sha256:{version}")[0]


def known_to(world: World, plan: Plan) -> str:
    """Deploy another version in a world; its digest."""
    world.plans[plan.reference] = plan
    return plan.digest


def facts(state: State) -> dict[str, Any]:
    """What is known of an orchestration, but for the name of its definition and how often it was decided."""
    plain: dict[str, Any] = msgspec.to_builtins(state, str_keys=True)
    names = state.__struct_fields__
    listed = dict(zip(names, plain, strict=True)) if isinstance(plain, list) else plain
    return {name: listed[name] for name in names if name not in _OTHERWISE}


_OTHERWISE = frozenset({"definition", "digest", "version", "updated_at", "renamed"})


def each_history(world: World) -> Iterator[tuple[str, list[e.Event]]]:
    """Every orchestration of a world."""
    yield from world.history.items()
