"""``retrace``: all commands, and the exit code.

Exit codes: 0 done; 1 refused, failed or not reachable; 2 the command line or the settings cannot be used; 130 stopped
from the keyboard. With ``--output json`` standard output carries JSON and nothing else, in every case.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from adapters.cli import (
    audit,
    audit_reading,
    audit_verify,
    blobs,
    bundling,
    circuits,
    commands,
    definitions,
    events,
    forks,
    functions,
    incidents,
    nodes,
    operations,
    orchestrations,
    people,
    projections,
    publishing,
    rehearse,
    replaying,
    schedules,
    servers,
    what_if,
    worker,
)
from adapters.cli.remote import Choices, OutputOption, ServerOption

app = typer.Typer(
    name="retrace",
    help="Long-running processes that undo what they did when a step fails for good, and can be asked where they stand.",
    epilog="Commands talk to the service at --server or RETRACE_URL with the token in RETRACE_TOKEN.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(context: typer.Context, server: ServerOption = None, output: OutputOption = None) -> None:
    """Note what was chosen before the name of the command."""
    context.obj = Choices(server, output)


servers.register(app)
definitions.register(app)
rehearse.register(app)
orchestrations.register(app)
commands.register(app)
publishing.register(app)
replaying.register(app)
bundling.register(app)
blobs.register(app)
forks.register(app)
nodes.register(app)
what_if.register(app)
app.add_typer(incidents.app, name="incidents")
operations.register(app)
audit_reading.register(audit.app)
audit_verify.register(audit.app)
app.add_typer(audit.app, name="audit")
app.add_typer(projections.app, name="projections")
app.add_typer(functions.app, name="functions")
app.add_typer(circuits.app, name="circuits")
worker.register(app)
app.add_typer(schedules.app, name="schedules")
app.add_typer(events.app, name="events")
app.add_typer(people.app, name="human")


@app.command()
def version(context: typer.Context, output: OutputOption = None) -> None:
    """The version of this program."""
    from adapters.cli.output import Printer
    from retrace import __version__

    printer = Printer(as_json=Choices.of(context, output=output).as_json)
    printer.show({"version": __version__}, lambda: __version__)


def main(
    arguments: Annotated[Sequence[str] | None, "Without the program's name; the process's own by default."] = None,
) -> int:
    """Run one command; the exit code of the process."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="retrace")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
