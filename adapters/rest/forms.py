"""Forms of texts that clients send: the pattern for machines, and a sentence for the person whose text has not that form."""

from __future__ import annotations

_WORD = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
DEFINITION = f"(?:{_WORD}/)?{_WORD}(?:@[0-9A-Za-z.+-]{{1,100}})?"
"""``name``, ``namespace/name`` or ``namespace/name@version``."""

COLUMN_VALUE = r"[a-z][a-z0-9_]*:[^\x00]*"
"""A filter of rows."""

ID = r"o_[0-9A-Za-z]{22}"
"""Of an orchestration."""

NO_NUL = r"^[^\x00]*$"
TAG_NAME = r"^[^:\x00]+$"
NOT_BLANK = r"^[^\x00]*[^\s\x00][^\x00]*$"

FORMS = {
    f"^{ID}$": "The id of an orchestration is o_ and 22 letters and digits.",
    f"^{DEFINITION}$": "A definition is name (in namespace default), namespace/name or namespace/name@version.",
    f"^{COLUMN_VALUE}$": "A filter is column:value.",
    NO_NUL: "NUL is not allowed.",
    TAG_NAME: "The name of a tag has no colon and no NUL.",
    NOT_BLANK: "This is not blank, and NUL is not allowed.",
}
"""By pattern: what is said about a text that does not match it."""
