"""Fixtures that several modules share."""

from __future__ import annotations

from tests.support.audited import api, database, served  # noqa: F401 - fixtures
