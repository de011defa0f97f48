"""jq programs: how ours are wrapped, compiled and run. The only place that touches the jq library.

Arguments are part of the input, because compiling costs a millisecond and must happen once per program, not once per
value: the input is the array ``[argument, ..., dot]`` and the source binds them in front of the program. The result
goes through jq's own ``tojson``, so an integer beyond 2**53 that a program only passes on keeps every digit, and NaN
is null.

Whatever would read the environment, a file or more input, or would end the interpreter, is shadowed by a definition
of the same name. ``import`` and ``include`` cannot follow our bindings: they are syntax errors.

Imports nothing but the standard library and jq: the jail's child process runs this.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jq

_REFUSED = ("halt", "halt_error", "halt_error($code)", "input", "inputs", "input_line_number", "modulemeta")
_SHADOWS = (
    "{} as $ENV | def env: {}; def input_filename: null; def get_search_list: []; def debug: .; def debug(message): .; "
    "def stderr: .; "
) + " ".join(f'def {name}: error("{name.partition("(")[0]} is not available here");' for name in _REFUSED)
_NAME = re.compile(r"(?!__loc__$)[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_COMPLAINT = re.compile(r"jq: error: (.*?) at <top-level>, line (\d+), column (\d+):$", re.MULTILINE)
_SUMMARY = re.compile(r"^jq: (?:error: |\d+ compile errors?$)", re.MULTILINE)

COMPILED_PROGRAMS = 256
"""How many compiled programs a process keeps; each holds some tens of kilobytes."""
ERROR_CHARACTERS = 2000
"""Longer messages of a program are cut: ``error(.)`` may carry a whole document."""


class ProgramError(Exception):
    """A program does not compile, or gave no single value; the text is for the author of the definition."""


def bindings(names: Sequence[str]) -> str:
    """The front of every source: shadows of what is not available, then one variable per argument, then ``.``."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise ProgramError(f"${name} is not a possible name of a variable")
    bound = "".join(f" .[{position}] as ${name} |" for position, name in enumerate(names))
    return f"{_SHADOWS}{bound} .[{len(names)}] | "


@lru_cache(maxsize=COMPILED_PROGRAMS)
def compiled(program: str, names: tuple[str, ...]) -> Any:
    """The compiled program with its arguments bound.

    Raises:
        ProgramError: With jq's complaint; lines and columns are those of `program`.
    """
    if "\0" in program:
        raise ProgramError("a program cannot hold the character U+0000")
    if not program.strip():
        raise ProgramError("the program is empty")
    front = bindings(names)
    _compile(front + program, front)  # without our parentheses, or `1) | (2` would pass as a program
    # Two newlines: the first ends a comment, unless a backslash continues it, then the second does.
    return _compile(f"{front}({program}\n\n) | tojson", front)


def run(program: Any, text: str) -> str:
    """The one result, as JSON text, of a compiled program on its input (JSON text); ``null`` when it gave none.

    Raises:
        ProgramError: The program failed, or gave more than one result.
    """
    try:
        results = iter(program.input_text(text))
        result: str = next(results, "null")
        if next(results, None) is not None:
            raise ProgramError("gave several results; collect them with [ ... ] or pick one with first( ... )")
    except ValueError as error:
        raise ProgramError(_shortened(str(error))) from None
    return result


def _compile(source: str, front: str) -> Any:
    try:
        return jq.compile(source)
    except ValueError as error:
        raise ProgramError(_complaint(str(error), front)) from None


def _complaint(text: str, front: str) -> str:
    found = []
    for what, line, column in _COMPLAINT.findall(text):
        place = int(column) - len(front) if line == "1" else int(column)
        found.append(f"{what} at line {line}, column {max(place, 1)}")
    return _shortened("; ".join(found) or _SUMMARY.sub("", text).strip())


def _shortened(text: str) -> str:
    return text if len(text) <= ERROR_CHARACTERS else text[: ERROR_CHARACTERS - 3] + "..."
