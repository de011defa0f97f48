"""Retrace on PostgreSQL: several processes may share a database; each partition has one owner, fenced by its epoch."""
