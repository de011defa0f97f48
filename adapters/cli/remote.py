"""Gives a command its connection to a service, and ``--server`` and ``--output`` after its name as well as before.

    @remote
    def cancel(session: Session, id_: Id) -> None: ...

is registered as a command with the options added; `Session` is made from what was chosen, closed afterwards, and what
fails in between is complained about (`failures`).
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer

if TYPE_CHECKING:
    from adapters.cli.output import Printer
    from retrace.client import Client

P = ParamSpec("P")

DEFAULT_SERVER = "http://127.0.0.1:8080"


class Output(StrEnum):
    """The forms of standard output."""

    table = "table"
    json = "json"


ServerOption = Annotated[
    str | None, typer.Option("--server", metavar="URL", help=f"The service; else RETRACE_URL, else {DEFAULT_SERVER}.")
]
OutputOption = Annotated[
    Output | None, typer.Option("--output", "-o", help="json: machine readable, nothing else on standard output.")
]


@dataclass(frozen=True)
class Choices:
    """What the options say that every command has."""

    server: str | None = None
    output: Output | None = None

    @classmethod
    def of(cls, context: typer.Context, server: str | None = None, output: Output | None = None) -> Choices:
        """What stands after the command's name wins over what stands before it."""
        before = context.obj if isinstance(context.obj, Choices) else Choices()
        return cls(server or before.server, output or before.output)

    @property
    def as_json(self) -> bool:
        return self.output is Output.json


@dataclass(frozen=True)
class Session:
    """What a command works with: the service, and the place to write to."""

    client: Client
    printer: Printer
    server: str


def remote(command: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """The command without its session, with the options that every command has."""
    _, *own = inspect.signature(command, eval_str=True).parameters.values()
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("context", kind, annotation=typer.Context),
        *(each.replace(kind=kind) for each in own),
        inspect.Parameter("server", kind, default=None, annotation=ServerOption),
        inspect.Parameter("output", kind, default=None, annotation=OutputOption),
    ]

    @functools.wraps(command)
    def run(*, context: typer.Context, server: str | None, output: Output | None, **arguments: Any) -> None:
        from adapters.cli.failures import reporting
        from adapters.cli.output import Printer
        from retrace.client import Client

        choices = Choices.of(context, server, output)
        address = choices.server or os.environ.get("RETRACE_URL") or DEFAULT_SERVER
        with reporting(address), Client(address, os.environ.get("RETRACE_TOKEN") or None) as client:
            command(Session(client, Printer(as_json=choices.as_json), address), **arguments)  # type: ignore[call-arg]

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run
