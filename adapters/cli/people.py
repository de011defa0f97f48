"""``retrace human``: what people are asked.

``retrace human`` lists; ``retrace human show|claim|release|complete|fail|reassign TASK`` look at one and change it. ``--as``
says for whom, where that is not the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapters.cli.arguments import read_json
from adapters.cli.incidents import ListsByDefault
from adapters.cli.remote import Choices, OutputOption, ServerOption, Session, remote

if TYPE_CHECKING:
    from rich.console import RenderableType

    from retrace.people import HumanTask, HumanTaskEntry

Task = Annotated[str, typer.Argument(metavar="TASK", help="Id of a task, as o_5XkP...-1.", show_default=False)]
As = Annotated[str | None, typer.Option("--as", metavar="USER", help="The person, where that is not the caller.")]
Groups = Annotated[
    list[str] | None, typer.Option("--group", "-g", metavar="NAME", help="A group that the person is in; repeatable.")
]
Why = Annotated[str, typer.Option("--reason", "-r", help="Why; recorded in the history.", show_default=False)]

_COLUMNS = [("TASK", "whole"), ("TITLE", "free"), ("STATUS", "whole"), ("WHO", "free"), ("DUE (UTC)", "whole")]
_HANDINGS = [("WHEN (UTC)", "whole"), ("WHAT", "whole"), ("WHO", "free"), ("BY", "free"), ("WHY", "free")]

_NO_ANSWER = (
    "{task} asks for an answer, and none was given. Write it behind the id as JSON (or @file, or - for standard input): "
    "retrace human complete {task} '{{...}}'\nWhat it has to look like stands under form: retrace human show {task}"
)

app = typer.Typer(cls=ListsByDefault, rich_markup_mode=None, help="What people are asked.")


@app.callback()
def options(context: typer.Context, server: ServerOption = None, output: OutputOption = None) -> None:
    """What people are asked: list tasks, look at one, claim, release, complete, fail or reassign it."""
    context.obj = Choices.of(context, server, output)


@app.command("list")
@remote
def list_(
    session: Session,
    candidate: Annotated[str | None, typer.Option(help="What this person may take.")] = None,
    group: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="What this group may take; repeatable.")
    ] = None,
    assignee: Annotated[str | None, typer.Option(help="What this person has.")] = None,
    status: Annotated[str | None, typer.Option(help="open or claimed.")] = None,
    definition: Annotated[str | None, typer.Option(help="Of this definition.")] = None,
    orchestration: Annotated[str | None, typer.Option(help="Of this orchestration.")] = None,
    overdue: Annotated[bool | None, typer.Option("--overdue/--not-overdue", help="Past its due date.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
) -> None:
    """Open tasks, the most urgent first. The word list may be left out."""
    filters = {
        "candidate": candidate,
        "group": group or None,
        "assignee": assignee,
        "status": status,
        "definition": definition,
        "orchestration": orchestration,
        "overdue": None if overdue is None else str(overdue).lower(),
    }
    found = list(session.client.people.list(filters, limit))
    session.printer.show(found, lambda: _view(found))


@app.command()
@remote
def show(session: Session, task: Task) -> None:
    """One task: what is asked, its form, who has had it."""
    found = session.client.people.get(task)
    session.printer.show(found, lambda: _one(found))


@app.command()
@remote
def claim(session: Session, task: Task, *, user: As = None, group: Groups = None) -> None:
    """Take it; nobody else may answer it then."""
    found = session.client.people.claim(task, user, group or ())
    session.printer.show(found, lambda: f"{found['assignee']} has {task}.")


@app.command()
@remote
def release(session: Session, task: Task, *, user: As = None, group: Groups = None) -> None:
    """Give it back."""
    found = session.client.people.release(task, user, group or ())
    session.printer.show(found, lambda: f"{task} is for anyone of its candidates again.")


@app.command()
@remote
def complete(
    session: Session,
    task: Task,
    answer: Annotated[
        str | None, typer.Argument(metavar="JSON", help="The answer, @file, or - for standard input.")
    ] = None,
    *,
    user: As = None,
    group: Groups = None,
) -> None:
    """Answer it; the answer has to fit the form."""
    from adapters.cli.failures import Failure
    from retrace.connection import RetraceProblem

    output = None if answer is None else read_json(answer, "JSON")
    try:
        found = session.client.people.complete(task, output, user, group or ())
    except RetraceProblem as problem:
        of_output = [str(each.get("pointer")).startswith("/output") for each in problem.errors]
        if answer is not None or not of_output or not all(of_output):
            raise
        raise Failure(_NO_ANSWER.format(task=task)) from None
    session.printer.show(found, lambda: f"{task} is done.")


@app.command()
@remote
def fail(
    session: Session,
    task: Task,
    type_: Annotated[str, typer.Option("--type", help="A word, or a URI: what a catch looks for.")] = "refused",
    *,
    status: Annotated[int, typer.Option(min=400, max=599, help="The error's status.")] = 422,
    detail: Annotated[str | None, typer.Option(help="Why.")] = None,
    user: As = None,
    group: Groups = None,
) -> None:
    """Say no: the task fails, and certainly nothing was done."""
    error: dict[str, Any] = {"type": type_, "status": status} | ({} if detail is None else {"detail": detail})
    found = session.client.people.fail(task, error, user, group or ())
    session.printer.show(found, lambda: f"{task} was refused.")


@app.command()
@remote
def reassign(
    session: Session,
    task: Task,
    assignee: Annotated[str | None, typer.Argument(metavar="[USER]", help="Who is to do it.")] = None,
    *,
    reason: Why,
    user: Annotated[
        list[str] | None, typer.Option("--user", metavar="NAME", help="Who may take it from now on; repeatable.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", "-g", metavar="NAME", help="The same of a group.")
    ] = None,
) -> None:
    """Give it to somebody, or to others who may take it."""
    if assignee is None and not (user or group):
        raise typer.BadParameter("say who: USER, --user or --group")
    found = session.client.people.reassign(task, reason, assignee=assignee, users=user or (), groups=group or ())
    session.printer.show(found, lambda: f"{task} is for {_who(found)}.")


def _who(task: HumanTaskEntry) -> str:
    candidates = task["candidates"]
    names = [*candidates["users"], *(f"group {group}" for group in candidates["groups"])]
    return task["assignee"] or ", ".join(names) or "anyone"


def _view(found: list[HumanTaskEntry]) -> RenderableType:
    from adapters.cli.output import moment, table

    if not found:
        return "No tasks."
    lines = [
        [
            each["id"],
            each["title"],
            each["status"],
            _who(each),
            moment(each["due_at"]) + (" overdue" if each["overdue"] else ""),
        ]
        for each in found
    ]
    return table(_COLUMNS, lines)


def _one(found: HumanTask) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from adapters.cli.output import compact, moment, printable, table

    lines = [f"{found['id']}  {found['status']}", found["title"]]
    lines += [found["description"]] if found["description"] else []
    lines += [f"of {found['definition']}, task {found['task']}; for {_who(found)}; priority {found['priority']}"]
    lines += [
        f"{name}: {moment(at)}" for name, at in (("due", found["due_at"]), ("timeout", found["timeout_at"])) if at
    ]
    lines += [f"{name}: {compact(value)}" for name in ("data", "form", "output", "error") if (value := found.get(name))]
    for step in found["escalations"]:
        lines.append(f"escalation: {moment(step['at'])}{' (done)' if step['done'] else ''}")
    rows = [
        [moment(each["at"]), each["what"], each["user"], each["actor"], each["reason"]] for each in found["handings"]
    ]
    return Group(Text(printable("\n".join(lines))), table(_HANDINGS, rows))
