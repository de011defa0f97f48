"""Retry and back-off arithmetic.

``constant``: always the delay; ``linear``: delay times the number of the retry; ``exponential``: delay times a factor
(2 unless said) to the power of the retries before. Then the cap, then jitter, then at least `SHORTEST_S`, then what the
participant asked for with ``Retry-After`` if that is longer.
"""

from __future__ import annotations

import re
from typing import Any, Final

from domain.plan import Retry

LONGEST_S: Final = 10 * 365 * 86_400.0
"""Ten years: longer delays are cut, so that instants stay representable."""

SHORTEST_S: Final = 0.01
"""Between two attempts there is always some time, or a policy without delay and limit would never let go."""

_ISO = re.compile(
    r"^P(?:(?P<weeks>\d+(?:\.\d+)?)W)?(?:(?P<days>\d+(?:\.\d+)?)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+(?:\.\d+)?)H)?(?:(?P<minutes>\d+(?:\.\d+)?)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?\Z",
    re.ASCII,
)
_UNITS: Final = {
    "weeks": 604_800.0,
    "days": 86_400.0,
    "hours": 3_600.0,
    "minutes": 60.0,
    "seconds": 1.0,
    "milliseconds": 0.001,
}

TRANSIENT_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""What the short form of ``retry`` retries (language.md)."""
ASKED_TO_WAIT: Final = frozenset({425, 429})
"""Refusals that an undo retries all the same (rollback.md)."""


def delay_s(policy: Retry, retry: int, delay: float, jitter: tuple[float, float], chance: float) -> float:
    """Seconds before retry number `retry` (from 1). `chance` is in [0, 1)."""
    if policy.backoff == "linear":
        delay *= retry
    elif policy.backoff == "exponential":
        delay *= policy.factor ** min(retry - 1, 64)
    if policy.max_delay_s is not None:
        delay = min(delay, policy.max_delay_s)
    low, high = jitter
    return min(max(delay + low + (high - low) * chance, SHORTEST_S), LONGEST_S)


def seconds(value: Any) -> float | None:
    """Seconds of an ISO 8601 duration (weeks to seconds) or of an object of units; None when it is neither."""
    if isinstance(value, str):
        match = _ISO.match(value)
        if not match or value in ("P", "PT"):
            return None
        total = sum(float(number) * _UNITS[unit] for unit, number in match.groupdict().items() if number)
        return min(total, LONGEST_S)
    if isinstance(value, dict) and value and all(unit in _UNITS for unit in value):
        numbers = [(unit, n) for unit, n in value.items() if isinstance(n, int | float) and not isinstance(n, bool)]
        if len(numbers) == len(value) and all(n >= 0 for _, n in numbers):
            return min(sum(n * _UNITS[unit] for unit, n in numbers), LONGEST_S)
    return None
