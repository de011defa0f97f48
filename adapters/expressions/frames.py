"""The bytes between the jail and a child: several requests in one frame, one answer for each, in order.

A frame is its length and its requests; a request is a key (variable names, newline, program) and the program's input,
or no input at all when it is only to be compiled. Each answer leaves the child before the next program starts, so the
first unanswered request of a dead child is the one it died of.

Imports nothing but the standard library: both ends use it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct

LENGTH = Struct(">I")
_ANSWER = Struct(">BI")
_COMPILE_ONLY = 0xFFFFFFFF

VALUE, FAILED = 0, 1

Answer = tuple[int, bytes]
"""`VALUE` with the result's JSON text (empty after a mere check), or `FAILED` with a message."""


def request(program: str, names: Sequence[str], text: bytes | None) -> bytes:
    """One request; `text` is the input, None to compile only."""
    key = f"{' '.join(names)}\n{program}".encode()
    if text is None:
        return b"".join((LENGTH.pack(len(key)), LENGTH.pack(_COMPILE_ONLY), key))
    return b"".join((LENGTH.pack(len(key)), LENGTH.pack(len(text)), key, text))


def frame(requests: Sequence[bytes]) -> bytes:
    """What is written to the child at once."""
    return b"".join((LENGTH.pack(sum(map(len, requests))), *requests))


def requests_in(body: bytes) -> Iterator[tuple[str, tuple[str, ...], str | None]]:
    """(program, names, input) for each request of a frame's body."""
    at = 0
    while at < len(body):
        (key_bytes,) = LENGTH.unpack_from(body, at)
        (text_bytes,) = LENGTH.unpack_from(body, at + 4)
        at += 8
        names, _, program = body[at : at + key_bytes].decode().partition("\n")
        at += key_bytes
        if text_bytes == _COMPILE_ONLY:
            yield program, tuple(names.split()), None
        else:
            yield program, tuple(names.split()), body[at : at + text_bytes].decode()
            at += text_bytes


def answer(status: int, payload: bytes) -> bytes:
    return _ANSWER.pack(status, len(payload)) + payload


def take_answers(received: bytearray) -> list[Answer]:
    """Remove the whole answers from what was received and return them; the rest stays."""
    answers: list[Answer] = []
    at = 0
    while len(received) - at >= _ANSWER.size:
        status, length = _ANSWER.unpack_from(received, at)
        end = at + _ANSWER.size + length
        if end > len(received):
            break
        answers.append((status, bytes(received[at + _ANSWER.size : end])))
        at = end
    del received[:at]
    return answers
