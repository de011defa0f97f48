"""``retrace rehearse``: what a definition does when each thing in turn goes wrong. Needs no service and calls nobody.

Exit codes: 0 rehearsed; 1 with ``--strict`` when there are warnings; 2 when the document or an option cannot be used.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from adapters.cli.remote import Choices, OutputOption

if TYPE_CHECKING:
    from adapters.documents.definition import Definition
    from application.rehearsing import Request
    from domain.errors import Problem
    from domain.plan import Plan


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(rehearse)


def rehearse(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A document: YAML or JSON.", show_default=False)],
    *,
    input_: Annotated[
        str | None,
        typer.Option("--input", "-i", metavar="JSON|FILE", help="The input; else made up from input.schema."),
    ] = None,
    outputs: Annotated[
        str | None, typer.Option(metavar="JSON|FILE", help="Task -> what its participant answers, or the event's data.")
    ] = None,
    child: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A definition that is run as a child; several times.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the report as a page.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Scenarios at most.")] = 1_000,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 when there are warnings.")] = False,
    output: OutputOption = None,
) -> None:
    """Fail every task and every undo in turn, without calling anyone, and show what would be left."""
    from adapters.cli.output import Printer
    from adapters.cli.views_rehearsal import rehearsal_view

    definition = _read(file)
    given = {} if outputs is None else _json_of(outputs, "--outputs")
    if not isinstance(given, dict):
        raise typer.BadParameter("--outputs takes an object: task -> what its participant answers")
    from application.rehearsing import Request

    members: dict[str, Any] = {} if input_ is None else {"input": _json_of(input_, "--input")}
    children = _children(child or [])
    request = Request(plan=definition.plan, outputs=given, children=children, most_scenarios=limit, **members)
    found = asyncio.run(_rehearsed(definition, request, file))
    if html is not None:
        _write_page(html, found)
    Printer(as_json=Choices.of(context, output=output).as_json).show(found, lambda: rehearsal_view(found, str(file)))
    if strict and found["warnings"]:
        raise typer.Exit(1)


async def _rehearsed(definition: Definition, request: Request, file: Path) -> dict[str, Any]:
    from adapters import documents
    from adapters.expressions.jail import JqJail
    from adapters.expressions.schemas import JsonSchemas
    from application.checking import problems_of
    from application.rehearsal_report import as_json
    from application.rehearsing import rehearse
    from domain.errors import InvalidInputError

    jail, schemas = JqJail(), JsonSchemas()
    try:
        if problems := await problems_of(definition.plan, documents, jail, schemas):
            _refuse(file, [definition.placed(problem) for problem in problems])
        with _progress() as told:
            found = await rehearse(request, jail, schemas, told=told)
    except InvalidInputError as error:
        _refuse(None, error.problems)
    finally:
        await jail.close()
    return as_json(found, definition.warnings, definition.placed)


def _read(file: Path) -> Definition:
    from adapters.documents.definition import read_definition
    from domain.errors import InvalidDefinitionError

    try:
        text = file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from None
    try:
        return read_definition(text, "application/json" if file.suffix == ".json" else "application/yaml")
    except InvalidDefinitionError as error:
        _refuse(file, error.problems)


def _children(files: list[Path]) -> dict[str, Plan]:
    """The plans by reference; ``latest`` is the highest version among the files."""
    from application.definitions import semver_key

    plans = sorted((_read(file).plan for file in files), key=lambda plan: semver_key(plan.version))
    found: dict[str, Plan] = {}
    for plan in plans:
        found |= {plan.reference: plan, f"{plan.namespace}/{plan.name}@latest": plan}
    return found


def _json_of(text: str, option: str) -> Any:
    """A JSON value: itself, ``@file``, the name of a file, or ``-``."""
    from adapters.cli.arguments import read_json

    with contextlib.suppress(OSError):
        if not text.startswith(("@", "{", "[", '"', "-")) and Path(text).is_file():
            text = f"@{text}"
    return read_json(text, option)


def _refuse(file: Path | None, problems: list[Problem]) -> NoReturn:
    """Complain about every problem, with line and column, and end with exit code 2."""
    import msgspec

    from adapters.cli.failures import USAGE, complain, places

    lines = places(map(msgspec.structs.asdict, problems), str(file) if file else "")
    first = f"{file} cannot be rehearsed:" if file else "The input does not fit input.schema:"
    complain("\n".join([first, *(f"  {line}" for line in lines)]))
    raise typer.Exit(USAGE)


def _write_page(target: Path, found: dict[str, Any]) -> None:
    from adapters.cli.rehearsal_page import page

    try:
        target.write_text(page(found), encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{target} cannot be written: {error.strerror}") from None


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[object], None]]:
    """Counts scenarios on a terminal; silent where nobody looks."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    count = 0
    with Console(stderr=True).status("rehearsing") as status:

        def told(_: object) -> None:
            nonlocal count
            count += 1
            if count % 20 == 0:
                status.update(f"rehearsing: {count} scenarios")

        yield told
