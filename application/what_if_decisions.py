"""The decisions of another course: each made on the state that the course has reached, with the recorded answers where the
same is asked.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from application.what_if_answers import Asking, RecordedAnswers
from application.what_if_record import Record
from domain import commands as c
from domain import events as e
from domain.decision import AtWorkers, Question, Validation
from domain.errors import RetraceError
from domain.lifecycle import IllegalTransitionError
from domain.orchestration import opened, step
from domain.plan import Plan
from domain.redeciding import Step
from domain.state import State

_WORDS: Final[dict[type[c.Command], str]] = {
    c.ReceiveEvent: "event",
    c.Cancel: "cancel",
    c.Terminate: "terminate",
    c.Suspend: "suspend",
    c.Resume: "resume",
    c.Resolve: "answer to an incident",
    c.UndoChild: "undo by the parent",
}


class Decisions:
    """`state` and `events` are what they have led to so far."""

    def __init__(self, record: Record, plan: Plan, assumptions: dict[str, None], *, as_recorded: bool) -> None:
        """`as_recorded`: plan and input are the recorded ones, so that a repeated decision asks the recorded questions."""
        self.state = State()
        self.events: list[e.Event] = []
        self.limits = record.steps[0].limits
        self.plan = plan
        self.assumptions = assumptions
        self._as_recorded = as_recorded
        self._answers = RecordedAnswers(record.plan, record.steps)

    def carried_out(self, command: c.Command, recorded: Step | None) -> Asking:
        """The messages of one decision; none where the command is refused, as some of people may be."""
        try:
            return (yield from self._decide(command, recorded))
        except IllegalTransitionError:
            raise
        except RetraceError as error:
            self.assumptions[f"the recorded {_WORDS.get(type(command), 'command')} is refused: {error}"] = None
            return ()

    def _decide(self, command: c.Command, recorded: Step | None) -> Asking:
        """One decision. `recorded`: the one that it repeats; under the same plan its questions are the recorded ones."""
        at = self.state.updated_at
        if at is not None and command.at < at:
            command = msgspec.structs.replace(command, at=at)
        decision = opened(self.plan, self.state, command, self.limits)
        questions, asked = step(decision), 0
        while questions:
            if recorded is not None and self._as_recorded:
                answers, asked = recorded.answers(asked, questions)
            else:
                answers = yield from self._answered(questions, recorded)
            questions = step(decision, answers)
        self.events += decision.events
        yield []
        return decision.messages

    def _answered(self, questions: list[Question], recorded: Step | None) -> Asking:
        """From the record where the same was asked there, else from whoever drives this."""
        yield from self._answers.until(recorded.version if recorded is not None else None)
        answers: list[Any] = []
        missing: list[tuple[int, Question]] = []
        for number, question in enumerate(questions):
            known, answer = self._answers.find(question)
            if not known and isinstance(question.ask, Validation) and question.ask.resource is not None:
                known, answer = True, []
                self.assumptions["a value is valid by a schema that would have to be fetched"] = None
            if not known and isinstance(question.ask, AtWorkers):
                known, answer = True, False  # whether a worker had it there, nobody knows: it counts as sent
            answers.append(answer)
            if not known:
                missing.append((number, question))
        if missing:
            for (number, _), answer in zip(missing, (yield [question for _, question in missing]), strict=True):
                answers[number] = answer
        return answers
