"""An export is verified without a database: what was done to it, or to the log before it was written, is found."""

from __future__ import annotations

import asyncio
import copy
import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.bootstrap import open_service
from adapters.cli.app import main
from adapters.settings import Settings
from adapters.signatures import Ed25519Keys, public_pem, read_private
from adapters.stored_events import EventMapper
from application.verifying_export import ExportCheck
from tests.support.damaging import KEY, OTHER_KEY, PARTITIONS, Database, make_log

Json = dict[str, Any]
some = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
anywhere = st.floats(0, 1, exclude_max=True)
TRUSTED = Ed25519Keys([read_private(KEY).public_key()])


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> list[Json]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('log')}/retrace.db")

    asyncio.run(make_log(database))
    lines = asyncio.run(exported(database))
    lines[0]["exported_at"] = "2099-01-01T00:00:00Z"  # long after the checkpoints that are given beside it
    return lines


async def exported(database: Database) -> list[Json]:
    """What a service on this database exports."""
    service = await open_service(Settings(database=database.url, audit_key=KEY), functions={}, development=True)
    try:
        transport = httpx2.ASGITransport(app=service.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", timeout=30) as http:
            answer = await http.get("/v1/audit/export")
            return [json.loads(line) for line in answer.text.splitlines()]
    finally:
        await service.close()


def checked(lines: list[Json], keys: Ed25519Keys = TRUSTED, given: list[Json] | None = None) -> Json:
    check = ExportCheck(
        lines[0], [each for each in lines[1:] if each["kind"] != "event"], EventMapper(), keys, given or []
    )
    for _ in check.run(each for each in lines if each["kind"] == "event"):
        pass
    return check.result()


def kinds(lines: list[Json], **how: Any) -> list[tuple[str, int, int]]:
    return [(each["kind"], each["partition"], each["position"]) for each in checked(lines, **how)["findings"]]


def pick(lines: list[Json], share: float, last: bool = True) -> tuple[int, Json]:
    """An event, and its index in the file. Without `last` none that ends its partition."""
    events = [
        (index, each)
        for index, each in enumerate(lines)
        if each["kind"] == "event" and (last or lines[index + 1].get("partition") == each["partition"])
    ]
    return events[int(share * len(events))]


def test_a_sound_export_gives_no_finding(original):
    result = checked(original)
    assert (result["sound"], result["findings"], result["notes"]) == (True, [], [])
    assert result["checkpoints"] == sum(each["kind"] == "checkpoint" for each in original)
    part = [{**original[0], "complete": False}, *[each for each in original[1:] if each.get("version") != 2]]
    part[-1] = {"kind": "end", "events": sum(each["kind"] == "event" for each in part)}
    assert checked(part)["sound"]
    unsigned = checked(original, Ed25519Keys([]))
    assert unsigned["sound"]
    assert "--key" in unsigned["notes"][0]


@some
@given(anywhere, anywhere, st.booleans())
def test_stored_bytes(original, where, bit, complete):
    lines = copy.deepcopy(original)
    lines[0]["complete"] = complete
    index, line = pick(lines, where)
    stored = bytearray(b64decode(line["stored"]))
    spot = int(bit * len(stored) * 8)
    stored[spot // 8] ^= 1 << spot % 8
    lines[index]["stored"] = b64encode(stored).decode()
    found = kinds(lines)
    assert ("payload_changed", line["partition"], line["position"]) in found
    assert {each[1:] for each in found} == {(line["partition"], line["position"])}


@some
@given(anywhere, st.sampled_from(["actor", "at", "type", "version", "data", "reason", "orchestration"]), st.booleans())
def test_what_people_read(original, where, member, complete):
    lines = copy.deepcopy(original)
    lines[0]["complete"] = complete
    index, line = pick(lines, where)
    others = {"version": line["version"] + 1, "data": {**line["data"], "forged": True}, "type": "note.added"}
    other = next(each["orchestration"] for each in original[1:] if each.get("orchestration") != line["orchestration"])
    lines[index][member] = others.get(member, other if member == "orchestration" else "forged")
    assert (line["partition"], line["position"]) in {each[1:] for each in kinds(lines)}


@some
@given(anywhere, st.sampled_from(["hash", "log_hash"]))
def test_a_hash(original, where, member):
    lines = copy.deepcopy(original)
    index, line = pick(lines, where)
    lines[index][member] = "00" * 32
    # At the very end nothing that follows tells which of the last two it was.
    assert any(
        each["partition"] == line["partition"]
        and each["position"] <= line["position"] <= (each["until"] or each["position"])
        for each in checked(lines)["findings"]
    )


@some
@given(anywhere)
def test_a_line_removed(original, where):
    lines = copy.deepcopy(original)
    index, line = pick(lines, where, last=False)
    del lines[index]
    found = kinds(lines)
    assert ("event_missing", line["partition"], line["position"]) in found
    assert ("export_altered", 0, 0) in found
    lines[-1]["events"] -= 1
    assert kinds(lines) == [("event_missing", line["partition"], line["position"])]


@some
@given(anywhere, anywhere)
def test_two_lines_exchanged(original, one, other):
    lines = copy.deepcopy(original)
    (first, a), (second, b) = pick(lines, one), pick(lines, other)
    if first == second:
        return
    lines[first], lines[second] = b, a
    assert kinds(lines)


@some
@given(st.integers(0, PARTITIONS - 1), anywhere, st.booleans())
def test_the_end_of_a_partition_cut(original, partition, where, outside):
    lines = copy.deepcopy(original)
    last = max(each["position"] for each in lines if each.get("partition") == partition and each["kind"] == "event")
    kept = int(where * last)
    lines = [
        each
        for each in lines
        if each.get("partition") != partition or each["position"] <= kept or each["kind"] != "event"
    ]
    lines[-1]["events"] = sum(each["kind"] == "event" for each in lines)
    given_ = None
    if outside:
        given_ = [
            {name: value for name, value in each.items() if name != "kind"}
            for each in lines
            if each["kind"] == "checkpoint"
        ]
        lines = [each for each in lines if each["kind"] != "checkpoint"]
    assert kinds(lines, given=given_) == [("tail_cut", partition, kept + 1)]


def test_the_log_cut_before_it_was_exported(tmp_path):
    """The checkpoints that the database still has go with the export."""
    database = Database(f"sqlite:///{tmp_path}/retrace.db")
    asyncio.run(make_log(database))
    rows = database.rows(0)
    database.run("DELETE FROM events WHERE partition = 0 AND position > 2")
    head = "UPDATE partitions SET head_position = 2, head_hash = ? WHERE partition = 0"
    database.run(head, rows[1][6])
    assert ("tail_cut", 0, 3) in kinds(asyncio.run(exported(database)))


def test_the_file_cut_off(original):
    assert ("export_altered", 0, 0) in kinds(original[:-1])


def test_another_key_or_database(original):
    altered = {each[0] for each in kinds(original, keys=Ed25519Keys([read_private(OTHER_KEY).public_key()]))}
    assert altered == {"checkpoint_altered"}
    foreign = copy.deepcopy(original)
    foreign[0]["place_key"] = b64encode(b"x" * 32).decode()
    assert ("export_altered", 0, 0) in kinds(foreign)


# The command ----------------------------------------------------------------------------------------------------------


def write(path, lines: list[Json]) -> str:
    path.write_text("".join(json.dumps(each, separators=(",", ":")) + "\n" for each in lines))
    return str(path)


def test_the_command_needs_no_service(original, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RETRACE_URL", "http://127.0.0.1:1")
    key = tmp_path / "public.pem"
    key.write_text(public_pem(read_private(KEY).public_key()))
    export = write(tmp_path / "log.ndjson", original)
    outside = write(tmp_path / "checkpoints", [each for each in original if each["kind"] == "checkpoint"])
    with Path(outside).open("a") as file:
        file.write('{"format":1,"torn')
    assert main(["audit", "verify", "--export", export, "--key", str(key), "--checkpoints", outside]) == 0
    out = capsys.readouterr()
    assert out.out.startswith("Sound: ")
    assert "is passed over" in out.err
    damaged = copy.deepcopy(original)
    index, line = pick(damaged, 0.5)
    damaged[index]["actor"] = "nobody"
    export = write(tmp_path / "damaged.ndjson", damaged)
    assert main(["audit", "verify", "--export", export, "--output", "json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert [(each["kind"], each["position"]) for each in result["findings"]] == [("export_altered", line["position"])]
    assert result["findings"][0]["orchestration"] == line["orchestration"]
    assert main(["audit", "verify", "--export", export]) == 1
    assert "DAMAGED" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "{}\n", "nonsense", '{"kind":"event"}\n', '{"kind":"header","format":9}\n'])
def test_what_is_no_export_is_said(tmp_path, capsys, content):
    path = tmp_path / "log.ndjson"
    path.write_text(content)
    assert main(["audit", "verify", "--export", str(path)]) == 2
    assert str(path) in capsys.readouterr().err.replace("\n", "")
    assert main(["audit", "verify", "--export", str(tmp_path / "missing")]) == 2


@pytest.mark.parametrize(
    ("kind", "member", "value"),
    [
        ("event", "partition", -1),
        ("event", "partition", 2**16),
        ("event", "position", 0),
        ("event", "position", 2**63),
        ("event", "version", -1),
        ("event", "version", 2**63),
        ("checkpoint", "position", -1),
        ("header", "partitions", -4),
        ("header", "exported_at", "0001-01-01T00:00:00+14:00"),
    ],
)
def test_numbers_that_no_log_has_are_said(original, tmp_path, capsys, kind, member, value):
    lines = copy.deepcopy(original)
    next(each for each in lines if each["kind"] == kind)[member] = value
    assert main(["audit", "verify", "--export", write(tmp_path / "log.ndjson", lines)]) == 2
    assert "log.ndjson" in capsys.readouterr().err.replace("\n", "")


def test_checkpoints_that_an_export_could_not_know_are_told(original):
    lines = copy.deepcopy(original)
    own = [each for each in lines if each["kind"] == "checkpoint"]
    lines[0]["exported_at"] = "0001-01-01T00:00:00Z"  # whoever cut the file may have said so
    result = checked([each for each in lines if each["kind"] != "checkpoint"], given=own)
    assert result["checkpoints"] == 0
    assert any(f"{len(own)} of the checkpoints given" in note for note in result["notes"])
