"""What a task for people asks, read from its evaluated ``with``: any part may have been an expression, so all is looked at
when the task begins, and what does not fit faults it with a validation error that names the member.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from domain import events as e
from domain.decision import Faulted
from domain.errors import fault
from domain.retry import seconds

MOST_CANDIDATES: Final = 200
MOST_ESCALATIONS: Final = 20
MOST_PRIORITY: Final = 100
LONGEST_NAME: Final = 200
LONGEST_TITLE: Final = 500
LONGEST_DESCRIPTION: Final = 10_000
_ANY_DAY: Final = datetime(2000, 1, 1, tzinfo=UTC)
LONGEST_S: Final = 100 * 366 * 86_400.0


def asked(given: Any, now: datetime) -> dict[str, Any]:
    """The members of a `TaskAssigned`, beside run, number and form. Raises Faulted."""
    if not isinstance(given, dict):
        raise _misfit("", "is not an object")
    due_at = _when(given.get("due"), now, "due")
    assignee = given.get("assignee")
    return {
        "title": _text(given.get("title"), "title", LONGEST_TITLE),
        "description": None
        if given.get("description") is None
        else _text(given["description"], "description", LONGEST_DESCRIPTION),
        "data": given.get("data"),
        "candidates": _candidates(given.get("candidates"), "candidates"),
        "assignee": None if assignee is None else _text(assignee, "assignee", LONGEST_NAME),
        "priority": _priority(given.get("priority"), "priority") or 0,
        "due_at": due_at,
        "escalations": tuple(_escalations(given.get("escalation"), now, due_at)),
    }


def misfit(name: str, value: Any) -> str | None:
    """What is wrong with a member that is written out, in words that follow its name; None when nothing is."""
    looks: dict[str, Callable[[], object]] = {
        "title": lambda: _text(value, name, LONGEST_TITLE),
        "description": lambda: _text(value, name, LONGEST_DESCRIPTION),
        "assignee": lambda: _text(value, name, LONGEST_NAME),
        "candidates": lambda: _candidates(value, name),
        "due": lambda: _when(value, _ANY_DAY, name),
        "priority": lambda: _priority(value, name),
    }
    try:
        looks[name]()
    except Faulted as stop:
        return (stop.fault.detail or "").removeprefix(f"with.{name}").removeprefix(".").strip()
    return None


def _misfit(where: str, what: str) -> Faulted:
    return Faulted(fault("validation", f"{'with.' if where else 'with'}{where} {what}"))


def _text(value: Any, where: str, most: int) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _misfit(where, "is not a text")
    if len(value) > most:
        raise _misfit(where, f"has more than {most} characters")
    return value


def _priority(value: Any, where: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_PRIORITY:
        raise _misfit(where, f"is not an integer from 0 to {MOST_PRIORITY}")
    return value


def _candidates(value: Any, where: str) -> e.Candidates:
    """``{users, groups}``, or a list of users."""
    if value is None:
        return e.Candidates()
    if isinstance(value, list):
        return e.Candidates(_names(value, where))
    if not isinstance(value, dict) or not set(value) <= {"users", "groups"}:
        raise _misfit(where, "is neither a list of users nor an object with users and groups")
    found = e.Candidates(
        _names(value.get("users", []), f"{where}.users"), _names(value.get("groups", []), f"{where}.groups")
    )
    if not (found.users or found.groups):
        raise _misfit(where, "names nobody; left out, it means everyone")
    return found


def _names(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _misfit(where, "is not a list of names")
    if len(value) > MOST_CANDIDATES:
        raise _misfit(where, f"has more than {MOST_CANDIDATES} names")
    return tuple(dict.fromkeys(_text(each, where, LONGEST_NAME) for each in value))


def _when(value: Any, now: datetime, where: str) -> datetime | None:
    """An instant, or a length of time from now on."""
    if value is None:
        return None
    length = None if isinstance(value, str) and not value.startswith("P") else seconds(value)
    if length is not None and 0 <= length <= LONGEST_S:
        return now + timedelta(seconds=length)
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            at = None
        if at is not None and at.tzinfo is not None and abs(at - now).total_seconds() <= LONGEST_S:
            return at.astimezone(UTC)
    raise _misfit(where, "is neither a duration such as PT4H or {hours: 4} nor an instant with its offset from UTC")


def _escalations(value: Any, now: datetime, due_at: datetime | None) -> Iterator[e.Escalation]:
    """In the order of their time; without ``after`` it is the due date."""
    if value is None:
        return
    if not isinstance(value, list):
        raise _misfit("escalation", "is not a list")
    if len(value) > MOST_ESCALATIONS:
        raise _misfit("escalation", f"has more than {MOST_ESCALATIONS} entries")
    found = [_escalation(each, f"escalation[{index}]", now, due_at) for index, each in enumerate(value)]
    yield from sorted(found, key=lambda each: each.at)


def _escalation(value: Any, where: str, now: datetime, due_at: datetime | None) -> e.Escalation:
    if not isinstance(value, dict) or not set(value) <= {"after", "candidates", "priority", "remind"}:
        raise _misfit(where, "is not an object with after, candidates, priority, remind")
    at = due_at if "after" not in value else _when(value["after"], now, f"{where}.after")
    if at is None:
        raise _misfit(where, "has no after, and there is no due date either")
    remind = value.get("remind", False)
    if not isinstance(remind, bool):
        raise _misfit(f"{where}.remind", "is not true or false")
    candidates = None if value.get("candidates") is None else _candidates(value["candidates"], f"{where}.candidates")
    return e.Escalation(at, candidates, _priority(value.get("priority"), f"{where}.priority"), remind)
