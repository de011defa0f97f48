"""``retrace audit``: what happened over all orchestrations, who read it, and whether it is still what was written.

The commands are in modules of their own, each with a `register`; this is the group that they belong to.
"""

from __future__ import annotations

import typer

from adapters.cli.remote import Choices, OutputOption, ServerOption

app = typer.Typer(
    rich_markup_mode=None, help="The log of everything: read it, export it, check it.", no_args_is_help=True
)


@app.callback()
def options(context: typer.Context, server: ServerOption = None, output: OutputOption = None) -> None:
    """The log of everything that happened: read it, export it, check it, see who read it."""
    context.obj = Choices.of(context, server, output)
