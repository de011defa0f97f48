"""``retrace rehearse`` at a terminal: offline, with its exit codes, as JSON and as a page."""

from __future__ import annotations

import re
import socket
from html.parser import HTMLParser
from pathlib import Path

import pytest

from adapters.callouts.dispatch import CalloutDispatch
from tests.integration.cli_service import Terminal

EXAMPLES = Path(__file__).parents[2] / "examples"
HEAD = "document: {dsl: '1.0.3', namespace: a, name: b, version: '1.0.0'}\n"
TRIP, ORDER, SHIPPING, SIGNUP = (
    str(EXAMPLES / name) for name in ("trip/trip.yaml", "order/order.yaml", "order/shipping.yaml", "signup/signup.yaml")
)


@pytest.fixture
def terminal(capsys, monkeypatch):
    """Whoever tries to call anyone fails."""

    def nobody(*_: object) -> None:
        raise AssertionError("somebody is called")

    monkeypatch.setattr(CalloutDispatch, "send", nobody)
    monkeypatch.setattr(socket.socket, "connect", nobody)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("RETRACE_URL", "http://127.0.0.1:1")
    return Terminal(capsys)


def test_the_trip_is_rehearsed_without_a_service(terminal):
    assert terminal.run("rehearse", TRIP, "--strict") == 0
    words = " ".join(terminal.out.split())
    assert "travel/trip-booking@1.0.0: 33 scenarios rehearsed, nobody was called" in words
    assert "uncertain, timed out: compensated; undone: bookFlight, bookHotel, reserveCar" in words
    assert "OPERATOR: pay: the point of no return is in doubt (retry, complete, fail)" in words
    assert "reserveCar: 10 scenarios, an operator is needed; until then not undone: reserveCar" in words
    assert max(map(len, terminal.out.splitlines())) <= 80
    assert terminal.err == ""


def test_the_transcript_in_the_documentation_is_what_is_printed(terminal):
    assert terminal.run("rehearse", TRIP) == 0
    page = (EXAMPLES.parent / "docs" / "rehearsal.md").read_text(encoding="utf-8")
    assert f"```text\n{terminal.out.rstrip()}\n```" in page


def test_warnings_have_their_places_and_fail_only_a_strict_rehearsal(terminal):
    assert terminal.run("rehearse", SIGNUP) == 0
    place = next(n for n, line in enumerate(Path(SIGNUP).read_text().splitlines(), 1) if "sendMail:" in line)
    assert f"{SIGNUP}:{place}:5:" in "".join(terminal.out.split("\n"))
    assert terminal.run("rehearse", SIGNUP, "--strict") == 1


def test_json_has_everything_and_nothing_else(terminal):
    report = terminal.json(
        "rehearse", ORDER, "--child", SHIPPING, "--input", '{"sku": "a", "quantity": 1, "country": "PT"}'
    )
    assert report["input_made_up"] is False
    assert report["stand_ins"] == []
    assert report["summary"]["scenarios"] == len(report["scenarios"])
    assert {"number", "title", "status", "ends", "called", "undone", "left_behind", "incidents"} <= report["scenarios"][
        0
    ].keys()


def test_an_input_and_outputs_come_from_files(terminal, tmp_path):
    (tmp_path / "input.json").write_text('{"traveller": "Ada", "city": "Lisbon"}')
    (tmp_path / "outputs.json").write_text('{"reserveCar": {"id": 7}}')
    options = ("--input", str(tmp_path / "input.json"), "--outputs", f"@{tmp_path}/outputs.json")
    assert terminal.json("rehearse", TRIP, *options)["input"] == {"traveller": "Ada", "city": "Lisbon"}


def test_a_limit_cuts_and_says_so(terminal):
    assert terminal.run("rehearse", TRIP, "--limit", "5") == 0
    assert "5 scenarios rehearsed" in terminal.out
    assert "were left out; raise --limit" in terminal.out


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("document: {dsl: '1.0.3'}\ndo: []\nodd: 1\n", [":1:1:", ":3:1:"]),
        (
            f"{HEAD}do:\n  - a: {{set: {{x: '${{ ( }}'}}}}\n  - b: {{set: {{x: '${{ $nothing }}'}}}}\n",
            [":3:", ":4:", "$nothing is not defined here"],
        ),
    ],
)
def test_every_problem_of_a_document_is_told_with_its_place(terminal, tmp_path, text, places):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    assert terminal.run("rehearse", str(file)) == 2
    assert "cannot be rehearsed:" in terminal.err
    assert all(place in terminal.err for place in places), terminal.err
    assert terminal.out == ""


def test_what_cannot_be_used_is_told(terminal, tmp_path):
    assert terminal.run("rehearse", str(tmp_path / "none.yaml")) == 2
    assert terminal.run("rehearse", TRIP, "--input", "{") == 2
    assert terminal.run("rehearse", TRIP, "--outputs", "[]") == 2
    assert terminal.run("rehearse", TRIP, "--input", '{"city": 4}') == 2
    assert "/city" in terminal.err
    assert terminal.run("rehearse", TRIP, "--html", str(tmp_path / "none" / "x.html")) == 2


class Page(HTMLParser):
    """What a page loads or runs, the anchors it has and names, and whether its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.targets: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.loads += [value or "" for name, value in attributes if name in ("src", "srcset", "onclick", "style")]
        self.loads += [tag] if tag in ("script", "link", "iframe", "img") else []
        self.ids.add(found.get("id") or "")
        if tag == "a":
            self.targets.add(found["href"] or "")
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone(terminal, tmp_path):
    target = tmp_path / "report.html"
    assert terminal.run("rehearse", SIGNUP, "--html", str(target)) == 0
    text = target.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.loads == []
    assert {target.removeprefix("#") for target in page.targets} <= page.ids
    assert "url(" not in text
    assert re.search(r"<b>sendMail</b>: it has no compensation", text)


def test_nothing_of_a_document_runs_in_the_page(terminal, tmp_path):
    file, target = tmp_path / "odd.yaml", tmp_path / "odd.html"
    file.write_text(
        f"{HEAD}do:\n  - '<script>alert(1)</script>': {{call: f, compensate: {{call: '<img src=x>'}}}}\n  - b: {{call: g}}\n"
    )
    assert terminal.run("rehearse", str(file), "--html", str(target)) == 0
    assert "<script" not in target.read_text()
    assert "<img" not in target.read_text()
    assert "&lt;script&gt;alert(1)" in target.read_text()
