"""The command line and definitions: deploying, listing, drawing; and what `retrace dev` finds in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.cli.deployment import load_all
from adapters.cli.discovery import discover, example_input, is_definition
from adapters.cli.failures import Failure
from tests.integration.cli_service import FakeService, Terminal

DOCUMENT = """\
document: {dsl: '1.0.3', namespace: travel, name: trip, version: '1.0.0'}
do:
  - hello: {set: {x: 1}}
"""
DEPLOYED = {
    "namespace": "travel",
    "name": "trip",
    "version": "1.0.0",
    "digest": "sha256:00",
    "resource": "trips",
    "created_at": "2026-11-23T10:00:00Z",
    "warnings": [],
}


@pytest.fixture
def service(httpserver, monkeypatch):
    return FakeService(httpserver, monkeypatch)


@pytest.fixture
def terminal(capsys):
    return Terminal(capsys)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "trip.yaml"
    path.write_text(DOCUMENT)
    return str(path)


def test_a_file_is_deployed_and_its_warnings_are_told_with_their_places(service, terminal, file):
    warning = {"pointer": "/do/0/hello", "line": 3, "column": 5, "detail": "leads nowhere"}
    service.gives("POST", "/v1/definitions", {**DEPLOYED, "warnings": [warning]}, status=201)
    assert terminal.run("deploy", file) == 0
    assert service.only.content_type == "application/yaml"
    assert service.only.get_data().decode() == DOCUMENT
    words = " ".join(terminal.out.split())
    assert "Deployed travel/trip@1.0.0, served at /trips" in words
    assert "3:5: /do/0/hello: leads nowhere" in words


def test_every_file_is_tried_and_one_that_is_refused_fails_the_command(service, terminal, file, tmp_path):
    (tmp_path / "bad.yaml").write_text("document: {dsl: '1.0.3'}")
    error = {
        "pointer": "/document",
        "line": 1,
        "column": 11,
        "detail": "the member 'name' is missing",
        "code": "missing",
    }
    refusal = {"type": "/problems/invalid-definition", "status": 422, "title": "Invalid", "errors": [error]}
    service.gives("POST", "/v1/definitions", refusal, status=422, kind="application/problem+json")
    service.gives("POST", "/v1/definitions", DEPLOYED, status=201)
    assert terminal.run("deploy", str(tmp_path / "bad.yaml"), file) == 1
    assert f"{tmp_path}/bad.yaml:1:11: /document: the member 'name' is missing" in terminal.err
    assert "Deployed travel/trip@1.0.0" in terminal.out


def test_a_version_that_exists_with_other_content_is_told_with_the_way_out(service, terminal, file):
    service.declines("POST", "/v1/definitions", 409, "definition-exists", title="Definition exists", detail="It is.")
    assert terminal.run("deploy", file) == 1
    assert "Raise document.version." in terminal.err


def test_a_dry_run_stores_nothing(service, terminal, file):
    service.gives("POST", "/v1/definitions", {"valid": True, "errors": [], "warnings": []})
    (outcome,) = terminal.json("deploy", file, "--dry-run")
    assert outcome == {"file": file, "valid": True, "errors": [], "warnings": []}
    assert service.only.args.to_dict() == {"dry_run": "true"}


def test_a_dry_run_of_an_invalid_document_fails(service, terminal, file):
    errors = [{"pointer": "/do", "line": 2, "column": 1, "detail": "empty"}]
    service.gives("POST", "/v1/definitions", {"valid": False, "errors": errors, "warnings": []})
    assert terminal.run("deploy", file, "--dry-run") == 1
    assert f"{file}:2:1: /do: empty" in terminal.err


def test_a_file_that_is_not_there_is_told(service, terminal):
    assert terminal.run("deploy", "nowhere.yaml") == 1
    assert "nowhere.yaml: cannot be read: No such file" in terminal.err
    assert service.requests == []


def test_a_file_that_is_not_there_does_not_keep_the_others_back(service, terminal, file):
    service.gives("POST", "/v1/definitions", DEPLOYED, status=201)
    assert terminal.run("deploy", "nowhere.yaml", file, "--output", "json") == 1
    missing, deployed = json.loads(terminal.out)
    assert (missing["valid"], deployed["valid"]) == (False, True)


def test_definitions_are_listed_one_by_one_or_by_version(service, terminal):
    service.gives("GET", "/v1/definitions", {"items": [DEPLOYED], "next": None})
    assert terminal.json("definitions") == [DEPLOYED]
    assert terminal.json("definitions", "travel/trip") == [DEPLOYED]
    assert service.requests[1].args.to_dict() == {"namespace": "travel", "name": "trip"}
    terminal.json("definitions", "trip")
    assert service.requests[2].args.to_dict() == {"namespace": "default", "name": "trip"}
    terminal.run("definitions")
    assert "travel/trip" in terminal.out


def test_a_definition_that_is_not_there_fails(service, terminal):
    service.gives("GET", "/v1/definitions", {"items": [], "next": None})
    assert terminal.run("definitions", "trip") == 1
    assert "default/trip" in terminal.err


def test_a_version_is_shown_as_it_was_sent(service, terminal):
    service.gives("GET", "/v1/definitions/travel/trip/1.0.0", DOCUMENT, kind="application/yaml")
    assert terminal.run("definitions", "travel/trip@1.0.0") == 0
    assert terminal.out == DOCUMENT


def test_a_deployed_definition_is_drawn_by_the_service(service, terminal):
    service.gives("GET", "/v1/definitions/default/trip/latest/diagram", "<svg/>", kind="image/svg+xml")
    assert terminal.json("diagram", "trip", "--format", "svg")["diagram"] == "<svg/>"
    assert service.only.headers["Accept"].startswith("image/svg+xml")


def test_a_file_is_drawn_without_a_service(terminal, file):
    assert terminal.run("diagram", file) == 0
    assert terminal.out.startswith("flowchart TD")


def test_a_file_that_is_invalid_is_not_drawn(terminal, tmp_path):
    (tmp_path / "bad.yaml").write_text("document: {dsl: '1.0.3'}\ndo: 7\n")
    assert terminal.run("diagram", str(tmp_path / "bad.yaml")) == 1
    assert "bad.yaml:2:" in terminal.err


def plant(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_folder_gives_its_documents_and_the_functions_on_their_way(tmp_path):
    plant(
        tmp_path,
        **{
            "b.yaml": DOCUMENT,
            "a/deep/trip.yml": DOCUMENT,
            "a/functions.py": "",
            "functions.py": "",
            "other/functions.py": "",
            "compose.yaml": "services: {}",
            ".hidden/trip.yaml": DOCUMENT,
            "node_modules/trip.yaml": DOCUMENT,
            "env/pyvenv.cfg": "",
            "env/trip.yaml": DOCUMENT,
            "readme.md": DOCUMENT,
        },
    )
    found = discover(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in found.documents] == ["b.yaml", "a/deep/trip.yml"]
    assert [str(path.relative_to(tmp_path)) for path in found.functions] == ["functions.py", "a/functions.py"]


def test_an_empty_folder_gives_nothing(tmp_path):
    assert discover(tmp_path).documents == []
    with pytest.raises(NotADirectoryError):
        discover(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DOCUMENT, True),
        ("document:\n  dsl: 1.0.3\n  name: [\n", True),  # broken, but meant as one
        ("document:\n  # a comment\n\n  name: x\n  dsl: 1.0.3\ndo: [\n", True),
        ("document: {dsl: '1.0.3', name: x}\ndo: [\n", True),
        ("document: {\n  'dsl': '1.0.3', name: x}\ndo: [\n", True),
        ("document: {title: about the dsl}\n", False),
        ("document: {title: about the dsl}\nx: [\n", False),
        ("kind: dsl\n---\ndocument: x\n", False),
        ("- document\n- dsl\n", False),
        ("document: 7\ndsl: 8\n", False),
        ("", False),
    ],
)
def test_a_definition_is_what_has_document_dsl(text, expected):
    assert is_definition(text.encode()) is expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (None, {}),
        ({"examples": [{"city": "Lisbon"}]}, {"city": "Lisbon"}),
        (
            {
                "type": "object",
                "required": ["city", "nights", "odd"],
                "properties": {
                    "city": {"type": "string", "examples": ["Lisbon"]},
                    "nights": {"type": "integer", "minimum": 2},
                    "extra": {"type": "string"},
                },
            },
            {"city": "Lisbon", "nights": 2, "odd": None},
        ),
        ({"enum": ["a", "b"]}, "a"),
        ({"type": ["string", "null"]}, "text"),
        ({"type": "object", "required": 5, "properties": []}, {}),
    ],
)
def test_an_input_to_try_is_made_from_the_schema(schema, expected):
    assert example_input({"input": {"schema": {"document": schema}}}) == expected
    assert example_input({}) == {}


def test_functions_of_several_folders_make_one_registry(tmp_path):
    plant(
        tmp_path,
        **{
            "a/functions.py": "from retrace import function\n@function('one')\ndef one(): ...\n",
            "b/functions.py": "from retrace import function\n@function('two')\ndef two(): ...\n",
            "c/functions.py": "from retrace import function\n@function('two')\ndef other(): ...\n",
        },
    )
    paths = [tmp_path / name / "functions.py" for name in "abc"]
    assert list(load_all(paths[:2])) == ["one", "two"]
    with pytest.raises(Failure, match="'two' is taken twice"):
        load_all(paths)


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("x = 1\nraise RuntimeError('no')\n", "functions.py:2", "RuntimeError: no"),
        ("def broken(:\n", "functions.py:1", "SyntaxError"),
        ("\n\nimport nothing_of_this_name\n", "functions.py:3", "ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)\n", "functions.py:1", "SystemExit: 3"),
    ],
)
def test_functions_that_cannot_be_loaded_are_told_by_file_and_line(tmp_path, text, where, what):
    plant(tmp_path, **{"functions.py": text})
    with pytest.raises(Failure) as caught:
        load_all([tmp_path / "functions.py"])
    assert f"{tmp_path}/{where}: {what}" in str(caught.value)
