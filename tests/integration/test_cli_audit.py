"""The command line and verification: what is asked of a service, what is shown, and the exit codes."""

from __future__ import annotations

import json
import stat

import pytest

from tests.integration.cli_service import FakeService, Terminal
from tests.integration.test_cli_operations import ID, PATH, operation

CHECKPOINT = {
    "format": 1,
    "database": "d" * 32,
    "partition": 3,
    "position": 17,
    "log_hash": "a" * 64,
    "made_at": "2026-11-26T09:30:00.000000Z",
    "key_id": "k" * 32,
    "signature": "c2ln",
}


@pytest.fixture
def service(httpserver, monkeypatch):
    return FakeService(httpserver, monkeypatch)


@pytest.fixture
def terminal(capsys):
    return Terminal(capsys)


def result(*findings, **members):
    return {
        "sound": not findings,
        "findings": list(findings),
        "findings_total": len(findings),
        "events": 1700,
        "partitions": 16,
        "archived": 2,
        "checkpoints": 40,
        "signatures_checked": True,
        "database": "d" * 32,
        "notes": [],
        **members,
    }


DAMAGE = {
    "kind": "payload_changed",
    "partition": 3,
    "position": 17,
    "until": None,
    "orchestration": "o_5XkPq2mZr8vTn4Ls9Wd3aB",
    "version": 4,
    "type": "task.completed",
    "detail": "the event is not the one that its hash was made of",
}


def test_a_sound_log(service, terminal):
    service.gives("POST", "/v1/audit/verify", operation(result=None), status=202)
    service.gives("GET", PATH, operation(result=None), operation("completed", result=result(notes=["No key."])))
    assert terminal.run("audit", "verify", "--since", "latest") == 0
    assert service.requests[0].get_json() == {"since": "latest"}
    assert terminal.out.startswith("Sound: 1700 events, 16 partitions, 40 checkpoints, 2 archived.")
    assert "Note: No key." in terminal.out


def test_damage_is_named_and_is_the_exit_code(service, terminal):
    swapped = {**DAMAGE, "kind": "events_swapped", "until": 29}
    missing = {**DAMAGE, "kind": "tail_cut", "until": 29, "orchestration": None, "version": None, "type": None}
    service.gives("POST", "/v1/audit/verify", operation(result=None), status=202)
    service.gives("GET", PATH, operation("completed", result=result(DAMAGE, swapped, missing)))
    assert terminal.run("audit", "verify", "--orchestration", DAMAGE["orchestration"], "--no-archive") == 1
    assert service.requests[0].get_json() == {"orchestration": DAMAGE["orchestration"], "archive": False}
    for word in ("DAMAGED (3 findings)", "payload_changed", "17, 29", "17-29"):
        assert word in terminal.out
    assert terminal.run("audit", "verify", "--output", "json") == 1
    assert json.loads(terminal.out)["findings"][0] == DAMAGE


def test_checkpoints_from_outside_are_sent(service, terminal, tmp_path):
    service.gives("POST", "/v1/audit/verify", operation(result=None), status=202)
    service.gives("GET", PATH, operation("completed", result=result()))
    path = tmp_path / "checkpoints"
    path.write_text("".join(json.dumps({**CHECKPOINT, "position": each}) + "\n" for each in range(1, 5001)) + "{torn")
    assert terminal.run("audit", "verify", "--checkpoints", str(path)) == 0
    sent = [each["position"] for each in service.requests[0].get_json()["checkpoints"]]
    assert len(sent) <= 2000
    assert {1, 5000} <= set(sent)
    assert "5001 is not a checkpoint" in terminal.err


def test_an_operation_that_fails_is_not_sound(service, terminal):
    service.gives("POST", "/v1/audit/verify", operation(result=None), status=202)
    error = {"code": "interrupted", "detail": "The node that ran it is gone. Ask for it again."}
    service.gives("GET", PATH, operation("failed", result=None, error=error))
    assert terminal.run("audit", "verify") == 1
    assert ID in terminal.err
    assert "is gone" in terminal.err


def test_what_excludes_each_other(terminal, tmp_path):
    assert terminal.run("audit", "verify", "--export", "x", "--since", "latest") == 2
    assert terminal.run("audit", "verify", "--key", "x") == 2


def test_checkpoints_and_keys_are_listed(service, terminal):
    service.gives("GET", "/v1/audit/checkpoints", {"items": [CHECKPOINT], "next": None})
    assert terminal.run("audit", "checkpoints", "--partition", "3") == 0
    assert service.only.args["partition"] == "3"
    assert terminal.out.startswith(f"3:17  {'a' * 64}  2026-11-26T09:30:00.000000Z  key {'k' * 32}")
    assert terminal.json("audit", "checkpoints") == CHECKPOINT
    key = {"key_id": "k" * 32, "algorithm": "Ed25519", "public_key": "x", "pem": "-----BEGIN\n", "current": True}
    service.gives("GET", "/v1/audit/keys", {"items": [key], "next": None, "database": "d" * 32})
    assert terminal.run("audit", "keys") == 0
    assert f"{'k' * 32} (current)" in terminal.out


def test_keygen_makes_a_key_once(terminal, tmp_path):
    path = tmp_path / "audit.pem"
    assert terminal.run("audit", "keygen", str(path)) == 0
    assert terminal.out.startswith("-----BEGIN PUBLIC KEY-----")
    assert f"RETRACE_AUDIT_KEY={path}" in terminal.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert terminal.run("audit", "keygen", str(path)) == 1
    assert "exists" in terminal.err
    assert terminal.run("audit", "keygen", str(tmp_path / "no" / "folder.pem")) == 1
