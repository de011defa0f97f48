"""Writes an export to a file, whole or not at all: one that was broken off leaves nothing that could be taken for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapters.cli.failures import Failure

Json = dict[str, Any]
_BROKEN_OFF = "The export was broken off before its end; nothing was kept. Start it again."


def copy_lines(lines: Iterable[str]) -> None:
    """To standard output. Raises Failure when the last line is not the end."""
    last = ""
    for line in lines:
        sys.stdout.write(line + "\n")
        last = line
    sys.stdout.flush()
    if not _ends(last):
        raise Failure("The export was broken off before its end; what was written is not all of it.")


def write_ndjson(lines: Iterable[str], path: Path) -> Json:
    """The lines as they come. Gives ``{file, format, events, complete}``."""
    header = last = ""
    with _whole(path) as partial:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            for line in lines:
                header = header or line
                file.write(line + "\n")
                last = line
        if not _ends(last):
            raise Failure(_BROKEN_OFF)
    return _told(path, "ndjson", json.loads(header), json.loads(last))


def write_parquet(lines: Iterable[str], path: Path) -> Json:
    """Events as rows, everything else as lines in a file beside it. Gives ``{file, format, events, complete, beside}``."""
    try:
        from adapters.cli.parquet import ParquetRows
    except ImportError:
        raise Failure("Parquet needs pyarrow. Install it with: pip install 'retrace[parquet]'") from None
    beside = path.with_name(f"{path.name}.checkpoints.ndjson")
    others: list[Json] = []
    with _whole(path) as partial:
        with ParquetRows(partial) as rows:
            for line in _parsed(lines):
                if line["kind"] == "event":
                    rows.add(line)
                else:
                    others.append(line)
            if not others or others[-1]["kind"] != "end":
                raise Failure(_BROKEN_OFF)
            rows.describe(header=others[0], end=others[-1])
        with _whole(beside) as partial_beside:
            text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in others)
            partial_beside.write_text(text, encoding="utf-8")
    return _told(path, "parquet", others[0], others[-1]) | {"beside": str(beside)}


def _parsed(lines: Iterable[str]) -> Iterator[Json]:
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            raise Failure(_BROKEN_OFF) from None


def _ends(line: str) -> bool:
    try:
        return bool(json.loads(line)["kind"] == "end")
    except (ValueError, KeyError, TypeError):
        return False


def _told(path: Path, form: str, header: Json, end: Json) -> Json:
    return {"file": str(path), "format": form, "events": end["events"], "complete": header["complete"]}


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Where to write; it gets its name when all is written."""
    partial = path.with_name(f"{path.name}.part")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)
