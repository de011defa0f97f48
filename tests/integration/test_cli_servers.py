"""`retrace dev` and `retrace serve` as processes: what they tell, what they refuse, and how they end."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from adapters.cli.app import main
from retrace.client import Client, RetraceProblem
from tests.support.soundness import histories_complaints
from tests.support.stored import read_stored

PAUSE = """\
document: {dsl: '1.0.3', namespace: demo, name: pause, version: '1.0.0'}
input:
  schema:
    document: {type: object, required: [city], properties: {city: {type: string, examples: [Lisbon]}}}
do:
  - greet: {call: greet, with: {name: '${ .city }'}}
  - ask: {listen: {to: {one: {with: {type: go}}}}}
  - child: {run: {workflow: {namespace: demo, name: zchild, version: '1.0.0'}}}
"""
CHILD = """\
document: {dsl: '1.0.3', namespace: demo, name: zchild, version: '1.0.0'}
do:
  - hello: {set: {x: 1}}
"""
FUNCTIONS = """\
from retrace import function

@function("greet")
def greet(name: str) -> str:
    return f"hello {name}"
"""
TOKEN = "t0ken"
TOKENS = f"ops:{hashlib.sha256(TOKEN.encode()).hexdigest()}"


def environment(**settings: str) -> dict[str, str]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RETRACE_")}
    return bare | {f"RETRACE_{name.upper()}": value for name, value in settings.items()}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "retrace", *arguments]


@contextlib.contextmanager
def running(folder: Path, *arguments: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(*arguments),
        cwd=folder,
        env=environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
    files = [f"sqlite:///{file}" for file in folder.rglob("*.db")]
    servers = [url for url in (*arguments, *settings.values()) if url.startswith("postgresql:")]
    for database in files + servers:
        assert histories_complaints(read_stored(database)) == []


def introduction(process: subprocess.Popen[str]) -> tuple[str, str]:
    """The URL of a `dev`, and all that it says before it serves."""
    said = ""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if line.startswith(("  curl ", "No definitions")):
            return said.split("Retrace at ")[1].split()[0], said
    raise AssertionError(f"it ended: {said} {process.stderr.read() if process.stderr else ''}")


def log_line(process: subprocess.Popen[str], event: str) -> dict[str, object]:
    """The next line of a JSON log that tells this event."""
    assert process.stderr is not None
    for line in process.stderr:
        entry: dict[str, object] = json.loads(line)
        if entry["event"] == event:
            return entry
    raise AssertionError(f"it ended without {event}")


def refused(folder: Path, *arguments: str, **settings: str) -> tuple[int, str]:
    done = subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pause.yaml").write_text(PAUSE)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "child.yml").write_text(CHILD)
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    (tmp_path / "compose.yaml").write_text("services: {}")
    return tmp_path


def test_dev_deploys_a_folder_runs_it_and_goes_on_after_a_restart(folder):
    with running(folder, "dev", "--port", "0") as process:
        url, said = introduction(process)
        assert "demo/pause@1.0.0  deployed from pause.yaml" in said
        assert "demo/zchild@1.0.0  deployed from deep/child.yml" in said
        assert "functions: greet" in said
        assert "warning" not in said, "a child that is deployed after its parent is no unknown one"
        assert """-d '{"definition": "demo/pause", "input": {"city": "Lisbon"}}'""" in said
        with Client(url) as client:
            started = client.start("demo/pause", {"city": "Lisbon"})["id"]
            for status in client.follow(started):
                if status["waiting_for"]:
                    break
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, "Traceback" in err) == (0, False)
        assert "Stopped." in out
    (folder / "deep" / "child.yml").write_text(CHILD.replace("x: 1", "x: 2"))
    with running(folder, "dev", "--port", "0") as process:
        url, said = introduction(process)
        assert "demo/pause@1.0.0  unchanged" in said
        assert "demo/zchild@1.0.0  deployed" in said, "a changed document under the same version"
        with Client(url) as client:
            client.send_event(started, {"id": "1", "source": "test", "type": "go", "data": {}})
            ended = client.wait(started, timeout_s=30)
        assert (ended["status"], ended["output"]) == ("completed", {"x": 2})


WAITING = """\
document: {dsl: '1.0.3', namespace: demo, name: waiting, version: '1.0.0'}
do:
  - one: {call: greeet, with: {name: a}}
  - two: {call: greeet, with: {name: b}}
  - three: {call: greet, with: {name: c}}
  - four: {call: elsewhere}
"""


def test_dev_says_in_one_line_which_functions_are_left_to_workers(folder):
    (folder / "waiting.yaml").write_text(WAITING)
    (folder / "zz.yaml").write_text(WAITING.replace("name: waiting", "name: zz"))
    with running(folder, "dev", "--port", "0") as process:
        _, said = introduction(process)
        assert [line for line in said.splitlines() if "elsewhere" in line or "greeet" in line] == [
            "  not in this process, left to workers: elsewhere (waiting.yaml:6), greeet (waiting.yaml:3)"
        ]
        assert "warning" not in said


ASKING = """\
document: {dsl: '1.0.3', namespace: demo, name: asking, version: '1.0.0'}
do:
  - ask: {call: ask, callback: true, with: {to: '${ $callback.url }'}}
"""
ASK = """\
from pathlib import Path

from retrace import function

@function("ask")
def ask(to: str) -> None:
    Path("told").write_text(to)
"""


def test_a_task_is_called_back_where_the_service_listens_and_waits_through_a_kill(tmp_path):
    (tmp_path / "asking.yaml").write_text(ASKING)
    (tmp_path / "functions.py").write_text(ASK)
    with running(tmp_path, "dev", "--port", "0") as process:
        url, _ = introduction(process)
        with Client(url) as client:
            id_ = client.start("demo/asking")["id"]
            for status in client.follow(id_):
                if [each["kind"] for each in status["waiting_for"]] == ["callback"]:
                    break
        process.kill()
    told = (tmp_path / "told").read_text()
    assert told.startswith(f"{url}/v1/callbacks/")
    (tmp_path / "told").unlink()
    with running(tmp_path, "dev", "--port", told.removeprefix("http://127.0.0.1:").partition("/")[0]) as process:
        introduction(process)
        request = urllib.request.Request(told, b'{"n": 1}', {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            assert (answer.status, answer.read()) == (200, b'{"outcome":"accepted"}')
        with Client(url) as client:
            assert client.wait(id_, timeout_s=30)["output"] == {"n": 1}
    assert not (tmp_path / "told").exists(), "it was not asked again"


def test_a_signal_ends_live_streams_in_order(folder):
    with running(folder, "dev", "--port", "0") as process:
        url, _ = introduction(process)
        with Client(url) as client:
            started = client.start("demo/pause", {"city": "Lisbon"})["id"]
        with httpx2.stream("GET", f"{url}/v1/orchestrations/{started}/stream", timeout=30) as stream:
            lines = stream.iter_lines()
            assert next(lines), "it is being served"
            process.send_signal(signal.SIGINT)
            # Were it cut off instead, this would raise.
            assert all(isinstance(line, str) for line in lines)
        process.communicate(timeout=30)
        assert process.returncode == 0


def test_dev_works_with_an_empty_folder(tmp_path):
    with running(tmp_path, "dev", "--port", "0") as process:
        url, said = introduction(process)
        assert "No definitions in the current folder." in said
        with Client(url) as client:
            assert list(client.definitions()) == []


def test_dev_tells_what_is_wrong_with_a_document_and_serves_the_others(folder):
    (folder / "bad.yaml").write_text("document: {dsl: '1.0.3', namespace: demo}\ndo: 7\n")
    with running(folder, "dev", "--port", "0") as process:
        url, _ = introduction(process)
        with Client(url) as client:
            assert {each["name"] for each in client.definitions()} == {"pause", "zchild"}
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        assert "bad.yaml was not deployed:" in err
        assert "bad.yaml:2:" in err


def test_a_port_in_use_is_named_before_a_database_is_made(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, err = refused(tmp_path, "dev", "--port", str(port))
    assert code == 1
    assert f"Port {port} of 127.0.0.1 is in use" in err
    assert f"--port {port + 1}" in err
    assert list(tmp_path.iterdir()) == []


def test_a_database_in_use_is_told(folder):
    with running(folder, "dev", "--port", "0") as process:
        introduction(process)
        code, err = refused(folder, "dev", "--port", "0")
    assert code == 1
    assert f"in use by process {process.pid}" in err


def test_two_processes_share_a_database_and_either_answers(folder, fresh_postgres):
    arguments = ("dev", ".", "--port", "0", "--database", fresh_postgres)
    with running(folder, *arguments) as first, running(folder, *arguments) as second:
        one, other = introduction(first)[0], introduction(second)[0]
        started = httpx2.post(
            f"{one}/v1/orchestrations", json={"definition": "demo/zchild"}, headers={"Prefer": "wait=10"}
        )
        assert started.status_code == 201, started.text
        seen = httpx2.get(other + started.headers["Location"], params={"wait": 10})
        assert seen.json()["status"] == "completed"
        noted = httpx2.post(other + started.headers["Location"] + "/notes", json={"text": "seen by another"})
        assert noted.status_code == 201, noted.text
        nodes = httpx2.get(f"{other}/v1/nodes").json()["items"]
        assert len(nodes) == 2
        assert sum(len(node["partitions"]) for node in nodes) == 16


def test_functions_that_cannot_be_loaded_keep_it_from_starting(folder):
    (folder / "functions.py").write_text("import nothing_of_this_name\n")
    code, err = refused(folder, "dev", "--port", "0")
    assert code == 1
    assert "functions.py:1: ModuleNotFoundError" in err


@pytest.mark.parametrize("arguments", [["dev", "nowhere"], ["dev", "--database", "sqlite:///nowhere/x.db"]])
def test_a_folder_that_is_not_there_is_told(tmp_path, arguments):
    code, err = refused(tmp_path, *arguments, "--port", "0")
    assert code == 1
    assert "nowhere" in err


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"blobs": "nowhere"}, "The folder of large values (RETRACE_BLOBS) cannot be used: "),
        (
            {"blobs": "s3://b/x", "s3_endpoint": "http://127.0.0.1:1"},
            "The object store of large values (RETRACE_BLOBS) ",
        ),
    ],
)
def test_a_place_for_large_values_that_cannot_be_used_is_no_fault_of_the_database(tmp_path, settings, why):
    code, err = refused(tmp_path, "dev", "--port", "0", s3_access_key="a", s3_secret_key="b", **settings)
    assert code == 1
    assert f"The service cannot start. {why}" in err
    assert "RETRACE_DATABASE" not in err
    assert "Max retries" not in err


def test_a_folder_is_no_database(tmp_path):
    code, err = refused(tmp_path, "dev", "--port", "0", "--database", f"sqlite:///{tmp_path}")
    assert code == 1
    assert f"The database {tmp_path} is a folder." in err


def test_a_file_that_is_no_database_is_told_without_what_only_programs_need(tmp_path):
    (tmp_path / "notes.db").write_text("by no means a database, however long this sentence may go on and on\n")
    code, err = refused(tmp_path, "dev", "--port", "0", "--database", "sqlite:///notes.db")
    assert code == 1
    assert "The database cannot be used: file is not a database." in err
    assert "Check RETRACE_DATABASE" in err
    assert "nothing is known to be committed" not in err


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode, **_: mode != os.W_OK or Path(path) != tmp_path)
    assert main(["dev", str(tmp_path), "--port", "0", "--database", f"sqlite:///{tmp_path}/x.db"]) == 1
    assert f"The folder {tmp_path} of the database cannot be written to" in capsys.readouterr().err


def test_settings_that_cannot_be_used_end_with_2(tmp_path):
    code, err = refused(tmp_path, "serve", prt="1", log_level="loud")
    assert code == 2
    assert "did you mean RETRACE_PORT?" in err
    assert "RETRACE_LOG_LEVEL" in err


def test_serve_does_not_listen_beyond_this_machine_for_everyone(tmp_path):
    code, err = refused(tmp_path, "serve", "--port", "0", host="0.0.0.0")
    assert code == 2
    assert "RETRACE_API_TOKENS" in err
    assert "RETRACE_AUTH=none" in err


def test_serve_keeps_what_repeats_may_still_ask_for(tmp_path):
    code, err = refused(tmp_path, "serve", "--port", "0", retention="PT47H")
    assert code == 2
    assert "RETRACE_RETENTION" in err
    assert "48 hours" in err


def test_serve_tells_why_a_database_cannot_be_used_without_its_password(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    code, err = refused(tmp_path, "serve", "--port", "0", database=f"postgresql://u:hunter2@127.0.0.1:{port}/x")
    assert code == 1
    assert "Check RETRACE_DATABASE" in err
    assert "Connection refused" in err
    assert "hunter2" not in err


def test_serve_deploys_its_folder_wants_tokens_logs_json_and_ends_with_0(folder):
    settings = {"api_tokens": TOKENS, "definitions": str(folder), "functions": str(folder / "functions.py")}
    with running(folder, "serve", "--port", "0", **settings, host="0.0.0.0") as process:
        told = log_line(process, "serving")
        assert (told["deployed"], told["functions"], told["level"]) == (2, 1, "info")
        with Client(str(told["url"])) as stranger, pytest.raises(RetraceProblem) as caught:
            list(stranger.definitions())
        assert caught.value.status == 401
        with Client(str(told["url"]), TOKEN) as client:
            started = client.start("demo/pause", {"city": "Lisbon"})
            assert next(iter(client.history(started["id"])))["actor"] == "ops"
        process.send_signal(signal.SIGTERM)
        assert log_line(process, "stopped")
        assert process.wait(timeout=30) == 0
        assert process.stdout is not None
        assert process.stdout.read() == ""


def test_serve_refuses_to_start_with_a_document_that_is_invalid(folder):
    (folder / "bad.yaml").write_text("document: {dsl: '1.0.3', namespace: demo}\ndo: 7\n")
    code, err = refused(folder, "serve", "--port", "0", definitions=str(folder))
    assert code == 1
    assert "bad.yaml:2:" in err
