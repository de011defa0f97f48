"""``retrace replay``: walks a history step by step, here on this machine.

Everything is read from a bundle: a file, or one that the service makes of an orchestration. Exit code 1 when ``--verify``
finds a decision that goes another way now, or ``--breakpoint`` is never met.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapters.cli.remote import Session, remote

if TYPE_CHECKING:
    from application.breakpoints import Breakpoint
    from retrace.replay import Replay, Step

_ID = re.compile(r"o_[0-9A-Za-z]{22}\Z")


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(replay)


@remote
def replay(
    session: Session,
    source: Annotated[
        str, typer.Argument(metavar="ID|FILE", help="An orchestration, or the file of a bundle.", show_default=False)
    ],
    *,
    at: Annotated[int | None, typer.Option("--at", min=1, metavar="N", help="Only the state after version N.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Up to this instant (RFC 3339).")] = None,
    from_: Annotated[int | None, typer.Option("--from", min=1, metavar="N", help="Begin with version N.")] = None,
    breakpoint_: Annotated[
        str | None, typer.Option("--breakpoint", "-b", metavar="EXPR", help="Stop there, as 'type==task.failed'.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Decide everything again and compare.")] = False,
    to_test: Annotated[
        Path | None, typer.Option("--to-test", metavar="FILE", help="Write a pytest that reproduces this history.")
    ] = None,
    family: Annotated[bool, typer.Option("--family", help="The children too, each after its parent.")] = False,
) -> None:
    """Walk a history step by step: what was asked, what happened, what changed, what would be undone."""
    if sum([at is not None, verify, to_test is not None]) > 1:
        raise typer.BadParameter("--at, --verify and --to-test exclude each other", param_hint="--at")
    if at is not None and (until or from_ or breakpoint_):
        raise typer.BadParameter("it shows one state; leave out --until, --from and --breakpoint", param_hint="--at")
    instant, stop = _read_instant(until), _read_breakpoint(breakpoint_)
    for document in _documents(session, source, family=family):
        found = _opened(document, source)
        if to_test is not None:
            _write_test(session, found, document, to_test)
        elif verify:
            _verify(session, found)
        elif at is not None:
            _show_state(session, found, at)
        else:
            _walk(session, found, list(_chosen(found, from_, instant)), stop)


def _documents(session: Session, source: str, *, family: bool) -> Iterator[Any]:
    """The bundle, and with `family` those of its children."""
    if _ID.match(source):
        pending = [source]
        while pending:
            document = session.client.bundle(pending.pop(0))
            yield document
            pending = [each["id"] for each in document["children"] if family] + pending
        return
    if family:
        raise typer.BadParameter("a file has one orchestration; for its children give its ID", param_hint="--family")
    from adapters.cli.arguments import read_json

    if source != "-" and not Path(source).exists():
        raise typer.BadParameter(f"{source} is neither the id of an orchestration nor a file", param_hint="ID|FILE")
    yield read_json(source if source == "-" else f"@{source}", "the bundle")


def _opened(document: Any, source: str) -> Replay:
    from adapters.cli.failures import Failure
    from retrace.replay import BundleError, load

    try:
        return load(document if isinstance(document, dict) else {})
    except BundleError as error:
        raise Failure(f"{source} cannot be replayed: {error}.") from None


def _read_instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text} is not an instant such as 2026-11-23T10:00:00Z", param_hint="--until"
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _read_breakpoint(text: str | None) -> Breakpoint | None:
    if text is None:
        return None
    from application.breakpoints import BreakpointError, read_breakpoint

    try:
        return read_breakpoint(text)
    except BreakpointError as error:
        raise typer.BadParameter(str(error), param_hint="--breakpoint") from None


def _chosen(found: Replay, from_: int | None, until: datetime | None) -> Iterator[Step]:
    from adapters.cli.failures import Failure

    if from_ is not None and from_ > found.versions:
        raise Failure(f"It has the versions 1 to {found.versions}.")
    for step in found:
        if from_ is not None and step.last_version < from_:
            continue
        if until is not None and datetime.fromisoformat(step.command["at"]) > until:
            return
        yield step


def _show_state(session: Session, found: Replay, version: int) -> None:
    from adapters.cli.failures import Failure
    from adapters.cli.views_replay import state_view

    if version > found.versions:
        raise Failure(f"{found.id} has the versions 1 to {found.versions}.")
    told = {"id": found.id, "version": version, "state": found.at(version), "rollback": found.rollback(version)}
    session.printer.show(told, lambda: state_view(found, version))


def _verify(session: Session, found: Replay) -> None:
    from adapters.cli.failures import Failure
    from adapters.cli.views_replay import divergence_view, verified

    divergences, unlike = found.verify(), [*found.broken_links(), *found.unlike()]
    told = {"id": found.id, "decisions": len(found), "events": found.versions}
    told |= {"agrees": not divergences and not unlike, "divergences": divergences, "unlike": unlike}
    if session.printer.as_json:
        session.printer.show(told, str)
    elif told["agrees"]:
        session.printer.show(told, lambda: verified(found))
    else:
        for each in divergences:
            session.printer.show(each, lambda each=each: divergence_view(each))  # type: ignore[misc]
    if divergences:
        raise Failure(f"{len(divergences)} of {len(found)} decisions go another way now.")
    if unlike:
        raise Failure(f"The record does not agree with itself: {', '.join(unlike[:5])}.")


def _write_test(session: Session, found: Replay, document: Any, file: Path) -> None:
    from adapters.cli.replay_tests import write_test

    beside = write_test(found, document, file)
    told = {"test": str(file), "bundle": str(beside)}
    session.printer.show(told, lambda: f"Wrote {file} and {beside}. Run it with: pytest {file}")


def _walk(session: Session, found: Replay, steps: list[Step], stop: Breakpoint | None) -> None:
    from adapters.cli.failures import Failure
    from adapters.cli.output import console
    from adapters.cli.stepping import Stepping
    from adapters.cli.views_replay import ending, heading, state_view, step_view

    def show(view: Callable[[], Any]) -> None:
        if not session.printer.as_json:
            session.printer.add(None, view)

    screen = console()
    asks = stop is not None and screen.is_terminal and not session.printer.as_json
    stepping = Stepping(stop, _key if asks else None, screen.print)
    show(lambda: heading(found))
    for step in steps:
        told = _told(step) if session.printer.as_json else None
        session.printer.add(told, lambda step=step: step_view(step))  # type: ignore[misc]
        if not stepping.goes_on(step, lambda step=step: show(lambda: state_view(found, step.last_version))):  # type: ignore[misc]
            return
    if stop is not None and not stepping.met:
        raise Failure("The breakpoint was never met.")
    show(lambda: ending(found))


def _key() -> str:
    try:
        return typer.getchar()
    except EOFError:
        return "q"


def _told(step: Step) -> dict[str, Any]:
    return {
        "version": step.version,
        "last_version": step.last_version,
        "after_s": step.after_s,
        "command": step.command,
        "events": step.events,
        "difference": step.difference,
        "rollback": step.rollback,
    }
