"""Settings whose names end with a name of the user's: ``RETRACE_SOURCE_ORDERS``, ``RETRACE_CONNECTION_BANK``.

With ``_FILE`` at the end the variable names a file that holds the value, as secrets are mounted. Values may be secret, so no
message contains one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

_FILE: Final = "_FILE"


def complaints_about(
    environment: Mapping[str, str],
    prefix: str,
    read: Callable[[Mapping[str, str]], object],
    refusal: type[Exception],
) -> list[str]:
    """What `read` refuses of each variable alone, so that all are told at once; if nothing, of all of them together."""

    def refused(variables: Mapping[str, str]) -> list[str]:
        try:
            read(variables)
        except refusal as problem:
            return [str(problem)]
        return []

    mine = {variable: value for variable, value in sorted(environment.items()) if variable.upper().startswith(prefix)}
    told = [each for variable, value in mine.items() for each in refused({variable: value})]
    return told or refused(mine)


def named_settings(
    environment: Mapping[str, str], prefix: str, refusal: Callable[[str], Exception]
) -> Iterator[tuple[str, str, str]]:
    """(variable, name in upper case, value) of those that are not empty, sorted. Raises `refusal` with a sentence that names
    the variable whose file cannot be read.
    """
    for variable, value in sorted(environment.items()):
        upper = variable.upper()
        if not upper.startswith(prefix) or not value.strip():
            continue
        key = upper.removeprefix(prefix)
        if not key.endswith(_FILE):
            yield variable, key, value.strip()
            continue
        try:
            yield variable, key.removesuffix(_FILE), Path(value).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as problem:
            reason = getattr(problem, "strerror", None) or "it is not text"
            raise refusal(f"{variable} names a file that cannot be read: {reason}.") from None
