"""Measurements: ``make bench`` (Retrace alone) and ``make bench-peers`` (beside DBOS and Restate, same work, same run).

A *workload* is a kind of work (W1 to W6, see `workloads`), a *system* is what does it (`systems`), a *run* is one system
doing one workload once, in fresh processes on a fresh database. A run gives values, runs give figures (`figures`), figures
become tables, a check of the targets, plots, and the results region of docs/performance.md.

Nothing here is part of the tests, but `tests/unit/test_benchmarks.py` does every workload in a tiny size, so that it works
on the day it is needed.
"""
