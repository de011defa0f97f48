"""The command line and the audit: the feed, who has read, and exports that are whole or nothing."""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest

from application.accesses import Access, chained
from application.auditing import _item
from tests.integration.cli_service import ID, FakeService, Terminal

EVENTS, EXPORT, ACCESSES = (f"/v1/audit/{name}" for name in ("events", "export", "accesses"))
NDJSON = "application/x-ndjson"


def feed_event(version: int, type_: str = "task.completed", **members: Any) -> dict[str, Any]:
    return {
        "version": version,
        "type": type_,
        "at": f"2026-11-23T10:00:0{version}.000000Z",
        "actor": None,
        "data": {},
        "hash": "00",
        "orchestration": ID,
        "definition": "travel/trip@1.0.0",
        "reason": None,
        "cause": {"kind": "result"},
        "trace_id": "ab" * 16,
        **members,
    }


def line_of(version: int) -> dict[str, Any]:
    event = feed_event(version)
    for name in ("definition", "reason", "trace_id"):
        del event[name]
    more = {"kind": "event", "partition": 1, "position": version, "stored": b64encode(b"\x00\xff").decode()}
    hashes = dict.fromkeys(("hash", "log_hash", "previous"), "0a" * 32)
    return {**event, **more, **hashes, "task": "/do/0/a", "run": 1, "cause": "result", "data": {"città": [1]}}


HEADER = {"kind": "header", "format": 1, "complete": True, "partitions": 2}
CHECKPOINT = {"kind": "checkpoint", "partition": 1, "position": 2}
LINES = [HEADER, line_of(1), line_of(2), CHECKPOINT, {"kind": "end", "events": 2}]


@pytest.fixture
def service(httpserver, monkeypatch):
    return FakeService(httpserver, monkeypatch)


@pytest.fixture
def terminal(capsys):
    return Terminal(capsys)


def lines(*of: dict[str, Any]) -> str:
    return "".join(json.dumps(each) + "\n" for each in of)


def test_the_feed_is_read_page_by_page(service, terminal):
    pages: list[dict[str, Any]] = [{"items": [feed_event(1)], "next": "c1", "resume": "c1"}]
    pages += [{"items": [], "next": "c2", "resume": "c2"}, {"items": [feed_event(2)], "next": None, "resume": "c3"}]
    service.gives("GET", EVENTS, *pages)
    filters = ["--type", "task.*", "--type", "note.added", "--actor", "ada", "--definition", "travel/trip"]
    assert terminal.run("audit", "events", *filters, "--since", "2026-11-23T10:00:00Z", "-o", "json") == 0
    assert [json.loads(line) for line in terminal.out.splitlines()] == [feed_event(1), feed_event(2)]
    first, *_, last = service.requests
    assert first.args.getlist("type") == ["task.*", "note.added"]
    assert (first.args["actor"], first.args["definition"], first.args["since"]) == (
        "ada",
        "travel/trip",
        "2026-11-23T10:00:00Z",
    )
    assert "after" not in first.args
    assert last.args["after"] == "c2"


def test_a_line_of_the_feed_says_when_whose_what_and_why(service, terminal):
    asked = feed_event(
        3, "rollback.started", actor="ada", reason="en\x1bough", cause={"kind": "command", "request": "r-1"}
    )
    lost = feed_event(4, at=None, orchestration=None, unreadable=True)
    service.gives("GET", EVENTS, {"items": [asked, lost], "next": None, "resume": "c"})
    assert terminal.run("audit", "events") == 0
    first, second = terminal.out.splitlines()
    assert first == f"2026-11-23 10:00:03  {ID}  rollback.started  by ada  (en\\x1bough)  [r-1]"
    assert "(unreadable)" in second


def test_the_feed_is_limited(service, terminal):
    service.gives("GET", EVENTS, {"items": [feed_event(1), feed_event(2)], "next": "c", "resume": "c"})
    assert terminal.run("audit", "events", "--limit", "2") == 0
    assert service.only.args["limit"] == "2"
    assert terminal.run("audit", "events", "--limit", "2", "--follow") == 2


def test_the_feed_is_followed(service, terminal):
    blocks = [f"id: c{number}\nevent: task.completed\ndata: {json.dumps(feed_event(number))}\n\n" for number in (1, 2)]
    service.gives("GET", EVENTS, ":\n\n" + ":\n\n".join(blocks), kind="text/event-stream")
    assert terminal.run("audit", "events", "--follow", "--after", "c0", "-o", "json") == 0
    assert [json.loads(line) for line in terminal.out.splitlines()] == [feed_event(1), feed_event(2)]
    assert service.only.headers["Accept"].startswith("text/event-stream")
    assert service.only.args["after"] == "c0"


SEPARATORS = "a\u2028b\u2029c\u0085d\u001ce"
"""Lines end here for Unicode, and not in JSON. (U+001C is always written as an escape.)"""


def test_what_unicode_takes_for_the_end_of_a_line_is_none(service, terminal, tmp_path):
    event = feed_event(1, data={"text": SEPARATORS})
    block = f"id: c1\nevent: task.completed\ndata: {json.dumps(event, ensure_ascii=False)}\n\n"
    service.gives("GET", EVENTS, block, kind="text/event-stream")
    assert terminal.run("audit", "events", "--follow", "-o", "json") == 0
    assert [json.loads(line) for line in terminal.out.split("\n") if line] == [event]
    lines = [HEADER, {**line_of(1), "data": {"text": SEPARATORS}}, {"kind": "end", "events": 1}]
    text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in lines)
    service.gives("GET", EXPORT, text, kind=NDJSON)
    file = tmp_path / "log.ndjson"
    assert terminal.run("audit", "export", "--to", str(file)) == 0
    assert file.read_bytes() == text.encode()
    service.gives("GET", EXPORT, text, kind=NDJSON)
    assert terminal.run("audit", "export", "--format", "parquet", "--to", str(tmp_path / "log.parquet")) == 0


def test_what_the_service_declines_is_told(service, terminal):
    service.declines("GET", EVENTS, 400, "malformed-request", title="The request", detail="since is an instant")
    for more in ([], ["--follow"]):
        assert terminal.run("audit", "events", "--since", "now", *more) == 1
        assert "since is an instant" in terminal.err


def test_an_export_goes_to_standard_output_or_to_a_file(service, terminal, tmp_path):
    service.gives("GET", EXPORT, lines(*LINES), kind=NDJSON)
    assert terminal.run("audit", "export", "--type", "task.*") == 0
    assert [json.loads(line) for line in terminal.out.splitlines()] == LINES
    assert service.only.args["type"] == "task.*"
    file = tmp_path / "log.ndjson"
    told = terminal.json("audit", "export", "--to", str(file))
    assert told == {"file": str(file), "format": "ndjson", "events": 2, "complete": True}
    assert [json.loads(line) for line in file.read_text().splitlines()] == LINES


@pytest.mark.parametrize("broken", [lines(*LINES[:-1]), lines(*LINES[:2]) + '{"kind": "eve', ""])
def test_an_export_that_is_broken_off_leaves_nothing(service, terminal, tmp_path, broken):
    service.gives("GET", EXPORT, broken, kind=NDJSON)
    for name in ("ndjson", "parquet"):
        assert terminal.run("audit", "export", "--format", name, "--to", str(tmp_path / name)) == 1
        assert "broken off" in terminal.err
    assert terminal.run("audit", "export") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_parquet_file_has_a_row_for_each_event_and_the_rest_beside_it(service, terminal, tmp_path):
    service.gives("GET", EXPORT, lines(*LINES), kind=NDJSON)
    file = tmp_path / "log.parquet"
    told = terminal.json("audit", "export", "--format", "parquet", "--to", str(file))
    table = pq.read_table(file)
    assert table.num_rows == told["events"] == 2
    row = table.to_pylist()[0]
    assert (row["orchestration"], row["version"], row["type"], row["task"], row["run"]) == (
        ID,
        1,
        "task.completed",
        "/do/0/a",
        1,
    )
    assert row["at"] == datetime(2026, 11, 23, 10, 0, 1, tzinfo=UTC)
    assert (row["stored"], row["hash"], row["actor"], row["attempt"]) == (b"\x00\xff", b"\x0a" * 32, None, None)
    assert json.loads(row["data"]) == {"città": [1]}
    metadata = pq.read_metadata(file).metadata
    assert json.loads(metadata[b"retrace.header"]) == HEADER
    assert json.loads(metadata[b"retrace.end"])["events"] == 2
    beside = tmp_path / "log.parquet.checkpoints.ndjson"
    assert told["beside"] == str(beside)
    assert [json.loads(line) for line in beside.read_text().splitlines()] == [HEADER, CHECKPOINT, LINES[-1]]
    assert terminal.run("audit", "export", "--format", "parquet") == 2


def test_parquet_without_its_extra_says_what_to_install(service, terminal, tmp_path, monkeypatch):
    service.gives("GET", EXPORT, lines(*LINES), kind=NDJSON)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "adapters.cli.parquet", raising=False)
    assert terminal.run("audit", "export", "--format", "parquet", "--to", str(tmp_path / "log")) == 1
    assert "pip install 'retrace[parquet]'" in terminal.err


def test_a_file_that_cannot_be_written_is_told(service, terminal, tmp_path):
    service.gives("GET", EXPORT, lines(*LINES), kind=NDJSON)
    for name in ("ndjson", "parquet"):
        assert terminal.run("audit", "export", "--format", name, "--to", str(tmp_path / "no" / "file")) == 1
        assert "cannot be written" in terminal.err


def access(number: int, **members: Any) -> Access:
    at = datetime(2026, 11, 23, 10, 0, number, number, tzinfo=UTC)
    given = {
        "id": f"a_{number}",
        "at": at,
        "actor": "ada",
        "what": "feed",
        "filters": {"type": ["task.*"]},
        "events": 3,
    }
    return Access(**{**given, **members})


def chain() -> list[dict[str, Any]]:
    given = [access(1), access(2, what="export", step="began", events=None, orchestration=ID), access(3)]
    return [_item(each) for each in chained(0, (0, bytes(32)), given)]


def test_accesses_are_listed(service, terminal):
    service.gives("GET", ACCESSES, {"items": chain()[::-1], "next": None})
    assert terminal.json("audit", "accesses", "--actor", "ada", "--what", "feed") == chain()[::-1]
    assert (service.only.args["actor"], service.only.args["what"]) == ("ada", "feed")
    assert terminal.run("audit", "accesses") == 0
    assert "export began" in terminal.out
    assert max(map(len, terminal.out.splitlines())) <= 80


def test_the_record_of_accesses_is_checked(service, terminal):
    service.gives("GET", "/v1/nodes", {"items": [], "next": None, "partitions": 1, "unowned": []})
    service.gives("GET", ACCESSES, {"items": chain(), "next": None}, {"items": [], "next": None})
    assert terminal.json("audit", "accesses", "--check") == {"accesses": 3, "sound": True, "damage": []}


def test_a_record_of_accesses_that_was_changed_is_told(service, terminal):
    first, second, third = chain()
    service.gives("GET", "/v1/nodes", {"items": [], "next": None, "partitions": 1, "unowned": []})
    service.gives(
        "GET",
        ACCESSES,
        {"items": [first, {**second, "actor": "eve"}, third], "next": None},
        {"items": [], "next": None},
    )
    assert terminal.run("audit", "accesses", "--check") == 1
    assert "access 2 of chain 0 has been changed" in terminal.out
