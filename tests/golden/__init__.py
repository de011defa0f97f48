"""Histories of this version, kept for ever: every later version must replay them (``test_golden.py``)."""
