"""The commands on the pages of the examples and of the tutorial work as they stand there.

Blocks marked ``sh`` are run: ``curl`` with the options that the pages use, and ``ID=o_...``, which stands for copying the
id from the answer above.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path

import httpx2
import pytest

from retrace.functions import load_functions
from tests.support.examples_script import EXAMPLES
from tests.support.running_examples import ADDRESS, running_examples
from tests.support.service import running_service

pytestmark = pytest.mark.anyio
TUTORIAL = EXAMPLES.parent / "docs" / "tutorial.md"
SERVICE = "http://127.0.0.1:8080"


def blocks(page: Path, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def request_of(line: str) -> httpx2.Request:
    """The request that a line with curl sends."""
    words = iter(shlex.split(line)[1:])
    method, url, headers, body = None, "", {}, None
    for word in words:
        match word:
            case "-s" | "-si":
                pass
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                body = next(words)
            case _:
                assert word.startswith("http://"), f"nobody knows what this means: {word}"
                url = word
    return httpx2.Request(method or ("POST" if body else "GET"), url, headers=headers, content=body)


async def run(page_blocks: list[str], api, ledger: str) -> list[httpx2.Response]:
    """Run every line; each has to succeed."""
    answers: list[httpx2.Response] = []
    id_ = ""
    for line in "\n".join(page_blocks).splitlines():
        if line == "ID=o_...":
            id_ = answers[-1].json()["id"]
        elif line:
            command = line.replace("$ID", id_).replace(ADDRESS, ledger)
            request = request_of(command)
            local = str(request.url).startswith(ledger) if ledger else False
            async with httpx2.AsyncClient() as outside:
                answer = await (outside if local else api.http).send(request)
            await answer.aread()
            assert answer.is_success, f"{command}: {answer.status_code} {answer.text}"
            answers.append(answer)
    return answers


@pytest.mark.parametrize("name", ["signup", "trip", "quotes", "documents", "order", "transfer", "loan"])
async def test_page_of_an_example(tmp_path, name, monkeypatch):
    monkeypatch.setenv("RETRACE_CONNECTION_BANK", f"sqlite:///{tmp_path / 'bank.db'}")
    commands = blocks(EXAMPLES / name / "README.md", "sh")
    assert commands
    async with running_examples(tmp_path, name) as (api, participants):
        answers = await run(commands, api, participants.url)
        last = [answer.json() for answer in answers if not {"entries", "items"} & set(answer.json())][-1]
        assert last["status"] in ("completed", "cancelled", "compensated", "Offered", "Refunded", "Complete"), last


async def test_readme(tmp_path):
    async with running_examples(tmp_path, "signup", "trip") as (api, participants):
        started, pending, matched, ended, confirmed, trip, again = await run(
            blocks(EXAMPLES.parent / "README.md", "sh"), api, participants.url
        )
    assert (started.status_code, started.headers["location"]) == (201, f"/registrations/{started.json()['id']}")
    assert (pending.json()["status"], pending.json()["data"]["first_name"]) == ("Pending", "Ada")
    assert matched.json()["outcome"] in ("matched", "held")  # a program is quicker than a reader
    assert (ended.json()["status"], confirmed.json()["status"]) == ("completed", "Confirmed")
    rollback = again.json()["rollback"]
    assert (trip.json()["status"], again.json()["status"]) == ("Rejected", "compensated")
    assert rollback["plan"] == rollback["done"] == ["bookHotel", "reserveCar"]
    assert (rollback["reason"]["task"], rollback["outcome"]) == ("/do/2/bookFlight", "complete")


async def test_tutorial(tmp_path):
    definition, addition = blocks(TUTORIAL, "yaml")
    (functions,) = blocks(TUTORIAL, "python")
    before, after = (part.splitlines(keepends=True) for part in TUTORIAL.read_text().split("## 7."))
    (tmp_path / "functions.py").write_text(functions)
    async with running_service(tmp_path, load_functions(tmp_path / "functions.py"), development=True) as api:
        assert (await api.deploy(definition))["http_status"] == 201
        shown, *rest = await run(_blocks_in(before), api, "")
        assert shown.text == definition
        well, refused, again, history, fifth = [answer.json() for answer in rest]
        assert [each["status"] for each in (well, refused, again)] == ["completed", "compensated", "compensated"]
        assert again["error"]["instance"] == "/do/2/bookFlight"
        assert (again["error"]["type"], again["error"]["status"]) == ("https://retrace.invalid/errors/no-airport", 409)
        assert again["rollback"]["plan"] == ["bookHotel", "reserveCar"]
        assert again["rollback"]["outcome"] == "complete"
        counted = Counter(item["type"] for item in history["items"])
        assert (counted["attempt.failed"] + counted["task.failed"], counted["compensation.started"]) == (1, 2)
        assert fifth["version"] == 5
        changed = definition.replace("do:\n", addition + "do:\n", 1)
        assert (await api.deploy(changed))["http_status"] in (200, 201)
        trips = [answer.json() for answer in await run(_blocks_in(after), api, "")]
        assert [trip["status"] for trip in trips] == ["Rejected", "Rejected"]


def _blocks_in(lines: list[str]) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", "".join(lines), re.DOTALL | re.MULTILINE)


async def test_the_page_of_the_documents_tells_what_becomes_of_each_event(tmp_path):
    async with running_examples(tmp_path, "documents") as (api, participants):
        answers = await run(blocks(EXAMPLES / "documents" / "README.md", "sh"), api, participants.url)
        outcomes = [each.json()["outcome"] for each in answers if each.status_code == 202]
        assert outcomes[:4] == ["parked", "matched", "duplicate", "duplicate"]
        assert answers[-2].json()["status"] == "Complete"
        left = [each["id"] for each in answers[-1].json()["entries"]]
        assert left == ["E-17-issue", "E-17-schedule", "E-17-certificate", "E-17-welcome-pack"]
