"""URI templates as the standard has them, queries, and texts of scalars."""

from __future__ import annotations

import pytest
from yarl import URL

from adapters.callouts.exchange import UnsentError
from adapters.callouts.uris import address, expand, with_query
from domain.errors import SPEC


@pytest.mark.parametrize(
    ("template", "variables", "expected"),
    [
        ("http://h/pet/{petId}", {"petId": 1}, "http://h/pet/1"),
        ("http://h/{a}/{a}", {"a": "x/y z?&"}, "http://h/x%2Fy%20z%3F%26/x%2Fy%20z%3F%26"),
        ("http://h/{a}", {"a": "ü"}, "http://h/%C3%BC"),
        ("http://h/{a}", {"a": True}, "http://h/true"),
        ("http://h/{a}", {"a": 1.5}, "http://h/1.5"),
        ("http://h/{a}", {"a": None}, "http://h/"),
        ("http://h/{a}", {}, "http://h/"),
        ("http://h/{a}", None, "http://h/"),
        ("http://h/{pet.id}", {"pet.id": 1, "pet": {"id": 2}}, "http://h/1"),
        ("http://h/{pet.id}", {"pet": {"id": 2}}, "http://h/"),
        ("http://h/plain", {"plain": 1}, "http://h/plain"),
    ],
)
def test_simple_expansion(template, variables, expected):
    assert expand(template, variables) == expected


@pytest.mark.parametrize("value", [{}, [1]])
def test_a_variable_that_is_no_scalar_is_an_expression_fault(value):
    with pytest.raises(UnsentError) as caught:
        expand("http://h/{a}", {"a": value})
    assert (caught.value.fault.type, caught.value.fault.status) == (SPEC + "expression", 400)


def test_an_encoded_slash_stays_one():
    assert str(address("http://h/{a}", {"a": "x/y"})) == "http://h/x%2Fy"


def test_a_variable_cannot_leave_its_place():
    url = address("http://h/{a}?b={b}", {"a": "../../x", "b": "1&c=2#f"})
    assert (url.host, url.raw_path, dict(url.query)) == ("h", "/..%2F..%2Fx", {"b": "1&c=2#f"})


def test_a_query_is_added():
    url = with_query(URL("http://h/?a=1"), {"a": 2, "b": ["x", True, None], "c": None})
    assert list(url.query.items()) == [("a", "1"), ("a", "2"), ("b", "x"), ("b", "true")]


def test_an_object_is_no_query_parameter():
    with pytest.raises(UnsentError, match="tojson"):
        with_query(URL("http://h/"), {"a": {"b": 1}})
