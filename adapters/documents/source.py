"""A document as it was sent: its text becomes plain JSON data whose places are known.

Everything that makes a text more than data is refused here, before anyone looks at what the data says: broken syntax,
duplicate or non-string keys, tags, aliases that unfold without end, numbers that JSON cannot carry, text that is not
Unicode, and sizes beyond the limits.
"""

from __future__ import annotations

from typing import Any, Literal, NoReturn

from adapters.documents.assembly import Assembler
from adapters.documents.json_source import read_json
from adapters.documents.positions import Mark, locate
from adapters.documents.yaml_source import read_yaml
from domain.errors import InvalidDefinitionError, Problem

MediaType = Literal["application/yaml", "application/json"]
MAX_TEXT_BYTES = 8 * 1024 * 1024


class Source:
    """A document's data (`value`: dict, list, str, int, float, bool and None only; treat it as read-only)."""

    def __init__(self, value: Any, mark: Mark | None) -> None:
        self.value = value
        self._mark = mark

    def position(self, pointer: str) -> tuple[int, int]:
        """Line and column, from 1, of what a JSON Pointer names, or of its nearest ancestor that exists."""
        return locate(self._mark, pointer)


def load(text: bytes | str, media_type: MediaType) -> Source:
    """Read a document.

    Args:
        text: at most `MAX_TEXT_BYTES`; bytes are UTF-8.
        media_type: which notation it is in.

    Raises:
        InvalidDefinitionError: with every problem found, each with line and column.
    """
    parts = Assembler()
    decoded = _decode(text)
    if media_type == "application/json":
        read_json(decoded, parts)
    else:
        read_yaml(decoded, parts)
    if parts.problems:
        raise InvalidDefinitionError(parts.problems)
    return Source(parts.value, parts.mark)


def _decode(text: bytes | str) -> str:
    if len(text) > MAX_TEXT_BYTES:
        _refuse(f"the text is longer than {MAX_TEXT_BYTES} bytes", "too-large", 1, 1)
    try:
        if isinstance(text, bytes):
            return text.decode("utf-8-sig")
        text.encode()
    except UnicodeDecodeError as error:
        _refuse("the text is not UTF-8", "encoding", *_end_of(error.object[: error.start].decode("utf-8", "replace")))
    except UnicodeEncodeError as error:
        _refuse("half of a surrogate pair is not a character", "encoding", *_end_of(error.object[: error.start]))
    return text.removeprefix("\ufeff")


def _end_of(text: str) -> tuple[int, int]:
    return text.count("\n") + 1, len(text) - text.rfind("\n")


def _refuse(detail: str, code: str, line: int, column: int) -> NoReturn:
    raise InvalidDefinitionError([Problem("", detail, code, line, column)])
