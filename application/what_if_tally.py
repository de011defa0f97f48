"""Counts the outcomes of a fleet by their reasons, with a few examples of each."""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]
_EXAMPLES: Final = 3
_NOT_OF_EXAMPLES: Final = ("outcome", "same_calls", "reason", "why")
"""The group has the first three; what has values in it is for whoever looks at one."""
_MOST_GROUPS: Final = 100


class Tally:
    """`add` each; then `told`."""

    def __init__(self) -> None:
        self._counts = {"same": 0, "other": 0, "cannot_continue": 0}
        self._same_calls = 0
        self._groups: dict[tuple[str, bool, str], list[Any]] = {}
        self._ungrouped = 0

    def add(self, found: Json) -> None:
        """One of `application.what_if_result.brief`."""
        outcome = found["outcome"]
        self._counts[outcome] += 1
        if outcome == "same":
            return
        alike = outcome == "other" and found["same_calls"]
        self._same_calls += alike
        key = outcome, alike, found["reason"] or ""
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= _MOST_GROUPS:
                self._ungrouped += 1
                return
            group = self._groups[key] = [0]
        group[0] += 1
        if len(group) <= _EXAMPLES:
            group.append({name: value for name, value in found.items() if name not in _NOT_OF_EXAMPLES})

    def unreadable(self, id_: str, reason: str, detail: str | None = None) -> None:
        """One whose history could not be looked at. `detail`: what is wrong with just this one."""
        members = {"definition": None, "leaves_at": None, "status": None, "same_calls": False}
        more = {} if detail is None else {"detail": detail}
        self.add({"id": id_, "outcome": "cannot_continue", "reason": reason, "why": reason, **members, **more})

    def told(self) -> Json:
        """{considered, same, other, cannot_continue, same_calls, groups, not_grouped}, the largest groups first.

        `same_calls`: how many of the others differ in nothing that could be seen from outside.
        """
        groups = [
            {"outcome": outcome, "same_calls": alike, "reason": reason, "count": group[0], "examples": group[1:]}
            for (outcome, alike, reason), group in self._groups.items()
        ]
        groups.sort(key=lambda group: -group["count"])
        return {
            "considered": sum(self._counts.values()),
            **self._counts,
            "same_calls": self._same_calls,
            "groups": groups,
            "not_grouped": self._ungrouped,
        }
