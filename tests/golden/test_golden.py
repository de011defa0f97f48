"""Every golden history is decided again as it was, folds to the status that it had, and is the file that it always was.

These files may never be changed, only added to: they are what databases out there hold. A version that does not pass here would
not continue what others began. `SHA256SUMS` beside them is written with each file and is part of the promise.
"""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from domain import commands as c
from domain.basis import COMMANDS
from domain.events import TOPICS
from retrace import replay
from tests.golden import make, scenes
from tests.golden.stories import FOLDER

FILES = sorted(FOLDER.glob("*.json"))
IN_NO_DOCUMENT = {"token.joined"}
"""Joins are part of the plan, but nothing in the language of definitions says them yet."""


def sums() -> dict[str, str]:
    lines = (FOLDER / make.SUMS).read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split("  ") for line in lines)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_golden_history_replays(file):
    history = replay.load(file)
    assert history.verify() == []
    assert history.unlike() == []
    assert history.broken_links() == []
    assert [step.decide() for step in history] == [step.events for step in history]


def test_golden_files_are_what_they_were():
    assert {file.name: sha256(file.read_bytes()).hexdigest() for file in FILES} == sums()


def test_every_event_and_every_command_occurs():
    histories = [replay.load(file) for file in FILES]
    events = {event["type"] for history in histories for step in history for event in step.events}
    assert events == set(TOPICS) - IN_NO_DOCUMENT
    commands = {step.command["command"] for history in histories for step in history}
    assert commands == {*COMMANDS, "start", "timers", "fork", "migrate"}
    assert (
        len(commands)
        == len({cls for cls in vars(c).values() if isinstance(cls, type) and issubclass(cls, c.Command)}) - 1
    )


def test_every_story_was_told():
    assert {file.name.partition(".")[0] for file in FILES} == set(scenes.STORIES)


def test_a_story_told_again_is_the_same(tmp_path):
    names = dict(make.told())
    assert json.dumps(names) == json.dumps(dict(make.told()))
    assert set(names) == {file.name for file in FILES}
