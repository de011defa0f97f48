"""Commands about definitions: deploy, definitions, diagram."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapters.cli.remote import Session, remote

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLUMNS = [("DEFINITION", "free"), ("VERSION", "whole"), ("RESOURCE", "whole"), ("DEPLOYED (UTC)", "whole")]


class Drawing(StrEnum):
    """The notations of a diagram."""

    mermaid = "mermaid"
    svg = "svg"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(deploy)
    app.command("definitions")(definitions)
    app.command()(diagram)


@remote
def deploy(
    session: Session,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Documents: YAML or JSON.", show_default=False)
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check; nothing is stored.")] = False,
) -> None:
    """Deploy definitions. Every file is tried; exit code 1 if one was refused."""
    from adapters.cli.failures import complain

    outcomes: list[dict[str, Any]] = []
    for file in files:
        outcome = {"file": str(file), **_tried(session, file, dry_run=dry_run)}
        outcomes.append(outcome)
        if not outcome["valid"]:
            complain(_refusal(outcome))
        elif not session.printer.as_json:
            lines = _lines(outcome)
            session.printer.add(outcome, lambda lines=lines: "\n".join(lines))  # type: ignore[misc]
    if session.printer.as_json:
        session.printer.show(outcomes, str)
    if not all(outcome["valid"] for outcome in outcomes):
        raise typer.Exit(1)


def _tried(session: Session, file: Path, *, dry_run: bool) -> dict[str, Any]:
    """What became of a file; one that cannot be read is no reason to leave out the others."""
    try:
        document = file.read_bytes()
    except OSError as error:
        return {"valid": False, "errors": [{"pointer": "", "detail": f"cannot be read: {error.strerror}"}]}
    return _deployed(session, document, dry_run=dry_run)


def _deployed(session: Session, document: bytes, *, dry_run: bool) -> dict[str, Any]:
    """What became of a document: what was stored or would be, or the problem."""
    from retrace.connection import RetraceProblem

    if dry_run:
        return session.client.check(document)
    try:
        return {"valid": True, **session.client.deploy(document)}
    except RetraceProblem as problem:
        if problem.slug not in ("invalid-definition", "definition-exists"):
            raise
        return {"valid": False, "errors": problem.errors, "problem": problem.members}


def _refusal(outcome: dict[str, Any]) -> str:
    from adapters.cli.failures import describe, places

    file, problem = outcome["file"], outcome.get("problem", {})
    if not outcome["errors"]:
        return f"{file} was not deployed. {describe(problem)}"
    verdict = "was not deployed" if problem else "cannot be deployed"
    return "\n".join([f"{file} {verdict}:", *(f"  {line}" for line in places(outcome["errors"], file))])


def _lines(outcome: dict[str, Any]) -> list[str]:
    from adapters.cli.failures import places

    if "digest" in outcome:
        resource = f", served at /{outcome['resource']}" if outcome.get("resource") else ""
        first = f"Deployed {outcome['namespace']}/{outcome['name']}@{outcome['version']}{resource}"
    else:
        first = f"{outcome['file']} can be deployed"
    return [first, *(f"  warning: {line}" for line in places(outcome["warnings"], outcome["file"]))]


@remote
def definitions(
    session: Session,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="name or namespace/name: its versions; with @version: the document."),
    ] = None,
) -> None:
    """What is deployed: the latest version of each, all versions of one, or a document."""
    if name is not None and "@" in name:
        return _document(session, name)
    namespace, _, short = (name or "").rpartition("/")
    found = list(session.client.definitions(namespace or "default", short) if name else session.client.definitions())
    if name and not found:
        from adapters.cli.failures import Failure

        raise Failure(f"No version of {namespace or 'default'}/{short} is deployed. List all with: retrace definitions")
    return session.printer.show(found, lambda: _view(found))


def _document(session: Session, definition: str) -> None:
    text = session.client.document(definition)
    session.printer.show({"definition": definition, "document": text}, lambda: text.rstrip("\n"))


def _view(found: list[Any]) -> RenderableType:
    from adapters.cli.output import moment, table

    if not found:
        return "No definitions. Deploy one with: retrace deploy FILE"
    rows = [
        [
            f"{each['namespace']}/{each['name']}",
            each["version"],
            each["resource"] and f"/{each['resource']}",
            moment(each["created_at"]),
        ]
        for each in found
    ]
    return table(_COLUMNS, rows)


@remote
def diagram(
    session: Session,
    definition: Annotated[str, typer.Argument(metavar="DEFINITION|FILE", help="A deployed one, or a document here.")],
    *,
    drawing: Annotated[Drawing, typer.Option("--format", help="Mermaid text or an SVG picture.")] = Drawing.mermaid,
) -> None:
    """Draw a definition. A file is drawn without a server."""
    file = Path(definition)
    text = _drawn(file, drawing) if file.is_file() else session.client.diagram(definition, drawing.value)
    if session.printer.as_json:
        session.printer.show({"definition": definition, "format": drawing.value, "diagram": text}, str)
    else:
        # Not through a table's console: a picture must not be wrapped.
        print(text.rstrip("\n"))


def _drawn(file: Path, drawing: Drawing) -> str:
    from adapters.cli.failures import Failure, places
    from adapters.documents.definition import read_definition
    from adapters.documents.mermaid import mermaid
    from adapters.documents.svg import svg
    from domain.errors import InvalidDefinitionError

    try:
        plan = read_definition(
            file.read_bytes(), "application/json" if file.suffix == ".json" else "application/yaml"
        ).plan
    except InvalidDefinitionError as error:
        entries = [
            {"line": each.line, "column": each.column, "pointer": each.pointer, "detail": each.detail}
            for each in error.problems
        ]
        raise Failure("\n".join([f"{file} cannot be drawn:", *places(entries, str(file))])) from None
    return svg(plan) if drawing is Drawing.svg else mermaid(plan)
