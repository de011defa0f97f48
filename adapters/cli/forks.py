"""``retrace fork`` and ``retrace migrate``: go on from an earlier point, or under another version of a definition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapters.cli.arguments import Id, read_json
from adapters.cli.remote import Session, remote

if TYPE_CHECKING:
    from rich.console import RenderableType

Why = Annotated[str, typer.Option("--reason", "-r", help="Why; recorded in the history.", show_default=False)]
Mapping = Annotated[
    str | None,
    typer.Option("--mapping", metavar="FILE", help="YAML or JSON: old task: new task, where names do not tell."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be recorded.")]
_UNFINISHED = ("running", "suspended", "compensating")
_COLUMNS = [("ID", "whole"), ("RESULT", "whole"), ("WHAT", "free")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (fork, migrate):
        app.command()(command)


@remote
def fork(
    session: Session,
    id_: Id,
    *,
    from_version: Annotated[
        int, typer.Option("--from-version", min=1, metavar="N", help="The last version that both have.")
    ],
    reason: Why,
    input_: Annotated[
        str | None, typer.Option("--input", "-i", metavar="JSON", help="Another input: JSON, @file or -.")
    ] = None,
    definition: Annotated[
        str | None, typer.Option("--definition", metavar="REF", help="Another version: namespace/name@version.")
    ] = None,
    mapping: Mapping = None,
    business_key: Annotated[str | None, typer.Option("--business-key", help="A key for the fork.")] = None,
    force: Annotated[bool, typer.Option("--force", help="In spite of what may be done or undone twice.")] = False,
    dry_run: DryRun = False,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", metavar="KEY", help="Repeats start nothing.")
    ] = None,
) -> None:
    """Start another orchestration with what this one had done up to a version."""
    chosen = {"definition": definition, "business_key": business_key, "mapping": read_mapping(mapping)}
    more: dict[str, Any] = {name: value for name, value in chosen.items() if value}
    more |= {"force": True} if force else {}
    more |= {} if input_ is None else {"input": read_json(input_, "--input")}
    if dry_run:
        from adapters.cli.views_history import would_record

        would = session.client.rehearse_fork(id_, from_version, reason, **more)
        return session.printer.show(would, lambda: would_record(would))
    made = session.client.fork(id_, from_version, reason, idempotency_key=idempotency_key, **more)
    hint = f"Started {made['id']} ({made['status']}), a fork of {id_} at version {from_version}."
    return session.printer.show(made, lambda: f"{hint} Watch it with: retrace status {made['id']} --follow")


@remote
def migrate(
    session: Session,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Orchestrations; or use --from.")] = None,
    *,
    definition: Annotated[
        str, typer.Option("--definition", "--to", metavar="REF", help="The version to go on under.", show_default=False)
    ],
    reason: Why,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="REF", help="Every unfinished one of this version: namespace/name@version."),
    ] = None,
    mapping: Mapping = None,
    dry_run: DryRun = False,
) -> None:
    """Let orchestrations go on under another version of their definition. Exit code 1 if any was refused."""
    if bool(ids) == bool(from_):
        raise typer.BadParameter("name orchestrations, or all of a version with --from", param_hint="ID")
    renamed = read_mapping(mapping)
    found: list[dict[str, Any]] = []
    try:
        for each in ids or _all_of(session, from_):
            told = _migrated(session, each, definition, reason, renamed, dry_run=dry_run)
            found.append(told)
    except BaseException:
        if found:  # they were moved, whatever became of the next one
            session.printer.show(found, lambda: _view(found))
        raise
    session.printer.show(found, lambda: _view(found))
    refused = sum(each["result"] == "refused" for each in found)
    if refused:
        from adapters.cli.failures import Failure

        raise Failure(f"{refused} of {len(found)} cannot go on under {definition}; nothing of them was changed.")


def _all_of(session: Session, version: str | None) -> Iterator[str]:
    filters = {"definition": version, "status": list(_UNFINISHED)}
    return iter([each["id"] for each in session.client.orchestrations(filters, None)])


def _migrated(
    session: Session, id_: str, definition: str, reason: str, mapping: dict[str, str] | None, *, dry_run: bool
) -> dict[str, Any]:
    """What became of one: looked at first, for what there is to say."""
    from retrace.connection import RetraceProblem

    try:
        would = session.client.rehearse_migration(id_, definition, reason, mapping)
        said: dict[str, Any] = would["events"][0]["data"] if would["events"] else {}
        told = {"moves": said.get("moves", {}), "remarks": said.get("remarks", [])}
        if not said:
            return {"id": id_, "result": "unchanged", "version": would["version"], **told}
        if dry_run:
            return {"id": id_, "result": "possible", "version": would["version"], **told}
        answer = session.client.migrate(id_, definition, reason, mapping)
    except RetraceProblem as problem:
        slug = str(problem.members.get("type", "")).rpartition("/")[2]
        if slug == "orchestration-ended":
            return {"id": id_, "result": "ended"}
        if slug != "invalid-input":
            raise
        return {"id": id_, "result": "refused", "errors": problem.members.get("errors", [])}
    return {"id": id_, "result": "migrated", "version": answer["version"], **told}


def _view(found: list[dict[str, Any]]) -> RenderableType:
    from adapters.cli.output import table

    if not found:
        return "There is none."
    return table(_COLUMNS, [[each["id"], each["result"], _told(each)] for each in found])


def _told(each: dict[str, Any]) -> str:
    said = [*each.get("errors", ()), *each.get("remarks", ())]
    moves = [f"{old} is {new}" for old, new in each.get("moves", {}).items()]
    return "\n".join([*(f"{entry['pointer']}: {entry['detail']}" for entry in said), *moves])


def read_mapping(path: str | None) -> dict[str, str] | None:
    """The mapping in a file. Raises BadParameter."""
    if path is None:
        return None
    from pathlib import Path

    import yaml

    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise typer.BadParameter(f"{path} cannot be read: {error}", param_hint="--mapping") from None
    if not isinstance(found, dict) or not all(isinstance(each, str) for pair in found.items() for each in pair):
        raise typer.BadParameter(f"{path} has not the form `old task: new task`", param_hint="--mapping")
    return found
