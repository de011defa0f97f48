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
        try:
            asyncio.run(made.run())
        except UnfitFunctionError as error:
            raise Failure(f"{error}.") from None


def _functions(source: str) -> Registry:
    """What a file or a module registers. Raises Failure when it cannot be had; what it raises itself comes through."""
    import importlib
    import sys

    from adapters.cli.failures import Failure
    from retrace.functions import REGISTRY, load_functions

    if source.endswith(".py") or os.sep in source:
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
