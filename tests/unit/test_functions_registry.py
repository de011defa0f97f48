"""The decorator and the registry: what registers, what is refused, and how a file of functions is loaded."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest

from domain.errors import OURS
from retrace import Refused, function
from retrace.functions import ERRORS, REGISTRY, DuplicateFunctionError, load_functions

TWO_FUNCTIONS = """\
from retrace import function

@function("bookHotel")
async def book_hotel(city: str) -> dict:
    return {"city": city}

@function("cancelHotel")
def cancel_hotel(id: str) -> None:
    pass
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(source: str, name: str = "functions.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return path

    return write


def test_a_file_gives_its_functions_in_order_with_their_colour_and_place(write):
    path = write(TWO_FUNCTIONS)
    registry = load_functions(path)
    assert list(registry) == ["bookHotel", "cancelHotel"]
    assert registry["bookHotel"].is_async
    assert not registry["cancelHotel"].is_async
    assert registry["bookHotel"].source == f"{path}:3"
    assert registry["bookHotel"].callable.__name__ == "book_hotel"


def test_loading_a_file_leaves_the_global_registry_alone(write):
    before = dict(REGISTRY)
    load_functions(write(TWO_FUNCTIONS))
    assert dict(REGISTRY) == before


def test_a_repeated_load_sees_the_changed_file_and_its_changed_neighbour(write):
    write("VALUE = 'old'\n", "prices.py")
    path = write("from retrace import function\nfrom .prices import VALUE\nfunction(VALUE)(lambda: 1)\n")
    assert list(load_functions(path)) == ["old"]
    write("VALUE = 'newer'\n", "prices.py")
    assert list(load_functions(path)) == ["newer"]


def test_two_folders_keep_their_neighbours_apart(write):
    source = "from retrace import function\nfrom .prices import VALUE\nfunction(VALUE)(lambda: 1)\n"
    write("VALUE = 'a'\n", "a/prices.py")
    write("VALUE = 'b'\n", "b/prices.py")
    assert list(load_functions(write(source, "a/functions.py"))) == ["a"]
    assert list(load_functions(write(source, "b/functions.py"))) == ["b"]


def test_one_name_twice_names_both_places(write):
    path = write(TWO_FUNCTIONS + '\n@function("bookHotel")\ndef again() -> None: ...\n')
    with pytest.raises(DuplicateFunctionError) as caught:
        load_functions(path)
    assert f"{path}:3" in str(caught.value)
    assert f"{path}:11" in str(caught.value)


def test_a_failing_file_says_which_and_leaves_no_module(write):
    path = write("from retrace import function\n1 / 0\n")
    before = set(sys.modules)
    with pytest.raises(ZeroDivisionError) as caught:
        load_functions(path)
    assert str(path) in caught.value.__notes__[0]
    assert set(sys.modules) == before


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"functions\.py"):
        load_functions(tmp_path / "functions.py")


def test_annotations_of_a_loaded_file_can_be_resolved(write):
    path = write(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from retrace import function\n"
        "@dataclass\nclass Trip:\n    city: str\n"
        '@function("book")\ndef book(trip: Trip) -> Trip:\n    return trip\n'
    )
    book = load_functions(path)["book"].callable
    assert sys.modules[book.__module__].Trip.__name__ == "Trip"


def test_the_decorator_returns_the_function_itself():
    def book() -> int:
        return 1

    assert function("test-functions-registry-itself")(book) is book
    assert REGISTRY["test-functions-registry-itself"].callable is book


def test_a_wrapped_coroutine_function_is_async():
    async def book() -> int:
        return 1

    function("test-functions-registry-partial")(functools.partial(book))
    assert REGISTRY["test-functions-registry-partial"].is_async


@pytest.mark.parametrize("name", [None, "", len])
def test_a_name_is_required(name):
    with pytest.raises(TypeError, match="bookHotel"):
        function(name)


def test_a_generator_and_a_class_cannot_be_functions():
    def numbers():
        yield 1

    with pytest.raises(TypeError, match="one result"):
        function("numbers")(numbers)
    with pytest.raises(TypeError, match="not on"):
        function("int")(int)


@pytest.mark.parametrize(
    ("given", "type_"),
    [
        ("no-rooms", "https://retrace.invalid/errors/no-rooms"),
        ("no rooms", "https://retrace.invalid/errors/no%20rooms"),
        ("https://example.test/full", "https://example.test/full"),
        ("about:blank", "about:blank"),
    ],
)
def test_a_refusal_has_a_uri_for_a_type(given, type_):
    assert Refused(given).type == type_


def test_a_refusal_carries_the_members_of_a_fault():
    refused = Refused("no-rooms", "all taken", title="No rooms", status=409)
    assert (refused.detail, refused.title, refused.status, str(refused)) == ("all taken", "No rooms", 409, "all taken")
    assert Refused("no-rooms").status == 422


def test_bare_words_mean_the_same_inside_and_outside():
    assert ERRORS == OURS
