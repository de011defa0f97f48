"""What ``make run`` starts: service and participants as processes, one of which is killed while an account waits."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from retrace.client import Client
from tests.support.examples_script import EXAMPLES
from tests.support.running_examples import ADDRESS
from tests.support.soundness import histories_complaints
from tests.support.stored import read_stored

ADA = {"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com"}
CONFIRMED = {
    "specversion": "1.0",
    "id": "confirmation-1",
    "source": "/mail",
    "type": "com.example.registration.confirmed.v1",
}


@contextlib.contextmanager
def process(*arguments: str, cwd: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A Python process, and the first address that it prints."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("RETRACE_")}
    paths = {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(EXAMPLES.parent)}
    running = subprocess.Popen(
        [sys.executable, *arguments], cwd=cwd, stdout=subprocess.PIPE, text=True, env=given | paths | environment
    )
    assert running.stdout is not None
    try:
        found = None
        while found is None:
            line = running.stdout.readline()
            assert line, f"{arguments} ended with {running.wait()}"
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
        yield running, found[0]
    finally:
        running.kill()
        running.wait()
        running.stdout.close()


def copy_of_examples(folder: Path, url: str) -> Path:
    """The definitions and functions, speaking to the participants at `url`."""
    for path in [*EXAMPLES.rglob("*.yaml"), *EXAMPLES.rglob("functions.py")]:
        target = folder / path.relative_to(EXAMPLES)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
        target.write_text(target.read_text(encoding="utf-8").replace(ADDRESS, url), encoding="utf-8")
    return folder


def test_a_registration_outlives_the_service(tmp_path):
    with process("-m", "examples.participants", "--port", "0", cwd=tmp_path) as (_, participants):
        folder = copy_of_examples(tmp_path / "examples", participants)
        service = ("-m", "retrace", "dev", str(folder), "--port", "0")
        with process(*service, cwd=tmp_path) as (first, url), Client(url) as client:
            id_ = client.start("accounts/signup", ADA)["id"]
            pending = next(status for status in client.follow(id_) if status["waiting_for"])
            first.kill()
            first.wait()
        with process(*service, cwd=tmp_path) as (_, url), Client(url) as client:
            assert client.get(id_)["status"] == "running"
            client.send_event(id_, CONFIRMED)
            ended = client.wait(id_)
            assert ended["status"] == "completed"
            assert ended["version"] > pending["version"]
            assert [task["attempts"] for task in ended["tasks"]] == [1, 1, 0, 1]
    assert histories_complaints(read_stored(f"sqlite:///{tmp_path}/retrace.db")) == []
