"""Canaries: secrets of every origin go through every kind of call and of error, and nothing of ours may show one.

Looked at: every answer of the API (status, tasks, history, the audit feed, lists, what a cancel would do), the log of the
process, and each byte of the database. The participants must have got the real ones.
"""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from adapters.callouts.redaction import forms
from adapters.cli.logs import configure_logs
from retrace.functions import Function, Refused
from tests.support.service import running_service

pytestmark = pytest.mark.anyio
CANARIES = {
    "token": "canary/of the+environment=1",
    "file": 'canary "of" a file 22',
    "mounted": "canary-of-the-folder-333",
    "password": "canary-of-a-connection-4",
}
TASKS = """
  - echo: {{call: http, with: {{method: post, endpoint: '{url}/echo', headers: {{X-Key: '${{ $secrets.mounted }}'}},
            query: {{key: '${{ $secrets.token }}'}}, body: {{a: '${{ $secrets.token }}', b: '${{ $secrets.file }}'}}, output: response}}}}
  - basic: {{call: http, with: {{method: get, output: response,
            endpoint: {{uri: '{url}/echo', authentication: {{basic: {{username: ann, password: '${{ $secrets.token }}'}}}}}}}}}}
  - refused: {{try: [{{ask: {{call: http, with: {{method: post, endpoint: '{url}/refuse', body: '${{ $secrets.file }}'}}}}}}], catch: {{}}}}
  - lost: {{try: [{{ask: {{call: http, with: {{method: get, endpoint: '${{ "http://127.0.0.1:1/" + ($secrets.mounted) }}'}}}}}}], catch: {{}}}}
  - strange: {{try: [{{ask: {{call: http, with: {{method: get, endpoint: '${{ $secrets.token }}'}}}}}}], catch: {{}}}}
  - header: {{try: [{{ask: {{call: http, with: {{method: get, endpoint: '{url}/echo',
            headers: {{X: '${{ $secrets.token + "\\n" }}'}}}}}}}}], catch: {{}}}}
  - evaluated: {{try: [{{ask: {{call: http, with: {{method: get, endpoint: '{url}/echo', body: '${{ $secrets.file | error }}'}}}}}}], catch: {{}}}}
  - returned: {{call: give, with: {{key: '${{ $secrets.mounted }}'}}}}
  - raised: {{try: [{{ask: {{call: fail, with: {{key: '${{ $secrets.token }}'}}}}}}], catch: {{}}}}
  - declined: {{try: [{{ask: {{call: decline, with: {{key: '${{ $secrets.file }}'}}}}}}], catch: {{}}}}
  - unfit: {{try: [{{ask: {{call: count, with: {{key: '${{ $secrets.mounted }}'}}}}}}], catch: {{}}}}
  - table: {{call: sql, with: {{connection: bank, execute: [CREATE TABLE t (k text PRIMARY KEY)]}}}}
  - stored: {{call: sql, with: {{connection: bank, exactly_once: true, execute: INSERT INTO t VALUES (:k) RETURNING k, parameters: {{k: '${{ $secrets.token }}'}}}}}}
  - again: {{try: [{{ask: {{call: sql, with: {{connection: bank, execute: INSERT INTO t VALUES (:k), parameters: {{k: '${{ $secrets.token }}'}}}}}}}}], catch: {{}}}}
  - read: {{call: sql, with: {{connection: bank, query: "SELECT hex(k) AS h, k FROM t"}}}}
  - typed: {{try: [{{ask: {{call: sql, with: {{connection: bank, query: "SELECT json(:k) AS j", parameters: {{k: '${{ $secrets.file }}'}}}}}}}}], catch: {{}}}}
  - away: {{try: [{{ask: {{call: sql, with: {{connection: away, query: SELECT 1}}}}}}], catch: {{}}}}
  - last: {{call: http, with: {{method: post, endpoint: '{url}/refuse', body: '${{ $secrets.token }}'}}}}
"""


def count(key: int) -> int:
    return key


def give(key: str) -> dict[str, str]:
    return {"text": f"<{key}>", key: "as a name", "encoded": b64encode(f"x{key}".encode()).decode()}


def fail(key: str) -> None:
    raise ValueError(f"cannot use {key!r}")


def decline(key: str) -> None:
    raise Refused("no", f"not with {key}")


async def test_no_canary_is_seen(
    tmp_path: Path, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    received: list[str] = []

    def echo(request: Request) -> Response:
        seen = f"{request.url} {request.headers} {request.data.decode()}"
        received.append(seen)
        body = json.dumps({"seen": seen, "b64": b64encode(seen.encode()).decode(), "url": quote_plus(seen)})
        return Response(body, content_type="application/json", headers={"X-Back": request.headers.get("X-Key", "-")})

    httpserver.expect_request("/echo").respond_with_handler(echo)
    httpserver.expect_request("/refuse").respond_with_handler(lambda request: Response(request.data, status=409))
    folder = tmp_path / "mounted"
    folder.mkdir()
    (folder / "mounted").write_text(CANARIES["mounted"])
    (tmp_path / "one").write_text(CANARIES["file"])
    monkeypatch.setenv("RETRACE_SECRET_TOKEN", CANARIES["token"])
    monkeypatch.setenv("RETRACE_SECRET_FILE_FILE", str(tmp_path / "one"))
    monkeypatch.setenv("RETRACE_CONNECTION_BANK", f"sqlite:///{tmp_path / 'mounted' / '.bank.db'}")
    monkeypatch.setenv("RETRACE_CONNECTION_AWAY", f"postgresql://ann:{CANARIES['password']}@127.0.0.1:1/x")
    handlers = list(logging.getLogger().handlers)
    configure_logs("json", "debug")
    functions = {each.__name__: Function(each.__name__, each, False, "test") for each in (count, give, fail, decline)}
    head = "document: {dsl: '1.0.3', namespace: test, name: leaks, version: '1.0.0'}\nuse: {secrets: [token, file, mounted]}\ndo:"
    try:
        async with running_service(tmp_path, functions, secrets_dir=folder) as api:
            deployed = await api.deploy(head + TASKS.format(url=httpserver.url_for("").rstrip("/")))
            assert deployed["http_status"] == 201, deployed
            ended = await api.ended((await api.start("test/leaks"))["id"])
            shown = [
                json.dumps(await api.done("GET", path))
                for path in (
                    f"/v1/orchestrations/{ended['id']}/tasks",
                    f"/v1/orchestrations/{ended['id']}/history?limit=500",
                    "/v1/orchestrations",
                    "/v1/audit/events",
                )
            ]
    finally:
        logging.getLogger().handlers[:] = handlers
    assert ended["error"]["instance"] == "/do/17/last", ended["error"]
    assert ended["tasks_total"] > 25
    assert CANARIES["token"] in received[0] or quote_plus(CANARIES["token"]) in received[0]
    assert CANARIES["mounted"] in received[0]
    seen = capfd.readouterr()
    assert "cannot use" in seen.err, "the log is looked at"
    files = [path for path in tmp_path.iterdir() if path.name.startswith("retrace.db")]
    places = {
        "status": json.dumps(ended).encode(),
        "api": "".join(shown).encode(),
        "log": (seen.out + seen.err).encode(),
        **{path.name: path.read_bytes() for path in files},
    }
    for origin, canary in CANARIES.items():
        for form in forms(canary):
            for place, content in places.items():
                assert form.encode() not in content, f"{origin} as {form!r} in {place}"
