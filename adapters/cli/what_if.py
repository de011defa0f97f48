"""``retrace what-if``: how an orchestration, or the latest ones of a definition, would have gone with other facts.

With an ID it shows one, beside what was recorded. Without, it looks at many and exits with 1 unless all go as recorded,
so that it can stand before a deployment.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from adapters.cli.arguments import read_json
from adapters.cli.remote import Session, remote

_OUTCOMES = ("refused", "uncertain", "completed")
_RUN = re.compile(r"(.+)#([1-9]\d{0,8})")


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("what-if")(what_if)


@remote
def what_if(
    session: Session,
    id_: Annotated[
        str | None, typer.Argument(metavar="ID", help="One orchestration. Without it: the latest of a definition.")
    ] = None,
    *,
    definition: Annotated[
        str | None,
        typer.Option("--definition", "-d", metavar="FILE|NAME", help="A document, or name[@version] that is deployed."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="TASK=OUTCOME",
            help="refused, uncertain, completed, or the JSON that was answered instead.",
        ),
    ] = None,
    assume: Annotated[
        list[str] | None,
        typer.Option("--assume", metavar="TASK=JSON", help="Its output, where the record does not know one."),
    ] = None,
    input_: Annotated[
        str | None, typer.Option("--input", "-i", metavar="JSON", help="Another input: JSON, @file or -.")
    ] = None,
    status: Annotated[
        list[str] | None, typer.Option("--status", metavar="STATUS,...", help="Many: only with these.")
    ] = None,
    last: Annotated[int, typer.Option("--last", min=1, max=100_000, help="Many: the latest so many.")] = 1000,
    of: Annotated[
        str | None, typer.Option("--for", metavar="NAME", help="Many: of this definition; else of the one given.")
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            metavar="OUTCOME",
            help="Many: same_calls (other, but with the same calls and end), other or cannot_continue is no failure.",
        ),
    ] = None,
) -> None:
    """Recorded facts against another definition or other facts; nobody is called and nothing changes."""
    supposed: dict[str, Any] = {}
    if set_:
        supposed["changes"] = [_change(each) for each in set_]
    if assume:
        supposed["assume"] = dict(_assumed(each) for each in assume)
    if definition is not None:
        supposed["definition"] = _definition(definition)
    if id_ is not None:
        if status or of or allow:
            raise typer.BadParameter("--status, --for and --allow are for many; leave out the ID", param_hint="ID")
        if input_ is not None:
            supposed["input"] = read_json(input_, "--input")
        return _one(session, id_, supposed)
    if definition is None or input_ is not None:
        raise typer.BadParameter("without an ID it needs --definition, and takes no --input", param_hint="ID")
    if wrong := set(allow or ()) - {"same_calls", "other", "cannot_continue"}:
        raise typer.BadParameter(f"{min(wrong)!r} is none of same_calls, other, cannot_continue", param_hint="--allow")
    chosen = {"status": [one for each in status for one in each.split(",")]} if status else {}
    return _many(session, {**supposed, **chosen, "last": last, **({"for": of} if of else {})}, set(allow or ()))


def _one(session: Session, id_: str, supposed: dict[str, Any]) -> None:
    from adapters.cli.views_what_if import course_view

    found = session.client.what_if(id_, **supposed)
    session.printer.show(found, lambda: course_view(found))


def _many(session: Session, chosen: dict[str, Any], allowed: set[str]) -> None:
    from adapters.cli.operations import watched
    from adapters.cli.views_what_if import fleet_view

    operation = session.client.what_if_fleet(**chosen)
    result: Any = watched(session, operation["id"], "what if")["result"]
    session.printer.show(result, lambda: fleet_view(result))
    others = result["other"] - (result["same_calls"] if "same_calls" in allowed else 0)
    if (others and "other" not in allowed) or (result["cannot_continue"] and "cannot_continue" not in allowed):
        raise typer.Exit(1)


def _definition(given: str) -> Any:
    """The document of a file, read here so that problems have lines; else a reference."""
    file = Path(given)
    if not file.is_file():
        if file.suffix in (".yaml", ".yml", ".json"):
            raise typer.BadParameter(f"there is no file {given}", param_hint="--definition")
        return given
    from adapters.cli.failures import USAGE, Failure, places
    from adapters.documents.definition import read_definition
    from domain.errors import InvalidDefinitionError

    try:
        source = read_definition(
            file.read_bytes(), "application/json" if file.suffix == ".json" else "application/yaml"
        ).source
    except InvalidDefinitionError as error:
        entries = [
            {"line": each.line, "column": each.column, "pointer": each.pointer, "detail": each.detail}
            for each in error.problems
        ]
        raise Failure("\n".join([f"{file} is not valid:", *places(entries, str(file))]), USAGE) from None
    return source.value


def _change(text: str) -> dict[str, Any]:
    """A change from ``task=refused``, ``task#2=uncertain`` or ``task={"id": 1}``."""
    task, value = _pair(text, "--set")
    run = _RUN.fullmatch(task)
    found: dict[str, Any] = {"task": run[1], "run": int(run[2])} if run else {"task": task}
    if value in _OUTCOMES:
        return {**found, "outcome": value}
    try:
        json.loads(value)
    except ValueError:
        allowed = f"{', '.join(_OUTCOMES)}, or JSON"
        raise typer.BadParameter(f"{value!r} is neither {allowed}", param_hint="--set") from None
    return {**found, "outcome": "completed", "output": read_json(value, "--set")}


def _assumed(text: str) -> tuple[str, Any]:
    task, value = _pair(text, "--assume")
    return task, read_json(value, "--assume")


def _pair(text: str, option: str) -> tuple[str, str]:
    task, separator, value = text.partition("=")
    if not separator or not task:
        raise typer.BadParameter(f"{text!r} is not TASK=...", param_hint=option)
    return task, value
