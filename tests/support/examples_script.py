"""Participants of the examples for the pure world: every callout is done unless the test says otherwise.

A callout is named as in the ledger of ``examples.participants``: ``put cars``, ``delete hotels``, ``get banks/alpine``,
or the name of a function. `effects` is what happened to the world: a repeat under the same idempotency key counts once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from domain.plan import Plan
from tests.support.pure_world import Attempt, Result, World, compile_yaml, done

EXAMPLES = Path(__file__).parents[2] / "examples"
HOLD = Result("uncertain")
"""Leave the attempt in flight until the test replies."""


def example(path: str) -> Plan:
    return compile_yaml((EXAMPLES / path).read_text(encoding="utf-8"))


def name_of(attempt: Attempt) -> str:
    if attempt.function == "askBank":
        return f"get banks/{attempt.arguments['bank']}"
    if attempt.function not in ("http", ""):
        return attempt.function
    method = str(attempt.arguments["method"]).lower()
    endpoint = attempt.arguments["endpoint"]
    path = urlsplit(endpoint["uri"] if isinstance(endpoint, dict) else endpoint).path.strip("/").split("/")
    return f"{method} {path[0]}/{path[1]}" if path[0] == "banks" else f"{method} {path[0]}"


class Script:
    """`answers`: name -> results in turn; after the last one, done. A result may be a function of the attempt."""

    def __init__(self, **answers: list[Result]) -> None:
        self.answers = {name.replace("_", " ", 1): list(results) for name, results in answers.items()}
        self.attempts: list[Attempt] = []
        self.default: Callable[[Attempt], Any] = lambda attempt: {"id": attempt.orchestration}
        self._seen: set[tuple[str, int]] = set()

    def __call__(self, attempt: Attempt) -> Result | None:
        if (attempt.run, attempt.number) in self._seen:
            return None  # held; the world asks again after every step
        self.attempts.append(attempt)
        waiting = self.answers.get(name_of(attempt))
        result = waiting.pop(0) if waiting else done(self.default(attempt))
        if result is HOLD:
            self._seen.add((attempt.run, attempt.number))
            return None
        return result

    def calls(self) -> list[str]:
        """Names of the attempts in order."""
        return [name_of(attempt) for attempt in self.attempts]

    def undos(self) -> list[str]:
        return [name_of(attempt) for attempt in self.attempts if attempt.compensates is not None]


def in_flight(world: World, name: str) -> Attempt:
    """The one attempt of this name that has not been answered."""
    (attempt,) = [attempt for attempt in world.flying if name_of(attempt) == name]
    return attempt


def names(world: World, runs: Any, id_: str = "o_root") -> list[str]:
    """Names of the tasks of steps, runs or whatever else has `run`."""
    return [world.states[id_].runs[entry.run].name for entry in runs]
