"""``retrace replay`` and ``retrace bundle`` as a shell runs them: what is shown, what is written, and the exit codes."""

from __future__ import annotations

import functools
import io
import json
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from adapters.cli.stepping import Stepping
from application.breakpoints import read_breakpoint
from retrace import replay
from tests.golden.stories import FOLDER
from tests.golden.test_golden import FILES
from tests.integration.cli_service import FakeService, Terminal

TRIP = FOLDER / "trip_rolled_back.json"
BUNDLE = json.loads(TRIP.read_text(encoding="utf-8"))
ID = BUNDLE["id"]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    return Terminal(capsys)


@pytest.fixture
def service(httpserver, monkeypatch):
    return FakeService(httpserver, monkeypatch)


def versions(text: str) -> list[str]:
    """The versions in the headings of the decisions that were shown."""
    blocks = text.split("\n\n")[1:]
    return [block.split()[0] for block in blocks if re.match(r" *\d+(-\d+)? ", block)]


@pytest.mark.parametrize("columns", ["40", "80"])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_any_history_is_shown_within_the_width(terminal, monkeypatch, file, columns):
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal.run("replay", str(file)) == 0
    lines = terminal.out.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert "\x1b" not in terminal.out
    assert terminal.err == ""


def test_each_decision_says_why_what_and_what_next(terminal):
    assert terminal.run("replay", str(TRIP)) == 0
    assert versions(terminal.out) == ["1-3", "4-6", "7-9", "10-16", "17-23", "24-27"]
    assert "bookFlight was refused: 409 Sold out: The flight is full." in terminal.out
    assert "10 task.failed            bookFlight" in terminal.out
    assert "~ status  running → compensating" in terminal.out
    assert "↶ would undo now: bookHotel, then reserveCar" in terminal.out
    assert "↶ undone: bookHotel, then reserveCar" in terminal.out


def test_the_page_shows_what_is_printed(terminal):
    page = (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")
    [(command, shown)] = re.findall(r"^```text\n\$ retrace ([^\n]*)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    verb, file = command.split()
    assert terminal.run(verb, str(ROOT / file)) == 0
    assert terminal.out == shown


def test_a_part_of_it(terminal):
    assert terminal.run("replay", str(TRIP), "--from", "11", "--until", "2026-01-01T00:00:00.201Z") == 0
    assert versions(terminal.out) == ["10-16", "17-23"]


def test_the_state_of_then(terminal):
    assert terminal.run("replay", str(TRIP), "--at", "12") == 0
    assert "compensating (version 12)" in terminal.out
    assert "↶ still to undo: bookHotel, then reserveCar" in terminal.out
    told = terminal.json("replay", str(TRIP), "--at", "12")
    assert told["state"] == replay.load(TRIP).at(12)


def test_json_is_a_decision_a_line(terminal):
    assert terminal.run("replay", str(TRIP), "-o", "json") == 0
    steps = [json.loads(line) for line in terminal.out.splitlines()]
    assert [step["version"] for step in steps] == [1, 4, 7, 10, 17, 24]
    assert set(steps[0]) == {"version", "last_version", "after_s", "command", "events", "difference", "rollback"}
    assert steps == [json.loads(json.dumps(told(step))) for step in replay.load(TRIP)]


def told(step: replay.Step) -> dict[str, Any]:
    names = ("version", "last_version", "after_s", "command", "events", "difference", "rollback")
    return {name: getattr(step, name) for name in names}


def test_a_bundle_from_standard_input(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(BUNDLE)))
    assert terminal.run("replay", "-", "--verify") == 0


# Breakpoints ----------------------------------------------------------------------------------------------------------


def test_without_anybody_to_ask_a_breakpoint_ends_the_walk(terminal):
    assert terminal.run("replay", str(TRIP), "--breakpoint", "type==task.failed") == 0
    assert versions(terminal.out)[-1] == "10-16"


def test_a_breakpoint_that_is_never_met(terminal):
    assert terminal.run("replay", str(TRIP), "-b", "type==fork.won") == 1
    assert "never met" in terminal.err
    assert versions(terminal.out)[-1] == "24-27"


def test_a_breakpoint_that_cannot_be_read(terminal):
    assert terminal.run("replay", str(TRIP), "--breakpoint", "type==") == 2
    assert "a value is missing" in terminal.err


def pressed(*keys: str) -> Callable[[], str]:
    left = list(keys)
    return lambda: left.pop(0)


@pytest.mark.parametrize(
    ("keys", "shown", "states"),
    [
        (["c", "c"], [1, 4, 7, 10, 17, 24], 0),
        (["\r", "\r", "\r"], [1, 4, 7, 10, 17, 24], 0),
        (["s", "x", "s", "q"], [1, 4, 7, 10], 2),
        (["\r", "q"], [1, 4, 7, 10, 17], 0),
        (["\r", "c"], [1, 4, 7, 10, 17, 24], 0),
        (["\x03"], [1, 4, 7, 10], 0),
    ],
)
def test_keys_of_the_debugger(keys, shown, states):
    said: list[str] = []
    seen: list[int] = []
    looked: list[int] = []
    stepping = Stepping(read_breakpoint("type==task.failed"), pressed(*keys), said.append)
    for step in replay.load(TRIP):
        seen.append(step.version)
        if not stepping.goes_on(step, functools.partial(looked.append, step.version)):
            break
    assert (seen, len(looked)) == (shown, states)
    assert stepping.met
    assert "stopped at version 10: enter next, c continue, s state, q quit" in said[0]


def test_on_a_terminal_it_waits_for_a_key_and_has_colour():
    command = [sys.executable, "-m", "retrace", "replay", str(TRIP), "--breakpoint", "type==task.failed"]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as running:
        os.close(theirs)
        seen = read_until(ours, "q quit")
        seen += press(ours, b"s", "(version 16)")
        seen += press(ours, b"q", None)
        assert running.wait(60) == 0
    os.close(ours)
    assert "\x1b[" in seen
    assert "bookFlight was refused" in seen
    assert "(version 16)" in seen
    assert "24-27" not in seen


def press(terminal: int, key: bytes, text: str | None) -> str:
    """Press a key until this text has come, or the end: what is typed before anybody reads is dropped."""
    for _ in range(60):
        with suppress(OSError):  # it has ended
            os.write(terminal, key)
        with suppress(TimeoutError):
            return read_until(terminal, text, 1)
    raise TimeoutError(key)


def read_until(terminal: int, text: str | None, timeout_s: float = 60) -> str:
    """What is written until this text has come, or the end."""
    seen = b""
    while text is None or text.encode() not in seen:
        if not select.select([terminal], [], [], timeout_s)[0]:
            raise TimeoutError(seen)
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the other side has ended
            break
        if not piece:
            break
        seen += piece
    return seen.decode()


# Verification ---------------------------------------------------------------------------------------------------------


def test_what_agrees(terminal):
    assert terminal.run("replay", str(TRIP), "--verify") == 0
    assert terminal.out == f"{ID}: 6 decisions made again, 27 events as recorded; the status agrees.\n"
    told = terminal.json("replay", str(TRIP), "--verify")
    assert told == {"id": ID, "decisions": 6, "events": 27, "agrees": True, "divergences": [], "unlike": []}


def changed(folder: Path) -> Path:
    document = json.loads(TRIP.read_text(encoding="utf-8"))
    flight = document["definition"]["document"]["do"][2]["bookFlight"]
    flight["with"]["body"]["seats"] = 2
    file = folder / "changed.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


@pytest.mark.parametrize("columns", ["50", "100"])
def test_a_divergence_shows_both_sides(terminal, tmp_path, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal.run("replay", str(changed(tmp_path)), "--verify") == 1
    assert "version 7: another decision now" in terminal.out
    assert '"seats"' in terminal.out
    assert "1 of 6 decisions go another way now." in terminal.err
    assert max(map(len, terminal.out.splitlines())) <= int(columns)
    assert terminal.run("replay", str(changed(tmp_path)), "--verify", "-o", "json") == 1
    told = json.loads(terminal.out)
    assert [each["version"] for each in told["divergences"]] == [7]


def test_a_record_that_does_not_agree_with_itself(terminal, tmp_path):
    document = {**BUNDLE, "status": {**BUNDLE["status"], "status": "completed"}}
    (tmp_path / "x.json").write_text(json.dumps(document))
    assert terminal.run("replay", f"{tmp_path}/x.json", "--verify") == 1
    assert "/status" in terminal.err


# Tests that are written ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("story", ["trip_rolled_back", "order_shipped", "quotes", "poisoned", "data_and_loops"])
def test_a_written_test_runs_by_itself(terminal, tmp_path, story):
    file = tmp_path / "test_history.py"
    assert terminal.run("replay", str(FOLDER / f"{story}.json"), "--to-test", str(file)) == 0
    assert f"pytest {file}" in terminal.out.replace("\n", " ")
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    shown = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "4 passed" in shown.stdout


def test_a_written_test_fails_when_the_code_decides_otherwise(terminal, tmp_path):
    file = tmp_path / "test_history.py"
    terminal.run("replay", str(TRIP), "--to-test", str(file))
    changed(tmp_path).rename(tmp_path / "test_history.bundle.json")
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    shown = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert shown.returncode == 1
    assert "test_every_decision_is_made_again_as_it_was" in shown.stdout


# The service ----------------------------------------------------------------------------------------------------------


def test_an_id_is_asked_of_the_service(service, terminal, monkeypatch):
    service.gives("GET", f"/v1/orchestrations/{ID}/bundle", BUNDLE)
    assert terminal.run("replay", ID, "--at", "3") == 0
    assert "(version 3)" in terminal.out


def test_a_family_is_walked_child_by_child(service, terminal, monkeypatch):
    for name in ("order_shipped.json", "order_shipped.child1.json"):
        document = json.loads((FOLDER / name).read_text(encoding="utf-8"))
        service.gives("GET", f"/v1/orchestrations/{document['id']}/bundle", document)
    first, second = (request_id(FOLDER / name) for name in ("order_shipped.json", "order_shipped.child1.json"))
    assert terminal.run("replay", first, "--family", "--verify") == 0
    assert [line.partition(":")[0] for line in terminal.out.splitlines()] == [first, second]


def request_id(file: Path) -> str:
    return str(json.loads(file.read_text(encoding="utf-8"))["id"])


def test_a_bundle_is_written_to_a_file(service, terminal, monkeypatch, tmp_path):
    service.gives("GET", f"/v1/orchestrations/{ID}/bundle", BUNDLE)
    file = tmp_path / "trip.json"
    assert terminal.run("bundle", ID, "--to", str(file), "--redact", "card", "--redact", "/status/input/city") == 0
    assert service.only.args.getlist("redact") == ["card", "/status/input/city"]
    assert json.loads(file.read_text(encoding="utf-8")) == BUNDLE
    assert terminal.run("replay", str(file), "--verify") == 0


def test_a_bundle_on_standard_output_is_json_and_nothing_else(service, terminal, monkeypatch):
    service.gives("GET", f"/v1/orchestrations/{ID}/bundle", BUNDLE)
    assert terminal.run("bundle", ID) == 0
    assert json.loads(terminal.out) == BUNDLE


def test_a_redaction_that_would_decide_is_told(service, terminal, monkeypatch, tmp_path):
    service.gives("GET", f"/v1/orchestrations/{ID}/bundle", json.loads(changed(tmp_path).read_text()))
    assert terminal.run("bundle", ID, "--redact", "x", "--to", f"{tmp_path}/b.json") == 0
    assert "does not decide alike" in terminal.err


def test_a_name_that_stands_nowhere_is_told(service, terminal, tmp_path):
    told = {"places": ["crad"], "values": 0, "nowhere": ["crad"], "hashes_checkable": False}
    service.gives("GET", f"/v1/orchestrations/{ID}/bundle", {**BUNDLE, "redacted": told})
    assert terminal.run("bundle", ID, "--redact", "crad", "--to", f"{tmp_path}/b.json") == 0
    assert "nothing was redacted by the name crad" in terminal.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nowhere.json"], 2, "neither the id of an orchestration nor a file"),
        ([str(TRIP), "--at", "28"], 1, "versions 1 to 27"),
        ([str(TRIP), "--from", "28"], 1, "versions 1 to 27"),
        ([str(TRIP), "--until", "yesterday"], 2, "is not an instant"),
        ([str(TRIP), "--at", "3", "--verify"], 2, "exclude each other"),
        ([str(TRIP), "--at", "3", "--from", "2"], 2, "leave out"),
        ([str(TRIP), "--family"], 2, "give its ID"),
        ([str(ROOT / "pyproject.toml")], 2, "is not JSON"),
    ],
)
def test_what_cannot_be_done_says_why(terminal, arguments, code, says):
    assert terminal.run("replay", *arguments) == code
    assert says in re.sub(r"[\s│]+", " ", terminal.err)


def test_json_that_is_no_bundle(terminal, tmp_path):
    (tmp_path / "x.json").write_text("[]")
    assert terminal.run("replay", f"{tmp_path}/x.json") == 1
    assert "this is no bundle; make one with: retrace bundle ID." in terminal.err


def test_text_from_elsewhere_does_not_move_the_cursor(terminal, tmp_path):
    document = json.loads((FOLDER / "trip_partly_undone.json").read_text(encoding="utf-8"))
    note = next(event for event in document["history"] if event["type"] == "note.added")
    import base64

    import msgspec

    stored = msgspec.msgpack.decode(base64.b64decode(note["stored"])) | {"text": "\x1b[2Jhello"}
    stored["basis"]["command"]["text"] = ["\x1b[2Jhello"]
    note["stored"] = base64.b64encode(msgspec.msgpack.encode(stored)).decode()
    (tmp_path / "x.json").write_text(json.dumps(document))
    assert terminal.run("replay", f"{tmp_path}/x.json") == 0
    assert "\x1b" not in terminal.out
    assert r"\x1b[2Jhello" in terminal.out
