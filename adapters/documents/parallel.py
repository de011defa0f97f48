"""``parallel``, our own: how many branches of a ``fork`` or turns of a ``for`` run at once, how many of them are enough, and
how many may fail.
"""

from __future__ import annotations

from typing import Final

from adapters.documents.reader import Cursor
from domain.plan import Parallel

_MOST: Final = 10_000
"""The highest limit, and the most branches that can be asked for."""


def parallel(cursor: Cursor, *, compete: bool = False, total: int | None = None) -> Parallel:
    """``{limit, completion: all | first | {at_least}, tolerate}``. `compete` and `total`: of a ``fork``."""
    found = cursor.members(("limit", "completion", "tolerate"))
    need, alone = (1, True) if compete else (None, False)
    if "completion" in found:
        if compete:
            found["completion"].refuse("`compete` says already that the first one is enough", "unsupported")
        need, alone = _completion(found["completion"], total)
    tolerate = 0 if need is None else None
    if "tolerate" in found:
        tolerate = _tolerance(found["tolerate"])
        if tolerate is not None and total is not None and tolerate > total:
            found["tolerate"].refuse(f"there are {total} branches")
    limit = found["limit"].integer(1, _MOST) if "limit" in found else None
    return Parallel(limit=limit, need=need, alone=alone, tolerate=tolerate)


def _completion(cursor: Cursor, total: int | None) -> tuple[int | None, bool]:
    """(how many are needed, whether its output is the output); None: all."""
    if isinstance(cursor.value, dict):
        found = cursor.members(("at_least",), ("at_least",))
        need = found["at_least"].integer(1, _MOST) if "at_least" in found else 1
        if total is not None and need > total:
            found["at_least"].refuse(f"there are {total} branches")
        return need, False
    if cursor.value not in ("all", "first"):
        cursor.refuse("expected all, first, or an object {at_least: <number>}")
    return (1, True) if cursor.value == "first" else (None, False)


def _tolerance(cursor: Cursor) -> int | None:
    if cursor.value == "all":
        return None
    return cursor.integer(0, _MOST)
