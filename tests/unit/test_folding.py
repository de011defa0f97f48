"""Folding a batch: what a fold may give, what it is given, and where it stops."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from adapters.projections import PythonFold
from application.folding import Seen, fold_batch, keyed
from tests.support.projected import made

AT = datetime(2030, 1, 1, 12, tzinfo=UTC)
COLUMNS: dict[str, Any] = {"text": str, "whole": int, "number": float, "yes": bool, "at": datetime, "data": dict}


def seen(version: int, kind: str = "task.completed", **data) -> Seen:
    item = {
        "orchestration": "o_1",
        "definition": "a/b@1",
        "version": version,
        "type": kind,
        "actor": None,
        "data": data,
    }
    return Seen(version, AT, item)


def folded(function, events, rows=None, **more):
    fold = PythonFold(made("x", function, **{**COLUMNS, **more}))
    return fold_batch(fold, keyed(fold, events), rows or {})


def given(value):
    """What becomes of a row that a fold gives."""
    return folded(lambda row, event: value, [seen(1)])


def test_what_is_left_out_is_empty():
    assert given({"text": "x", "id": "o_1"}).rows == {"o_1": ("x", None, None, None, None, None)}


def test_values_take_the_form_that_every_database_gives_back():
    other_zone = AT.astimezone(timezone(timedelta(hours=5)))
    (row,) = given({"number": 3, "at": other_zone, "data": {"a": (1, {"b": None})}}).rows.values()
    assert row == (None, None, 3.0, None, AT, '{"a":[1,{"b":null}]}')
    assert isinstance(row[2], float)
    assert row[4].tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        {"text": 5}, {"text": "a\0b"}, {"text": "\ud800"}, {"whole": 1.0}, {"whole": True}, {"whole": 2**63},
        {"number": float("nan")}, {"number": float("-inf")}, {"number": "1"}, {"number": 10**400}, {"yes": 1},
        {"at": AT.replace(tzinfo=None)}, {"at": "2030-01-01"}, {"data": object()}, {"data": {"a": "\ud800"}},
        {"nothing": 1}, {"id": "o_2"}, [], "row", 5, {1: 2},
    ],
)  # fmt: skip
def test_what_a_table_cannot_hold_stops_the_fold_at_that_event(value):
    found = folded(
        lambda row, event: value if event.version == 2 else {"whole": event.version}, [seen(1), seen(2), seen(3)]
    )
    assert found.rows == {"o_1": (None, 1, None, None, None, None)}
    assert found.failed is not None
    event, error = found.failed
    assert event.position == 2
    assert error


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), StopIteration(), KeyError("a\0\ud800")])
def test_whatever_it_raises_stops_it(error):
    def fails(row, event):
        row["data"]["a"] = "changed before it failed"
        raise error

    found = folded(fails, [seen(1)], {"o_1": (None, None, None, None, None, '{"a":1}')})
    assert found.rows == {}
    assert found.failed is not None
    found.failed[1].encode()
    assert "\0" not in found.failed[1]


def test_a_fold_may_change_the_row_it_is_given():
    def grows(row, event):
        row = row or {"data": {"seen": []}}
        row["data"]["seen"].append(event.version)
        return row

    found = folded(grows, [seen(1), seen(2), seen(3)])
    assert found.rows["o_1"][-1] == '{"seen":[1,2,3]}'


def test_a_row_that_is_gone_begins_anew():
    def until_done(row, event):
        return None if event.data.get("done") else {"whole": (row or {"whole": 0})["whole"] + 1}

    done = [seen(1), seen(2, done=True)]
    assert folded(until_done, done).rows == {"o_1": None}
    assert folded(until_done, [*done, seen(3)]).rows["o_1"][1] == 1


@pytest.mark.parametrize("key", [5, "", "x" * 513, "a\0", "\ud800"])
def test_a_key_that_is_none_stops_the_fold(key):
    fold = PythonFold(made("x", lambda row, event: {}, by=lambda event: key if event.version == 2 else "k", **COLUMNS))
    batch = keyed(fold, [seen(1), seen(2), seen(3)])
    assert [each.key for each in batch.keyed] == ["k"]
    assert fold_batch(fold, batch, {}).failed is not None


def test_events_without_a_key_or_of_other_types_are_passed_over():
    fold = PythonFold(
        made(
            "x",
            lambda row, event: {},
            by=lambda event: None if event.version == 1 else "k",
            types=["task.completed"],
            **COLUMNS,
        )
    )
    batch = keyed(fold, [seen(1), seen(2, "task.failed"), seen(3)])
    assert [each.seen.position for each in batch.keyed] == [3]
