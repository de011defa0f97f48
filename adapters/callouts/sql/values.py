"""Values of columns as JSON, and JSON as values of parameters.

Exact before convenient: decimals and integers beyond 64 bits become text, so does what no JSON number can say (NaN). Dates,
times and durations are ISO 8601, bytes are base64, JSON columns of PostgreSQL and arrays are what they hold.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

_SMALLEST, _LARGEST = -(2**63), 2**64 - 1


def to_json(value: Any) -> Any:
    """A value of a column as JSON that can be stored."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if _SMALLEST <= value <= _LARGEST else str(value)
    if isinstance(value, float):
        return value if value - value == 0.0 else str(value)
    if isinstance(value, list | tuple):
        return [to_json(each) for each in value]
    if isinstance(value, dict):
        return {str(name): to_json(each) for name, each in value.items()}
    return msgspec.to_builtins(value, enc_hook=str)


def to_parameter(value: Any) -> Any:
    """A JSON value as databases take it: objects and lists as their JSON text."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return value
