"""What-if over histories of `tests.support.pure_world`, driven without anything that could be called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from adapters.expressions.inline import evaluate
from adapters.expressions.schemas import JsonSchemas
from application.what_if_course import Course
from application.what_if_record import Record
from application.what_if_result import result
from application.what_if_suppositions import Change, Suppositions
from domain import events as e
from domain.decision import AtWorkers, Child, ChildChoice, Question, Validation
from domain.expressions import Evaluation
from domain.plan import Plan
from tests.support.pure_world import World

__all__ = ["Change", "Suppositions", "told", "walked", "what_if"]
_SCHEMAS = JsonSchemas()


def told(world: World, id_: str = "o_root") -> list[e.Event]:
    """The history as it comes back from its stored bytes."""
    raw = [(each.topic, msgspec.msgpack.encode(each)) for each in world.history[id_]]
    return [msgspec.msgpack.decode(stored, type=e.TOPICS[topic]) for topic, stored in raw]


def walked(world: World, plan: Plan | None = None, *, id_: str = "o_root", **supposed: Any) -> Course:
    """The course under another plan (the recorded one unless said), with these suppositions."""
    recorded = world.plan_of[id_]
    course = Course(Record(recorded, told(world, id_)), plan or recorded, Suppositions(**supposed))
    walking = course.walk()
    questions: Sequence[Question] = next(walking, ())
    try:
        while True:
            questions = walking.send([_answer(world, each) for each in questions])
    except StopIteration:
        return course


def what_if(world: World, plan: Plan | None = None, **supposed: Any) -> dict[str, Any]:
    """What is told of it."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(result(walked(world, plan, **supposed))))
    return found


def _answer(world: World, question: Question) -> Any:
    match question.ask:
        case Evaluation() as evaluation:
            return evaluate(evaluation)
        case Validation() as validation:
            return _SCHEMAS.violations(validation.schema, validation.value)
        case AtWorkers():
            return False
        case ChildChoice(_, name, _):
            found = world.plans.get(name)
            return Child(f"o_new{name}", found.reference, found.digest) if found else None
