"""What a state keeps so that nobody has to look for it, against what looking for it finds."""

from __future__ import annotations

from domain.state import Rollback, State


def check_indexes(state: State) -> None:
    """Fails when the shortcuts of a state do not say what a look through all of it says."""
    runs = state.runs
    open_runs = [run for run in runs.values() if run.open]
    assert set(state.open) == {run.id for run in open_runs}
    assert [runs[name].began for name in state.open] == sorted(run.began for run in open_runs)
    assert set(state.flights) == {run.id for run in open_runs if run.flying}
    assert state.flying == sum(run.flying for run in runs.values())
    assert state.calls == sum(run.flying and run.child is None for run in runs.values())
    assert set(state.watched) <= set(state.open)
    orders = [(stream, order) for stream in state.streams.values() for order in stream.orders.values()]
    assert state.parked == sum(len(order.parked) for _, order in orders)
    assert all(number > order.next for _, order in orders for number in order.parked)
    assert all(stream.orders[text].parked for stream in state.streams.values() for text in stream.gaps)
    for run in open_runs:
        entered = state.scopes[run.scopes["try"]] if "try" in run.scopes else None
        timed = run.due_at or run.timeout_at or run.more_at or (entered is not None and entered.timeout_at)
        assert run.id in state.watched or not (timed or run.listening is not None or run.pivot), run.id
    assert [run.id for run in state.attended()] == [name for name in state.open if name in state.watched]
    assert all(state.is_due((kind, key), at) for at, kind, key in state.due())
    rollbacks = list(state.rollbacks.values())
    assert state.rollbacks_going() == [rollback for rollback in rollbacks if not rollback.finished]
    for rollback in rollbacks:
        _check_plan(rollback)
        undos = [run for run in runs.values() if run.undo.status == "running" and run.undo.rollback == rollback.id]
        assert rollback.running == len(undos), rollback.id
    _check_branches(state)


def _check_branches(state: State) -> None:
    for run in state.runs.values():
        phases = [state.scopes[name].phase for slot, name in run.scopes.items() if slot.isdigit()]
        if run.kind in ("for", "fork") and run.open:
            assert (run.done, run.closed) == (phases.count("done"), phases.count("closed")), run.id
            assert run.lost == run.closed + phases.count("failing"), run.id
    if not state.going:
        for scope in state.scopes.values():
            held = [run for run in state.runs.values() if run.open and state.inside(run.scope, scope.id)]
            assert not held or scope.tokens > 0, scope.id


def _check_plan(rollback: Rollback) -> None:
    steps, ended = rollback.steps, rollback.ended
    left = {step.run: i for i, step in enumerate(steps) if ended[i] is None}
    assert rollback.waiting == left
    awaited = [[before for before in step.after if ended[before] is None] for step in steps]
    assert rollback.ready == [i for i in left.values() if not rollback.started[i] and not awaited[i]]
