"""Answers to the questions of another course: the recorded ones, as long as the same is asked.

What was asked on the recorded path is not in the history, only what was answered; so the recorded decisions are made again,
as far as they are needed, and each question is kept with its answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from typing import Any

import msgspec

from domain.decision import Ask, AtWorkers, ChildChoice, Question, Validation
from domain.errors import RetraceError
from domain.expressions import Evaluation
from domain.orchestration import opened, step
from domain.plan import Plan
from domain.redeciding import NotRedecidedError, Step
from domain.state import State

Asking = Generator[list[Question], list[Any], Any]
"""Yields questions and gets their answers; no questions at all means: take a breath."""
Key = tuple[Any, ...]
_encode = msgspec.json.Encoder().encode


def key_of(ask: Ask) -> Key:
    """Equal for equal questions: their answers are equal too."""
    match ask:
        case Evaluation(program, names, values):
            return program, names, _encode(values)
        case Validation(schema, resource, value):
            return "validation", _encode([schema, resource]), _encode(value)
        case ChildChoice(namespace, name, version):
            return "child", namespace, name, version
        case AtWorkers(function):
            return "at_workers", function


class RecordedAnswers:
    """What was asked and answered on the recorded path."""

    def __init__(self, plan: Plan | None, recorded: Sequence[Step]) -> None:
        self._plan = plan
        self._steps = deque(recorded) if plan is not None else deque()
        self._state = State()
        self._known: dict[Key, Any] = {}
        self._children: dict[Key, deque[Any]] = {}

    def until(self, version: int | None) -> Asking:
        """Learn what was asked in decisions up to that of a version (None: in all)."""
        while self._steps and (version is None or self._steps[0].version <= version):
            if not self._learn(self._steps.popleft()):
                self._steps.clear()
            yield []

    def find(self, question: Question) -> tuple[bool, Any]:
        """(whether it was answered, the answer). Each answer that names a child is given once: it is one child."""
        key = key_of(question.ask)
        if isinstance(question.ask, ChildChoice):
            left = self._children.get(key)
            return (True, left.popleft()) if left else (False, None)
        return (True, self._known[key]) if key in self._known else (False, None)

    def _learn(self, recorded: Step) -> bool:
        """Whether the decision could be made again; else nothing more can be learnt."""
        assert self._plan is not None
        try:
            decision = opened(self._plan, self._state, recorded.command(), recorded.limits)
            questions, asked = step(decision), 0
            while questions:
                answers, asked = recorded.answers(asked, questions)
                for question, answer in zip(questions, answers, strict=True):
                    self._keep(question, answer)
                questions = step(decision, answers)
        except (NotRedecidedError, RetraceError):
            return False
        return True

    def _keep(self, question: Question, answer: Any) -> None:
        key = key_of(question.ask)
        if isinstance(question.ask, ChildChoice):
            self._children.setdefault(key, deque()).append(answer)
        else:
            self._known[key] = answer
