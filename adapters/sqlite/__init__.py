"""Retrace on SQLite: one file, one process, every partition; for development, small installations and tests."""
