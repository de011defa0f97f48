"""Tasks for people, as the client sees them: find one, take it, answer it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypedDict, cast
from urllib.parse import quote

from retrace.connection import Connection

_PATH = "/v1/human-tasks"


class Candidates(TypedDict):
    """Who may take a task; everyone, where both are empty."""

    users: list[str]
    groups: list[str]


class HumanTaskEntry(TypedDict):
    """A task in a list."""

    id: str
    orchestration: str
    definition: str
    task: str
    reference: str
    title: str
    description: str | None
    status: Literal["open", "claimed", "completed", "refused", "withdrawn"]
    candidates: Candidates
    assignee: str | None
    priority: int
    due_at: str | None
    timeout_at: str | None
    created_at: str
    overdue: bool
    links: dict[str, str]


class HumanTask(HumanTaskEntry):
    """A task with all that is asked."""

    form: Any
    data: Any
    escalations: list[dict[str, Any]]
    output: Any
    error: dict[str, Any] | None
    handings: list[dict[str, Any]]


class HumanTasks:
    """``client.people``. `user`: the person, where that is not who the token belongs to; `groups`: what that one is in."""

    def __init__(self, server: Connection) -> None:
        self._server = server

    def list(self, filters: Mapping[str, Any] | None = None, limit: int | None = None) -> Iterator[HumanTaskEntry]:
        """Open tasks, the most urgent first, at most `limit`. Filters by the names of the API."""
        params = {name: value for name, value in (filters or {}).items() if value is not None}
        left = limit
        while left is None or left > 0:
            page = self._server.call("GET", _PATH, params={**params, "limit": 500 if left is None else min(left, 500)})
            yield from page["items"]
            left = None if left is None else left - len(page["items"])
            if page["next"] is None:
                return
            params["cursor"] = page["next"]

    def get(self, task: str) -> HumanTask:
        """What is asked, and how it stands."""
        return cast("HumanTask", self._server.call("GET", _of(task)))

    def claim(self, task: str, user: str | None = None, groups: Sequence[str] = ()) -> HumanTask:
        """Take it."""
        return self._tell(task, "claim", _person(user, groups))

    def release(self, task: str, user: str | None = None, groups: Sequence[str] = ()) -> HumanTask:
        """Give it back."""
        return self._tell(task, "release", _person(user, groups))

    def complete(self, task: str, output: Any, user: str | None = None, groups: Sequence[str] = ()) -> HumanTask:
        """Answer."""
        return self._tell(task, "complete", {**_person(user, groups), "output": output})

    def fail(
        self, task: str, error: Mapping[str, Any], user: str | None = None, groups: Sequence[str] = ()
    ) -> HumanTask:
        """Say no. `error`: ``{type, status, title?, detail?}``."""
        return self._tell(task, "fail", {**_person(user, groups), "error": dict(error)})

    def reassign(
        self,
        task: str,
        reason: str,
        *,
        assignee: str | None = None,
        users: Sequence[str] = (),
        groups: Sequence[str] = (),
    ) -> HumanTask:
        """Give it to somebody (`assignee`), or to others who may take it (`users`, `groups`)."""
        body: dict[str, Any] = {"reason": reason}
        if assignee is not None:
            body["assignee"] = assignee
        if users or groups:
            body["candidates"] = {"users": [*users], "groups": [*groups]}
        return self._tell(task, "reassign", body)

    def _tell(self, task: str, verb: str, body: dict[str, Any]) -> HumanTask:
        return cast("HumanTask", self._server.call("POST", f"{_of(task)}/{verb}", json=body))


def _of(task: str) -> str:
    return f"{_PATH}/{quote(task, safe='')}"


def _person(user: str | None, groups: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {} if user is None else {"user": user}
    return found | {"groups": [*groups]} if groups else found
