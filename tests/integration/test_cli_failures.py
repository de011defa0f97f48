"""The command line when something goes wrong: one paragraph on standard error, an exit code, and nothing else."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest

from retrace import __version__
from tests.integration.cli_service import ID, PATH, FakeService, Terminal, orchestration


@pytest.fixture
def service(httpserver, monkeypatch):
    return FakeService(httpserver, monkeypatch)


@pytest.fixture
def terminal(capsys):
    return Terminal(capsys)


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def test_without_a_server_it_says_how_to_start_one(terminal, free_port):
    assert terminal.run("status", "--server", f"http://127.0.0.1:{free_port}", "--output", "json") == 1
    assert f"No server can be reached at http://127.0.0.1:{free_port}" in terminal.err
    assert "retrace dev" in terminal.err
    assert terminal.out == ""


@pytest.mark.parametrize("address", ["nowhere", "ftp://x.test", "http://", "http://[x"])
def test_an_address_that_is_none_is_an_error_of_the_command_line(terminal, address):
    assert terminal.run("--server", address, "status") == 2
    assert "http://127.0.0.1:8080" in terminal.err


def test_the_server_after_the_command_wins_over_the_one_before_it_and_both_over_the_environment(
    service, terminal, httpserver, monkeypatch, free_port
):
    service.gives("GET", PATH, orchestration())
    monkeypatch.setenv("RETRACE_URL", f"http://127.0.0.1:{free_port}")
    right, wrong = httpserver.url_for(""), f"http://127.0.0.1:{free_port}"
    assert terminal.run("--server", right, "status", ID) == 0
    assert terminal.run("--server", wrong, "status", ID, "--server", right) == 0


@pytest.mark.parametrize("order", [["--output", "json", "status", ID], ["status", ID, "-o", "json"]])
def test_the_form_of_the_output_may_stand_before_or_after_the_command(service, terminal, order):
    service.gives("GET", PATH, orchestration())
    assert terminal.run(*order) == 0
    assert json.loads(terminal.out)["id"] == ID


def test_the_token_goes_along(service, terminal, monkeypatch):
    service.gives("GET", PATH, orchestration())
    monkeypatch.setenv("RETRACE_TOKEN", "t0ken")
    terminal.run("status", ID)
    assert service.only.headers["Authorization"] == "Bearer t0ken"


def test_a_problem_is_told_with_the_places_it_names(service, terminal):
    errors = [{"pointer": "/city", "detail": "is required", "code": "required"}, {"pointer": "", "detail": "is odd"}]
    service.declines(
        "POST",
        "/v1/orchestrations",
        422,
        "invalid-input",
        title="Invalid input",
        detail="It does not fit.",
        errors=errors,
    )
    assert terminal.run("start", "trip", "--output", "json") == 1
    assert terminal.out == ""
    assert terminal.err.splitlines() == [
        "retrace: Invalid input: It does not fit. (422 invalid-input)",
        "  /city: is required",
        "  (the whole): is odd",
    ]


@pytest.mark.parametrize(
    ("slug", "status", "advice"),
    [("unauthorized", 401, "RETRACE_TOKEN"), ("past-pivot", 409, "--override-pivot")],
)
def test_a_problem_comes_with_what_can_be_done(service, terminal, slug, status, advice):
    service.declines("POST", f"{PATH}/cancel", status, slug, title="No", detail="No.")
    assert terminal.run("cancel", ID) == 1
    assert advice in terminal.err


def test_a_problem_names_the_orchestration_that_has_the_business_key(service, terminal):
    service.declines("POST", "/v1/orchestrations", 409, "business-key-in-use", title="Taken", orchestration="o_other")
    assert terminal.run("start", "trip", "--business-key", "k") == 1
    assert "It is o_other." in terminal.err


def test_what_is_no_retrace_server_is_recognised(service, terminal):
    service.gives("GET", PATH, "<html>hello</html>", kind="text/html")
    assert terminal.run("status", ID) == 1
    assert "Is it a Retrace server?" in terminal.err


def test_a_broken_answer_leaves_open_whether_it_was_done(terminal):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "retrace", "start", "trip", "--server", f"http://127.0.0.1:{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.close()
            out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert "nobody knows whether" in err
    assert "--idempotency-key" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [["bogus"], ["status", "--bogus"], ["cancel"], ["status", "--output", "xml"]])
def test_a_command_line_that_cannot_be_read_ends_with_2(terminal, arguments):
    assert terminal.run(*arguments) == 2
    assert terminal.out == ""
    assert "retrace" in terminal.err


@pytest.mark.parametrize("command", [[], ["incidents"], ["dev"], ["serve"], ["start"], ["send"], ["deploy"]])
def test_every_command_has_help(terminal, command):
    assert terminal.run(*command, "--help") == 0
    assert "Usage: retrace" in terminal.out


def test_the_version_is_told(terminal):
    assert terminal.json("version") == {"version": __version__}
    assert terminal.run("version") == 0
    assert terminal.out == f"{__version__}\n"


def test_help_loads_nothing_heavy():
    program = (
        "import sys; from adapters.cli.app import main; code = main(['--help']); "
        "heavy = {'httpx2', 'fastapi', 'uvicorn', 'aiohttp', 'structlog', 'psycopg', 'pydantic_settings'}; "
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == "[]\n"
