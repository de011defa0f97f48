"""Stops a walk at breakpoints and waits for a key, as a debugger does. Without anybody to ask, a breakpoint ends the walk."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from application.breakpoints import Breakpoint
    from retrace.replay import Step

_KEYS = "enter next, c continue, s state, q quit"


class Stepping:
    """`read_key` gives the next key, None where nobody is there; `say` writes a line."""

    def __init__(
        self, stop: Breakpoint | None, read_key: Callable[[], str] | None, say: Callable[[str], object]
    ) -> None:
        self.met = False
        self._stop = stop
        self._read_key = read_key
        self._say = say
        self._single = False

    def goes_on(self, step: Step, show_state: Callable[[], None]) -> bool:
        """Whether to go on after this step, which was shown."""
        hits = [event["version"] for event in step.events if self._stop is not None and self._stop(event)]
        self.met = self.met or bool(hits)
        if self._read_key is None:
            return not hits
        if not hits and not self._single:
            return True
        where = f"stopped at version {hits[0]}" if hits else f"after version {step.last_version}"
        self._say(f"-- {where}: {_KEYS}")
        while True:
            match self._read_key()[:1]:  # what is typed faster than it is read comes in one piece
                case "\r" | "\n" | " ":
                    self._single = True
                    return True
                case "c":
                    self._single = False
                    return True
                case "s":
                    show_state()
                case "q" | "\x03" | "\x04" | "":
                    return False
