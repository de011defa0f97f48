"""The log of the process, on standard error: lines for people in development, JSON for machines in production.

Everything goes through one handler, also what libraries and user functions log with the standard library. Only what
keeps a service from starting is told in plain text: it is for whoever tried to start it.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from typing import Any, Literal

import structlog

Form = Literal["json", "text"]
Level = Literal["debug", "info", "warning", "error"]

_hiding: list[Callable[[str], str]] = []
_QUIET = ("aiohttp", "asyncio", "httpcore", "httpx", "httpx2", "uvicorn.error", "uvicorn.access", "yoyo")
"""Libraries whose chatter is only of interest while debugging; their warnings always are."""
_SILENT = {
    "aiormq": logging.ERROR,
    "aiormq.connection": logging.CRITICAL,
    "aio_pika": logging.ERROR,
    "nats": logging.ERROR,
}
"""Libraries that say once more, some with a traceback, what our own log says: that a connection is lost. From which level
on they are heard.
"""


def configure_logs(form: Form, level: str) -> None:
    """Route every log line of this process to standard error in one form. May be called again."""
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso" if form == "json" else "%H:%M:%S", utc=form == "json", key="at"),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if form == "json":
        last += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        # Never with the values of local variables: inputs and tokens do not belong in logs.
        shown = structlog.dev.plain_traceback
        colors = sys.stderr.isatty()
        last.append(
            structlog.dev.ConsoleRenderer(colors=colors, timestamp_key="at", pad_event_to=0, exception_formatter=shown)
        )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # Loggers are made when modules are imported, possibly before this; they must not stay as they were then.
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Discreet(foreign_pre_chain=before, processors=last))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    for name, heard in _SILENT.items():
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else heard)


_TOKENS = re.compile(r"(/v1/callbacks/|\bBearer )[^\s\"'?#,]+", re.IGNORECASE)
"""Who knows the token of a callback can end a task; it stands in the path, which the log of requests shows."""


class _Discreet(structlog.stdlib.ProcessorFormatter):
    """Shows no secrets and no tokens: whoever raised an exception may have put one into its text."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        for redact in _hiding:
            line = redact(line)
        return _TOKENS.sub(r"\1***", line)


def hide_in_logs(redact: Callable[[str], str]) -> Callable[[], None]:
    """From now on every line of the log goes through `redact`; what is returned ends that."""
    _hiding.append(redact)
    return lambda: _hiding.remove(redact)
