"""``call: human``: a task for people. Whatever is written out is looked at here; expressions when the task begins.

The form is a JSON Schema and no template: what people were asked to fill in must not depend on data, and an answer is checked
against the form that they saw.
"""

from __future__ import annotations

from typing import Any

from adapters.documents.compilation import Task
from adapters.documents.data import template
from adapters.documents.reader import Cursor
from domain.asking import misfit
from domain.expressions import is_wrapped
from domain.plan import Human, Schema, Template

_MEMBERS = ("title", "description", "form", "data", "candidates", "assignee", "due", "priority", "escalation")
_OF_ESCALATION = ("after", "candidates", "priority", "remind")
_NOT_HERE = {
    "retry": "a person is asked once; put a `try` around it to ask again",
    "idempotent": "nothing is sent that could be sent twice",
    "callback": "a person answers at /v1/human-tasks",
    "pivot": "a person's answer is no point of no return; make the task that acts on it the pivot",
}


def human(task: Task) -> Human:
    """What is asked of whom."""
    for keyword, why in _NOT_HERE.items():
        if keyword in task.members:
            task.members[keyword].refuse(f"`{keyword}` does not belong to `call: human`: {why}", "unsupported")
    if "with" not in task.members:
        task.cursor.refuse("the member 'with' is missing", "missing")
        return Human(Template({}))
    given = task.members["with"]
    found = given.members(_MEMBERS, ("title",))
    for name in ("title", "description", "assignee", "candidates", "due", "priority"):
        if name in found:
            _check(name, found[name])
    if "escalation" in found and not _open(found["escalation"].value):
        for entry in found["escalation"].items():
            _escalation(entry, has_due="due" in found)
    form = _form(found["form"]) if "form" in found else None
    asked = {name: cursor.value for name, cursor in found.items() if name != "form"}
    return Human(template(Cursor(asked, given.pointer, given.log)), form)


def _form(cursor: Cursor) -> Schema | None:
    if isinstance(cursor.value, bool) or cursor.is_object():
        return Schema(document=cursor.value)
    return None


def _escalation(entry: Cursor, *, has_due: bool) -> None:
    found = entry.members(_OF_ESCALATION)
    for name in ("after", "candidates", "priority"):
        if name in found:
            _check("due" if name == "after" else name, found[name])
    if "remind" in found and not _open(found["remind"].value):
        found["remind"].flag()
    if isinstance(entry.value, dict) and "after" not in entry.value and not has_due:
        entry.refuse("an escalation without `after` is for the due date, and there is no `due`", "missing")


def _check(name: str, cursor: Cursor) -> None:
    if not _open(cursor.value) and (why := misfit(name, cursor.value)) is not None:
        cursor.refuse(f"it {why}")


def _open(value: Any) -> bool:
    """Whether there is an expression in it, so that it is known only when the task begins."""
    if isinstance(value, str):
        return is_wrapped(value)
    if isinstance(value, dict):
        return any(map(_open, value.values()))
    return isinstance(value, list) and any(map(_open, value))
