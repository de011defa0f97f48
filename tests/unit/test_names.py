"""Names that are stored or sent are a contract: ``docs/names.md`` and the code say the same, or a test fails.

Adding a name means adding a row there; renaming or removing one breaks histories that exist and clients that run.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

from adapters.callouts import circuits
from adapters.metrics import METRICS
from adapters.rest import schemas_human, schemas_running
from adapters.rest.problems import SLUGS
from application import accesses, projection_store
from application import status as status_view
from application.damage import DamageKind
from application.lifecycle import TYPES as lifecycle_types  # noqa: N811 - of these there are others
from application.operation_store import OperationStatus
from domain import commands, errors, events, lifecycle, orchestration, rollback, state

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "names.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    """What stands below a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/names.md has no section {heading!r}"
    return found[1]


def rows(heading: str) -> dict[str, list[str]]:
    """First cell (a name in code) -> the other cells, of the table below a heading."""
    lines = re.findall(r"^\| `([^`]+)` \|(.*)\|$", section(heading), re.MULTILINE)
    assert len({name for name, _ in lines}) == len(lines), f"a name is there twice below {heading!r}"
    return {name: [cell.strip() for cell in rest.split("|")] for name, rest in lines}


def named(text: str) -> set[str]:
    return set(re.findall(r"`([a-z_]+)`", text))


def nodes(module: ModuleType) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(inspect.getsource(module)))


def strings(node: ast.AST | None) -> set[str]:
    """Every text in an expression but the keys of dicts and what is compared with."""
    skipped = {
        id(inner)
        for part in (ast.walk(node) if node else ())
        for outer in ([part] if isinstance(part, ast.Compare) else part.keys if isinstance(part, ast.Dict) else [])
        for inner in (ast.walk(outer) if outer else ())
    }
    constants = [part for part in (ast.walk(node) if node else ()) if isinstance(part, ast.Constant)]
    return {part.value for part in constants if isinstance(part.value, str) and id(part) not in skipped}


def returned(function: Any) -> set[str]:
    tree = ast.parse(inspect.getsource(function).lstrip())
    return {text for part in ast.walk(tree) if isinstance(part, ast.Return) for text in strings(part.value)}


# --- what the code says --------------------------------------------------------------------------------------------


def undo_statuses() -> set[str]:
    """What is given to ``undo.status``, and what the view makes of it."""
    return set(get_args(state.UndoStatus)) | returned(status_view.compensation_status)


def are_texts(node: ast.Tuple) -> bool:
    return all(isinstance(each, ast.Constant) and isinstance(each.value, str) for each in node.elts)


def incident_actions() -> dict[str, set[str]]:
    """Kind -> the actions that some incident of this kind offers."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "domain").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "raise_incident":
                kind, actions = ast.literal_eval(node.args[1]), node.args[4]
                where = functions[ast.unparse(actions.func)] if isinstance(actions, ast.Call) else actions
                tuples = [part for part in ast.walk(where) if isinstance(part, ast.Tuple) and are_texts(part)]
                assert tuples, f"{path.name}: what may be done about {kind} cannot be read"
                found.setdefault(kind, set()).update(*[ast.literal_eval(part) for part in tuples])
    return found


def void_actions() -> set[str]:
    """What an incident that nobody resolved was resolved by."""
    found = set()
    for path in (ROOT / "domain").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and [ast.unparse(each) for each in node.args[:1]] == ["e.IncidentResolved"]:
                found |= {text for word in node.keywords if word.arg == "action" for text in strings(word.value)}
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "void_incidents":
                found |= strings(node.args[1])
    return found - set(get_args(get_type_hints(commands.Resolve)["action"]))


# --- and what the page says ----------------------------------------------------------------------------------------


def test_event_topics():
    assert set(rows("Event topics")) == set(events.TOPICS)


def test_event_topics_have_one_form():
    assert [topic for topic in events.TOPICS if not re.fullmatch(r"[a-z]+\.[a-z]+", topic)] == []


def test_statuses_of_an_orchestration():
    table = rows("Of an orchestration")
    known = {name for _, sources, target in lifecycle.ORCHESTRATION for name in (*sources, target)}
    assert set(table) == known - {lifecycle.INITIAL}
    assert {name for name, cells in table.items() if cells[0] == "yes"} == lifecycle.ORCHESTRATION_FINAL


def test_statuses_of_a_task():
    known = {name for _, sources, target in lifecycle.RUN for name in (*sources, target)}
    assert set(rows("Of a task")) == known - {lifecycle.INITIAL}


def test_statuses_of_a_compensation():
    assert set(rows("Of a compensation")) == undo_statuses()


def test_statuses_of_a_task_for_people():
    table = rows("Of a task for people")
    assert set(table) == set(get_args(schemas_human.HumanStatus))
    what = get_args(get_type_hints(schemas_human.Handing)["what"])
    assert set(what) <= named(section("Of a task for people"))


def test_kinds_of_what_is_waited_for():
    source = "".join(inspect.getsource(each) for each in (status_view._awaited, status_view._operator))
    assert set(rows("What is waited for")) == set(re.findall(r'"kind": "([a-z]+)"', source))


def test_states_of_a_circuit():
    assert set(rows("Circuits")) == set(get_args(circuits.State))


def test_statuses_of_a_step_of_a_plan():
    shown = {text for text in strings(ast.parse(inspect.getsource(status_view._step))) if text.isalpha()}
    assert "dropped" in shown
    assert "`dropped`" in section("Of a compensation")


def test_outcomes_causes_and_effects():
    text = section("Outcomes")
    of_rollback = returned(rollback.outcome)
    of_cause = set(get_args(get_type_hints(events.Cause)["kind"]))
    assert named(text) == of_rollback | of_cause | set(get_args(events.Effect))


def test_incident_kinds_and_their_actions():
    table = {kind: named(cells[0]) for kind, cells in rows("Incidents").items()}
    assert set(table) == set(get_args(get_type_hints(events.IncidentRaised)["kind"]))
    assert table == incident_actions()
    assert set().union(*table.values()) == set(get_args(get_type_hints(commands.Resolve)["action"]))


def test_statuses_of_an_operation():
    assert set(rows("Operations")) == set(get_args(OperationStatus))


def test_kinds_of_damage():
    assert set(rows("Damage")) == set(get_args(DamageKind))
    page = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE)) == set(get_args(DamageKind))


def test_what_makes_an_incident_void():
    (sentence,) = re.findall(r"In the history[^:]*:", section("Incidents"))
    assert named(sentence) == void_actions()


def test_the_page_of_rollback_offers_the_same_actions():
    text = (ROOT / "docs" / "rollback.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z_]+)` \|[^|]*\| ((?:`[a-z]+`(?:, )?)+)", text, re.MULTILINE)
    assert {kind: named(actions) for kind, actions in listed} == incident_actions()


def test_states_of_a_projection():
    stored = set(get_args(get_type_hints(projection_store.Build)["state"]))
    assert set(rows("Projections")) == stored | {"failed"}
    assert set(get_args(get_type_hints(schemas_running.Projection)["state"])) == stored | {"failed"}


def test_error_types():
    table = {name: int(cells[0]) for name, cells in rows("Error types").items()}
    assert table == {name: status for name, (status, _) in errors.STANDARD.items()}
    assert f"`{errors.SPEC}`" in section("Error types")
    assert f"`{errors.OURS}`" in section("Error types")


def test_problems_of_the_api():
    table = {slug: int(cells[0]) for slug, cells in rows("Problems of the API").items()}
    assert table == {slug: kind.status for slug, kind in SLUGS.items()}


def test_every_refusal_of_a_use_case_is_a_problem_of_the_api():
    left, codes = [errors.RetraceError], set()
    while left:
        found = left.pop()
        left += found.__subclasses__()
        codes.add(found.code)
    assert codes <= set(SLUGS)


def test_metrics():
    table = {name: (cells[0], tuple(re.findall(r"`([a-z_]+)`", cells[1]))) for name, cells in rows("Metrics").items()}
    assert table == {name: (kind.type, kind.labels) for name, kind in METRICS.items()}
    assert [name for name in METRICS if not re.fullmatch(r"retrace_[a-z_]+", name)] == []
    counters = {name for name in METRICS if name.endswith("_total")}
    assert counters == {name for name, kind in METRICS.items() if kind.type == "counter"}


def test_alerts_are_about_metrics_that_exist():
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    mentioned = set(re.findall(r"retrace_[a-z_]+[a-z](?=[ \[{)`])", operations.partition("## Metrics")[2]))
    known = set(METRICS) | {f"{name}_{part}" for name in METRICS for part in ("bucket", "count", "sum")}
    assert len(mentioned) > 8
    assert mentioned <= known


def test_types_of_lifecycle_events_are_on_the_page_about_messaging():
    page = (ROOT / "docs" / "messaging.md").read_text(encoding="utf-8").partition("## Lifecycle events")[2]
    told = set(re.findall(r"`((?:io\.serverlessworkflow|retrace)\.[a-z.-]+\.v1)`", page))
    assert told == set(lifecycle_types)


def test_causes_and_accesses_are_listed():
    assert set(rows("Causes")) == {*orchestration._CAUSES.values(), orchestration.BY_SCHEDULE, "command"}
    assert set(rows("Accesses")) == {*get_args(accesses.What), *get_args(accesses.Step)}
