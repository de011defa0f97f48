"""The digest of a definition: what makes two documents the same, whatever their notation, order and white space.

SHA-256 over the canonical JSON of RFC 8785.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import rfc8785

from adapters.documents.assembly import MAX_EXACT_INTEGER
from adapters.documents.positions import join
from domain.errors import InvalidDefinitionError, Problem


def digest(value: Any) -> str:
    """``sha256:`` and 64 hexadecimal digits of a JSON value.

    Raises:
        InvalidDefinitionError: the value holds something that canonical JSON cannot carry.
    """
    try:
        return "sha256:" + hashlib.sha256(rfc8785.dumps(value)).hexdigest()
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        problems = _offenders(value) or [Problem("", f"not canonical JSON: {error}", "number-range")]
        raise InvalidDefinitionError(problems) from error


def _offenders(value: Any) -> list[Problem]:
    problems: list[Problem] = []
    left: list[tuple[str, Any]] = [("", value)]
    while left:
        pointer, item = left.pop()
        if isinstance(item, dict):
            left += [(join(pointer, str(name)), member) for name, member in item.items()]
        elif isinstance(item, list | tuple):
            left += [(join(pointer, index), member) for index, member in enumerate(item)]
        elif type(item) is int and abs(item) > MAX_EXACT_INTEGER:
            problems.append(Problem(pointer, "this integer is too large to be exact in JSON", "number-range"))
        elif isinstance(item, float) and not math.isfinite(item):
            problems.append(Problem(pointer, "NaN and infinite numbers do not exist in JSON", "number-range"))
    return sorted(problems, key=lambda problem: problem.pointer)
