"""Replay: a history walked again, decision by decision, and each decision made again from its recorded basis.

Nothing is called, evaluated or drawn: what the outside once said is in the history. A decision that now leads to other events
than were recorded is a *divergence*: the record or the code has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from domain import events as e
from domain.errors import RetraceError
from domain.evolve import evolve
from domain.plan import Plan
from domain.redeciding import NotRedecidedError, Step, bare, redecide, steps
from domain.state import State


class Divergence(msgspec.Struct, frozen=True):
    """A decision that goes another way now. `decided`: what it leads to; `why`: where it did not get that far."""

    version: int
    recorded: tuple[e.Event, ...]
    decided: tuple[e.Event, ...]
    why: str | None = None

    def text(self) -> str:
        """One sentence."""
        place = f"the decision of version {self.version} ({self.recorded[0].topic})"
        if self.why is not None:
            return f"{place} cannot be made again: {self.why}"
        pairs = zip(self.recorded, self.decided, strict=False)
        number, pair = next(
            ((n, pair) for n, pair in enumerate(pairs) if bare(pair[0]) != pair[1]),
            (min(len(self.recorded), len(self.decided)), None),
        )
        if pair is None:
            return f"{place} led to {len(self.recorded)} events, now to {len(self.decided)}"
        return f"{place} differs in version {self.version + number}: recorded {bare(pair[0])}, now {pair[1]}"


PlanOf = Callable[[str], Plan]
"""The plan of a definition by its digest: a history has several when it was migrated."""


def divergences(plans: Plan | PlanOf, history: Sequence[e.Event]) -> Iterator[Divergence]:
    """Decides a whole history again, by the plan that was in force at each decision or by one for all. After a divergence it
    goes on from what was recorded.
    """
    state = State()
    for recorded in steps(history):
        found = decided_again(plans, state, recorded)
        if found is not None:
            yield found
            state = _folded(history[: recorded.version - 1 + len(recorded.events)])


def decided_again(plans: Plan | PlanOf, state: State, recorded: Step) -> Divergence | None:
    """Make one decision again on the state before it, which becomes the state after it unless they diverge."""
    if recorded.events[0].basis is None:
        return Divergence(recorded.version, recorded.events, (), "its basis was not recorded")
    try:
        plan, to = recorded.plans(state, (lambda _: plans) if isinstance(plans, Plan) else plans)
        decided = tuple(redecide(plan, state, recorded, to=to).events)
    except (NotRedecidedError, RetraceError) as error:
        return Divergence(recorded.version, recorded.events, (), str(error) or type(error).__name__)
    except Exception as error:  # whatever a changed record or code leads to must be told, not end the walk
        return Divergence(recorded.version, recorded.events, (), f"{type(error).__name__}: {error}")
    if len(decided) == len(recorded.events) and all(
        bare(one) == other for one, other in zip(recorded.events, decided, strict=True)
    ):
        return None
    return Divergence(recorded.version, recorded.events, decided)


def _folded(history: Sequence[e.Event]) -> State:
    state = State()
    for event in history:
        evolve(state, event)
    return state
