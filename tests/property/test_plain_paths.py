"""A plain path means in process exactly what the same program means to jq."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.expressions.inline import evaluate
from domain.expressions import Evaluated, Evaluation, EvaluationFailed, parse, resolve

NAMES = st.sampled_from(["a", "b", "and", "if", "reduce", "__loc__", "_", "A1", "null", "def", "ENV"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=5),
)
JSON = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(NAMES, below, max_size=4), max_leaves=20
)
MEMBER = NAMES.map(lambda name: f".{name}")
INDEX = st.sampled_from(["[0]", "[1]", "[2]", "[00]", "[999999999]", "[-1]", "[99999999999999999999]"])
TAIL = st.lists(MEMBER | INDEX, max_size=4).map("".join)
PATHS = st.one_of(
    st.just("."),
    st.builds(lambda first, rest: first + rest, MEMBER, TAIL),
    st.builds(lambda root, rest: f"${root}{rest}", NAMES, TAIL),
)
LOOKALIKES = st.text(st.sampled_from(list('.$[]0\u0661ab_é \t\n\u00a0\x0b-#:"?')), max_size=7)


def agree(source, dot, variables):
    expression = parse(source)
    ours = resolve(expression, dot, variables)
    if ours is None:
        return False
    names = tuple(name for name in variables if name in expression.variables)
    theirs = evaluate(Evaluation(expression.program, names, (dot, *(variables[name] for name in names))))
    if isinstance(ours, EvaluationFailed):
        assert isinstance(theirs, EvaluationFailed), (source, ours, theirs)
    else:
        assert theirs == ours, source
        assert repr(theirs) == repr(ours) or _same(theirs, ours), source
    return True


def _same(theirs, ours):
    """Equal down to the types, but for -0.0: jq has one zero for integers and reads ours as -0."""
    return isinstance(theirs, Evaluated) and _kinds(theirs.value) == _kinds(ours.value)


def _kinds(value):
    match value:
        case dict():
            return {name: _kinds(below) for name, below in value.items()}
        case list():
            return [_kinds(below) for below in value]
        case bool() | None | str():
            return type(value)
        case _:
            return "number"


@given(PATHS, JSON, st.dictionaries(NAMES, JSON, max_size=3))
def test_a_path_has_the_value_that_jq_gives_it(source, dot, variables):
    variables.pop("__loc__", None)  # no name of a variable in jq
    agree(source, dot, variables)


@given(PATHS, st.recursive(st.just(1), lambda below: st.lists(below, max_size=2) | st.dictionaries(NAMES, below)))
def test_paths_into_deep_values_agree(source, dot):
    agree(source, dot, {"a": dot})


@given(LOOKALIKES)
def test_what_only_looks_like_a_path_is_left_to_jq(source):
    agree(source, {"a": [1, {"b": 2}]}, {"a": {"b": [3]}})
