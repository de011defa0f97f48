"""Values on their way into jq and back: JSON text of bounded size, and what is said when that cannot be had.

Not everything that Python calls a value is JSON that can be kept: text with half a surrogate pair, structures that nest
too deeply, and results like 1e1000 become failures of the expression, never exceptions in the engine.
"""

from __future__ import annotations

import msgspec

from adapters.nesting import DEEPEST, is_deeper
from domain.expressions import Evaluand, Evaluated, Evaluation, EvaluationFailed

PAYLOAD_BYTES = 16 << 20
"""Largest input and largest result of one evaluation."""
_DEEPEST_INPUT = 2 * DEEPEST
"""Room for what a definition puts around a value, before an expression looks at it."""


def input_text(evaluation: Evaluation) -> bytes | EvaluationFailed:
    """The input of the wrapped program, ``[argument, ..., dot]``, as JSON."""
    if len(evaluation.values) != len(evaluation.names) + 1:
        raise ValueError("an evaluation has one value for '.' and one for each name")
    try:
        text = msgspec.json.encode([*evaluation.values[1:], evaluation.values[0]])
    except UnicodeEncodeError:
        return EvaluationFailed("the input holds text that is not valid Unicode")
    except RecursionError:
        return EvaluationFailed("the input is nested too deeply")
    if is_deeper(text, _DEEPEST_INPUT):
        return EvaluationFailed("the input is nested too deeply")
    if len(text) > PAYLOAD_BYTES:
        return EvaluationFailed(f"the input is larger than {PAYLOAD_BYTES >> 20} MB")
    return text


def result(text: bytes) -> Evaluand:
    """The value of a result's JSON text."""
    if is_deeper(text):
        return EvaluationFailed("the result is nested too deeply")
    try:
        return Evaluated(msgspec.json.decode(text))
    except msgspec.DecodeError as error:
        return EvaluationFailed(f"the result cannot be kept as JSON: {error}")
