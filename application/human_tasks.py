"""Tasks for people, for people: which there are, what one asks, and what may be done with it. Any node answers.

Every change is a command to the orchestration, so its owner decides who was first (`domain.people`). The answer is checked
against the form before: that stands in the event with which the task began and never changes.

All changes may be repeated: what is so already stays so, and gets the same answer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import msgspec

from application.cursors import Seal
from application.definitions import split_reference
from application.facts import FactFinder
from application.human_changes import summary
from application.human_store import EVERYONE, HumanQuery, HumanRow, HumanStore, Place
from application.identity import Identity
from application.ports import Clock
from application.reader import Reader
from application.routing import Router
from application.status import instant
from application.storage import canonical
from domain import commands as c
from domain.decision import Validation
from domain.errors import Fault, InvalidInputError, NotFoundError, Problem
from domain.state import Run, State
from domain.state_people import Handing, Human

Json = dict[str, Any]
_ID: Final = re.compile(r"(o_[0-9A-Za-z]{22})-([1-9][0-9]{0,5})", re.ASCII)
_NO_SUCH: Final = "There is no task with this id."


class Acting(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: `actor` is the caller's name, `user` whom he says he acts for, `groups` what he says that one is in."""

    actor: str
    user: str | None = None
    groups: tuple[str, ...] = ()
    trace: str | None = None
    request_id: str | None = None

    def told(self) -> Json:
        """Members of commands."""
        found = {"actor": self.actor, "trace": self.trace, "request_id": self.request_id}
        return {name: value for name, value in found.items() if value is not None}


class HumanListRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`candidate` and `groups`: what this person, or somebody in these groups, may take."""

    candidate: str | None = None
    groups: tuple[str, ...] = ()
    assignee: str | None = None
    status: str | None = None
    definition: str | None = None
    orchestration: str | None = None
    overdue: bool | None = None
    limit: int = 100
    cursor: str | None = None


class People:
    """Who is in which group, and who may act for whom. `on_behalf`: the callers that may act for others; None: all."""

    def __init__(self, groups: Mapping[str, Collection[str]], on_behalf: Collection[str] | None) -> None:
        self._groups = groups
        self._on_behalf = on_behalf

    def person(self, acting: Acting) -> tuple[str, list[str]]:
        """(the person, the groups that count). Raises NotFoundError, as for every id that one may not see."""
        trusted = self._on_behalf is None or acting.actor in self._on_behalf
        user = acting.user or acting.actor
        if not trusted and user != acting.actor:
            raise NotFoundError(f"There is no task with this id for {acting.actor}, who may not act for others.")
        claimed = acting.groups if trusted else ()
        return user, sorted({*self.groups_of(user), *claimed})

    def groups_of(self, user: str) -> list[str]:
        """The groups that a person is known to be in."""
        return [group for group, members in self._groups.items() if user in members]


class HumanTasks:
    """The use cases behind ``/v1/human-tasks``."""

    def __init__(
        self,
        store: HumanStore,
        router: Router,
        reader: Reader,
        identity: Identity,
        facts: FactFinder,
        admit: Callable[[], None],
        clock: Clock,
        people: People,
    ) -> None:
        """`admit` raises OverloadedError when no more changes can be taken."""
        self._store = store
        self._router = router
        self._reader = reader
        self._identity = identity
        self._facts = facts
        self._admit = admit
        self._clock = clock
        self._people = people
        self._seal = Seal(identity.sealing_key(), "human tasks")

    # Reading ----------------------------------------------------------------------------------------------------------

    async def list(self, request: HumanListRequest) -> Json:
        """One page of open tasks: {"items": [...], "next": cursor or None}. Raises MalformedCursorError."""
        namespace = name = wanted = None
        if request.definition is not None:
            namespace, name, _ = split_reference(request.definition)
        if request.candidate is not None or request.groups:
            groups = [*request.groups, *(self._people.groups_of(request.candidate) if request.candidate else ())]
            users = () if request.candidate is None else (f"u:{request.candidate}",)
            wanted = [*users, *(f"g:{group}" for group in dict.fromkeys(groups)), EVERYONE]
        now = self._clock.now()
        rows = await self._store.list(
            HumanQuery(
                people=wanted,
                assignee=request.assignee,
                status=request.status,
                namespace=namespace,
                name=name,
                public_id=request.orchestration,
                overdue=None if request.overdue is None else (now, request.overdue),
                after=None if request.cursor is None else self._seal.opened(request.cursor, _Place).place(),
                limit=request.limit + 1,
            )
        )
        page = rows[: request.limit]
        more = len(rows) > request.limit
        return {
            "items": [_listed(row, now) for row in page],
            "next": self._seal.sealed(_Place.of(page[-1])) if more else None,
        }

    async def get(self, task_id: str) -> Json:
        """What is asked, and how it stands; also after it has ended. Raises NotFoundError."""
        id_, number = _opened(task_id)
        state, run, human = await self._find(id_, number)
        shown, latest = summary(state, run, human), human is run.human
        return {
            **shown,
            "overdue": _overdue(human.due_at, self._clock.now()) and shown["status"] in ("open", "claimed"),
            "form": human.form,
            "data": human.data,
            "escalations": [_escalation(human, index) for index in range(len(human.escalations))],
            "output": run.output if shown["status"] == "completed" and latest and not run.open else None,
            "error": run.fault.as_json() if shown["status"] == "refused" and latest and run.fault is not None else None,
            "handings": [_handing(step) for step in human.handings],
            "links": _links(shown),
        }

    async def _find(self, id_: str, number: int) -> tuple[State, Run, Human]:
        try:
            state = (await self._reader.settled(id_)).state
        except NotFoundError:
            raise NotFoundError(_NO_SUCH) from None
        if number > len(state.people):
            raise NotFoundError(_NO_SUCH)
        run = state.runs[state.people[number - 1]]
        human = run.asked(number)
        if human is None:
            raise NotFoundError("The task was given up long ago, and asked again since.")
        return state, run, human

    # Changing ---------------------------------------------------------------------------------------------------------

    async def claim(self, task_id: str, acting: Acting) -> Json:
        """Take it. Raises NotFoundError, TaskClaimedError, TaskEndedError."""
        return await self._tell(task_id, c.ClaimTask, acting, **self._who(acting))

    async def release(self, task_id: str, acting: Acting) -> Json:
        """Give it back. Raises the same."""
        return await self._tell(task_id, c.ReleaseTask, acting, **self._who(acting))

    async def reassign(
        self,
        task_id: str,
        acting: Acting,
        reason: str,
        *,
        assignee: str | None = None,
        candidates: tuple[Sequence[str], Sequence[str]] | None = None,
    ) -> Json:
        """Give it to somebody. `candidates`: (users, groups). Raises NotFoundError, TaskEndedError."""
        users, groups = candidates if candidates is not None else (None, None)
        return await self._tell(
            task_id, c.ReassignTask, acting, reason=reason, assignee=assignee, users=users, groups=groups
        )

    async def complete(self, task_id: str, acting: Acting, output: Any) -> Json:
        """Answer. Raises InvalidInputError for what does not fit the form, and the errors of `claim`."""
        await self._check(task_id, output)
        return await self._answer(task_id, acting, {"outcome": "completed", "output": output})

    async def refuse(self, task_id: str, acting: Acting, error: Fault) -> Json:
        """Say no: the task fails with this error. Raises the errors of `claim`."""
        return await self._answer(task_id, acting, {"outcome": "refused", "error": msgspec.to_builtins(error)})

    async def _answer(self, task_id: str, acting: Acting, answer: Json) -> Json:
        who = self._who(acting)
        digest = sha256(canonical([who["user"], answer])).digest()
        return await self._tell(task_id, c.AnswerTask, acting, **who, **answer, digest=digest)

    def _who(self, acting: Acting) -> Json:
        user, groups = self._people.person(acting)
        return {"user": user, "groups": groups}

    async def _check(self, task_id: str, output: Any) -> None:
        _, _, human = await self._find(*_opened(task_id))
        if human.form is None:
            return
        found = await self._facts.violations(Validation(human.form, None, output))
        listed = [("", found)] if isinstance(found, str) else found
        if listed:
            problems = [Problem(f"/output{pointer}", message, "schema") for pointer, message in listed]
            raise InvalidInputError(problems, "The answer does not have the form that the task asks for.")

    async def _tell(self, task_id: str, command: type[c.Command], acting: Acting, **members: Any) -> Json:
        id_, number = _opened(task_id)
        if not self._identity.well_formed(id_):
            raise NotFoundError(_NO_SUCH)
        self._admit()
        place = self._identity.locate(id_)
        await asyncio.shield(self._router.execute(place, command, {"number": number, **acting.told(), **members}))
        return await self.get(task_id)


def _opened(task_id: str) -> tuple[str, int]:
    found = _ID.fullmatch(task_id)
    if found is None:
        raise NotFoundError(_NO_SUCH)
    return found[1], int(found[2])


class _Place(msgspec.Struct, array_like=True):
    """What a cursor holds."""

    rank: int
    created_at: datetime
    public_id: str
    number: int

    @staticmethod
    def of(row: HumanRow) -> _Place:
        return _Place(row.rank, row.created_at, row.public_id, row.number)

    def place(self) -> Place:
        return self.rank, self.created_at, self.public_id, self.number


def _listed(row: HumanRow, now: datetime) -> Json:
    shown: Json = msgspec.json.decode(row.content)
    return {**shown, "overdue": _overdue(row.due_at, now), "links": _links(shown)}


def _overdue(due_at: datetime | None, now: datetime) -> bool:
    return due_at is not None and due_at <= now


def _links(shown: Json) -> Json:
    return {
        "self": f"/v1/human-tasks/{shown['id']}",
        "orchestration": f"/v1/orchestrations/{shown['orchestration']}",
    }


def _escalation(human: Human, index: int) -> Json:
    step = human.escalations[index]
    candidates = step.candidates
    return {
        "at": instant(step.at),
        "candidates": None
        if candidates is None
        else {"users": list(candidates.users), "groups": list(candidates.groups)},
        "priority": step.priority,
        "remind": step.remind,
        "done": index < human.escalated,
    }


def _handing(step: Handing) -> Json:
    return {"at": instant(step.at), "what": step.what, "user": step.user, "actor": step.actor, "reason": step.reason}
