"""Large values beside an event: what is taken out is put back, whatever it is."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.stored_events import EventMapper
from application.large_values import Contents, has_references, public_id_in, references, take_out
from domain import events as e
from domain.errors import ContentMissingError

MOST = 200
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text()
LONG = st.sampled_from(["x" * 199, "ü" * 300, "{" * 500, "1" * 1000])
JSON = st.recursive(
    SCALARS | LONG,
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(st.text(max_size=20), inner, max_size=20),
    max_leaves=60,
)


def completed(output: Any) -> e.TaskCompleted:
    return e.TaskCompleted(at=datetime(2030, 1, 1, tzinfo=UTC), actor=None, run="/do/0/a#1", output=output)


def split(event: e.Event) -> tuple[bytes, Contents]:
    state, blobs = take_out(EventMapper().encode(event), MOST)
    return state, Contents({blob.digest: blob.content or b"" for blob in blobs})


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_what_is_taken_out_is_put_back(value):
    event = completed(value)
    state, contents = split(event)
    restored = EventMapper().decode(event.topic, state, contents)
    assert restored == event
    assert EventMapper().encode(restored) == EventMapper().encode(event)
    assert all(sha256(content).digest() == digest for digest, content in contents.items())
    if has_references(state):
        assert {each.digest for each in references(state)} == set(contents)


@given(JSON)
def test_what_stays_is_small(value):
    state, contents = split(completed(value))
    assert len(state) < 1_000 + 60 * len(contents)


def test_a_member_goes_alone_where_its_neighbours_are_small():
    state, contents = split(completed({"name": "a", "file": "x" * 1000}))
    assert list(contents.values()) == [b"x" * 1000]
    shown = EventMapper().shown("task.completed", state)
    digest = sha256(b"x" * 1000).hexdigest()
    reference = {"digest": f"sha256:{digest}", "bytes": 1000, "media_type": "text/plain; charset=utf-8"}
    assert isinstance(shown, e.TaskCompleted)
    assert shown.output == {"name": "a", "file": reference}


def test_a_list_of_many_small_ones_goes_as_a_whole():
    _, contents = split(completed([{"n": n} for n in range(1000)]))
    assert [len(msgspec.json.decode(content)) for content in contents.values()] == [1000]


def test_what_stands_twice_is_kept_once():
    state, contents = split(completed(["x" * 1000, "x" * 1000]))
    assert len(contents) == len(references(state)) == 1


def test_a_text_and_the_value_that_it_spells_are_told_apart():
    value = {"long": [1.0, "x" * 100, 2, "y" * 150] * 3}
    text = msgspec.json.encode(value["long"]).decode()
    event = completed({**value, "text": text})
    state, contents = split(event)
    assert len(contents) == 1
    assert EventMapper().decode(event.topic, state, contents) == event


def test_a_text_and_the_value_that_it_spells_may_go_together():
    inner = ["x" * 150, "y" * 150]
    value = [msgspec.json.encode(inner).decode(), inner, *range(1000)]
    state, contents = split(completed(value))
    assert EventMapper().decode("task.completed", state, contents) == completed(value)


def test_small_events_are_stored_as_ever():
    event = completed({"a": 1})
    raw = EventMapper().encode(event)
    assert take_out(raw, MOST) == (raw, [])
    assert not has_references(raw)
    assert EventMapper().shown(event.topic, raw) == event


def test_what_is_missing_is_named_with_its_orchestration():
    state, contents = split(completed("x" * 1000))
    [digest] = contents
    empty = Contents()
    empty.of = "o_1"
    with pytest.raises(ContentMissingError, match=f"sha256:{digest.hex()} of the orchestration o_1"):
        EventMapper().decode("task.completed", state, empty)


def test_another_form_is_refused():
    state, contents = split(completed("x" * 1000))
    with pytest.raises(ValueError, match="form"):
        EventMapper().decode("task.completed", state[:1] + b"\x02" + state[2:], contents)


def test_bytes_inside_an_event_come_back_as_bytes():
    event = e.OrchestrationForked(
        at=datetime(2030, 1, 1, tzinfo=UTC),
        actor="me",
        id="o_1",
        origin=e.Origin("o_0", 3, b"\1" * 32),
        prefix=(("note.added", b"\0\xff" * 500),),
        definition="a/b@1",
        digest="sha256:x",
    )
    state, contents = split(event)
    assert EventMapper().decode(event.topic, state, contents) == event
    assert EventMapper().shown(event.topic, state, contents) == event
    assert public_id_in(state) == "o_1"
