"""Cron expressions in time zones, by `cronsim`: alive, typed, BSD, with the rules of Debian's cron for daylight saving.

Five fields: minute, hour, day of the month, month, day of the week. Around a change of the clocks a job at a fixed hour runs
once: one that would fall into the skipped hour runs right after it, one in the repeated hour runs the first time. Jobs with a
star in minute or hour follow the clock as it goes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

FIELDS = 5
_RANGES = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, in a month that has it, L or LW",
    "month": "1 to 12 or JAN to DEC",
    "day-of-week": "0 to 7 or SUN to SAT",
}


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def zone_problem(name: str) -> str | None:
    """What is wrong with the name of a time zone."""
    return None if name in _zones() else f"{name!r:.60} is no time zone; they look like Europe/Berlin or UTC"


def cron_problem(expression: str) -> str | None:
    """What is wrong with an expression; that it never comes true, too."""
    if len(expression.split()) != FIELDS:
        return "expected five fields: minute, hour, day of the month, month, day of the week"
    try:
        CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC))
        never = next_cron(expression, "UTC", datetime(2024, 1, 1, tzinfo=UTC)) is None
    except CronSimError as error:
        field = str(error).removeprefix("Bad ")
        return f"the {field} of {expression!r:.60} cannot be used; it is {_RANGES.get(field, 'written in another way')}"
    return f"{expression!r:.60} never comes true" if never else None


def next_cron(expression: str, timezone: str, after: datetime) -> datetime | None:
    """The first occurrence after an instant, in UTC; None when there is none within fifty years."""
    for found in CronSim(expression, after.astimezone(ZoneInfo(timezone))):
        # What falls into a repeated hour has one time by its clock and is given again from within the second hour.
        if (at := found.astimezone(UTC)) > after:
            return at
    return None
