"""Instants in answers have one form, whatever clock and zone they come from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from application.status import instant


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (datetime(2026, 11, 23, 10, tzinfo=UTC), "2026-11-23T10:00:00.000000Z"),
        (datetime(2026, 11, 23, 10, 0, 0, 5000, tzinfo=UTC), "2026-11-23T10:00:00.005000Z"),
        (datetime(2026, 11, 23, 10, 0, 0, 1, tzinfo=UTC), "2026-11-23T10:00:00.000001Z"),
        (datetime(2026, 11, 23, 1, tzinfo=timezone(timedelta(hours=2, minutes=30))), "2026-11-22T22:30:00.000000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000000Z"),
        (None, None),
    ],
)
def test_an_instant_is_utc_to_the_microsecond(at, shown):
    assert instant(at) == shown
