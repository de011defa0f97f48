"""The specification's own examples and the documents of its test kit, read where they lie and never copied.

An example that uses only what the service supports compiles; one that uses anything else is refused with a problem that
names the keyword and points at it.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from adapters.documents import expressions_of, read_definition
from domain.errors import InvalidDefinitionError

CONFORMANCE = Path(__file__).parents[2].parent / "shared" / "conformance"
EXAMPLES = sorted((CONFORMANCE / "serverless-workflow-examples").glob("*.yaml"))
FEATURES = sorted((CONFORMANCE / "serverless-workflow-ctk").glob("*.feature"))
DOCUMENT = re.compile(
    r'Scenario: (?P<name>[^\n]+)\n\s*Given a workflow with definition:\n\s*"""yaml\n(?P<text>.*?)\n\s*"""', re.DOTALL
)

needs_data = pytest.mark.skipif(not EXAMPLES, reason="the conformance data is not beside the project")

REFUSED = {
    # example: (pointer, keyword)
    "call-asyncapi-publish": ("/do/0/findPet/call", "asyncapi"),
    "call-asyncapi-subscribe-consume-amount": ("/do/0/getNotifications/call", "asyncapi"),
    "call-asyncapi-subscribe-consume-forever-foreach": ("/do/0/getNotifications/call", "asyncapi"),
    "call-asyncapi-subscribe-consume-until": ("/do/0/getNotifications/call", "asyncapi"),
    "call-asyncapi-subscribe-consume-while": ("/do/0/getNotifications/call", "asyncapi"),
    "call-custom-function-cataloged": ("/do/0/log/call", "call"),
    "call-grpc": ("/do/0/greet/call", "grpc"),
    "call-mcp": ("/do/0/publishMessageToSlack/call", "mcp"),
    "mock-service-extension": ("/use/extensions", "use.extensions"),
    "run-container": ("/do/0/runContainer/run/container", "container"),
    "run-container-cleanup-always": ("/do/0/runContainer/run/container", "container"),
    "run-container-cleanup-eventually": ("/do/0/runContainer/run/container", "container"),
    "run-container-stdin-and-arguments": ("/do/1/runContainer/run/container", "container"),
    "run-container-with-name": ("/do/0/runContainer/run/container", "container"),
    "run-container-with-pull-policy": ("/do/0/runContainer/run/container", "container"),
    "run-return-all": ("/do/0/runContainer/run/container", "container"),
    "run-return-code": ("/do/0/runContainer/run/container", "container"),
    "run-return-none": ("/do/0/runContainer/run/container", "container"),
    "run-return-stderr": ("/do/0/runContainer/run/container", "container"),
    "run-script-with-stdin-and-arguments": ("/do/0/runScript/run/script", "script"),
    "run-shell-stdin-and-arguments": ("/do/1/runShell/run/shell", "shell"),
}


def scenarios():
    for feature in FEATURES:
        for found in DOCUMENT.finditer(feature.read_text()):
            yield pytest.param(textwrap.dedent(found["text"]), id=f"{feature.stem}: {found['name']}")


@needs_data
def test_no_example_and_no_scenario_is_missing():
    assert len(EXAMPLES) == 66
    assert len(list(scenarios())) == 21
    assert set(REFUSED) <= {example.stem for example in EXAMPLES}


@needs_data
@pytest.mark.parametrize("example", [path for path in EXAMPLES if path.stem not in REFUSED], ids=lambda path: path.stem)
def test_example_compiles_without_warnings(example):
    definition = read_definition(example.read_bytes(), "application/yaml")
    assert definition.warnings == []
    assert definition.plan.nodes
    assert all(expression.program for _, expression, _ in expressions_of(definition.plan))


@needs_data
@pytest.mark.parametrize("example", [path for path in EXAMPLES if path.stem in REFUSED], ids=lambda path: path.stem)
def test_example_is_refused_for_a_keyword_that_is_left_out(example):
    with pytest.raises(InvalidDefinitionError) as caught:
        read_definition(example.read_bytes(), "application/yaml")
    (problem,) = caught.value.problems
    pointer, keyword = REFUSED[example.stem]
    assert (problem.pointer, problem.code) == (pointer, "unsupported")
    assert keyword in problem.detail
    assert problem.line is not None
    assert problem.column is not None
    assert (
        example.read_text().splitlines()[problem.line - 1][problem.column - 1 :].startswith(pointer.rpartition("/")[2])
    )


@needs_data
@pytest.mark.parametrize("text", list(scenarios()))
def test_scenario_compiles_without_warnings(text):
    definition = read_definition(text, "application/yaml")
    assert definition.warnings == []
    assert definition.plan.nodes
