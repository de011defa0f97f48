"""Migration: an orchestration goes on under another version of its definition, if each of its positions has a place there.

Nothing is done again and nothing is skipped: tasks that are new and lie behind the position come in their turn, those before
it do not. Allowed at any time before the end, also while suspended or rolling back: an undo that fails because of its
definition is mended by migrating and trying it again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from domain import commands as c
from domain import events as e
from domain.decision import Decision
from domain.errors import InvalidInputError, OrchestrationEndedError, Problem
from domain.fitting import Fitting
from domain.gaps import reopen


def migrate(d: Decision, command: c.Migrate) -> None:
    """Asked for the version that it has already, nothing changes. Raises OrchestrationEndedError, InvalidInputError with
    every position that has no place.
    """
    if d.state.final:
        raise OrchestrationEndedError(d.state.status)
    move_to(d, command.mapping, command.reason)


def move_to(d: Decision, mapping: Mapping[str, str], reason: str | None, anew: Collection[str] = ()) -> None:
    """From here on the decision goes by the new plan. `anew`: runs whose task a token comes to once more."""
    old, new = d.plan, d.to
    assert new is not None
    if new.digest == d.state.digest:
        return
    if (old.namespace, old.name) != (new.namespace, new.name):
        detail = f"it is a {old.namespace}/{old.name}, and goes on as nothing else"
        raise InvalidInputError([Problem("/definition", detail, "other-definition")], "This is another definition.")
    fit = Fitting(d.state, old, new, mapping).fit(anew)
    if fit.problems:
        detail = f"It cannot go on under {new.reference}: {len(fit.problems)} of its positions do not map."
        raise InvalidInputError(fit.problems, detail)
    d.emit(
        e.OrchestrationMigrated,
        definition=new.reference,
        digest=new.digest,
        moves=fit.moves,
        undoables=fit.undoables,
        rekeyed=tuple(fit.rekeyed),
        mapping=dict(mapping),
        reason=reason,
        remarks=tuple(fit.remarks),
    )
    d.plan = new
    if new.streams or d.state.streams:
        d.spawn(reopen(d))
