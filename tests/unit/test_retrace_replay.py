"""What users import to replay: `retrace.replay` opens bundles and nothing else, and says what is wrong with others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from retrace import replay
from tests.golden.stories import FOLDER

ROOT = Path(__file__).parents[2]
FILE = FOLDER / "trip_rolled_back.json"


def document(**members: Any) -> dict[str, Any]:
    return {**json.loads(FILE.read_text(encoding="utf-8")), **members}


def test_a_history_is_iterated_over_as_often_as_one_likes():
    trip = replay.load(FILE)
    assert len(trip) == 6 == len(list(trip)) == len(list(trip))
    assert (trip.id, trip.definition, trip.versions) == (document()["id"], "travel/trip-booking@1.0.0", 27)
    assert trip.status == document()["status"]
    assert [step.version for step in trip] == [1, 4, 7, 10, 17, 24]


def test_a_step_has_everything():
    trip = replay.load(str(FILE))
    step = trip.step(12)
    assert (step.version, step.last_version, step.after_s) == (10, 16, 0.074)
    assert step.command["outcome"] == "refused"
    assert [event["type"] for event in step.events][:3] == ["task.failed", "rollback.started", "compensation.decided"]
    assert (step.state_before["status"], step.state_after["status"]) == ("running", "compensating")
    assert {"path": ["status"], "before": "running", "after": "compensating"} in step.difference
    assert [each["task"] for each in step.rollback["undo"]] == ["bookHotel", "reserveCar"]
    assert trip.at(27)["status"] == "compensated"
    assert trip.rollback(9)["in_flight"] == ["bookFlight"]
    assert repr(step) == "<Step version=10 command='result' events=7>"
    assert "trip-booking" in repr(trip)


def test_a_decision_is_made_by_the_real_code():
    """A debugger that steps into `decide` arrives where decisions are made."""
    seen: set[str] = set()

    def trace(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            seen.add(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}")

    step = replay.load(FILE).step(10)
    sys.setprofile(trace)
    try:
        decided = step.decide()
    finally:
        sys.setprofile(None)
    assert decided == step.events
    assert {"domain.attempts.report", "domain.undoing.decide"} <= seen


def test_what_is_changed_by_a_reader_changes_nothing():
    trip = replay.load(FILE)
    trip.at(27)["tasks"].clear()
    trip.step(4).state_after.clear()
    trip.status["status"] = "?"
    assert (len(trip.at(27)["tasks"]), trip.status["status"]) == (3, "compensated")
    assert trip.verify() == []


def test_a_changed_answer_is_a_divergence():
    changed = document()
    changed["definition"]["document"]["do"].pop(2)
    first = replay.load(changed).verify()[0]
    assert first["version"] == 7
    assert first["recorded"][1]["type"] == "task.scheduled"
    assert first["decided"][1]["data"]["name"] == "pay"
    assert "differs" in first["text"]


def test_links_and_status_are_compared():
    changed = document()
    changed["history"][4]["previous"] = "00"
    changed["status"]["status"] = "completed"
    trip = replay.load(changed)
    assert trip.broken_links() == ["version 5 does not follow the event before"]
    assert trip.unlike() == ["/status"]


def edited(version: int, **members: Any) -> dict[str, Any]:
    changed = document()
    changed["history"][version - 1].update(members)
    return changed


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "no bundle"),
        ({"format": 2}, "reads 1"),
        (document(format="1"), "reads 1"),
        (document(history=[]), "history is empty"),
        (document(history=7), "damaged"),
        (document(history=document()["history"][1:]), "version 2 stands where 1"),
        (edited(3, stored="!"), "version 3 cannot be read"),
        (edited(3, stored="AAAA"), "version 3 cannot be read"),
        (edited(3, type="task.invented"), "version 3 cannot be read"),
        (edited(2, stored=document()["history"][3]["stored"], type="task.completed"), "cannot be folded"),
        (document(definition={**document()["definition"], "document": {"do": 1}}), "cannot be compiled"),
        (document(definition=None), "damaged"),
        (document(definition={**document()["definition"], "digest": "sha256:0"}), "no definition with the digest"),
    ],
)
def test_what_cannot_be_replayed_says_why(given, says):
    with pytest.raises(replay.BundleError) as told:
        replay.load(given)
    assert says in str(told.value)


def test_a_file_that_is_too_deep(tmp_path):
    file = tmp_path / "deep.json"
    file.write_text("[" * 200_000, encoding="utf-8")
    with pytest.raises(replay.BundleError, match="is not JSON"):
        replay.load(file)


def test_a_file_that_is_no_json(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(replay.BundleError, match="is not JSON"):
        replay.load(tmp_path / "x.json")
    (tmp_path / "y.json").write_text("[1]")
    with pytest.raises(replay.BundleError, match="no bundle"):
        replay.load(tmp_path / "y.json")
    with pytest.raises(OSError, match="nowhere"):
        replay.load(tmp_path / "nowhere.json")


def test_a_member_of_a_later_version_is_passed_over():
    assert replay.load(document(of_tomorrow=1)).verify() == []


def alone(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"import sys; sys.path.append({str(ROOT)!r});"
    return subprocess.run(
        [sys.executable, "-c", path + program], cwd=folder, capture_output=True, text=True, check=False
    )


def test_importing_it_loads_nothing_of_the_service(tmp_path):
    program = (
        "before = set(sys.modules); import retrace.replay;"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    assert set(alone(program, tmp_path).stdout.split()) == {"retrace"}


def test_a_package_of_the_same_name_that_was_there_first_is_named(tmp_path):
    (tmp_path / "domain.py").write_text("")
    shown = alone(f"import domain, retrace.replay; retrace.replay.load({str(FILE)!r})", tmp_path)
    assert shown.returncode == 1
    assert "ImportError" in shown.stderr
    assert str(tmp_path / "domain.py") in shown.stderr
