"""The standard's conformance kit: its Gherkin scenarios as data, and the steps they are made of, played over the REST API.

The kit is read from where the project keeps it (``../shared/conformance``) and never copied. A step that is not known
here is an error: a scenario is passed only if every one of its sentences was checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from gherkin.parser import Parser

from tests.support.service import Api

DATA = Path(__file__).parents[3] / "shared" / "conformance"
KIT = DATA / "serverless-workflow-ctk"
EXAMPLES = DATA / "serverless-workflow-examples"


@dataclass(frozen=True)
class Step:
    """A sentence and, where it has one, the document below it."""

    text: str
    document: str | None


@dataclass(frozen=True)
class Scenario:
    feature: str
    name: str
    steps: tuple[Step, ...]


@dataclass
class Play:
    """A scenario while it is played."""

    api: Api
    local: Callable[[str], str]
    """Replaces the hosts in a document by the stub's."""
    definition: str = ""
    input_: Any = None
    status: dict[str, Any] = field(default_factory=dict)

    @property
    def ran(self) -> list[str]:
        """Names of the tasks in the order in which they began."""
        return [task["name"] for task in self.status["tasks"]]


def scenarios() -> list[Scenario]:
    """All scenarios of the kit; none where the kit is absent."""
    found: list[Scenario] = []
    for path in sorted(KIT.glob("*.feature")):
        feature: Any = Parser().parse(path.read_text(encoding="utf-8"))["feature"]
        for child in feature["children"]:
            steps = [
                Step(step["text"], step.get("docString", {}).get("content")) for step in child["scenario"]["steps"]
            ]
            found.append(Scenario(path.stem, child["scenario"]["name"], tuple(steps)))
    return found


async def play(scenario: Scenario, api: Api, local: Callable[[str], str]) -> None:
    """Play a scenario to its end. Raises AssertionError for the first sentence that does not hold."""
    state = Play(api, local)
    for step in scenario.steps:
        for pattern, act in STEPS:
            match = pattern.fullmatch(step.text.strip())
            if match is not None:
                await act(state, step.document, *match.groups())
                break
        else:
            raise AssertionError(f"nobody knows what this means: {step.text!r}")


STEPS: list[tuple[re.Pattern[str], Any]] = []


def step(pattern: str) -> Callable[[Any], Any]:
    def register(act: Any) -> Any:
        STEPS.append((re.compile(pattern), act))
        return act

    return register


@step("a workflow with definition:")
async def _definition(play: Play, document: str) -> None:
    deployed = await play.api.deploy(play.local(document))
    assert deployed["http_status"] == 201, deployed
    play.definition = f"{deployed['namespace']}/{deployed['name']}@{deployed['version']}"


@step("given the workflow input is:")
async def _input(play: Play, document: str) -> None:
    play.input_ = read(document)


@step("the workflow is executed")
async def _execute(play: Play, _: None) -> None:
    started = await play.api.start(play.definition, play.input_)
    play.status = await play.api.ended(started["id"])


@step("the workflow should complete")
async def _complete(play: Play, _: None) -> None:
    assert play.status["status"] == "completed", play.status["error"]


@step("the workflow should complete with output:")
async def _complete_with(play: Play, document: str) -> None:
    await _complete(play, None)
    assert play.status["output"] == read(document)


@step("the workflow should fault")
async def _fault(play: Play, _: None) -> None:
    assert play.status["status"] == "faulted", play.status["status"]


@step("the workflow should fault with error:")
async def _fault_with(play: Play, document: str) -> None:
    await _fault(play, None)
    assert {name: play.status["error"].get(name) for name in read(document)} == read(document)


@step("the workflow output should have properties (.+)")
async def _properties(play: Play, _: None, listed: str) -> None:
    for path in re.findall("'([^']+)'", listed):
        assert at(play.status["output"], path) is not None, path


@step("the workflow output should have a '([^']+)' property with value:")
async def _value(play: Play, document: str, path: str) -> None:
    assert at(play.status["output"], path) == read(document)


@step("the workflow output should have a '([^']+)' property containing ([0-9]+) items")
async def _items(play: Play, _: None, path: str, count: str) -> None:
    assert len(at(play.status["output"], path)) == int(count)


@step("([A-Za-z]+) should run first")
async def _first(play: Play, _: None, task: str) -> None:
    assert play.ran[0] == task


@step("([A-Za-z]+) should run last")
async def _last(play: Play, _: None, task: str) -> None:
    assert play.ran[-1] == task


@step("([A-Za-z]+) should run after ([A-Za-z]+)")
async def _after(play: Play, _: None, task: str, earlier: str) -> None:
    assert play.ran.index(task) == play.ran.index(earlier) + 1


def read(document: str) -> Any:
    return yaml.safe_load(document)


def at(value: Any, path: str) -> Any:
    """The member at ``a.b.c``. Raises KeyError where there is none."""
    for name in path.split("."):
        value = value[name]
    return value
