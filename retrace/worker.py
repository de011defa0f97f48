"""A remote worker: carries out functions for a Retrace service from a process of its own.

    from retrace.worker import Worker

    worker = Worker("http://127.0.0.1:8080", functions=[book_hotel], concurrency=8)
    asyncio.run(worker.run())

The functions are those of ``@function``; arguments are validated against their annotations as they are in the service's own
process, ``async def`` runs on the loop and ``def`` in a thread. While a function runs its lease is prolonged. When it turns
out that the lease was lost, somebody else has the task or nobody wants it any more: an ``async def`` is cancelled, a thread,
which cannot be, runs on and keeps its place, and nothing is reported.

``run`` returns when `stop` was called (SIGTERM and SIGINT do so where it may handle signals): nothing more is claimed, and
what is in hand may end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import socket
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from retrace.functions import REGISTRY, Function
from retrace.launcher import app_module

if TYPE_CHECKING:
    import httpx2

__all__ = ["Worker"]

_log = logging.getLogger("retrace.worker")
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_GRACE_S = 10.0
_LOOK_AGAIN_S = 1.0
_CLOCKS_APART_S = 3.0
_LONGEST = {"type": 255, "title": 255, "detail": 10_000}
"""Characters of the texts of an error."""

Json = dict[str, Any]


class Worker:
    """Claims, carries out and reports, until it is stopped."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        functions: Mapping[str, Function] | Iterable[Callable[..., Any]] | None = None,
        concurrency: int = 8,
        name: str | None = None,
        wait_s: float = 20.0,
        lease_s: float = 30.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """`functions`: a registry (of `load_functions`, say), or functions that are decorated with ``@function``; without it,
        all that were registered by ordinary imports. `concurrency`: tasks in hand at once.

        Raises:
            ValueError: there is no function, or one of them is not decorated.
        """
        self._functions = _chosen(functions)
        self._url, self._token, self._transport = url, token, transport
        self._concurrency = concurrency
        self._name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._wait_s, self._lease_s = wait_s, lease_s
        self._stopping = asyncio.Event()
        self._in_hand: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Claim nothing more; `run` returns when what is in hand has ended. Idempotent."""
        self._stopping.set()

    async def run(self, *, signals: bool = True) -> None:
        """Work. `signals`: let SIGTERM and SIGINT stop it, where the loop can.

        Raises:
            UnfitFunctionError: a function cannot be called with keyword arguments from JSON; the message says why.
            RetraceProblem: the server refuses to hand anything out (401, say); what was in hand has ended.
        """
        import httpx2

        carry_out = app_module("adapters.callouts.functions").FunctionCallouts(
            self._functions, max_threads=max(self._concurrency, 1)
        )
        headers = {"Accept": "application/json, application/problem+json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        if signals:
            self._listen()
        async with httpx2.AsyncClient(
            base_url=self._url,
            headers=headers,
            timeout=_GRACE_S,
            transport=self._transport,
            limits=httpx2.Limits(max_connections=self._concurrency * 2 + 2),
        ) as http:
            try:
                try:
                    await self._work(http, carry_out)
                finally:  # also when the server refuses to hand anything out: what is in hand is another matter
                    if self._in_hand:
                        await asyncio.wait(self._in_hand)
            finally:
                for task in self._in_hand:
                    task.cancel()
                await asyncio.gather(*self._in_hand, return_exceptions=True)
                carry_out.close()

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError, RuntimeError, ValueError):  # not on every system, nor in every thread
                loop.add_signal_handler(number, self.stop)

    # Claiming ---------------------------------------------------------------------------------------------------------

    async def _work(self, http: httpx2.AsyncClient, carry_out: Any) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            room = self._concurrency - len(self._in_hand) - carry_out.left_behind
            if room <= 0:
                await _first_of(*self._in_hand, self._stopping.wait(), asyncio.sleep(_LOOK_AGAIN_S))
                continue
            tasks = await self._until_stopped(self._claim(http, room, again=pause_s > _FIRST_PAUSE_S))
            if tasks is None:
                if not self._stopping.is_set():
                    # Many workers come back together when the server does.
                    await _first_of(self._stopping.wait(), asyncio.sleep(_jittered(pause_s)))
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            pause_s = _FIRST_PAUSE_S
            for each in tasks:
                task = asyncio.create_task(self._carry_out(http, carry_out, each))
                self._in_hand.add(task)
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._in_hand.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            _log.error("a task was given up, its lease will end it", exc_info=problem)

    async def _claim(self, http: httpx2.AsyncClient, room: int, *, again: bool) -> list[Json] | None:
        """Work; None where the server cannot be had. `again`: it could not be had the last time either."""
        body = {
            "functions": list(self._functions),
            "worker": self._name,
            "max": min(room, 100),
            "wait": self._wait_s,
            "lease": self._lease_s,
        }
        # A server that was started together with its worker, or is started anew, is there in a moment.
        level = logging.WARNING if again else logging.INFO
        answer = await _posted(http, "/v1/tasks/claim", body, self._wait_s + _GRACE_S, level)
        if answer is None:
            return None
        if answer.status_code in (429, 503) or answer.status_code >= 500:
            _log.warning("the server is busy: %s", answer.status_code)
            return None
        if not answer.is_success:
            from retrace.connection import problem_of

            raise problem_of(answer)
        try:
            items = list(answer.json()["items"])
        except (ValueError, LookupError, TypeError):
            _log.warning("what answers at %s is no Retrace service", self._url)
            return None
        ahead_s = _ahead_s(answer)
        for item in items:
            item["left_s"] = (datetime.fromisoformat(item["deadline"]) - datetime.now(UTC)).total_seconds() + ahead_s
        return items

    async def _until_stopped(self, claim: Coroutine[Any, Any, list[Json] | None]) -> list[Json] | None:
        """What was claimed. A claim that is under way when the worker stops is cut off: then the server hands nothing out."""
        claiming = asyncio.ensure_future(claim)
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((claiming, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not claiming.done():
            claiming.cancel()
            await asyncio.gather(claiming, return_exceptions=True)
            return None
        return claiming.result()

    # Carrying out -----------------------------------------------------------------------------------------------------

    async def _carry_out(self, http: httpx2.AsyncClient, carry_out: Any, task: Json) -> None:
        ports = app_module("application.ports")
        callout = ports.Callout(
            kind="function",
            function=task["function"],
            arguments=task["arguments"],
            idempotency_key=task["idempotency_key"],
            attempt=task["attempt"],
            timeout_s=max(task["left_s"], 0.001),
            orchestration=task["orchestration"],
            task=task["task"],
            compensates=task.get("compensates"),
        )
        beating = asyncio.create_task(self._beat(http, task))
        doing = asyncio.create_task(carry_out.send(callout))
        try:
            await asyncio.wait((beating, doing), return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                _log.warning("the lease of %s was lost: it is given up", task["function"])
                return
        finally:
            for each in (beating, doing):
                each.cancel()
            await asyncio.gather(beating, doing, return_exceptions=True)
        await self._report(http, task, *_report_of(ports, doing.result()))

    async def _beat(self, http: httpx2.AsyncClient, task: Json) -> None:
        """Prolong the lease; returns when it was lost."""
        path = f"/v1/tasks/{task['task_id']}/heartbeat"
        while True:
            await asyncio.sleep(self._lease_s / 3)
            answer = await _posted(http, path, {"token": task["token"], "lease": self._lease_s}, _GRACE_S)
            if answer is not None and answer.status_code in (404, 409):
                return

    async def _report(self, http: httpx2.AsyncClient, task: Json, verb: str, body: Json) -> None:
        """Repeat until the server has it or refuses it. A worker that stops meanwhile tries no longer than its lease."""
        path = f"/v1/tasks/{task['task_id']}/{verb}"
        pause_s = _FIRST_PAUSE_S
        give_up_at = asyncio.get_running_loop().time() + self._lease_s
        while True:
            answer = await _posted(http, path, {"token": task["token"], **body}, _GRACE_S)
            if answer is not None and answer.status_code < 500 and answer.status_code != 429:
                break
            if self._stopping.is_set() and asyncio.get_running_loop().time() > give_up_at:
                _log.warning("the report of %s did not get through", task["function"])
                return
            await asyncio.sleep(_jittered(pause_s))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        if answer.status_code == 409:
            _log.warning(
                "the report of %s was refused: its time is over, or nobody wants it any more", task["function"]
            )
        elif not answer.is_success and verb == "complete":
            # What cannot be taken (too large, say) was done all the same.
            detail = f"the server did not take the output: {answer.status_code} {answer.text[:500]}"
            await self._report(http, task, "fail", {"error": {"detail": detail}, "uncertain": True, "retryable": False})
        elif not answer.is_success:
            _log.error("the report of %s was not taken: %s %s", task["function"], answer.status_code, answer.text[:500])


def _ahead_s(answer: httpx2.Response) -> float:
    """How far this machine's clock is ahead of the server's; 0 where that is within what its answer can tell."""
    try:
        theirs = parsedate_to_datetime(answer.headers["Date"])
        ahead_s = (datetime.now(UTC) - theirs).total_seconds()
    except (KeyError, TypeError, ValueError):
        return 0.0
    return ahead_s if abs(ahead_s) > _CLOCKS_APART_S else 0.0


def _jittered(pause_s: float) -> float:
    return pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - nothing depends on whether it can be guessed


async def _posted(
    http: httpx2.AsyncClient, path: str, body: Json, timeout_s: float, level: int = logging.WARNING
) -> httpx2.Response | None:
    """The answer; None when there was none."""
    import httpx2

    try:
        return await http.post(path, json=body, timeout=timeout_s)
    except httpx2.TransportError as error:
        verb, what = path.rpartition("/")[2], type(error).__name__
        server = http.base_url.netloc.decode()
        _log.log(level, "%s gives no answer to %s, it will be tried again: %s", server, verb, what)
        return None


async def _first_of(*awaitables: Any) -> None:
    """Return when one has ended; tasks that were given stay."""
    futures = [asyncio.ensure_future(each) for each in awaitables]
    made = [future for future, each in zip(futures, awaitables, strict=True) if future is not each]
    try:
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future in made:
            future.cancel()


def _report_of(ports: Any, result: Any) -> tuple[str, Json]:
    """(verb, body) for what is known of the outcome."""
    if isinstance(result, ports.Answered):
        return "complete", {"output": result.output}
    error = {name: getattr(result.fault, name) for name in ("type", "status", "title", "detail")}
    error |= {name: _taken(error[name], longest) for name, longest in _LONGEST.items() if error[name]}
    body: Json = {"error": {name: value for name, value in error.items() if value}}
    if isinstance(result, ports.Declined):
        return "fail", body
    if isinstance(result, ports.Unusable):  # it was done, but its value cannot be sent: to do it again would not help
        body["retryable"] = False
    return "fail", {**body, "uncertain": True}


def _taken(text: str, longest: int) -> str:
    """A text as the server takes it."""
    text = text.replace("\0", "\ufffd").encode(errors="replace").decode()
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _chosen(functions: Mapping[str, Function] | Iterable[Callable[..., Any]] | None) -> Mapping[str, Function]:
    found: Mapping[str, Function]
    if functions is None:
        found = REGISTRY
    elif isinstance(functions, Mapping):
        found = functions
    else:
        named = {each.callable: each for each in REGISTRY.values()}
        unknown = [each for each in functions if each not in named]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not decorated with @function(name).")
        found = {named[each].name: named[each] for each in functions}
    if not found:
        raise ValueError("There is no function to carry out: decorate one with @function(name).")
    return found
