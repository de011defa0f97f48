"""History items: what clients see of recorded events."""

from __future__ import annotations

from datetime import UTC, datetime

from application.history import event_json
from domain.events import AttemptStarted, EventReceived, TaskCompleted

AT = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_run_is_shown_as_its_task_and_number_and_defaults_are_left_out():
    event = TaskCompleted(at=AT, cause="result", run="/do/0/a#2", attempt=3, output={"x": 1}, to=("exit",))
    assert event_json(event, 7) == {
        "version": 7,
        "type": "task.completed",
        "at": "2026-01-01T00:00:00.000000Z",
        "actor": None,
        "task": "/do/0/a",
        "run": 2,
        "attempt": 3,
        "cause": "result",
        "data": {"output": {"x": 1}, "to": ("exit",)},
    }


def test_what_travels_along_for_uri_templates_is_not_shown_and_stays_in_the_event():
    event = AttemptStarted(at=AT, run="/do/0/a#1", number=1, key="k", arguments={"method": "get", "$input": {"id": 1}})
    shown = event_json(event)
    assert (shown["attempt"], shown["data"]["arguments"]) == (1, {"method": "get"})
    assert event.arguments == {"method": "get", "$input": {"id": 1}}


def test_bytes_of_ours_are_not_shown():
    event = EventReceived(at=AT, source="s", id="i", digest=b"x", event={"id": "i"}, outcome="held")
    assert event_json(event)["data"] == {"source": "s", "id": "i", "event": {"id": "i"}, "outcome": "held"}
