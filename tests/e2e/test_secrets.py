"""A secret is never in the history, the log, an error or a status, whatever a participant answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.support.service import running_service

pytestmark = pytest.mark.anyio
SECRET = "correct-horse-battery-staple"
DEFINITION = """
document: {{dsl: '1.0.3', namespace: test, name: secretive, version: '1.0.0'}}
use:
  secrets: [apiKey]
  authentications:
    bearer: {{bearer: {{token: '${{ $secrets.apiKey }}'}}}}
do:
  - echo:
      call: http
      with:
        method: post
        endpoint: {{uri: '{url}/echo', authentication: {{use: bearer}}}}
        headers: {{X-Key: '${{ $secrets.apiKey }}'}}
        body: {{key: '${{ "key:" + $secrets.apiKey }}', name: '${{ .name }}'}}
  - refuse:
      call: http
      with:
        method: post
        endpoint: '{url}/refuse'
        body: '${{ $secrets.apiKey }}'
"""


async def test_a_secret_leaves_no_trace(
    tmp_path: Path,
    httpserver: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    received: list[bytes] = []

    def echo(request: Request) -> Response:
        received.append(request.headers["Authorization"].encode() + request.headers["X-Key"].encode() + request.data)
        return Response(request.data, content_type="application/json", headers={"X-Echo": SECRET})

    def refuse(request: Request) -> Response:
        return Response(f"no: {SECRET}", status=409)

    httpserver.expect_request("/echo").respond_with_handler(echo)
    httpserver.expect_request("/refuse").respond_with_handler(refuse)
    monkeypatch.setenv("RETRACE_SECRET_APIKEY", SECRET)
    async with running_service(tmp_path) as api:
        deployed = await api.deploy(DEFINITION.format(url=httpserver.url_for("")))
        assert deployed["http_status"] == 201, deployed
        ended = await api.ended((await api.start("test/secretive", {"name": "Ada"}))["id"])
        history = await api.history(ended["id"])
        listed = await api.done("GET", "/v1/orchestrations")
    assert received[0].count(SECRET.encode()) == 3, "the participant gets what it needs"
    assert ended["error"]["status"] == 409
    assert ended["tasks"][0]["output"] == {"key": "key:***", "name": "Ada"}
    seen = capfd.readouterr()
    for place in (ended, history, listed, seen.out, seen.err):
        assert SECRET not in str(place)
    for file in tmp_path.iterdir():
        assert SECRET.encode() not in file.read_bytes(), file.name
