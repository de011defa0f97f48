"""The command line and orchestrations: what is asked of a service, what is shown, and the exit codes."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest

from tests.integration.cli_service import ID, PATH, FakeService, Terminal, orchestration, task

RESULT = {"id": ID, "status": "running", "version": 4}


@pytest.fixture
def service(httpserver, monkeypatch):
    return FakeService(httpserver, monkeypatch)


@pytest.fixture
def terminal(capsys):
    return Terminal(capsys)


def test_a_start_sends_all_that_was_said(service, terminal):
    service.gives("POST", "/v1/orchestrations", orchestration(), status=201)
    arguments = ["--input", '{"city": "Lisbon"}', "--business-key", "b", "--tag", "a=1", "--tag", "c=d=e"]
    started = terminal.json("start", "travel/trip", *arguments, "--idempotency-key", "k")
    assert started["id"] == ID
    expected = {"definition": "travel/trip", "input": {"city": "Lisbon"}, "business_key": "b"}
    assert service.body() == {**expected, "tags": {"a": "1", "c": "d=e"}}
    assert service.only.headers["Idempotency-Key"] == '"k"'


def test_an_input_may_stand_in_a_file_or_on_standard_input(service, terminal, tmp_path, monkeypatch):
    service.gives("POST", "/v1/orchestrations", orchestration(), status=201)
    (tmp_path / "in.json").write_text("[1]")
    assert terminal.run("start", "trip", "--input", f"@{tmp_path}/in.json") == 0
    assert service.body()["input"] == [1]
    monkeypatch.setattr(sys, "stdin", io.StringIO('"x"'))
    assert terminal.run("start", "trip", "-i", "-") == 0
    assert service.body()["input"] == "x"
    assert f"retrace status {ID} --follow" in terminal.out


@pytest.mark.parametrize("text", ["Lisbon", "{", "NaN", "@nowhere.json"])
def test_an_input_that_is_no_json_is_an_error_of_the_command_line(service, terminal, text):
    assert terminal.run("start", "trip", "--input", text) == 2
    assert "Traceback" not in terminal.err
    assert terminal.out == ""
    assert service.requests == []


@pytest.mark.parametrize(("end", "code"), [("completed", 0), ("compensated", 1), ("faulted", 1), ("cancelled", 1)])
def test_waiting_for_the_end_succeeds_only_when_it_completes(service, terminal, end, code):
    service.gives("POST", "/v1/orchestrations", orchestration(), status=201)
    service.gives("GET", PATH, orchestration(), orchestration(end, 9))
    assert terminal.run("start", "trip", "--wait", "30", "--output", "json") == code
    assert json.loads(terminal.out)["status"] == end
    assert (f"is {end}." in terminal.err) == bool(code)


def test_waiting_ends_when_its_time_is_over(service, terminal):
    service.gives("POST", "/v1/orchestrations", orchestration(), status=201)
    service.gives("GET", PATH, orchestration("suspended"))
    assert terminal.run("start", "trip", "--wait", "0") == 1
    assert f"{ID} is suspended after 0 s; it goes on." in terminal.err


def test_waiting_for_what_needs_an_operator_says_so(service, terminal):
    service.gives("POST", "/v1/orchestrations", orchestration(), status=201)
    service.gives("GET", PATH, orchestration("compensating", incidents=[INCIDENT]))
    assert terminal.run("start", "trip", "--wait", "0") == 1
    assert f"waits for an operator; see: retrace incidents {ID}." in terminal.err


def test_a_status_tells_where_it_stands_within_80_columns(service, terminal):
    error = {
        "type": "https://x.test/errors/sold-out",
        "status": 409,
        "title": "Conflict",
        "detail": "no seat left " * 9,
    }
    rollback = {
        "reason": {"kind": "error", "task": "/do/2/bookFlight", "error": error, "text": None, "actor": None},
        "plan": ["bookHotel", "reserveCar"],
        "done": ["bookHotel"],
        "skipped": [],
        "left_behind": [],
        "outcome": None,
        "steps": [],
    }
    incident = {
        "number": 1,
        "kind": "compensation_failed",
        "task": "reserveCar",
        "reference": "/do/0/reserveCar",
        "error": error,
        "raised_at": "2026-11-23T10:00:01Z",
        "actions": ["retry", "skip"],
    }
    failed = task("bookFlight", "failed", error=error)
    body = orchestration(
        "compensating",
        9,
        error=error,
        tasks=[task("trip", "running"), {**failed, "reference": "/do/0/trip/do/0/bookFlight", "run": 12}],
        rollback=rollback,
        incidents=[incident],
        waiting_for=[{"kind": "event", "task": "ask", "event": {"type": "go"}, "due_at": "2026-11-23T11:00:00Z"}],
    )
    service.gives("GET", PATH, body)
    assert terminal.run("status", ID) == 0
    assert max(map(len, terminal.out.splitlines())) <= 80
    assert "\x1b" not in terminal.out
    words = " ".join(terminal.out.split())
    for phrase in (
        "compensating (version 9)",
        "409 Conflict: no seat left",
        "event go for ask until 2026-11-23 11:00:00",
        "error of /do/2/bookFlight",
        "plan bookHotel, reserveCar",
        f"retrace incidents retry|skip {ID} 1 --reason WHY",
    ):
        assert phrase in words
    assert "\n  bookFlight" in terminal.out, "inner tasks are indented"


def test_what_a_server_sends_cannot_steer_the_terminal(service, terminal):
    service.gives("GET", PATH, orchestration(business_key="a\x1b[31mb[bold]c"))
    terminal.run("status", ID)
    assert "a\\x1b[31mb[bold]c" in terminal.out


def test_a_status_of_the_past_is_asked_for_by_version(service, terminal):
    service.gives("GET", PATH, orchestration())
    assert terminal.json("status", ID, "--at-version", "2")["version"] == 3
    assert service.only.args.to_dict() == {"at_version": "2"}


def test_a_list_is_filtered_and_read_page_by_page_up_to_its_limit(service, terminal):
    one = orchestration()
    service.gives(
        "GET", "/v1/orchestrations", {"items": [one] * 500, "next": "c1"}, {"items": [one] * 100, "next": "c2"}
    )
    filters = ["--status", "running", "--status", "suspended", "--definition", "travel/trip", "--tag", "a=b"]
    found = terminal.json("status", *filters, "--business-key", "k", "--has-incident", "--limit", "600")
    assert len(found) == 600
    first, second = service.requests
    assert first.args.getlist("status") == ["running", "suspended"]
    expected = {"definition": "travel/trip", "tag": "a:b", "business_key": "k", "has_incident": "true", "limit": "500"}
    assert {name: first.args[name] for name in expected} == expected
    assert (second.args["cursor"], second.args["limit"]) == ("c1", "100")


def test_a_list_shows_whole_ids(service, terminal):
    service.gives("GET", "/v1/orchestrations", {"items": [orchestration(business_key="k" * 70)], "next": None})
    assert terminal.run("status") == 0
    assert ID in terminal.out
    assert max(map(len, terminal.out.splitlines())) <= 80


@pytest.mark.parametrize(
    "arguments",
    [["--follow"], ["--at-version", "1"], [ID, "--status", "running"], [ID, "--follow", "--at-version", "1"]],
)
def test_options_that_do_not_go_together_are_an_error_of_the_command_line(service, terminal, arguments):
    assert terminal.run("status", *arguments) == 2
    assert service.requests == []


def test_following_tells_each_change_until_the_end(service, terminal):
    service.gives(
        "GET",
        PATH,
        orchestration(tasks=[task("a", "running")]),
        orchestration(version=3, tasks=[task("a", "running")]),
        orchestration(version=5, tasks=[task("a", "completed"), task("b", "running")]),
        orchestration("completed", 7, tasks=[task("a", "completed"), task("b", "completed")]),
    )
    assert terminal.run("status", ID, "--follow") == 0
    lines = [line.split("  ", 1)[1] for line in terminal.out.splitlines()]
    told = ["a running", f"{ID} is running", "a completed", "b running", "b completed", f"{ID} is completed"]
    assert lines == told
    assert service.requests[1].args.to_dict() == {"wait": "60", "after": "3"}


def test_following_as_json_is_a_line_for_each_change(service, terminal):
    service.gives("GET", PATH, orchestration(), orchestration("completed", 7))
    assert terminal.run("--output", "json", "status", ID, "--follow") == 0
    assert [json.loads(line)["version"] for line in terminal.out.splitlines()] == [3, 7]


def events(*versions: int) -> list[dict[str, object]]:
    common: dict[str, object] = {"type": "task.completed", "at": "2026-11-23T10:00:00.5Z", "actor": None, "data": {}}
    common["task"] = "/do/0/a"
    return [{**common, "version": version, "hash": "00"} for version in versions]


def test_a_history_is_shown_from_a_version_on(service, terminal):
    service.gives("GET", f"{PATH}/history", {"items": events(3, 4), "next_after": None})
    assert [each["version"] for each in terminal.json("history", ID, "--after", "2")] == [3, 4]
    assert service.only.args["after"] == "2"
    assert terminal.run("history", ID) == 0
    assert "task.completed  /do/0/a" in terminal.out


def test_a_history_tells_errors_as_people_read_them(service, terminal):
    why = {"type": f"https://serverlessworkflow.io/spec/1.0.0/errors/{'x' * 60}", "status": 409, "title": "Conflict"}
    [failed, begun] = events(1, 2)
    failed["data"] = {"fault": {**why, "detail": "nobody flies there"}, "effect": "failed"}
    begun["data"] = {"reason": {"kind": "error", "task": "/do/0/a", "fault": why}}
    service.gives("GET", f"{PATH}/history", {"items": [failed, begun], "next_after": None})
    assert terminal.run("history", ID) == 0
    shown = " ".join(terminal.out.split())
    assert 'fault="409 Conflict: nobody flies there" effect="failed"' in shown
    assert 'reason="error, 409 Conflict"' in shown


def test_a_status_that_waits_for_an_undo_says_of_what(service, terminal):
    waits = {"kind": "worker", "function": "unpack", "task": "compensate", "due_at": None}
    waits["reference"] = "/do/0/pack/compensate"
    service.gives("GET", PATH, {**orchestration("compensating"), "waiting_for": [waits]})
    assert terminal.run("status", ID) == 0
    assert "worker unpack for undo of pack" in terminal.out


def test_a_followed_history_goes_on_where_it_was_until_the_end(service, terminal):
    service.gives("GET", PATH, orchestration(version=2), orchestration("completed", 3))
    service.gives(
        "GET", f"{PATH}/history", {"items": events(1, 2), "next_after": None}, {"items": events(3), "next_after": None}
    )
    assert terminal.run("history", ID, "--follow", "--output", "json") == 0
    assert [json.loads(line)["version"] for line in terminal.out.splitlines()] == [1, 2, 3]
    assert [each.args["after"] for each in service.requests if each.path.endswith("history")] == ["0", "2"]


@pytest.mark.parametrize("command", ["cancel", "terminate", "suspend", "resume"])
def test_a_command_is_posted_with_its_reason(service, terminal, command):
    service.gives("POST", f"{PATH}/{command}", RESULT)
    assert terminal.json(command, ID, "--reason", "because") == RESULT
    assert service.body() == {"reason": "because"}
    assert terminal.run(command, ID) == 0
    assert terminal.out == f"{ID} is running (version 4)\n"


def test_a_cancel_can_be_rehearsed(service, terminal):
    events = [
        {"type": "rollback.started", "data": {}},
        {"type": "task.cancelled", "task": "/do/0/a", "run": 2, "data": {}},
    ]
    service.gives("POST", f"{PATH}/cancel", {"version": 4, "events": events})
    assert terminal.run("cancel", ID, "--dry-run", "--override-pivot") == 0
    assert "rollback.started\n" in terminal.out
    assert "task.cancelled  /do/0/a #2" in terminal.out
    assert service.only.args.to_dict() == {"dry_run": "true"}
    assert service.body() == {"override_pivot": True}


def test_a_note_is_posted(service, terminal):
    service.gives("POST", f"{PATH}/notes", RESULT, status=201)
    assert terminal.json("note", ID, "called the hotel") == RESULT
    assert service.body() == {"text": "called the hotel"}


def test_an_event_goes_to_one_orchestration(service, terminal):
    service.gives("POST", f"{PATH}/events", {"outcome": "matched", "version": 4}, status=202)
    answer = terminal.json("send", ID, "go", "--source", "s", "--data", '{"a": 1}', "--event-id", "e1")
    assert answer == {"event_id": "e1", "outcome": "matched", "version": 4}
    assert service.only.content_type == "application/cloudevents+json"
    envelope = {"specversion": "1.0", "id": "e1", "source": "s", "type": "go"}
    assert service.body() == {**envelope, "datacontenttype": "application/json", "data": {"a": 1}}


def test_an_event_for_all_is_published_under_an_id_of_its_own(service, terminal):
    service.gives("POST", "/v1/events", {"outcome": "held"}, status=202)
    ids = {terminal.json("send", "--all", "go")["event_id"] for _ in range(2)}
    assert len(ids) == 2
    assert not any(re.fullmatch(r"[0-9a-f]{32}", each) for each in ids), "an id that we make does not look like a UUID"
    assert service.body()["type"] == "go"


@pytest.mark.parametrize("arguments", [["go"], ["--all", ID, "go"], [ID, "go", "on"]])
def test_an_event_has_one_receiver_or_all(service, terminal, arguments):
    assert terminal.run("send", *arguments) == 2
    assert service.requests == []


INCIDENT = {"number": 1, "kind": "poison", "task": "a", "reference": "/do/0/a", "error": None, "actions": ["retry"]}


def test_open_incidents_are_listed_for_one_or_for_all(service, terminal):
    service.gives("GET", PATH, orchestration(incidents=[INCIDENT]))
    service.gives("GET", "/v1/orchestrations", {"items": [orchestration()], "next": None})
    for arguments in ([ID], [], ["list"], ["list", ID]):
        assert terminal.json("incidents", *arguments) == [{"orchestration": ID, **INCIDENT}]
    assert terminal.run("incidents") == 0
    assert ID in terminal.out


@pytest.mark.parametrize("action", ["retry", "skip", "complete", "fail"])
def test_an_incident_is_settled_with_a_reason(service, terminal, action):
    service.gives("POST", f"{PATH}/incidents/1/{action}", RESULT)
    assert terminal.json("incidents", action, ID, "1", "--reason", "seen") == RESULT
    assert service.body() == {"reason": "seen"}
    assert terminal.run("incidents", action, ID, "1") == 2, "without a reason"


def test_an_incident_is_completed_with_a_result(service, terminal):
    service.gives("POST", f"{PATH}/incidents/1/complete", RESULT)
    terminal.json("incidents", "complete", ID, "1", "--reason", "by hand", "--result", '{"id": 7}')
    assert service.body() == {"reason": "by hand", "output": {"id": 7}}


def test_a_rollback_plan_is_shown_in_order(service, terminal):
    step = {
        "task": "hotel",
        "reference": "/do/0/hotel",
        "run": 1,
        "outcome": "completed",
        "condition": None,
        "undo": "/x",
    }
    condition = {"expression": ".refundable", "result": True}
    plan = {
        "version": 5,
        "steps": [step, {**step, "task": "car", "condition": condition}],
        "not_undone": [{"task": "mail", "why": "no compensation"}],
        "blocked_by_pivot": True,
    }
    service.gives("GET", f"{PATH}/rollback-plan", plan)
    assert terminal.json("rollback-plan", ID) == plan
    assert terminal.run("rollback-plan", ID) == 0
    assert terminal.out.index("hotel") < terminal.out.index("car") < terminal.out.index("mail (no compensation)")
    assert ".refundable is true" in terminal.out
    assert "--override-pivot" in terminal.out


def test_a_history_is_looked_for_in_the_archive_when_told(service, terminal):
    service.gives("GET", f"{PATH}/history", {"items": events(1, 2), "next_after": 2}, {"items": [], "next_after": None})
    assert [each["version"] for each in terminal.json("history", ID, "--archive")] == [1, 2]
    assert [each.args["archive"] for each in service.requests] == ["true", "true"]
    assert terminal.run("history", ID, "--archive", "--follow") == 2


def test_a_file_is_written_where_it_is_said(service, terminal, tmp_path):
    digest = f"sha256:{'0' * 64}"
    service.gives("GET", f"{PATH}/blobs/{digest}", "<svg/>", kind="image/svg+xml")
    to = tmp_path / "a.svg"
    assert terminal.json("blob", ID, digest, "--to", str(to))["media_type"] == "image/svg+xml"
    assert to.read_bytes() == b"<svg/>"
    assert terminal.run("blob", ID, digest, "--output", "json") == 2
