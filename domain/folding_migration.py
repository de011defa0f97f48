"""What a migration does to the state: tasks and scopes have other pointers, some compensations another ``after``.

Runs and scopes keep their ids. Numbers of runs go on where they were, under the old pointer too, so the id of a new run is
never one that exists.
"""

from __future__ import annotations

from domain import events as e
from domain.folding import Handler
from domain.positions import name_at
from domain.state import ROOT, State


def _migrated(s: State, ev: e.OrchestrationMigrated) -> None:
    s.definition, s.digest = ev.definition, ev.digest
    if ev.moves:
        _move(s, ev.moves)
    for name, after in ev.undoables.items():
        run = s.runs[name]
        run.undoable = after
        if run.undo.status == "none" and ROOT not in s.rollbacks:
            run.undo.status = "armed"
    for name in ev.rekeyed:
        s.runs[name].key = None


def _move(s: State, moves: dict[str, str]) -> None:
    for run in s.runs.values():
        if run.pointer in moves:
            run.pointer = moves[run.pointer]
            run.name = name_at(run.pointer)
    for scope in s.scopes.values():
        scope.pointer = moves.get(scope.pointer, scope.pointer)
        scope.runs = {moves.get(pointer, pointer): run for pointer, run in scope.runs.items()}
    counted, before = dict(s.counts), {name: list(older) for name, older in s.renamed.items()}
    for old, new in moves.items():
        if old in counted:
            s.counts[new] = max(s.counts.get(new, 0), counted[old])
            older = (*before.get(new, ()), old, *before.get(old, ()))
            s.renamed[new] = list(dict.fromkeys(each for each in older if each != new))


HANDLERS: dict[type[e.Event], Handler] = {e.OrchestrationMigrated: _migrated}
