"""The standard's conformance kit through pure decisions: 21 Gherkin scenarios, with a pet store that answers in process.

The kit is read where it lies, beside the project; without it these tests are skipped. Every step of every scenario must
be understood, so that a kit that grows cannot pass unnoticed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from domain.errors import SPEC, Fault
from domain.state import State
from tests.support.flows import names
from tests.support.pure_world import Attempt, Result, World, compile_yaml, done

KIT = Path(__file__).parents[2].parent / "shared" / "conformance" / "serverless-workflow-ctk"
_STEP = re.compile(r"^[ \t]*(?:Given|When|Then|And given|And)[ \t]+(.*?)[ \t]*$", re.IGNORECASE)
PETS = [{"id": 1, "name": "Rex", "status": "available"}, {"id": 2, "name": "Milou", "status": "available"}]


# Reading ----------------------------------------------------------------------------------------------------------------


def scenarios() -> list[Any]:
    """(name, [(step, text block or None)]) of every scenario."""
    found: list[Any] = []
    for file in sorted(KIT.glob("*.feature")):
        for part in re.split(r"^\s*Scenario:", file.read_text(), flags=re.MULTILINE)[1:]:
            title, _, body = part.partition("\n")
            found.append(pytest.param(steps(body), id=f"{file.stem}: {title.strip()}"))
    return found


def steps(body: str) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    lines = iter(body.splitlines())
    for line in lines:
        stripped = line.strip()
        if stripped.startswith('"""'):
            block = []
            indent = len(line) - len(line.lstrip())
            for inner in lines:
                if inner.strip().startswith('"""'):
                    break
                block.append(inner[indent:])
            found[-1] = (found[-1][0], "\n".join(block))
        elif stripped and not stripped.startswith("#"):
            step = _STEP.match(line)
            assert step, f"this is no step: {line!r}"
            found.append((step[1].rstrip(":"), None))
    return found


# The pet store --------------------------------------------------------------------------------------------------------------


def store(attempt: Attempt) -> Result:
    arguments = attempt.arguments
    if attempt.function == "openapi":
        parameters = arguments["parameters"]
        content = PETS if arguments["operationId"] == "findPetsByStatus" else pet(parameters["petId"])
        return answer(arguments, "https://petstore.swagger.io/v2", content)
    endpoint = arguments["endpoint"]
    template = endpoint if isinstance(endpoint, str) else endpoint["uri"]
    uri = re.sub(r"\{(\w+)\}", lambda name: str(arguments["$input"][name[1]]), template)
    if "httpbin" in uri:
        basic = endpoint["authentication"]["basic"]
        assert uri.endswith(f"/basic-auth/{basic['username']}/{basic['password']}")
        return answer(arguments, uri, {"authenticated": True})
    if "findByStatus?status=available" in uri:
        return answer(arguments, uri, PETS)
    if found := re.search(r"/pet/(\d+)$", uri):
        return answer(arguments, uri, pet(int(found[1])))
    response = {"status": 404, "headers": {}, "content": None}
    return Result("refused", fault=Fault(SPEC + "communication", 404, "Not Found", response=response))


def pet(number: int) -> dict[str, Any]:
    return next(p for p in PETS if p["id"] == number)


def answer(arguments: dict[str, Any], uri: str, content: Any) -> Result:
    if arguments.get("output") == "response":
        request = {"method": arguments.get("method", "get"), "uri": uri, "headers": {}}
        return done({"request": request, "headers": {}, "statusCode": 200, "content": content})
    return done(content)


# What the kit expects ---------------------------------------------------------------------------------------------------------


def completes(world: World, block: str | None) -> None:
    assert world.root.status == "completed", world.root.fault
    if block is not None:
        assert world.root.output == yaml.safe_load(block)


def faults(world: World, block: str | None) -> None:
    assert world.root.status == "faulted"
    if block is not None:
        assert world.root.fault is not None
        assert world.root.fault.as_json() == yaml.safe_load(block)


def member(state: State, path: str) -> Any:
    value = state.output
    for name in path.split("."):
        value = value[name]
    return value


def has_properties(world: World, block: str | None, listed: str) -> None:
    for path in re.findall(r"'([^']*)'", listed):
        member(world.root, path)


def has_value(world: World, block: str | None, path: str) -> None:
    assert member(world.root, path) == yaml.safe_load(block or "")


def has_items(world: World, block: str | None, path: str, count: str) -> None:
    assert len(member(world.root, path)) == int(count)


def runs_at(world: World, block: str | None, task: str, place: str) -> None:
    assert names(world)[0 if place == "first" else -1] == task


def runs_after(world: World, block: str | None, task: str, before: str) -> None:
    order = names(world)
    assert order.index(task) == order.index(before) + 1


EXPECTATIONS: list[tuple[str, Callable[..., None]]] = [
    (r"the workflow should complete(?: with output)?", completes),
    (r"the workflow should fault(?: with error)?", faults),
    (r"the workflow output should have properties (.*)", has_properties),
    (r"the workflow output should have a '([^']*)' property with value", has_value),
    (r"the workflow output should have a '([^']*)' property containing (\d+) items", has_items),
    (r"(\w+) should run (first|last)", runs_at),
    (r"(\w+) should run after (\w+)", runs_after),
]


@pytest.mark.skipif(not KIT.is_dir(), reason="the conformance kit is not beside the project (../shared/conformance)")
@pytest.mark.parametrize("scenario", scenarios())
def test_scenario(scenario):
    world: World | None = None
    input_: Any = None
    expected = 0
    for step, block in scenario:
        if step == "a workflow with definition":
            world = World(compile_yaml(block), store)
        elif step == "the workflow input is":
            input_ = yaml.safe_load(block)
        elif step == "the workflow is executed":
            assert world is not None
            world.start(input_)
        else:
            found = [(expect, match) for pattern, expect in EXPECTATIONS if (match := re.fullmatch(pattern, step))]
            assert len(found) == 1, f"this step is not understood: {step}"
            expect, match = found[0]
            expect(world, block, *match.groups())
            expected += 1
    assert expected


@pytest.mark.skipif(not KIT.is_dir(), reason="the conformance kit is not beside the project (../shared/conformance)")
def test_the_kit_is_complete():
    assert len(scenarios()) == 21
