"""What was to be expected when something goes wrong: said on standard error in one paragraph, with what to do about it.

Only the unexpected (a bug) shows a traceback.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import typer

from adapters.cli.output import printable

FAILED = 1
USAGE = 2

_ADVICE = {
    "unauthorized": "Set RETRACE_TOKEN to a token of this service.",
    "past-pivot": "To undo all that can be undone nevertheless, add --override-pivot; see first: retrace rollback-plan ID.",
    "fork-conflict": "Choose another --from-version, or accept it with --force.",
    "definition-exists": "Raise document.version.",
    "idempotency-key-reused": "Use a new --idempotency-key for a new request.",
}


class Failure(Exception):
    """The command cannot do what it was asked; the text says why and what to do."""

    def __init__(self, text: str, exit_code: int = FAILED) -> None:
        self.exit_code = exit_code
        super().__init__(text)


def no_address(server: str) -> str:
    """What is said about an address that is none."""
    return f"{server!r} is not the address of a server. Write it as http://127.0.0.1:8080 (--server, RETRACE_URL)."


def complain(text: str) -> None:
    """Write one complaint to standard error."""
    print("\n".join(map(printable, f"retrace: {text}".splitlines())), file=sys.stderr)


@contextmanager
def reporting(server: str) -> Iterator[None]:
    """Complain about what a server or the way to it may do, and end with the exit code that belongs to it."""
    if not _is_address(server):
        complain(no_address(server))
        raise typer.Exit(USAGE)
    import httpx2

    from retrace.connection import RetraceProblem

    try:
        yield
    except RetraceProblem as problem:
        complain(describe(problem.members, problem.retry_after_s))
        raise typer.Exit(FAILED) from None
    except Failure as failure:
        complain(str(failure))
        raise typer.Exit(failure.exit_code) from None
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
        complain(no_address(server))
        raise typer.Exit(USAGE) from None
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        complain(
            f"No server can be reached at {server} ({_reason(error)}). Start one with: retrace dev. To talk to another "
            "one, give its address with --server or in RETRACE_URL."
        )
        raise typer.Exit(FAILED) from None
    except httpx2.HTTPError as error:
        complain(
            f"The connection to {server} broke before the answer was complete ({_reason(error)}), so nobody knows whether "
            "the request was carried out. Look with: retrace status. A start with the same --idempotency-key can be "
            "repeated safely."
        )
        raise typer.Exit(FAILED) from None
    except json.JSONDecodeError:
        complain(f"The answer of {server} is not JSON. Is it a Retrace server? Check --server and RETRACE_URL.")
        raise typer.Exit(FAILED) from None


def describe(members: Mapping[str, Any], retry_after_s: float | None = None) -> str:
    """A problem (RFC 9457) in words: title, detail, every place with what is wrong there, and what may be done."""
    slug = str(members.get("type", "")).rpartition("/")[2]
    code = f" ({members['status']}{' ' + slug if slug else ''})" if "status" in members else ""
    lines = [": ".join(_sentences(members)) + code]
    lines += [f"  {entry}" for entry in places(members.get("errors") or ())]
    if members.get("orchestration"):
        lines.append(f"It is {members['orchestration']}.")
    if advice := _ADVICE.get(slug):
        lines.append(advice)
    if retry_after_s is not None:
        lines.append(f"Try again in {retry_after_s:g} s.")
    return "\n".join(lines)


def places(entries: Iterable[Mapping[str, Any]], name: str = "") -> Iterator[str]:
    """One line for each problem: where (file, line and column as far as they are known, and pointer) and what."""
    for entry in entries:
        line = f"{entry['line']}:{entry.get('column') or 1}" if entry.get("line") else ""
        where = ":".join(part for part in (name, line) if part)
        pointer = entry.get("pointer") or ("" if where else "(the whole)")
        yield " ".join(
            part for part in (where and f"{where}:", pointer and f"{pointer}:", str(entry.get("detail"))) if part
        )


def _is_address(server: str) -> bool:
    try:
        parts = urlsplit(server)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _sentences(members: Mapping[str, Any]) -> list[str]:
    title, detail = members.get("title"), members.get("detail")
    return [str(each) for each in (title or "The server declined", detail) if each]


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
