"""Tells at the end how long the simulated services have lived, and how fast."""

from __future__ import annotations

import time

import pytest

SIMULATED = "simulated_s"
_begun_s = time.monotonic()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Properties of tests come here from other processes too."""
    passed = terminalreporter.stats.get("passed", [])
    simulated_s = sum(value for each in passed for name, value in each.user_properties if name == SIMULATED)
    if simulated_s:
        minutes = (time.monotonic() - _begun_s) / 60
        hours = simulated_s / 3600
        terminalreporter.write_line(
            f"{hours:,.0f} simulated hours in {minutes:.1f} minutes: {hours / minutes:.0f} a minute"
        )
