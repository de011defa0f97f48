"""``retrace worker``: carries out functions for a service, in a process of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapters.cli.remote import DEFAULT_SERVER, Choices, ServerOption

if TYPE_CHECKING:
    from retrace.functions import Registry


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(worker)


def worker(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="MODULE|FILE", help="Python with functions: package.module, or a file.")
    ],
    concurrency: Annotated[int, typer.Option("--concurrency", "-c", min=1, max=1000, help="Tasks at once.")] = 8,
    name: Annotated[str | None, typer.Option("--name", help="For people who look; else host and process.")] = None,
    lease: Annotated[
        float, typer.Option("--lease", min=1, max=3600, help="Seconds after which it counts as lost.")
    ] = 30,
    server: ServerOption = None,
) -> None:
    """Carry out functions for the service, until SIGTERM or SIGINT; what is in hand then may end."""
    import asyncio

    from adapters.callouts.functions import UnfitFunctionError
    from adapters.cli.failures import Failure, reporting
    from retrace.worker import Worker

    address = Choices.of(context, server).server or os.environ.get("RETRACE_URL") or DEFAULT_SERVER
    with reporting(address):
        functions = _functions(source)
        if not functions:
            raise Failure(f'{source} has no function for workers: decorate one with @function("name").')
        typer.echo(f"Worker of {address}: {', '.join(functions)}; {concurrency} at once.", err=True)
        made = Worker(
            address,
            token=os.environ.get("RETRACE_TOKEN") or None,
            functions=functions,
            concurrency=concurrency,
            name=name,
            lease_s=lease,
        )
        _log_as_told()
        try:
            asyncio.run(made.run())
        except UnfitFunctionError as error:
            raise Failure(f"{error}.") from None


def _log_as_told() -> None:
    """The log of a worker is a service's, with the same two settings. Raises Failure where they cannot be used."""
    from typing import cast, get_args

    from adapters.cli.failures import USAGE, Failure
    from adapters.cli.logs import Form, Level, configure_logs

    form = os.environ.get("RETRACE_LOG_FORMAT") or "text"
    level = os.environ.get("RETRACE_LOG_LEVEL") or "info"
    for name, value, known in (("FORMAT", form, get_args(Form)), ("LEVEL", level, get_args(Level))):
        if value not in known:
            raise Failure(f"RETRACE_LOG_{name} is one of {', '.join(known)}, not {value!r}.", USAGE)
    configure_logs(cast("Form", form), level)


def _functions(source: str) -> Registry:
    """What a file or a module registers. Raises Failure when it cannot be had; what it raises itself comes through."""
    import importlib
    import sys

    from adapters.cli.failures import Failure
    from retrace.functions import REGISTRY, load_functions

    if source.endswith(".py") or os.sep in source:
        if not source.endswith(".py"):
            raise Failure(f"{source} is no Python file. Give a file that ends in .py, or a module: package.module.")
        try:
            return load_functions(Path(source))
        except FileNotFoundError as error:
            raise Failure(f"{error}") from None
    sys.path.insert(0, str(Path.cwd()))
    try:
        importlib.import_module(source)
    except ModuleNotFoundError as error:
        if error.name is None or not (source == error.name or source.startswith(f"{error.name}.")):
            raise
        raise Failure(f"There is no module {source}. Give a module that can be imported here, or a file.") from None
    return REGISTRY
