"""Expressions and schemas: jq in its jail of child processes, jq in process for pure tests, JSON Schema.

One evaluation flows `payload` (values to text) -> `jail` (a free child, a fresh one after a death) -> `worker` (the
parent's end of one child) -> `frames` (bytes on the pipe) -> `child` (limits, serving) -> `programs` (jq itself), and
back. Nothing is imported here: the child process loads this package and must stay small.
"""
