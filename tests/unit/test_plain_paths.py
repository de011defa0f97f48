"""Which expressions are plain paths, which variables they mention, and what they resolve to."""

from __future__ import annotations

import pytest

from domain.expressions import Evaluated, EvaluationFailed, is_wrapped, parse, resolve


@pytest.mark.parametrize(
    ("source", "root", "path"),
    [
        (".", None, ()),
        ("${ . }", None, ()),
        (".a.b[0]", None, ("a", "b", 0)),
        ("$context", "context", ()),
        ("${ $context.x[1].and }", "context", ("x", 1, "and")),
        ("$x[0]", "x", (0,)),
        (".__loc__", None, ("__loc__",)),
    ],
)
def test_a_plain_path_is_read_at_deployment(source, root, path):
    expression = parse(source)
    assert (expression.root, expression.path) == (root, path)
    assert expression.variables == ((root,) if root else ())


@pytest.mark.parametrize(
    "source",
    [
        "",
        "..",
        ".[0]",
        ".a[-1]",
        ".a[]",
        ".a?",
        ".é",
        "$x.",
        "[0]",
        ".a[٣]",
        ".a[0123456789]",
        "$__loc__",
        "$ENV.HOME",
        "a",
        ".a\n.b # c",
    ],
)
def test_everything_else_is_left_to_jq(source):
    assert resolve(parse(source), {}, {"x": 1, "ENV": 2}) is None


def test_variables_are_those_that_someone_must_hand_in():
    assert parse("$b + $a + $b | $ENV, $__loc__").variables == ("a", "b")
    assert parse('"\\($secrets.token)"').reads_secrets


@pytest.mark.parametrize(
    ("source", "value"),
    [
        (".a.b", None),
        (".list[1]", 2),
        (".list[7]", None),
        (".nothing.at[3].all", None),
        ("$x.y", [True]),
        (".", {"list": [1, 2], "nothing": None, "text": "t"}),
    ],
)
def test_missing_members_and_null_give_null(source, value):
    dot = {"list": [1, 2], "nothing": None, "text": "t"}
    assert resolve(parse(source), dot, {"x": {"y": [True]}}) == Evaluated(value)


@pytest.mark.parametrize(
    ("source", "detail"),
    [
        (".a.b", 'Cannot index number with string ("b")'),
        (".t[0]", "Cannot index string with number (0)"),
        (".l.x", 'Cannot index array with string ("x")'),
        ("$v[2]", "Cannot index boolean with number (2)"),
        ("$absent.x", "$absent is not defined here"),
    ],
)
def test_a_path_into_anything_else_is_an_error_in_the_words_of_jq(source, detail):
    assert resolve(parse(source), {"a": 1, "t": "text", "l": []}, {"v": True}) == EvaluationFailed(detail)


def test_only_a_whole_string_is_wrapped():
    assert is_wrapped(" ${ .a\n+ 1 } ")
    assert not is_wrapped("costs ${ .a }")
