"""The world in which golden histories happen: pure decisions, a clock that moves with every answer, ids that are always the
same. A story is one orchestration with its children; `bundles` tells it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from adapters.documents import compile_plan, digest, load
from adapters.stored_events import EventMapper
from application.bundles import FORMAT, BundledDefinition, bundle_of, digests
from application.chain import GENESIS, event_hash, log_hash
from application.storage import StoredRecord
from domain import commands as c
from domain.base62 import base62
from domain.decision import Child, ChildChoice, Question
from domain.state import State
from tests.support.examples_script import EXAMPLES, Script, name_of
from tests.support.forks import fork, known_to
from tests.support.pure_world import Attempt, Result, World

CODEC = EventMapper()
HEAD = {"dsl": "1.0.3", "namespace": "golden", "version": "1.0.0"}


def example(path: str) -> Any:
    return load((EXAMPLES / path).read_text(encoding="utf-8"), "application/yaml").value


def feature(name: str, tasks: list[Any], version: str = "1.0.0", **top: Any) -> Any:
    return {"document": {**HEAD, "name": name, "version": version}, "do": tasks, **top}


def reference(document: Any) -> str:
    head = document["document"]
    return f"{head['namespace']}/{head['name']}@{head['version']}"


class Story(World):
    """`answers`: name of a callout -> its results in turn, then done; `tests.support.examples_script.HOLD` is silence."""

    def __init__(self, *documents: Any, answers: Mapping[str, list[Result]] | None = None, **limits: Any) -> None:
        self.script = Script()
        self.script.answers = {name: list(results) for name, results in (answers or {}).items()}
        self.documents = {digest(document): document for document in documents}
        plans = [compile_plan(document, key)[0] for key, document in self.documents.items()]
        self.id = "o_" + base62(sha256(plans[0].reference.encode()).digest())
        super().__init__({plan.name: plan for plan in plans}, self.script, **limits)

    @property
    def root(self) -> State:
        return self.states[self.id]

    def begin(self, input_: Any = None, **members: Any) -> Story:
        self.start(input_, id_=self.id, actor="anonymous", **members)
        return self

    def ask(self, cls: type[c.Command], **members: Any) -> None:
        """An operator, Grace, asks for something."""
        self.do(members.pop("of", self.id), cls, actor="grace", **members)

    def deploy(self, document: Any) -> str:
        """Another version of a definition; its digest."""
        key = digest(document)
        self.documents[key] = document
        return known_to(self, compile_plan(document, key)[0])

    def fork(self, version: int, input_: Any, **members: Any) -> None:
        id_ = "o_" + base62(sha256(b"fork of " + self.id.encode()).digest())
        fork(self, version, id_, self.id, input=input_, actor="grace", **members)

    def tell(self, type_: str, data: Any = None, **attributes: Any) -> None:
        """An event arrives."""
        self.receive(type_, data, id_=attributes.pop("of", self.id), **attributes)

    def call_back(self, name: str, **members: Any) -> None:
        """A task of this name is called back, by nobody in particular."""
        run = next(run.id for run in reversed(self.root.runs.values()) if run.name == name)
        self.do(self.id, c.ReportCallback, run=run, **members)

    def answer_to(self, name: str, result: Result) -> None:
        """Answer, however late."""
        attempt = [each for each in self.script.attempts if name_of(each) == name][-1]
        if attempt in self.flying:
            self.flying.remove(attempt)
        self._report(attempt, result)
        self._answer_all()

    def _report(self, attempt: Attempt, result: Result) -> None:
        self.now += timedelta(milliseconds=23 + self._count * 17 % 61)  # an answer takes its time
        super()._report(attempt, result)

    def _fact(self, question: Question) -> Any:
        fact = super()._fact(question)
        if isinstance(question.ask, ChildChoice) and isinstance(fact, Child):
            return msgspec.structs.replace(fact, id="o_" + base62(sha256(fact.id.encode()).digest()))
        return fact

    # Telling ----------------------------------------------------------------------------------------------------------

    def bundles(self) -> Iterator[dict[str, Any]]:
        """A bundle of the orchestration and of each child."""
        for number, id_ in enumerate(self.history):
            versions = {"retrace": "0.1.0", "python": "3.11"}
            head = {
                "format": FORMAT,
                "exported_at": "2026-11-26T00:00:00.000000Z",
                "versions": versions,
                "checkpoints": [],
            }
            records = list(self._records(number, id_))
            ran_by = [
                BundledDefinition(reference(self.documents[key]), key, self.documents[key])
                for key in digests(CODEC, records)
            ]
            made = bundle_of(CODEC, head, records, ran_by)
            yield msgspec.json.decode(msgspec.json.encode(made))

    def _records(self, number: int, id_: str) -> Iterator[StoredRecord]:
        own, previous, chain = UUID(int=number + 1), GENESIS, GENESIS
        for version, event in enumerate(self.history[id_], 1):
            stored = CODEC.encode(event)
            previous = event_hash(previous, 0, version, own, version, event.topic, stored)
            chain = log_hash(chain, previous)
            yield StoredRecord(version, own, version, event.topic, stored, previous, chain)


FOLDER = Path(__file__).parent
