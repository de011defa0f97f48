"""What happens once everything inside a failing scope or composite has settled, and when that is.

A decision has come to rest when no strand can go on. Then `settle` looks at what is failing, deepest first, and lets the
first that has settled take its consequence; that may set strands going again, and so on until nothing moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from domain import events as e
from domain.branches import branch_lost
from domain.data import Env, duration_s, fill, truth
from domain.decision import Decision, Faulted, Strand
from domain.errors import KIT, SPEC, Fault, fault
from domain.failing import abandon, fail
from domain.flow import finish
from domain.plan import Catch, Duration, For, Fork, Retry, Try
from domain.retry import delay_s
from domain.state import COMPENSATE, ROOT, Run, ScopeState
from domain.undoing import decide, failed, go_on, progress


def settle(d: Decision) -> bool:
    """Let one thing that has settled take its consequence. Whether anything did."""
    state = d.state
    if not state.unsettled or state.final or state.suspended:
        return False
    for key in sorted(state.failing, key=lambda k: -_depth(d, k)):
        if key == "s:":
            continue
        if key[0] == "s" and not _busy(d, (key[2:],)):
            d.spawn(_scope_settled(d, state.scopes[key[2:]]))
            return True
        if key[0] == "r":
            run = state.runs[key[2:]]
            if run.id in state.going or state.settles(key):
                continue
            losers = _losers(d, run)
            if not _busy(d, losers) and d.live(run.scope):
                d.spawn(_run_settled(d, run, losers))
                return True
    if progress(d):
        return True
    if (state.rolling_back and ROOT not in state.rollbacks) and not _busy(d, (ROOT,)):
        _close_inside(d, (ROOT,))
        assert state.cause is not None
        d.spawn(decide(d, ROOT, (ROOT,), state.cause))
        return True
    if state.ending is None or state.rolling_back:
        return False
    asked = any(i.kind == "after_pivot" and i.run is None and "retry" in i.actions for i in state.open_incidents())
    if not asked and not _busy(d, (ROOT,)):
        _close_inside(d, (ROOT,))
        d.spawn(finish(d, state.ending))
        return True
    return False


def _losers(d: Decision, run: Run) -> list[str]:
    """The scopes that end with the failure of a run, or with the victory of others."""
    if run.winner is None:
        return list(run.scopes.values())
    return [s for s in run.scopes.values() if d.state.scopes[s].phase != "done"]


def _depth(d: Decision, key: str) -> int:
    scope = key[2:] if key[0] == "s" else d.state.runs[key[2:]].scope
    return 2 * sum(1 for _ in d.state.scope_chain(scope)) + (key[0] == "r")


def _busy(d: Decision, scopes: Iterator[str] | tuple[str, ...] | list[str]) -> bool:
    """Whether anything in these scopes still has to be awaited: an attempt in flight, an undo in progress, or a partial
    rollback, which always runs to its end unless one of the whole takes over.
    """
    state, wanted = d.state, set(scopes)
    if not state.going and all(state.scopes[scope].tokens <= 0 for scope in wanted):
        return False
    for rollback in state.rollbacks_going():
        goes_on = rollback.id != ROOT and not state.rolling_back
        if goes_on and any(s.id in wanted for s in state.scope_chain(state.runs[rollback.id].scope)):
            return True
    for name in state.open:
        run = state.runs[name]
        undo = False
        for found in state.scope_chain(run.scope):
            if found.id in wanted:
                if run.flying or undo:
                    return True
                break
            undo = undo or found.slot == COMPENSATE
    return any(
        state.runs[step.run].undo.child_busy
        and any(s.id in wanted for s in state.scope_chain(state.runs[step.run].scope))
        for rollback in state.rollbacks_going()
        for step in rollback.steps
    )


def _close_inside(d: Decision, scopes: Sequence[str]) -> None:
    """End the composites that are left inside settled scopes, one scope after the other, deepest first."""
    for scope, left in d.state.open_inside(scopes, undos=True).items():
        _close(d, scope, left)


def _close(d: Decision, scope: str, left: list[Run]) -> None:
    state = d.state
    for run in sorted(left, key=lambda r: -sum(1 for _ in state.scope_chain(r.scope))):
        if run.open:
            abandon(d, run, fault("cancelled", "what is around it has ended"))
    for incident in state.open_incidents():
        held = state.runs[incident.run] if incident.run else None
        if held is not None and held.held and state.inside(held.scope, scope):
            d.emit(e.IncidentResolved, number=incident.number, action="superseded")
    for key in list(state.failing):
        if key[0] == "s" and key != "s:" and key[2:] != scope and state.inside(key[2:], scope):
            d.emit(e.ScopeClosed, scope=key[2:])


def _scope_settled(d: Decision, scope: ScopeState) -> Strand:
    _close_inside(d, (scope.id,))
    d.emit(e.ScopeClosed, scope=scope.id)
    assert scope.owner is not None
    assert scope.fault is not None
    owner = d.state.runs[scope.owner]
    work = d.node(owner).work
    if scope.slot == COMPENSATE:
        failed(d, owner, scope.fault)
    elif not d.live(owner.scope) or owner.failing is not None:
        return
    elif isinstance(work, Try):
        yield from _catch(d, owner, work.catch, scope.fault)
    elif isinstance(work, For | Fork) and work.parallel is not None:
        yield from branch_lost(d, owner, work, scope)
    elif isinstance(work, Fork):
        others = [d.state.scopes[s] for s in owner.scopes.values()]
        if owner.winner is None and all(other.phase == "closed" for other in others):
            fail(d, owner, scope.fault)


def _run_settled(d: Decision, run: Run, losers: list[str]) -> Strand:
    _close_inside(d, losers)
    if run.failing is not None:
        fail(d, run, run.failing)
        return
    work = d.node(run).work
    many = isinstance(work, For | Fork) and work.parallel is not None
    text = "enough branches have ended" if many else "another branch was first"
    reason = e.Cause("cancel", task=run.pointer, text=text)
    yield from decide(d, run.id, losers, reason)


# Catching -------------------------------------------------------------------------------------------------------------


def _catch(d: Decision, run: Run, catch: Catch, why: Fault) -> Strand:
    """Does this ``try`` handle the error, and how?"""
    env = Env(d, run.scope, run.pointer, run, d.state.raw_input(run))
    env.extra[catch.as_] = why.as_json()
    try:
        if not (yield from _matches(catch, why, run, env)):
            fail(d, run, why)
            return
        retry_at = None
        if catch.retry is not None and run.started_at is not None:
            elapsed = (d.now - (run.first_at or run.started_at)).total_seconds()
            wait = yield from retry_in(d, catch.retry, run.caught + 1, elapsed, run.input, env)
            if wait is not None:
                retry_at = d.in_s(wait)
            elif catch.scope is None:
                fail(d, run, why)
                return
    except Faulted as stop:
        fail(d, run, stop.fault)
        return
    d.emit(e.ErrorCaught, run=run.id, fault=why, retry_at=retry_at, rollback=catch.compensate)
    if catch.compensate:
        reason = e.Cause("error", task=why.instance, fault=why)
        yield from decide(d, run.id, _entries(d, run), reason)
    elif retry_at is None:
        go_on(d, run)


def _entries(d: Decision, run: Run) -> list[str]:
    """Every scope that this ``try`` has entered, the latest first."""
    found, current = [], run.scopes.get("try")
    while current is not None:
        found.append(current)
        current = d.state.scopes[current].previous
    return found


def _matches(catch: Catch, why: Fault, run: Run, env: Env) -> Strand:
    for member, template in catch.errors:
        expected = yield from fill(template, run.input, env, f"catch.errors.with.{member}")
        actual = getattr(why, "detail" if member == "details" else member, None)
        if member == "type":
            expected, actual = _same_kind(expected), _same_kind(actual)
        if expected != actual:
            return False
    if catch.when is not None and not (yield from truth(catch.when, run.input, env, "catch.when")):
        return False
    if catch.except_when is None:
        return True
    return not (yield from truth(catch.except_when, run.input, env, "catch.exceptWhen"))


def _same_kind(type_: object) -> object:
    """The kit's form of a type equals the standard's."""
    return SPEC + type_[len(KIT) :] if isinstance(type_, str) and type_.startswith(KIT) else type_


def retry_in(d: Decision, policy: Retry, retry: int, elapsed_s: float, dot: object, env: Env) -> Strand:
    """Seconds until retry number `retry`, or None when the policy allows no more."""
    if policy.max_retries is not None and retry > policy.max_retries:
        return None
    if policy.when is not None and not (yield from truth(policy.when, dot, env, "retry.when")):
        return None
    if policy.except_when is not None and (yield from truth(policy.except_when, dot, env, "retry.exceptWhen")):
        return None
    base = yield from duration_s(policy.delay, dot, env, "retry.delay")
    low = yield from duration_s(policy.jitter_from or Duration(), dot, env, "retry.jitter.from")
    high = yield from duration_s(policy.jitter_to or Duration(), dot, env, "retry.jitter.to")
    wait = delay_s(policy, retry, base, (low, max(low, high)), d.chance() if high else 0.0)
    if policy.max_duration is not None:
        longest = yield from duration_s(policy.max_duration, dot, env, "retry.limit.duration")
        if elapsed_s + wait > longest:
            return None
    return wait
