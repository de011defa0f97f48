"""How deep JSON nests is counted in its text, so what stands in strings must not count."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.nesting import is_deeper

TEXTS = st.text(alphabet='[]{}"\\a')
VALUES: st.SearchStrategy[Any] = st.recursive(
    TEXTS, lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXTS, below, max_size=3), max_leaves=20
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(VALUES)
def test_it_is_the_depth_of_the_value(value):
    levels, text = depth(value), json.dumps(value).encode()
    assert not is_deeper(text, levels)
    assert levels == 0 or is_deeper(text, levels - 1)


@pytest.mark.parametrize("pair", [("[", "]"), ('{"a":', "}")])
def test_as_deep_as_you_like(pair):
    begin, end = pair
    for levels in (256, 257, 1_000_000):
        assert is_deeper(f"{begin * levels}1{end * levels}".encode()) == (levels > 256)


def test_a_text_that_is_no_json_has_an_answer_too():
    assert is_deeper(b"[" * 300)
    assert not is_deeper(b"]" * 300 + b"[" * 300)
    assert not is_deeper(b'"' + b"[" * 300)
