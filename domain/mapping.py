"""Which task of one version of a definition is which of another: by name, unless the mapping says otherwise.

A task is the one at the same path (`domain.positions`) inside the task that the one around it maps to; so a renamed block
takes what is in it along, and tasks that were added before or around nothing do no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from domain.errors import InvalidInputError, Problem
from domain.plan import Plan
from domain.positions import by_path, path, short


class TaskMapping:
    """From pointers of `old` to pointers of `new`."""

    def __init__(self, old: Plan, new: Plan, explicit: Mapping[str, str]) -> None:
        """`explicit`: old task -> new task, each a pointer or a short name. Raises InvalidInputError for what is neither."""
        self._old = old
        self._new = by_path(new.nodes)
        self._known: dict[str, str | None] = {}
        problems: list[Problem] = []
        for given, wanted in explicit.items():
            place = "/mapping/" + given.replace("~", "~0").replace("/", "~1")
            try:
                self._known[_named(given, old)] = _named(wanted, new)
            except LookupError as error:
                problems.append(Problem(place, str(error.args[0]), "unknown-task"))
        if problems:
            raise InvalidInputError(problems, "The mapping names tasks that are not there.")

    def of(self, pointer: str) -> str | None:
        """Where a task of the old version is in the new one; None where it is not, or never was."""
        if pointer not in self._known:
            self._known[pointer] = self._found(pointer) if pointer in self._old.nodes else None
        return self._known[pointer]

    def _found(self, pointer: str) -> str | None:
        around = _around(pointer, self._old)
        if around is None:
            return self._new.get(path(pointer))
        moved = self.of(around)
        return None if moved is None else self._new.get((*path(moved), *path(pointer)[len(path(around)) :]))

    def came(self, old_pointers: Iterable[str]) -> set[str]:
        """The tasks of the new version that are one of the old."""
        return {moved for pointer in old_pointers if (moved := self.of(pointer)) is not None}


def _around(pointer: str, plan: Plan) -> str | None:
    """The task in which a task lies."""
    outer = pointer.rpartition("/")[0]
    while outer and outer not in plan.nodes:
        outer = outer.rpartition("/")[0]
    return outer or None


def _named(given: str, plan: Plan) -> str:
    """The pointer of a task that is given as one, or by its short name. Raises LookupError with what is wrong."""
    if given in plan.nodes:
        return given
    found = [pointer for pointer in plan.nodes if short(pointer) == given]
    if len(found) == 1:
        return found[0]
    if found:
        raise LookupError(f"{given} is {' or '.join(found)} in {plan.reference}; name it by its pointer")
    raise LookupError(f"there is no task {given} in {plan.reference}")
