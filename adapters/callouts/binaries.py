"""Answers that are no text: kept as files of their orchestration before anything is said of them.

The bytes are written under their digest, then the attempt's result refers to them; a node that dies in between leaves a file
that nobody refers to, never a reference to nothing. A database that is away for a moment is waited for as long as the attempt
has time: the effect has taken place, and its answer cannot be asked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.message import Message
from typing import Any, Final

from adapters.callouts.content import UnreadableError, is_json, media_type
from adapters.callouts.exchange import Reply
from application.ports import OrchestrationFiles
from domain.errors import StorageError

_PAUSE_S: Final = 0.2
_BINARY: Final = "application/octet-stream"
_LONGEST_TYPE: Final = 255
_LONGEST_NAME: Final = 255


def is_binary(reply: Reply) -> bool:
    """Whether the content of an answer is neither JSON nor text, by what it says itself."""
    media, _ = media_type(reply.headers.get("content-type"))
    return bool(reply.body) and not is_json(media) and not media.startswith("text/")


async def kept(
    reply: Reply, files: OrchestrationFiles, deadline: float, redact: Callable[[Any], Any]
) -> dict[str, Any]:
    """The reference, ``{digest, bytes, media_type, filename?}``. What is text in UTF-8 after all (XML, YAML, ...) goes
    through `redact`, for it may echo a secret. Raises UnreadableError where it cannot be kept in time.
    """
    content = _without_secrets(reply.body, redact)
    media = _media(redact(reply.headers.get("content-type") or _BINARY))
    loop = asyncio.get_running_loop()
    while True:
        try:
            reference = await files.write(content, media)
        except StorageError as error:
            if loop.time() + _PAUSE_S > deadline:
                raise UnreadableError(f"it could not be kept: {error.detail}") from error
            await asyncio.sleep(_PAUSE_S)
        else:
            filename = _filename(reply.headers.get("content-disposition"))
            return reference if filename is None else reference | {"filename": filename}


def _without_secrets(body: bytes, redact: Callable[[Any], Any]) -> bytes:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return body
    return str(redact(text)).encode()


def _media(said: Any) -> str:
    """A content type that can be sent again, as the header of another message."""
    media = str(said)
    return media if media.isascii() and media.isprintable() and len(media) <= _LONGEST_TYPE else _BINARY


def _filename(disposition: str | None) -> str | None:
    """The name that a participant gives, without folders: it is a name, not a place."""
    if not disposition:
        return None
    header = Message()
    header["content-disposition"] = disposition.replace("\r", " ").replace("\n", " ")
    name = (header.get_filename() or "").replace("\\", "/").rpartition("/")[2]
    name = "".join(each for each in name if each.isprintable()).strip().encode("utf-8", "replace").decode()
    return name[:_LONGEST_NAME] if name not in ("", ".", "..") else None
