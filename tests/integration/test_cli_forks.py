"""``retrace fork`` and ``retrace migrate``: what they ask of a service, and what they make of its answers."""

from __future__ import annotations

import pytest

from adapters.cli.forks import read_mapping
from tests.integration.cli_service import ID, PATH, FakeService, Terminal, orchestration

OTHER = "o_" + "b" * 22
MIGRATED = {
    "type": "orchestration.migrated",
    "data": {
        "moves": {"/do/0/a": "/do/1/a"},
        "remarks": [{"pointer": "/do/0/new", "detail": "new is new and lies before a", "code": "passed-over"}],
    },
}
WOULD = {"version": 3, "events": [MIGRATED]}
NO_TASK = [{"pointer": "/do/0/a", "detail": "a is in progress, and test/x@1.1.0 has no task a", "code": "no-task"}]


@pytest.fixture
def service(httpserver, monkeypatch):
    return FakeService(httpserver, monkeypatch)


@pytest.fixture
def terminal(capsys):
    return Terminal(capsys)


def test_a_fork_is_asked_for_with_what_was_given(service, terminal):
    service.gives("POST", f"{PATH}/fork", orchestration(forked_from={"id": ID, "version": 5}), status=201)
    given = ["--from-version", "5", "--input", '{"n": 1}', "--definition", "a/b@2.0.0", "--force", "--reason", "why"]
    assert terminal.run("fork", ID, *given, "--idempotency-key", "k") == 0
    assert service.body() == {
        "from_version": 5,
        "reason": "why",
        "definition": "a/b@2.0.0",
        "force": True,
        "input": {"n": 1},
    }
    assert service.only.headers["Idempotency-Key"] == '"k"'
    assert f"a fork of {ID} at version 5" in terminal.out.replace("\n", " ")


def test_what_is_not_given_is_not_said(service, terminal):
    service.gives("POST", f"{PATH}/fork", orchestration(), status=201)
    assert terminal.run("fork", ID, "--from-version", "5", "--reason", "why", "--input", "null") == 0
    assert service.body() == {"from_version": 5, "reason": "why", "input": None}


def test_a_conflict_says_what_to_do(service, terminal):
    conflict = {"pointer": "/do/0/a", "detail": "the original has undone a since", "code": "effect-undone"}
    service.declines("POST", f"{PATH}/fork", 409, "fork-conflict", title="Fork conflict", errors=[conflict])
    assert terminal.run("fork", ID, "--from-version", "5", "--reason", "why") == 1
    assert "/do/0/a: the original has undone a since" in terminal.err
    assert "--force" in terminal.err


def test_a_fork_can_be_rehearsed(service, terminal):
    event = {"type": "orchestration.forked", "data": {"reason": "why"}}
    service.gives("POST", f"{PATH}/fork", {"version": 0, "events": [event]})
    assert terminal.json("fork", ID, "--from-version", "5", "--reason", "why", "--dry-run")["events"] == [event]
    assert service.only.args["dry_run"] == "true"


def test_migrations_are_looked_at_and_then_made(service, terminal, tmp_path):
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("b: c\n", encoding="utf-8")
    service.gives("POST", f"{PATH}/migrate", WOULD, {"id": ID, "status": "running", "version": 4})
    given = ["--definition", "test/x@1.1.0", "--mapping", str(mapping), "--reason", "mended"]
    assert terminal.run("migrate", ID, *given) == 0
    assert service.body() == {"definition": "test/x@1.1.0", "reason": "mended", "mapping": {"b": "c"}}
    assert [request.args.get("dry_run") for request in service.requests] == ["true", None]
    assert "migrated" in terminal.out
    assert "lies before a" in terminal.out
    assert "/do/0/a is /do/1/a" in terminal.out


def test_all_of_a_version_are_found_and_each_is_told(service, terminal):
    page = {"items": [{"id": ID}, {"id": OTHER}], "next": None}
    service.gives("GET", "/v1/orchestrations", page)
    service.gives("POST", f"{PATH}/migrate", WOULD)
    service.declines("POST", f"/v1/orchestrations/{OTHER}/migrate", 422, "invalid-input", errors=NO_TASK)
    given = ["--from", "test/x@1.0.0", "--to", "test/x@1.1.0", "--reason", "mended", "--dry-run"]
    assert terminal.run("migrate", *given, "--output", "json") == 1
    assert [each.args.getlist("status") for each in service.requests[:1]] == [["running", "suspended", "compensating"]]
    assert service.requests[0].args["definition"] == "test/x@1.0.0"
    assert '"result": "possible"' in terminal.out
    assert '"result": "refused"' in terminal.out
    assert "1 of 2 cannot go on" in terminal.err


def test_what_was_moved_before_a_failure_is_told(service, terminal):
    service.gives("POST", f"{PATH}/migrate", WOULD, {"id": ID, "status": "running", "version": 4})
    service.declines("POST", f"/v1/orchestrations/{OTHER}/migrate", 404, "not-found")
    given = ["--to", "test/x@1.1.0", "--reason", "mended", "--output", "json"]
    assert terminal.run("migrate", ID, OTHER, *given) == 1
    assert '"result": "migrated"' in terminal.out
    assert "404" in terminal.err


def test_what_has_ended_meanwhile_or_is_there_already_is_no_failure(service, terminal):
    service.declines("POST", f"{PATH}/migrate", 409, "orchestration-ended", current_status="completed")
    service.gives("POST", f"/v1/orchestrations/{OTHER}/migrate", {"version": 3, "events": []})
    found = terminal.json("migrate", ID, OTHER, "--to", "test/x@1.1.0", "--reason", "mended")
    assert [each["result"] for each in found] == ["ended", "unchanged"]


@pytest.mark.parametrize("given", [[], [ID, "--from", "test/x@1.0.0"]])
def test_either_some_or_all(service, terminal, given):
    assert terminal.run("migrate", *given, "--to", "test/x@1.1.0", "--reason", "mended") == 2
    assert not service.requests


@pytest.mark.parametrize("content", ["- a\n", "a: 1\n", "a: [\n"])
def test_a_mapping_of_another_form(service, terminal, tmp_path, content):
    file = tmp_path / "mapping.yaml"
    file.write_text(content, encoding="utf-8")
    assert terminal.run("migrate", ID, "--to", "x@1.1.0", "--reason", "m", "--mapping", str(file)) == 2
    assert str(file) in terminal.err.replace("\n", "")
    assert read_mapping(None) is None
