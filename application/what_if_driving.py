"""Walks courses side by side: what they ask is answered together, in batches, and nobody else waits long for the thread.

Answers are remembered over a whole fleet: an expression is pure, so equal programs on equal values have equal results.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Generator, Sequence
from typing import Any, Final, Protocol

from application.what_if_answers import Key, key_of
from application.what_if_course import Course
from domain.decision import ChildChoice, Question

_BREATH_S: Final = 0.003
_REMEMBERED: Final = 20_000
_LARGEST_KEY: Final = 4096


class Facts(Protocol):
    """What may be asked: `application.facts.FactFinder`."""

    async def answer(self, questions: Sequence[Question], partition: int) -> list[Any]: ...


class Driver:
    """One for each fleet."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._known: OrderedDict[Key, Any] = OrderedDict()
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    async def walk(self, courses: Sequence[Course]) -> None:
        """All of them to their ends."""
        walking: list[tuple[Generator[list[Question], list[Any], Any], list[Any] | None]]
        walking = [(course.walk(), None) for course in courses]
        while walking:
            asking = []
            for generator, answers in walking:
                questions = await self._until_asked(generator, answers)
                if questions:
                    asking.append((generator, questions))
            answered = iter(await self._answered([each for _, questions in asking for each in questions]))
            walking = [(generator, [next(answered) for _ in questions]) for generator, questions in asking]

    async def _until_asked(
        self, generator: Generator[list[Question], list[Any], Any], answers: list[Any] | None
    ) -> list[Question]:
        """The next questions; none at its end."""
        try:
            questions = next(generator) if answers is None else generator.send(answers)
            while not questions:
                await self.breathe()
                questions = generator.send([])
        except StopIteration:
            return []
        return questions

    async def breathe(self) -> None:
        """Let others have the thread, if this has had it for a while."""
        if self._loop.time() - self._began > _BREATH_S:
            await asyncio.sleep(0)
            self._began = self._loop.time()

    async def _answered(self, questions: Sequence[Question]) -> list[Any]:
        # Who a child is, is drawn anew for each; everything else has one answer.
        keys: list[Key] = [
            (*key_of(each.ask), number) if isinstance(each.ask, ChildChoice) else key_of(each.ask)
            for number, each in enumerate(questions)
        ]
        missing = {
            key: each
            for key, each in zip(keys, questions, strict=True)
            if key not in self._known or isinstance(each.ask, ChildChoice)
        }
        if not missing:
            return [self._known[key] for key in keys]
        found = await self._facts.answer(list(missing.values()), 0)
        self._began = self._loop.time()
        fresh = dict(zip(missing, found, strict=True))
        answers = [fresh[key] if key in fresh else self._known[key] for key in keys]
        for key, answer in fresh.items():
            if not isinstance(missing[key].ask, ChildChoice) and _size(key) <= _LARGEST_KEY:
                self._known[key] = answer
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return answers


def _size(key: Key) -> int:
    """What is large is hardly asked twice."""
    return sum(len(part) for part in key if isinstance(part, bytes))
