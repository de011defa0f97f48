"""Writes ``docs/conformance.md`` from a run: ``python -m tests.conformance.page``.

Every scenario of the kit is played and every example of the specification is deployed, over the REST API; the page says
what came of it.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from tests.conformance.kit import EXAMPLES, play, scenarios
from tests.support.petstore import Petstore
from tests.support.service import Api, running_service

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
HEAD = """\
# Conformance to Serverless Workflow 1.0

This page is written by a run (`python -m tests.conformance.page`); `make conformance` plays everything again and fails
when the page no longer tells the truth. Kit, examples and schema are those of the specification (DSL 1.0.3, Apache-2.0,
github.com/serverlessworkflow/specification); calls to `petstore.swagger.io` and `httpbin.org` go to a local stub.
"""


async def rows_of_kit() -> list[tuple[str, str, str]]:
    """(feature, scenario, what came of it), each scenario on a service of its own."""
    rows = []
    async with Petstore().serving() as petstore:
        for scenario in scenarios():
            with tempfile.TemporaryDirectory() as folder:
                async with running_service(Path(folder)) as api:
                    try:
                        await play(scenario, api, petstore.local)
                        outcome = "passed"
                    except AssertionError as failure:
                        outcome = f"**failed**: {str(failure).splitlines()[0]}"
            rows.append((scenario.feature, scenario.name, outcome))
    return rows


async def rows_of_examples() -> list[tuple[str, str, str]]:
    """(example, what came of it, where and why) for each example of the specification."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        async with running_service(Path(folder)) as api:
            for name, text in _examples():
                rows.append((name, *await _deploy(api, text)))
    return rows


def _examples() -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in sorted(EXAMPLES.glob("*.yaml"))]


async def _deploy(api: Api, text: bytes) -> tuple[str, str]:
    # The examples share names and versions, so each is checked and none is kept.
    answer = await api.http.post(
        "/v1/definitions?dry_run=true", content=text, headers={"Content-Type": "application/yaml"}
    )
    checked: dict[str, Any] = answer.json()
    if checked["valid"]:
        return "deploys", ""
    return "refused", "; ".join(f"`{each['pointer']}`: {each['detail']}" for each in checked["errors"])


async def page() -> str:
    """The whole page."""
    kit, examples = await rows_of_kit(), await rows_of_examples()
    passed = sum(row[2] == "passed" for row in kit)
    deployed = sum(row[1] == "deploys" for row in examples)
    lines = [
        HEAD,
        f"## The kit: {passed} of {len(kit)} scenarios pass\n",
        *_table(("feature", "scenario", "result"), kit),
        f"\n## The specification's {len(examples)} examples: {deployed} deploy, {len(examples) - deployed} are refused\n",
        "A definition that asks for something that is not supported is refused with the place and the reason; nothing is",
        "ignored silently.\n",
        *_table(("example", "result", "where and why"), examples),
    ]
    return "\n".join(lines) + "\n"


def _table(head: tuple[str, ...], rows: list[tuple[str, str, str]]) -> list[str]:
    cells = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]


if __name__ == "__main__":
    PAGE.write_text(asyncio.run(page()), encoding="utf-8")
