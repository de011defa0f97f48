"""The contract of the port `Expressions`, for the jail and for jq in process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.expressions.inline import InlineJq
from adapters.expressions.jail import JqJail
from domain.expressions import Evaluated, Evaluation, EvaluationFailed

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[JqJail, InlineJq], ids=["jail", "inline"], scope="module")
async def expressions(request, anyio_backend):
    port = request.param()
    await port.start()
    yield port
    await port.close()


async def one(expressions, program, dot=None, **variables):
    [result] = await expressions.evaluate([Evaluation(program, tuple(variables), (dot, *variables.values()))])
    return result


@pytest.mark.parametrize(
    "value", [None, True, 0, -1.5, "", 'é😀\u0000"\\', [], {}, {"a": [1, {"b": None}]}, 1e22, 5e-324]
)
async def test_a_value_passes_through_unchanged(expressions, value):
    assert await one(expressions, ".", value) == Evaluated(value)


@pytest.mark.parametrize("number", [2**53 + 1, -(2**63) - 1, 2**64, 123456789012345678901234567890])
async def test_an_integer_that_is_only_passed_on_keeps_every_digit(expressions, number):
    assert await one(expressions, "{id: .x.id}", {"x": {"id": number}}) == Evaluated({"id": number})
    assert await one(expressions, "$order", order=number) == Evaluated(number)


@pytest.mark.parametrize(
    ("program", "result"),
    [
        ("empty", None),
        ("nan", None),
        ("[nan]", [None]),
        ("first(1, 2)", 1),
        (". # said in passing", 1),
        (". # said with a backslash \\", 1),
        ("def double: . * 2; double", 2),
        (". as $it | [$it, $it]", [1, 1]),
        (".,empty", 1),
        ("null, empty", None),
        ("debug | stderr | debug(1)", 1),
        ("$__loc__.line", 1),
        ("input_filename", None),
    ],
)
async def test_a_program_gives_its_one_result_or_null(expressions, program, result):
    assert await one(expressions, program, 1) == Evaluated(result)


@pytest.mark.parametrize("program", ["1, 2", "null, null", ".[]", "repeat(.)"])
async def test_several_results_are_an_error(expressions, program):
    result = await one(expressions, program, [1, 2])
    assert isinstance(result, EvaluationFailed)
    assert "gave several results" in result.detail


async def test_variables_are_bound_by_name_and_hide_nothing_else(expressions):
    assert await one(expressions, "[$b, $a, .c]", {"c": 3}, a=1, b=2) == Evaluated([2, 1, 3])
    assert await one(expressions, "[$if, $and]", None, **{"if": 1, "and": 2}) == Evaluated([1, 2])
    assert await one(expressions, "$ENV", None, ENV=5) == Evaluated(5)


async def test_the_environment_is_empty(expressions, monkeypatch):
    monkeypatch.setenv("RETRACE_SECRET_TOKEN", "hunter2")
    assert await one(expressions, "[$ENV, env, $ENV.RETRACE_SECRET_TOKEN]") == Evaluated([{}, {}, None])


@pytest.mark.parametrize(
    "program",
    [
        "halt",
        "halt_error",
        "halt_error(3)",
        "input",
        "[inputs]",
        "modulemeta",
        "input_line_number",
        "$__prog_args",
        "$ARGS",
    ],
)
async def test_what_reaches_beyond_the_input_is_refused(expressions, program):
    result = await one(expressions, program, "a")
    assert isinstance(result, EvaluationFailed)
    assert "not available" in result.detail or "not defined" in result.detail


@pytest.mark.parametrize(
    "program", ['import "a" as a; .', 'include "a"; .', 'import "/etc/passwd" as $a; $a', "module {}; ."]
)
async def test_modules_are_syntax_errors(expressions, program):
    assert "syntax error" in (await expressions.check(program, ()) or "")
    assert isinstance(await one(expressions, program), EvaluationFailed)


@pytest.mark.parametrize(
    ("program", "dot", "message"),
    [
        (".a", [1], 'Cannot index array with string ("a")'),
        ('error("out of stock")', None, "out of stock"),
        ("error({code: 7})", None, '{"code": 7}'),
        (".a +", None, "syntax error, unexpected end of file at line 1, column 4"),
        ("1) | (2", None, "at line 1, column 2"),
        ("1 |\n  foo(1)", None, "foo/1 is not defined at line 2, column 3"),
        ("$nope.b", None, "$nope is not defined at line 1, column 1"),
        ("", None, "the program is empty"),
        (".\0.", None, "U+0000"),
    ],
)
async def test_errors_are_told_in_the_authors_terms(expressions, program, dot, message):
    result = await one(expressions, program, dot, other=1)
    assert isinstance(result, EvaluationFailed)
    assert message in result.detail
    assert "\n" not in result.detail
    assert "env" not in result.detail, "our own wrapping shows"


@pytest.mark.parametrize("program", ["reduce range(20000) as $i (0; [.])", "1e1000"])
async def test_a_result_that_is_not_json_for_everyone_is_an_error(expressions, program):
    result = await one(expressions, program)
    assert isinstance(result, EvaluationFailed)
    assert result.detail.startswith("the result ")


async def test_an_input_that_is_no_json_is_an_error_of_the_evaluation(expressions):
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    half, nested = [await one(expressions, ".", value) for value in ("\ud800", deep)]
    assert half == EvaluationFailed("the input holds text that is not valid Unicode")
    assert nested == EvaluationFailed("the input is nested too deeply")


@pytest.mark.parametrize("levels", [257, 600, 5_000])
async def test_a_result_nests_so_deep_on_every_python(expressions, levels):
    nest = f"reduce range({levels} - 1) as $i ([]; [.])"
    assert await one(expressions, nest) == EvaluationFailed("the result is nested too deeply")


async def test_a_value_that_may_be_kept_may_be_looked_at(expressions):
    deepest = await one(expressions, "reduce range(255) as $i ([]; [.])")
    assert isinstance(deepest, Evaluated)
    around: Any = {"a": [{"b": deepest.value}]}
    assert await one(expressions, "$outputs.a[0].b", outputs=around) == deepest
    for _ in range(300):
        around = {"a": around}
    assert await one(expressions, "1", around) == EvaluationFailed("the input is nested too deeply")


async def test_too_large_inputs_and_results_are_errors(expressions):
    assert await one(expressions, "length", "x" * (17 << 20)) == EvaluationFailed("the input is larger than 16 MB")
    assert await one(expressions, '"x" * 17825792') == EvaluationFailed("the result is larger than 16 MB")


async def test_a_long_message_is_cut(expressions):
    result = await one(expressions, "error", "x" * 100_000)
    assert isinstance(result, EvaluationFailed)
    assert len(result.detail) == 2000


async def test_results_come_in_the_order_of_the_batch(expressions):
    batch = [Evaluation(".[0] + $n", ("n",), ([i], 1000)) for i in range(600)]
    batch[300] = Evaluation("error(.)", (), ("this one",))
    results = await expressions.evaluate(batch)
    assert results[300] == EvaluationFailed("this one")
    assert [result.value for i, result in enumerate(results) if i != 300] == [i + 1000 for i in range(600) if i != 300]
    assert await expressions.evaluate([]) == []


async def test_many_callers_at_once_get_their_own_results(expressions):
    async def caller(number):
        return await expressions.evaluate([Evaluation("[., $me]", ("me",), (i, number)) for i in range(5)])

    every = await asyncio.gather(*(caller(number) for number in range(40)))
    assert every == [[Evaluated([i, number]) for i in range(5)] for number in range(40)]


async def test_check_accepts_what_compiles_with_these_names(expressions):
    assert await expressions.check("$a + .b # sum", ("a",)) is None
    assert await expressions.check("$a + $b", ("a",)) == "$b is not defined at line 1, column 6"
    assert await expressions.check(".", ("a-b",)) == "$a-b is not a possible name of a variable"
