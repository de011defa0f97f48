"""Placeholders of ``call: sql``: found where they are, and nowhere else."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.callouts.sql.text import SqlTextError, bind, read


def dollars(text, parameters):
    return bind(read(text), parameters, lambda number: f"${number}", lambda text: text)


@pytest.mark.parametrize(
    ("text", "bound", "values"),
    [
        ("SELECT :a, :b, :a", "SELECT $1, $2, $3", [1, 2, 1]),
        ("SELECT ':a', \":a\", `:a`, :a", "SELECT ':a', \":a\", `:a`, $1", [1]),
        ("SELECT 'it''s :a', E'\\':a', :b", "SELECT 'it''s :a', E'\\':a', $1", [2]),
        ("SELECT :a -- :b\n /* :b ? */, :b::text", "SELECT $1 -- :b\n /* :b ? */, $2::text", [1, 2]),
        ("SELECT $$ :b $$, $x$ ' :b $x$, :a", "SELECT $$ :b $$, $x$ ' :b $x$, $1", [1]),
        ("SELECT :a WHERE x ? 'k' ; -- done", "SELECT $1 WHERE x ? 'k'  ", [1]),
    ],
)
def test_names_become_placeholders_in_order(text, bound, values):
    given = {name: value for name, value in {"a": 1, "b": 2}.items() if value in values}
    assert dollars(text, given) == (bound, values)


def test_marks_take_a_list():
    assert dollars("INSERT INTO t VALUES (?, '?', ?)", [1, 2]) == ("INSERT INTO t VALUES ($1, '?', $2)", [1, 2])


@pytest.mark.parametrize(
    ("text", "parameters", "told"),
    [
        ("SELECT :a", None, "'a' is missing"),
        ("SELECT 1", {"a": 1}, "no :a"),
        ("SELECT ?", [1, 2], "has 1 ?"),
        ("SELECT ?", "a", "must be an object"),
        ("SELECT 1; SELECT 2", None, "one statement"),
        ("SELECT 1; 'x'", None, "one statement"),
        ("", None, "no statement"),
        ("-- nothing", None, "no statement"),
        ("commit", None, "COMMIT cannot be sent"),
        ("/* a */ Set ROLE admin", None, "SET cannot be sent"),
        ("attach database 'x' as y", None, "ATTACH cannot be sent"),
    ],
)
def test_what_does_not_go_together_is_refused(text, parameters, told):
    with pytest.raises(SqlTextError, match=told.replace("?", r"\?")):
        dollars(text, parameters)


@given(st.text(alphabet="'\":?abc -/*;$\n\\", max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        statement = read(text)
    except SqlTextError:
        return
    assert len(statement.names) + statement.marks <= len(text)


@given(st.lists(st.text(max_size=10), min_size=1, max_size=5))
def test_values_never_become_text(values):
    names = {f"p{index}": value for index, value in enumerate(values)}
    text, bound = bind(
        read("SELECT " + ", ".join(f":{name} AS {name}" for name in names)), names, lambda _: "?", lambda text: text
    )
    assert bound == values
    assert set(text) <= set("SELECT ?, AS p0123456789")
    with sqlite3.connect(":memory:") as connection:
        storable = [value.encode("utf-8", "replace").decode() for value in values]
        assert list(connection.execute(text, storable).fetchone()) == storable
    connection.close()
