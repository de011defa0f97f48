"""Text to data: what YAML and JSON mean here, where values stand, and every text that is refused."""

from __future__ import annotations

from typing import Final

import pytest

from adapters.documents import Source, digest, load
from domain.errors import InvalidDefinitionError

YAML: Final = "application/yaml"
JSON: Final = "application/json"


def refused(text, media_type):
    with pytest.raises(InvalidDefinitionError) as caught:
        load(text, media_type)
    return [(problem.pointer, problem.code, problem.line, problem.column) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("0.1.0", "0.1.0"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z"),
        ("07:25:00", "07:25:00"),
        ("012", 12),
        ("0o17", 15),
        ("0xff", 255),
        ("-1.5e3", -1500.0),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("! 1", "1"),
        ("!!float 1", 1.0),
        ("1_000", "1_000"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
        ('{"a":1,"b":[]}', {"a": 1, "b": []}),
    ],
)
def test_plain_scalars_have_the_meaning_of_yaml_1_2(text, value):
    found = load(text, YAML).value
    assert found == value
    assert type(found) is type(value)


def test_aliases_and_merge_keys_unfold():
    text = "base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}\nboth:\n  <<: [*b, {z: 4}]\nsame: *b\n'<<': 5\n"
    value = load(text, YAML).value
    assert value["own"] == {"x": 1, "y": 3}
    assert value["both"] == {"x": 1, "y": 2, "z": 4}
    assert value["same"] == {"x": 1, "y": 2}


def test_a_quoted_merge_key_and_one_in_json_are_ordinary_names():
    assert load("'<<': {a: 1}", YAML).value == {"<<": {"a": 1}}
    assert load('{"<<": {"a": 1}}', JSON).value == {"<<": {"a": 1}}


def test_positions_in_yaml():
    source = load("a: 1\nb:\n  - c: 2\n    d/e: [x, yy]\n", YAML)
    assert source.position("") == (1, 1)
    assert source.position("/b") == (2, 1)
    assert source.position("/b/0") == (3, 5)
    assert source.position("/b/0/d~1e/1") == (4, 14)


def test_positions_in_json():
    source = load('{"a": 1,\n "b": [true,\n  {"c": null}]}', JSON)
    assert source.value == {"a": 1, "b": [True, {"c": None}]}
    assert source.position("/b") == (2, 2)
    assert source.position("/b/1/c") == (3, 4)


def test_a_pointer_to_nothing_stands_at_its_nearest_ancestor():
    source = load("a:\n  b: 1\n", YAML)
    assert source.position("/a/b/c/d") == (2, 3)
    assert source.position("/a/x") == (1, 1)
    assert source.position("/x") == (1, 1)
    assert Source(None, None).position("/x") == (1, 1)


def test_a_byte_order_mark_is_no_part_of_the_text():
    assert load(b"\xef\xbb\xbf{}", JSON).value == {}
    assert load("\ufeff{}", JSON).value == {}


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("a: [", [("/a/0", "syntax", 2, 1)]),
        ("a: 1\n b: 2\n", [("", "syntax", 2, 3)]),
        ("a: 1\nb: 2\na: 3\n", [("/a", "duplicate-key", 3, 1)]),
        ("a: {x: 1, x: 2, x: 3}", [("/a/x", "duplicate-key", 1, 11), ("/a/x", "duplicate-key", 1, 17)]),
        (
            "1: a\nnull: b\n",
            [("/(int at 1:1)", "non-string-key", 1, 1), ("/(NoneType at 2:1)", "non-string-key", 2, 1)],
        ),
        ("? [a]\n: b\n", [("/(list at 1:3)", "non-string-key", 1, 3)]),
        ("a: .nan\nb: -.inf\nc: 1e999\n", [(f"/{n}", "number-range", i, 4) for i, n in enumerate("abc", 1)]),
        ("a: 9007199254740993", [("/a", "number-range", 1, 4)]),
        ("a: !custom 1", [("/a", "custom-tag", 1, 4)]),
        ("a: !!python/object:os.system {}", [("/a", "custom-tag", 1, 4)]),
        ("a: !!binary aGk=", [("/a", "custom-tag", 1, 4)]),
        ("a: 1\n---\nb: 2\n", [("", "syntax", 2, 1)]),
        ("a: 1\nbé: \x07c", [("", "syntax", 2, 5)]),
        ("a: *nobody", [("/a", "syntax", 1, 4)]),
        ("a: &a [1, *a]", [("/a/1", "cyclic-alias", 1, 11)]),
        ("a: {<<: 1}", [("/a", "syntax", 1, 9)]),
    ],
)
def test_refused_yaml(text, problems):
    assert refused(text, YAML) == problems


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", [("", "syntax", 1, 1)]),
        ('{"a": 1,}', [("", "syntax", 1, 9)]),
        ("[1,]", [("/1", "syntax", 1, 4)]),
        ("[1 2]", [("/1", "syntax", 1, 4)]),
        ("[1}", [("/1", "syntax", 1, 3)]),
        ("{'a': 1}", [("", "syntax", 1, 2)]),
        ('{"a" 1}', [("/a", "syntax", 1, 6)]),
        ("{} x", [("", "syntax", 1, 4)]),
        ("01", [("", "syntax", 1, 1)]),
        ("+1", [("", "syntax", 1, 1)]),
        ("1.", [("", "syntax", 1, 1)]),
        ("nul", [("", "syntax", 1, 1)]),
        ("NaN", [("", "syntax", 1, 1)]),
        ("[Infinity]", [("/0", "syntax", 1, 2)]),
        ('"\\x41"', [("", "syntax", 1, 1)]),
        ('"a\nb"', [("", "syntax", 1, 1)]),
        ("1e999", [("", "number-range", 1, 1)]),
        ("1" * 5000, [("", "number-range", 1, 1)]),
        ('{"a": 1,\n "a": 2}', [("/a", "duplicate-key", 2, 2)]),
        ('["\\ud800"]', [("/0", "encoding", 1, 2)]),
    ],
)
def test_refused_json(text, problems):
    assert refused(text, JSON) == problems


@pytest.mark.parametrize("media_type", [YAML, JSON])
@pytest.mark.parametrize("levels", [101, 1_000, 100_000])
def test_deep_nesting_is_a_problem_not_a_crash(media_type, levels):
    (problem,) = refused("[" * levels + "]" * levels, media_type)
    assert problem[1:3] == ("too-deep", 1)
    # Some versions of the YAML parser look far ahead and give up themselves, at their own limit.
    assert problem[3] == 101 or (media_type == YAML and levels > 1_000 and problem[3] == 1_001)


def test_a_hundred_levels_are_fine():
    assert load("[" * 100 + "]" * 100, YAML).value
    assert load("[" * 100 + "]" * 100, JSON).value


def test_deep_blocks_are_a_problem():
    text = "".join(" " * level + "a:\n" for level in range(1_000))
    ((_, code, line, _),) = refused(text, YAML)
    assert (code, line) == ("too-deep", 101)


def test_depth_counts_through_aliases():
    text = "a: &a " + "[" * 60 + "]" * 60 + "\nb: " + "[" * 60 + "*a" + "]" * 60
    ((_, code, line, _),) = refused(text, YAML)
    assert (code, line) == ("too-deep", 2)


def test_a_billion_laughs_are_a_problem():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    ((_, code, line, _),) = refused("\n".join(lines), YAML)
    assert (code, line) == ("too-large", 6)


@pytest.mark.parametrize("media_type", [YAML, JSON])
def test_text_that_is_not_unicode(media_type):
    assert refused(b'["a",\n "\xff"]', media_type) == [("", "encoding", 2, 3)]
    assert refused('["a",\n "\ud800"]', media_type) == [("", "encoding", 2, 3)]


def test_a_text_that_is_too_long():
    assert refused(b" " * (8 * 1024 * 1024 + 1), YAML) == [("", "too-large", 1, 1)]


def test_the_digest_is_that_of_canonical_json():
    # RFC 8785: members sorted, no white space, 1.0 written as 1
    assert digest({"b": 1.0, "a": [True, None]}) == digest(load('{"a":[true,null],"b":1}', JSON).value)
    assert digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_the_digest_of_numbers_that_are_not_canonical_is_a_problem():
    with pytest.raises(InvalidDefinitionError) as caught:
        digest({"a": [2**70], "b": {"c/d": float("nan")}})
    assert [problem.pointer for problem in caught.value.problems] == ["/a/0", "/b/c~1d"]
