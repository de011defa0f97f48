"""The table of styles of the OpenAPI specification, and Swagger's collection formats."""

from __future__ import annotations

import pytest

from adapters.callouts.exchange import UnsentError
from adapters.callouts.openapi_parameters import header_text, pairs_of, path_text, writing_of

ARRAY, OBJECT = ["blue", "black"], {"R": 100, "G": 200}


def writing(place, style=None, explode=None):
    described = {"name": "color", "in": place, "style": style, "explode": explode}
    return writing_of({name: value for name, value in described.items() if value is not None}, is_swagger=False)


@pytest.mark.parametrize(
    ("style", "explode", "value", "expected"),
    [
        ("simple", False, "a b/c", "a%20b%2Fc"),
        ("simple", False, ARRAY, "blue,black"),
        ("simple", True, ARRAY, "blue,black"),
        ("simple", False, OBJECT, "R,100,G,200"),
        ("simple", True, OBJECT, "R=100,G=200"),
        ("label", False, "blue", ".blue"),
        ("label", False, ARRAY, ".blue,black"),
        ("label", True, ARRAY, ".blue.black"),
        ("label", False, OBJECT, ".R,100,G,200"),
        ("label", True, OBJECT, ".R=100.G=200"),
        ("matrix", False, "blue", ";color=blue"),
        ("matrix", False, ARRAY, ";color=blue,black"),
        ("matrix", True, ARRAY, ";color=blue;color=black"),
        ("matrix", False, OBJECT, ";color=R,100,G,200"),
        ("matrix", True, OBJECT, ";R=100;G=200"),
    ],
)
def test_path(style, explode, value, expected):
    assert path_text(writing("path", style, explode), value) == expected


@pytest.mark.parametrize(
    ("style", "explode", "value", "expected"),
    [
        (None, None, True, [("color", "true")]),
        (None, None, ARRAY, [("color", "blue"), ("color", "black")]),
        ("form", False, ARRAY, [("color", "blue,black")]),
        (None, None, OBJECT, [("R", "100"), ("G", "200")]),
        ("form", False, OBJECT, [("color", "R,100,G,200")]),
        ("spaceDelimited", False, ARRAY, [("color", "blue black")]),
        ("pipeDelimited", False, ARRAY, [("color", "blue|black")]),
        ("pipeDelimited", None, ARRAY, [("color", "blue|black")]),
        ("deepObject", True, OBJECT, [("color[R]", "100"), ("color[G]", "200")]),
    ],
)
def test_query(style, explode, value, expected):
    assert pairs_of(writing("query", style, explode), value) == expected


@pytest.mark.parametrize(
    ("explode", "value", "expected"),
    [(None, ARRAY, "blue,black"), (None, OBJECT, "R,100,G,200"), (True, OBJECT, "R=100,G=200"), (None, 1, "1")],
)
def test_header(explode, value, expected):
    assert header_text(writing("header", None, explode), value) == expected


@pytest.mark.parametrize(
    ("collection", "expected"),
    [
        (None, [("color", "blue,black")]),
        ("csv", [("color", "blue,black")]),
        ("ssv", [("color", "blue black")]),
        ("tsv", [("color", "blue\tblack")]),
        ("pipes", [("color", "blue|black")]),
        ("multi", [("color", "blue"), ("color", "black")]),
    ],
)
def test_swagger_collections(collection, expected):
    described = {"name": "color", "in": "query"} | ({"collectionFormat": collection} if collection else {})
    assert pairs_of(writing_of(described, is_swagger=True), ARRAY) == expected


def test_nesting_has_no_style():
    with pytest.raises(UnsentError, match="nested"):
        pairs_of(writing("query"), [["a"]])
