"""What remote workers ask: for work, and to take their word for how it ended. Any node answers.

A claim takes one partition and function after the other, beginning somewhere else each time, and within a function one
definition after the other; what it has handed out, it has handed out to nobody else. Who waits for work is woken by one look
for all who wait at this node. Arguments are read from the orchestration when it is handed out, and nowhere kept.

A claim whose answer is lost is as good as one whose worker is lost: the lease ends it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
import structlog

from application.callbacks import Callbacks
from application.cursors import MalformedCursorError, Seal
from application.deferred import NotEvaluatedError, arguments_of
from application.identity import Chance, Identity
from application.inbox import Signals
from application.ports import Clock, Expressions, Secrets
from application.reader import Reader
from application.remote_changes import packed
from application.remote_work import WORK, RemoteWork
from application.service import Json
from application.status import instant
from application.task_store import Claim, ClaimedTask, FunctionControl, TaskKey, TaskStore
from domain.errors import ArchivedError, Fault, NotFoundError, StaleTokenError, StorageError, error_type, fault

_log = structlog.get_logger(__name__)
_LOOK_S: Final = 1.0
_NOTE_S: Final = 10.0
_REMEMBERED: Final = 10_000
_TOKEN_BYTES: Final = 16


class ClaimRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`wait_s`: how long to wait for work where there is none. `gone`: whether the worker has hung up meanwhile."""

    functions: Sequence[str]
    worker: str
    most: int = 1
    wait_s: float = 0.0
    lease_s: float = 30.0
    gone: Callable[[], bool] = lambda: False


class TaskClaims:
    """One per node."""

    def __init__(
        self,
        store: TaskStore,
        reader: Reader,
        identity: Identity,
        remote: RemoteWork,
        signals: Signals,
        expressions: Expressions,
        secrets: Secrets,
        callbacks: Callbacks,
        clock: Clock,
        chance: Chance,
    ) -> None:
        self._store = store
        self._reader = reader
        self._identity = identity
        self._remote = remote
        self._expressions = expressions
        self._secrets = secrets
        self._callbacks = callbacks
        self._clock = clock
        self._chance = chance
        self._seal = Seal(identity.sealing_key(), "task")
        self._waiters: OrderedDict[asyncio.Future[None], Sequence[str]] = OrderedDict()
        self._turns: OrderedDict[str, str] = OrderedDict()
        """Function -> the definition that work was handed out of last."""
        self._noted: dict[tuple[str, bool], float] = {}
        self._round = 0
        self._closed = False
        self._wake = asyncio.Event()
        self._look: asyncio.Task[None] | None = None
        signals.listen(lambda hint: self._wake.set() if hint == WORK else None)

    def close(self) -> None:
        """Nobody waits for work any more."""
        self._closed = True
        if self._look is not None:
            self._look.cancel()
        for future in self._waiters:
            if not future.done():
                future.set_result(None)

    # Claiming ---------------------------------------------------------------------------------------------------------

    async def claim(self, request: ClaimRequest) -> list[Json]:
        """Work for a worker, at most `most`; none when the time is over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + request.wait_s
        await self._note(request.functions, claimed=False)
        fresh = True
        while True:
            found = await self._claim_now(request)
            if found and request.gone():
                await self._take_back(found)
                return []
            if found:
                await self._note({each["function"] for each in found}, claimed=True)
                self._wake.set()  # there may be more, for the next who waits
                return found
            if self._closed or loop.time() >= until or request.gone():
                return []
            await self._wait(request.functions, until - loop.time(), fresh=fresh)
            fresh = False
            if request.gone():
                return []

    async def _claim_now(self, request: ClaimRequest) -> list[Json]:
        controls = {each.function: each for each in await self._store.controls()}
        functions = [name for name in dict.fromkeys(request.functions) if not _stopped(controls.get(name))]
        places = await self._store.waiting(functions) if functions else []
        self._round += 1
        start = self._round % len(places) if places else 0
        found: list[Json] = []
        for partition, function in places[start:] + places[:start]:
            room = request.most - len(found)
            if room <= 0:
                break
            control = controls.get(function)
            limited = control is not None and (control.max_concurrent, control.max_per_second) != (None, None)
            found += await self._claim_of(request, partition, function, room, limited=limited)
        return found

    async def _claim_of(
        self, request: ClaimRequest, partition: int, function: str, room: int, *, limited: bool
    ) -> list[Json]:
        token = self._chance.random_bytes(_TOKEN_BYTES)
        claim = Claim(
            partition=partition,
            function=function,
            after=self._turns.get(function, ""),
            worker=request.worker,
            token=token,
            at=self._clock.now(),
            lease_s=request.lease_s,
            limit=room,
            limited=limited,
        )
        tasks = await self._store.claim(claim)
        if not tasks:
            return []
        self._turns[function] = tasks[-1].definition
        self._turns.move_to_end(function)
        if len(self._turns) > _REMEMBERED:
            self._turns.popitem(last=False)
        shown = await asyncio.gather(*[self._shown(task, function, token) for task in tasks])
        return [each for each in shown if each is not None]

    async def _shown(self, task: ClaimedTask, function: str, token: bytes) -> Json | None:
        """What the worker gets; None where it turned out that there is nothing to do."""
        key = task.key
        try:
            live = await self._reader.settled_at((key.partition, key.orchestration))
            run = live.state.runs.get(key.run)
            event = run.request if run is not None else None
            if run is None or event is None or not run.flying or run.attempts != key.number:
                await self._store.discard(key, self._clock.now())
                return None
            arguments = await arguments_of(event, live.id, self._expressions, self._secrets, self._callbacks)
        except NotEvaluatedError as error:
            if await self._store.report(key, token, packed("refused", why=error.fault)):
                await self._handled(key, packed("refused", why=error.fault))
            return None
        except (ArchivedError, NotFoundError):
            await self._store.discard(key, self._clock.now())
            return None
        except Exception as error:
            # Nobody has it yet, so nobody need wonder whether it was done.
            _log.warning("task.not_handed_out", function=function, detail=str(error))
            await self._store.give_back(key, token)
            return None
        return {
            "task_id": self._seal.sealed([live.id, key.run, key.number]),
            "token": token.hex(),
            "function": function,
            "arguments": arguments,
            "attempt": key.number,
            "idempotency_key": event.key,
            "compensates": event.compensates,
            "lease_until": instant(task.lease_until),
            "deadline": instant(task.deadline),
            "orchestration": live.id,
            "task": run.pointer,
        }

    async def _take_back(self, items: list[Json]) -> None:
        """Nobody is there any more to whom it could be handed out."""
        for item in items:
            await self._store.give_back(self._opened(item["task_id"]), bytes.fromhex(item["token"]))

    # Waiting ----------------------------------------------------------------------------------------------------------

    async def _wait(self, functions: Sequence[str], timeout_s: float, *, fresh: bool) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiters[future] = functions
        if fresh:  # something may have come since this one looked; later on, what it saw was limited or paused
            self._wake.set()
        if self._look is None or self._look.done():
            self._look = loop.create_task(self._look_for_all(), name="waiting-workers")
        try:
            await asyncio.wait((future,), timeout=timeout_s)
        finally:
            self._waiters.pop(future, None)

    async def _look_for_all(self) -> None:
        """While anyone waits: one look for all, when a hint comes, else once a second."""
        while self._waiters:
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            wanted = {name for functions in self._waiters.values() for name in functions}
            try:
                found = await self._store.waiting(sorted(wanted)) if wanted else []
            except StorageError as error:
                _log.warning("tasks.not_looked_for", detail=error.detail)
                continue
            for _, function in found:  # one for each: whoever finds something has the next one woken
                first = next((f for f, names in self._waiters.items() if function in names and not f.done()), None)
                if first is not None:
                    first.set_result(None)

    async def _note(self, functions: Sequence[str] | set[str], *, claimed: bool) -> None:
        """Workers ask for these. Written now and then: operators look at it, nothing depends on it."""
        now = asyncio.get_running_loop().time()
        for function in functions:
            if now - self._noted.get((function, claimed), -_NOTE_S) >= _NOTE_S:
                if len(self._noted) >= _REMEMBERED:
                    self._noted.clear()
                self._noted[function, claimed] = now
                await self._store.note(function, self._clock.now(), claimed=claimed)

    # Reporting --------------------------------------------------------------------------------------------------------

    async def complete(self, task_id: str, token: str, output: Any) -> Json:
        """It was done. Raises NotFoundError, StaleTokenError."""
        return await self._report(task_id, token, packed("completed", output=self._secrets.redact(output)))

    async def fail(self, task_id: str, token: str, error: Json, *, retryable: bool | None, uncertain: bool) -> Json:
        """It was not done, or (`uncertain`) nobody knows. Raises NotFoundError, StaleTokenError."""
        why = _fault_of(self._secrets.redact(error), uncertain=uncertain)
        outcome = "uncertain" if uncertain else "refused"
        return await self._report(task_id, token, packed(outcome, why=why, retryable=retryable))

    async def heartbeat(self, task_id: str, token: str, lease_s: float) -> Json:
        """It is being done still. Raises NotFoundError, StaleTokenError."""
        key, known = self._opened(task_id), _token(token)
        extended = await self._store.extend(key, known, self._clock.now() + timedelta(seconds=lease_s))
        if extended is None:
            raise StaleTokenError
        return {"lease_until": instant(extended[0]), "deadline": instant(extended[1])}

    async def _report(self, task_id: str, token: str, report: bytes) -> Json:
        key, known = self._opened(task_id), _token(token)
        if not await self._store.report(key, known, report):
            row = await self._store.get(key)
            if row is None or row.token != known or row.report != report:
                raise StaleTokenError
        await self._handled(key, report)
        return {"task_id": task_id, "status": "reported"}

    async def _handled(self, key: TaskKey, report: bytes) -> None:
        """The row has it, so nothing can be lost; here or elsewhere it is carried out now."""
        await asyncio.shield(self._remote.handle(key, report))

    def _opened(self, task_id: str) -> TaskKey:
        try:
            public_id, run, number = self._seal.opened(task_id, tuple[str, str, int])
        except MalformedCursorError:
            raise NotFoundError("There is no task with this id.") from None
        return TaskKey(*self._identity.locate(public_id), run, number)


def _stopped(control: FunctionControl | None) -> bool:
    return control is not None and (control.paused or control.draining)


def _token(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise StaleTokenError from None


def _fault_of(error: Json, *, uncertain: bool) -> Fault:
    """An error as a worker tells it; what it leaves out is what it would be of a function in the process."""
    detail = error.get("detail")
    if uncertain:
        known = fault("runtime", detail or "the worker gave no reason")
    else:
        known = Fault(error_type("failed"), 422, "Refused" if "type" in error else "Failed", detail)
    type_ = error_type(error["type"]) if "type" in error else known.type
    return Fault(type_, error.get("status", known.status), error.get("title", known.title), known.detail)
