"""``call: sql``: from the task's ``with`` to the outcome of one attempt.

Everything blocking happens on a thread of the connection's pool; see `transaction` for what is known at which moment.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import structlog

from adapters.callouts.http import INPUT
from adapters.callouts.sql.drivers import Driver, Trouble
from adapters.callouts.sql.ledger import Ledger
from adapters.callouts.sql.pool import Pool, Unreachable
from adapters.callouts.sql.postgres import PostgresDriver
from adapters.callouts.sql.sqlite import SqliteDriver
from adapters.callouts.sql.targets import PREFIX, Target, key_of
from adapters.callouts.sql.text import SqlTextError, read
from adapters.callouts.sql.transaction import (
    Bounds,
    CalledOff,
    Commitment,
    Execution,
    InDoubtError,
    RefusedError,
    Step,
)
from adapters.callouts.uris import json_kind
from application.ports import Answered, Callout, CalloutResult, Declined, Doubtful
from domain.errors import OURS, Fault, fault

log = structlog.get_logger(__name__)
PARAMETERS = frozenset({"connection", "query", "execute", "parameters", "expect", "exactly_once", "only_if_recorded"})
OF_STATEMENT = frozenset({"statement", "parameters", "expect"})
_TITLES = {
    "sql": (400, "SQL Error"),
    "constraint-violated": (409, "Constraint Violated"),
    "unexpected-rows": (409, "Unexpected Number of Rows"),
    "sql-too-large": (413, "Result Too Large"),
    "undone-before": (409, "Undone Before It Came"),
}


class Job(msgspec.Struct, frozen=True):
    """What one attempt does."""

    steps: tuple[Step, ...]
    reads: bool
    many: bool
    """Whether the steps were written as a list, so that the output is one too."""
    once: Literal["if-possible", "always", "never"]
    only_if_recorded: bool
    key: str
    undoes: str | None


class SqlCallouts:
    """Sends SQL to the operator's connections; `close` closes them."""

    def __init__(self, targets: Mapping[str, Target], *, connections: int = 4, bounds: Bounds | None = None) -> None:
        self._pools = {key: Pool(key.lower(), _driver(target), connections) for key, target in targets.items()}
        self._bounds = bounds or Bounds()

    def close(self) -> None:
        """Close connections; what is not being committed is not going to be."""
        for pool in self._pools.values():
            pool.close()

    async def send(self, callout: Callout) -> CalloutResult:
        """One attempt of a ``call: sql``. Returns within the callout's timeout."""
        try:
            pool, job = self._prepared(callout)
        except SqlTextError as problem:
            return Declined(fault("validation", f"call: sql: {problem}"))
        commitment = Commitment()
        deadline = time.monotonic() + callout.timeout_s
        try:
            running = pool.threads.submit(_outcome, pool, job, commitment, deadline, self._bounds)
        except RuntimeError:
            return Declined(fault("runtime", "call: sql: the service is stopping"))
        waiting = asyncio.wrap_future(running)
        definite = False
        try:
            await asyncio.wait((waiting,), timeout=callout.timeout_s)
        finally:
            if not waiting.done():
                waiting.add_done_callback(_look_at)
                unsent = running.cancel()
                definite = commitment.call_off()
                if definite and not unsent:  # what is being committed is not disturbed
                    threading.Thread(target=commitment.interrupt, name="retrace-sql-stop", daemon=True).start()
        if running.done() and not running.cancelled():
            return running.result()
        why = fault("timeout", f"connection {pool.name}: no answer within {callout.timeout_s:g} s")
        return Declined(why) if definite else Doubtful(why)

    def _prepared(self, callout: Callout) -> tuple[Pool, Job]:
        arguments = callout.arguments
        if not isinstance(arguments, dict):
            raise SqlTextError(f"with must be an object, not {json_kind(arguments)}")
        arguments = {name: value for name, value in arguments.items() if name != INPUT}
        if unknown := arguments.keys() - PARAMETERS:
            raise SqlTextError(f"there is no parameter {', '.join(sorted(unknown))}")
        name = arguments.get("connection")
        pool = self._pools.get(key_of(name)) if isinstance(name, str) else None
        if pool is None:
            raise SqlTextError(f"there is no connection {name!r}; the operator sets {PREFIX}{key_of(str(name))}")
        reads = "query" in arguments
        if reads == ("execute" in arguments):
            raise SqlTextError("write either query or execute")
        written = arguments["query" if reads else "execute"]
        once = arguments.get("exactly_once")
        return pool, Job(
            steps=tuple(_steps(written, arguments)),
            reads=reads,
            many=isinstance(written, list),
            once="if-possible" if once is None else "always" if once is True else "never",
            only_if_recorded=arguments.get("only_if_recorded") is True,
            key=callout.idempotency_key,
            undoes=callout.compensates,
        )


def _steps(written: Any, arguments: dict[str, Any]) -> list[Step]:
    if isinstance(written, str):
        return [_step({**arguments, "statement": written})]
    if not isinstance(written, list) or not written:
        raise SqlTextError("execute is the text of a statement, or a list of them")
    return [_step(each if isinstance(each, dict) else {"statement": each}) for each in written]


def _step(given: dict[str, Any]) -> Step:
    text, expect = given.get("statement"), given.get("expect")
    if not isinstance(text, str):
        raise SqlTextError(f"a statement is text, not {json_kind(text)}")
    if expect is not None and type(expect) is not int:
        raise SqlTextError(f"expect is a number of rows, not {json_kind(expect)}")
    return Step(read(text), given.get("parameters"), expect)


def _driver(target: Target) -> Driver:
    if target.kind == "sqlite":
        return SqliteDriver(target.url)
    if target.kind == "postgres":
        return PostgresDriver(target.url)
    from adapters.callouts.sql.mysql import MysqlDriver  # only with the extra

    return MysqlDriver(target.url)


def _look_at(done: asyncio.Future[Any]) -> None:
    """Take the result of what was left behind, so that nobody reports it as never retrieved."""
    if not done.cancelled():
        done.exception()


# On the thread ----------------------------------------------------------------------------------------------------


def _outcome(pool: Pool, job: Job, commitment: Commitment, deadline: float, bounds: Bounds) -> CalloutResult:
    try:
        if job.once == "always" and not job.reads and not pool.ledger_made:
            _make_ledger(pool, deadline)
        return Answered(_transacted(pool, job, commitment, deadline, bounds))
    except Unreachable as problem:
        log.warning("sql.unreachable", connection=pool.name, detail=str(problem))
        return Declined(fault("communication", f"connection {pool.name}: the database cannot be reached"))
    except CalledOff:
        return Declined(fault("timeout", f"connection {pool.name}: given up before the commit; nothing was done"))
    except RefusedError as problem:
        return Declined(_fault(problem.slug, f"connection {pool.name}: {problem.detail}"))
    except SqlTextError as problem:
        return Declined(fault("validation", f"call: sql: {problem}"))
    except InDoubtError as problem:
        detail = f"connection {pool.name}: the commit was sent, and its outcome is not known"
        return Doubtful(_with(fault("communication", detail), problem.trouble))
    except Exception as problem:
        trouble = pool.driver.explain(problem)
        if trouble is None:
            raise
        why = _fault_of(pool, trouble)
        # A statement that commits by itself has begun to take effect when it was sent.
        doubtful = trouble.kind in ("lost", "timeout") and not commitment.call_off() and not job.reads
        return Doubtful(why) if doubtful else Declined(why)


def _transacted(pool: Pool, job: Job, commitment: Commitment, deadline: float, bounds: Bounds) -> dict[str, Any]:
    connection = pool.take(deadline, reads=job.reads)
    ended = False
    try:
        commitment.attach(lambda: pool.driver.interrupt(connection))
        execution = Execution(pool.driver, connection, commitment, bounds)
        output = _worked(execution, pool, job)
        if job.reads:
            ended = _rolled_back(pool.driver, connection)
        else:
            execution.commit()
            ended = True
        return output
    except Exception:
        # Of a query the rest of its rows may still be on the way.
        ended = not job.reads and _rolled_back(pool.driver, connection)
        raise
    finally:
        commitment.detach()
        if ended and not commitment.called_off:
            pool.give_back(connection)
        else:
            pool.discard(connection)


def _worked(execution: Execution, pool: Pool, job: Job) -> dict[str, Any]:
    def work(happened: bool = False) -> dict[str, Any]:
        if job.only_if_recorded and not happened:
            return {"affected": 0, "skipped": True}
        outputs = [execution.run(step, reads=job.reads) for step in job.steps]
        if not job.many:
            return outputs[0]
        return {"affected": sum(each["affected"] for each in outputs), "results": outputs}

    if job.reads or job.once == "never":
        return work()
    ledger = Ledger(execution, pool.driver)
    if job.once == "if-possible" and not ledger.exists():
        if job.only_if_recorded:
            raise RefusedError("sql", "only_if_recorded needs the table retrace_calls, or exactly_once: true")
        return work()
    return ledger.once(job.key, job.undoes, work)


def _make_ledger(pool: Pool, deadline: float) -> None:
    """In a transaction of its own; another process may be making it at the same time."""
    for last in (False, True):
        connection = pool.take(deadline, reads=False)
        try:
            pool.driver.execute(connection, pool.driver.create_ledger, (), reads=False)
            pool.driver.commit(connection)
            pool.ledger_made = True
            return
        except Exception:
            if last:
                raise
        finally:
            pool.discard(connection)


def _rolled_back(driver: Driver, connection: Any) -> bool:
    try:
        driver.rollback(connection)
    except Exception:  # noqa: BLE001 - whatever it was, the connection is of no use any more
        return False
    return True


def _fault_of(pool: Pool, trouble: Trouble) -> Fault:
    where = f"connection {pool.name}: {trouble.message}"
    if trouble.kind == "timeout":
        return _with(fault("timeout", where), trouble)
    if trouble.kind == "lost":
        return _with(fault("communication", where, status=503), trouble)
    if trouble.kind == "conflict":
        return _with(fault("communication", where, status=503, title="Conflict"), trouble)
    return _with(_fault("constraint-violated" if trouble.kind == "constraint" else "sql", where), trouble)


def _with(why: Fault, trouble: Trouble) -> Fault:
    told = {"sqlstate": trouble.sqlstate, "constraint": trouble.constraint}
    return msgspec.structs.replace(why, response={name: value for name, value in told.items() if value is not None})


def _fault(slug: str, detail: str) -> Fault:
    status, title = _TITLES[slug]
    return Fault(OURS + slug, status, title, detail)
