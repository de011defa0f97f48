"""Implementations of the ports in memory, for simulated worlds and pure tests."""
