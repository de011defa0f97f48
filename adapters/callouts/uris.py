"""URIs of callouts: the standard's templates, queries, and what a usable address is.

The standard takes only the simple expansion of RFC 6570: ``{name}`` stands for the top-level member of the task's
input of exactly that name ("identifiers are treated verbatim"), written as JSON writes it and percent-encoded; a
member that is null or absent gives the empty string; an object or a list is an ``expression`` error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from yarl import URL

from adapters.callouts.exchange import UnsentError
from domain.errors import fault

_VARIABLE = re.compile(r"\{([^{}]*)\}")


def expand(template: str, variables: Any) -> str:
    """The template with every ``{name}`` filled from `variables` (the task's input; anything but an object has no
    members). Raises UnsentError.
    """
    members: Mapping[str, Any] = variables if isinstance(variables, dict) else {}

    def fill(match: re.Match[str]) -> str:
        value = members.get(match[1])
        if isinstance(value, (dict, list)):
            kind = "an object" if isinstance(value, dict) else "an array"
            raise UnsentError(
                fault(
                    "expression",
                    f"{{{match[1]}}} in the URI {template!r} is {kind}; only text, numbers and booleans fit",
                )
            )
        return quote(scalar_text(value), safe="")

    return _VARIABLE.sub(fill, template)


def address(text: Any, variables: Any) -> URL:
    """The absolute http(s) URL of a template. Raises UnsentError (configuration) where it is none."""
    if not isinstance(text, str):
        raise UnsentError(fault("configuration", f"the endpoint must be a URI, not {json_kind(text)}"))
    expanded = expand(text, variables)
    try:
        url = URL(expanded)
        # yarl accepts what it cannot send: the host is checked when it is first asked for.
        usable = bool(url.host) and url.port is not None
    except (ValueError, UnicodeError) as problem:
        raise UnsentError(fault("configuration", f"{expanded!r} is not a URI: {problem}")) from problem
    if url.scheme not in ("http", "https"):
        scheme = f"the scheme {url.scheme!r} is" if url.scheme else "a URI without scheme is"
        raise UnsentError(fault("configuration", f"{expanded!r}: {scheme} not supported; use http or https"))
    if not usable:
        raise UnsentError(fault("configuration", f"{expanded!r} names no host"))
    return url.with_fragment(None)


def with_query(url: URL, query: Any) -> URL:
    """The URL with the pairs of `query` added after its own. Raises UnsentError."""
    if query is None or query == {}:
        return url
    if not isinstance(query, dict):
        raise UnsentError(fault("configuration", f"query must be an object, not {json_kind(query)}"))
    return url.extend_query(list(pairs(query, "query parameter")))


def pairs(values: Mapping[str, Any], what: str) -> Iterator[tuple[str, str]]:
    """Name and text of each member: lists repeat the name, null is left out. Raises UnsentError for an object."""
    for name, value in values.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, (dict, list)):
                raise UnsentError(
                    fault("configuration", f"{what} {name!r} is {json_kind(each)}; write it as text, e.g. with tojson")
                )
            if each is not None:
                yield name, scalar_text(each)


def scalar_text(value: Any) -> str:
    """A JSON scalar as URIs, forms and headers carry it; null is the empty string."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value)


def json_kind(value: Any) -> str:
    """What a JSON value is, for messages."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, bool):
        return "a boolean"
    return "a string" if isinstance(value, str) else "a number"
