"""Events of an export as a Parquet file. Needs pyarrow, which is an extra: ``retrace[parquet]``.

What every event has is a column; its data is JSON text, and hashes and stored bytes are binary, so nothing of the export is
lost. The header and the end are in the file's metadata under ``retrace.header`` and ``retrace.end``.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

_BATCH = 10_000
_SAME: Callable[[Any], Any] = lambda value: value  # noqa: E731 - a row of the table below


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_COLUMNS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "partition": (pa.int32(), _SAME),
    "position": (pa.int64(), _SAME),
    "orchestration": (pa.string(), _SAME),
    "version": (pa.int32(), _SAME),
    "type": (pa.string(), _SAME),
    "at": (pa.timestamp("us", tz="UTC"), _instant),
    "actor": (pa.string(), _SAME),
    "cause": (pa.string(), _SAME),
    "task": (pa.string(), _SAME),
    "run": (pa.int32(), _SAME),
    "attempt": (pa.int32(), _SAME),
    "data": (pa.string(), _json),
    "stored": (pa.binary(), b64decode),
    "hash": (pa.binary(), bytes.fromhex),
    "log_hash": (pa.binary(), bytes.fromhex),
    "previous": (pa.binary(), bytes.fromhex),
}
SCHEMA = pa.schema([(name, kind) for name, (kind, _) in _COLUMNS.items()])


class ParquetRows:
    """Writes rows, many at a time."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def add(self, line: dict[str, Any]) -> None:
        """One event."""
        self._rows.append({name: convert(line.get(name)) for name, (_, convert) in _COLUMNS.items()})
        if len(self._rows) >= _BATCH:
            self._flush()

    def describe(self, **members: Any) -> None:
        """Metadata of the file."""
        self._writer.add_key_value_metadata({f"retrace.{name}": json.dumps(each) for name, each in members.items()})

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
            self._rows = []
