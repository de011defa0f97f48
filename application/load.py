"""How much a node takes on: what comes from outside is refused before any queue grows without end.

What is under way is never refused: results, timers and events of orchestrations that have begun are always recorded. A start
is refused earlier than a command, for it is a start that makes more work.
"""

from __future__ import annotations

from application.effects import Effects
from application.journal import Journal
from domain.errors import OverloadedError, TooManyRequestsError


class Load:
    """Asked by the use cases that change something, before they do."""

    def __init__(self, journal: Journal, effects: Effects, *, most_waiting: int, most_in_progress: int) -> None:
        """`most_waiting`: commits that wait for the database. `most_in_progress`: callouts that are sent or wait for their
        turn.
        """
        self._journal = journal
        self._effects = effects
        self._most_waiting = most_waiting
        self._most_in_progress = most_in_progress

    def admit_change(self) -> None:
        """Raises OverloadedError when the database does not keep up."""
        if self._journal.waiting >= self._most_waiting:
            raise OverloadedError("The database does not keep up with what is asked; repeat the request later.")

    def admit_start(self) -> None:
        """Raises OverloadedError, or TooManyRequestsError when what has been started is more than can be sent."""
        self.admit_change()
        if self._effects.in_progress >= self._most_in_progress:
            raise TooManyRequestsError(
                f"{self._effects.in_progress} callouts are in progress or wait for their turn; start more later."
            )
