"""A stand-in for a service: answers as the API does, and remembers what was asked."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from adapters.cli.app import main

ID = "o_5XkPq2mZr8vTn4Ls9Wd3aB"
PATH = f"/v1/orchestrations/{ID}"


def orchestration(status: str = "running", version: int = 3, **members: Any) -> dict[str, Any]:
    """A status representation."""
    return {
        "id": ID,
        "definition": "travel/trip-booking@1.0.0",
        "digest": "sha256:00",
        "status": status,
        "version": version,
        "business_key": None,
        "tags": {},
        "input": {"city": "Lisbon"},
        "output": None,
        "error": None,
        "started_at": "2026-11-23T10:00:00.000000Z",
        "updated_at": "2026-11-23T10:00:01.000000Z",
        "ended_at": None,
        "tasks": [],
        "tasks_total": 0,
        "waiting_for": [],
        "rollback": None,
        "incidents": [],
        "links": {},
        **members,
    }


def task(name: str, status: str, **members: Any) -> dict[str, Any]:
    """An entry of ``tasks``."""
    return {
        "name": name,
        "reference": f"/do/0/{name}",
        "run": 1,
        "status": status,
        "attempts": 1,
        "started_at": "2026-11-23T10:00:00.100000Z",
        "ended_at": None,
        "output": None,
        "error": None,
        "compensation": {"status": "armed", "attempts": 0, "error": None},
        **members,
    }


class FakeService:
    """Answers by method and path, in the order given for each; the last answer repeats."""

    def __init__(self, server: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests: list[Request] = []
        self._answers: dict[tuple[str, str], list[Response]] = {}
        server.expect_request(re.compile(".*")).respond_with_handler(self._answer)
        monkeypatch.setenv("RETRACE_URL", server.url_for(""))
        monkeypatch.delenv("RETRACE_TOKEN", raising=False)
        monkeypatch.setenv("COLUMNS", "80")

    def gives(self, method: str, path: str, *bodies: Any, status: int = 200, kind: str = "application/json") -> None:
        """Let a path answer."""
        texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
        self._answers.setdefault((method, path), []).extend(Response(text, status, content_type=kind) for text in texts)

    def declines(self, method: str, path: str, status: int, slug: str, **members: Any) -> None:
        """Let a path answer with a problem."""
        body = {"type": f"/problems/{slug}", "status": status, **members}
        self.gives(method, path, body, status=status, kind="application/problem+json")

    @property
    def only(self) -> Request:
        (request,) = self.requests
        return request

    def body(self) -> Any:
        return json.loads(self.requests[-1].get_data())

    def _answer(self, request: Request) -> Response:
        request.get_data()  # kept: the connection is gone when the test looks
        self.requests.append(request)
        answers = self._answers[request.method, request.path]
        return answers.pop(0) if len(answers) > 1 else answers[0]


class Terminal:
    """Runs commands as a shell would, without a terminal behind standard output."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def run(self, *arguments: str) -> int:
        """The exit code; `out` and `err` have what was written."""
        code = main(arguments)
        self.out, self.err = self._capsys.readouterr()
        return code

    def json(self, *arguments: str) -> Any:
        """What a command that succeeds writes with ``--output json``."""
        assert self.run(*arguments, "--output", "json") == 0, self.err
        return json.loads(self.out)
