"""Fixtures of the contract suites; each port has a module of its own for them."""

from __future__ import annotations

from tests.contract.storages import place, storage  # noqa: F401 - fixtures
