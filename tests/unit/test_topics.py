"""The names of events are a public contract: stored for ever, shown to clients, never renamed or used for something else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec import UNSET, inspect

from domain import events as e
from domain import evolve

GOLDEN = [
    "attempt.failed",
    "attempt.started",
    "branches.deferred",
    "callback.awaited",
    "callback.received",
    "task.assigned",
    "task.claimed",
    "task.released",
    "task.reassigned",
    "task.escalated",
    "task.answered",
    "cancel.dropped",
    "cancel.requested",
    "compensation.completed",
    "compensation.corrected",
    "compensation.decided",
    "compensation.failed",
    "compensation.skipped",
    "compensation.started",
    "ending.started",
    "error.caught",
    "event.consumed",
    "event.emitted",
    "event.received",
    "fork.won",
    "gap.skipped",
    "incident.raised",
    "incident.resolved",
    "listen.started",
    "loop.started",
    "note.added",
    "orchestration.cancelled",
    "orchestration.compensated",
    "orchestration.completed",
    "orchestration.faulted",
    "orchestration.forked",
    "orchestration.migrated",
    "orchestration.resumed",
    "orchestration.started",
    "orchestration.suspended",
    "orchestration.terminated",
    "result.late",
    "result.recorded",
    "rollback.finished",
    "rollback.started",
    "scope.closed",
    "scope.completed",
    "scope.entered",
    "scope.failing",
    "stream.closed",
    "stream.opened",
    "task.cancelled",
    "task.completed",
    "task.failed",
    "task.failing",
    "task.scheduled",
    "task.skipped",
    "task.uncertain",
    "token.joined",
    "wait.started",
]
AT = datetime(2026, 1, 1, 12, 30, 0, 123456, tzinfo=UTC)
CLASSES = sorted(e.TOPICS.values(), key=lambda cls: cls.topic)


def subclasses(cls: Any) -> list[Any]:
    return [c for direct in cls.__subclasses__() for c in (direct, *subclasses(direct))]


def sample(type_: Any) -> Any:
    """Some value of a type, with every optional member there."""
    match type_:
        case inspect.StrType():
            return "text"
        case inspect.IntType():
            return 7
        case inspect.FloatType():
            return 1.5
        case inspect.BoolType():
            return True
        case inspect.BytesType():
            return b"\x00bytes"
        case inspect.DateTimeType():
            return AT
        case inspect.LiteralType(values):
            return values[-1]
        case inspect.AnyType():
            return {"any": [1, None, "x", 2.5, {"deep": True}]}
        case inspect.ListType(item):
            return [sample(item)]
        case inspect.VarTupleType(item):
            return (sample(item), sample(item))
        case inspect.TupleType(items):
            return tuple(sample(item) for item in items)
        case inspect.DictType(key, value):
            return {sample(key): sample(value)}
        case inspect.StructType(cls):
            return full(cls)
        case inspect.UnionType(types):
            return next(s for t in types if (s := sample(t)) not in (None, UNSET))
    return None


def full(cls: Any) -> Any:
    described: Any = inspect.type_info(cls)
    return cls(**{field.name: sample(field.type) for field in described.fields})


def least(cls: Any) -> Any:
    described: Any = inspect.type_info(cls)
    return cls(**{field.name: sample(field.type) for field in described.fields if field.required})


def test_the_topics_are_these():
    """A topic that is renamed or dropped breaks every log that exists. New ones are added here and to the documentation."""
    assert sorted(e.TOPICS) == sorted(GOLDEN)


def test_every_event_has_a_topic_of_its_own():
    concrete = [cls for cls in subclasses(e.Event) if "topic" in cls.__dict__]
    assert len(e.TOPICS) == len(concrete) == len({cls.topic for cls in concrete})
    assert [cls.__name__ for cls in subclasses(e.Event) if "topic" not in cls.__dict__] == ["RunEvent"]


@pytest.mark.parametrize("topic", GOLDEN)
def test_a_topic_is_two_lower_case_words(topic):
    subject, verb = topic.split(".")
    assert subject.isalpha()
    assert verb.isalpha()
    assert topic.islower()


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.topic)
@pytest.mark.parametrize("make", [full, least])
def test_an_event_survives_its_stored_form(cls, make):
    event = make(cls)
    stored = msgspec.msgpack.encode(event)
    assert msgspec.msgpack.decode(stored, type=cls) == event
    assert msgspec.msgpack.encode(msgspec.msgpack.decode(stored, type=cls)) == stored
    shown = msgspec.json.encode(event)
    assert msgspec.json.decode(shown, type=cls) == event


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.topic)
def test_an_event_of_a_later_version_can_be_read(cls):
    """Members that this version does not know are passed over, so that a rollback of the service stays possible."""
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(full(cls))) | {"of_tomorrow": 1}
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(stored), type=cls) == full(cls)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.topic)
def test_every_event_can_be_folded(cls):
    assert cls in evolve.HANDLERS


def test_what_was_not_said_is_not_stored():
    event = e.TaskCompleted(at=AT, run="/do/0/a#1", output={"n": 1})
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(event))
    assert stored.keys() == {"at", "run", "output"}
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=e.TaskCompleted)
    assert again.data is UNSET


def test_null_and_the_same_as_before_are_kept_apart():
    event = e.TaskCompleted(at=AT, run="/do/0/a#1", output={"n": 1}, data=None, context=None)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=e.TaskCompleted)
    assert (again.data, again.context) == (None, None)
