"""Registering projections: what a name, a table and a fold may be, and what is refused where it stands."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from retrace import projection
from retrace.functions import load_functions
from retrace.projections import DuplicateProjectionError, Event, ProjectionRegistry, collecting

TABLE = {"city": str}


@pytest.fixture(autouse=True)
def registry():
    """A registry of this test's own."""
    mine = ProjectionRegistry()
    token = collecting.set(mine)
    yield mine
    collecting.reset(token)


def fold(row, event):
    return row


def test_a_projection_is_registered_and_the_function_stays_as_it_is(registry):
    assert (
        projection("trips", version=3, table={"id": str, "at": datetime, "n": int}, types=["task.completed"])(fold)
        is fold
    )
    found = registry["trips"]
    assert (found.version, found.key, dict(found.columns)) == (3, "id", {"at": datetime, "n": int})
    assert found.types == {"task.completed"}
    assert found.source.startswith(__file__)


@pytest.mark.parametrize(
    "name", ["", "Trips", "1trips", "trips-2", "trips; DROP TABLE events", "t" * 31, "trips_v1", "trips_v1_2", 5, 'a"b']
)
def test_names_that_could_be_anything_but_a_name(name):
    with pytest.raises(ValueError, match="cannot name a projection"):
        projection(name, table=TABLE)


@pytest.mark.parametrize("column", ["", "City", "a b", "a" * 41, "partition", 'x"', "é"])
def test_columns_that_could_be_anything_but_a_column(column):
    with pytest.raises(ValueError, match="cannot name a column"):
        projection("trips", table={column: str, "city": str})
    with pytest.raises(ValueError, match="cannot name a column"):
        projection("trips", table=TABLE, key=column)


@pytest.mark.parametrize("version", [0, -1, 1.5, "1", True, 10**6])
def test_versions_are_whole_numbers(version):
    with pytest.raises(ValueError, match="whole number"):
        projection("trips", table=TABLE, version=version)


@pytest.mark.parametrize(
    ("table", "what"),
    [({"city": bytes}, "dict or list"), ({"id": int, "city": str}, "the key"), ({"city": "str"}, "dict or list")],
)
def test_types_of_columns(table, what):
    with pytest.raises(TypeError, match=what):
        projection("trips", table=table)


@pytest.mark.parametrize("table", [{}, {"id": str}, {f"c{n}": str for n in range(101)}])
def test_a_table_has_columns_but_not_too_many(table):
    with pytest.raises(ValueError, match="1 to 100 columns"):
        projection("trips", table=table)


async def later(row, event):
    return row


def several(row, event):
    yield row


@pytest.mark.parametrize("bad", [later, several, dict, "fold"])
def test_a_fold_is_a_plain_function(bad):
    with pytest.raises(TypeError):
        projection("trips", table=TABLE)(bad)
    with pytest.raises(TypeError):
        projection("trips", table=TABLE, by=bad)(fold)


def test_an_event_type_that_cannot_be_one():
    with pytest.raises(ValueError, match="no event type"):
        projection("trips", table=TABLE, types=["TaskCompleted"])


def test_a_name_is_taken_once(registry):
    projection("trips", table=TABLE)(fold)
    projection("trips", table=TABLE)(fold)
    with pytest.raises(DuplicateProjectionError, match="there twice"):
        projection("trips", table=TABLE)(lambda row, event: row)


def test_a_file_brings_functions_and_projections(tmp_path, registry):
    file = tmp_path / "functions.py"
    file.write_text(
        "from retrace import function, projection\n"
        "@function('f')\ndef f(): ...\n"
        "@projection('trips', table={'n': int})\ndef trips(row, event): return row\n"
    )
    found = load_functions(file)
    assert (list(found), list(found.projections)) == (["f"], ["trips"])
    assert not registry
    assert list(load_functions(file).projections) == ["trips"]


def documented(registry):
    """What the page of projections registers, its blocks run one after the other."""
    page = (Path(__file__).parents[2] / "docs" / "projections.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(block, names)
    return registry


def test_the_folds_of_the_documentation_do_what_it_says(registry):
    bookings, calls = documented(registry).values()

    def event(version, kind, task=None, **data):
        at = datetime(2030, 1, version, tzinfo=UTC)
        return Event("o_1", "travel/trip-booking@1.0.0", version, kind, at, None, task, 1 if task else None, None, data)

    history = [
        event(1, "orchestration.started", input={"city": "Lisbon"}),
        event(2, "attempt.started", "/do/0/reserveCar"),
        event(3, "task.completed", "/do/0/reserveCar"),
        event(4, "orchestration.completed"),
    ]
    booking = call = None
    for each in history:
        booking = bookings.fold(booking, each)
        if each.type in calls.types:
            assert calls.by(each) == "o_1 /do/0/reserveCar 1"
            call = calls.fold(call, each)
    assert booking == {"city": "Lisbon", "status": "completed", "started_at": history[0].at, "attempts": 1}
    assert call == {"started_at": history[1].at, "outcome": "task.completed"}
