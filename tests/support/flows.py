"""Short words for tests of the language: run some tasks, look at the output, the fault or the order.

Untyped on purpose where a test is: documents, inputs and what comes out are JSON. The participants of `echo` answer with their arguments, so that a test can see what reached them.
"""

from __future__ import annotations

from typing import Any

from domain.errors import SPEC
from tests.support.pure_world import Attempt, Result, World, done, plan_of

__all__ = ["SPEC", "completed", "echo", "fault_of", "names", "never", "ran", "runs_of"]


def echo(attempt: Attempt) -> Result:
    return done(attempt.arguments)


def never(_attempt: Attempt) -> None:
    """No participant ever answers."""
    return


def ran(
    tasks: Any,
    input_: Any = None,
    answer: Any = echo,
    limits: Any = None,
    **top: Any,
) -> Any:
    """A world in which these tasks were started."""
    world = World(plan_of(tasks, **top), answer, **(limits or {}))
    world.start(input_)
    return world


def completed(tasks: Any, input_: Any = None, answer: Any = echo, **top: Any) -> Any:
    """The output of an orchestration that must complete."""
    state = ran(tasks, input_, answer, **top).root
    assert state.status == "completed", (state.status, state.fault)
    return state.output


def fault_of(tasks: Any, input_: Any = None, answer: Any = echo, **top: Any) -> Any:
    """The fault of an orchestration that must fault: (name or type, status, instance, detail)."""
    state = ran(tasks, input_, answer, **top).root
    assert state.status == "faulted", (state.status, state.output)
    assert state.fault is not None
    return state.fault.type.removeprefix(SPEC), state.fault.status, state.fault.instance, state.fault.detail


def names(world: Any) -> list[str]:
    """The tasks in the order in which tokens reached them; skipped ones in parentheses."""
    reached = []
    for event in world.history["o_root"]:
        if event.topic == "task.scheduled":
            reached.append(event.name)
        elif event.topic == "task.skipped":
            reached.append(f"({event.name})")
    return reached


def runs_of(state: Any, name: str) -> list[Any]:
    return [run for run in state.runs.values() if run.name == name]
