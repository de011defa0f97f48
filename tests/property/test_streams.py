"""Streams against a model of a few lines: any order, repeats, losses, pauses and deadlines; what is taken is always in order.

The pure world stores every event, folds it a second time and decides every decision again.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain import commands as c
from domain.state import State
from tests.support.flows import echo
from tests.support.forks import boundaries, fork
from tests.support.pure_world import World, plan_of

EXAMPLES = int(os.environ.get("STORIES", "200"))
PLAIN = {"type": "paper"}, "length == 1000"
IN_JQ = {"type": '${ . == "paper" }'}, "${ length == 1000 + ($context.none // 0) }"
numbers = st.integers(-1, 9)
keys = st.sampled_from(["a", "b"])
moves = st.one_of(
    st.tuples(st.just("send"), numbers, keys, st.sampled_from(["new", "new", "new", "again"])),
    st.tuples(st.just("pass"), st.integers(1, 400)),
    st.tuples(st.sampled_from(["suspend", "resume"])),
)
Move = tuple[Any, ...]


class Model:
    """What has to come of it: for each key the next number, what is parked, what was skipped, when the gap is overdue."""

    def __init__(self, *, skips: bool, first: int) -> None:
        self.skips, self.first = skips, first
        self.next: dict[str, int] = {}
        self.parked: dict[str, set[int]] = {}
        self.skipped: dict[str, set[int]] = {}
        self.gap_at: dict[str, float] = {}
        self.taken: list[tuple[str, int]] = []
        self.now, self.suspended = 0.0, False

    def send(self, number: int, key: str) -> str:
        following, parked = self.next.setdefault(key, self.first), self.parked.setdefault(key, set())
        if number < self.first or number in self.skipped.get(key, ()):
            return "late"
        if number < following or number in parked:
            return "duplicate"
        if number > following:
            parked.add(number)
            self.gap_at.setdefault(key, self.now + 300)
            return "parked"
        self.taken.append((key, number))
        self._go_on(key, number + 1)
        return "held" if self.suspended else "matched"

    def _go_on(self, key: str, number: int) -> None:
        while number in self.parked[key]:
            self.parked[key].remove(number)
            self.taken.append((key, number))
            number += 1
        self.next[key] = number
        self.gap_at.pop(key, None)
        if self.parked[key]:
            self.gap_at[key] = self.now + 300

    def pass_(self, seconds: float) -> None:
        until = self.now + seconds
        while self.skips and not self.suspended and self.gap_at and min(self.gap_at.values()) <= until:
            self.now = max(self.now, min(self.gap_at.values()))
            self.overdue()
        self.now = until

    def overdue(self) -> None:
        for key in [key for key, at in self.gap_at.items() if self.skips and at <= self.now]:
            lowest = min(self.parked[key])
            self.skipped.setdefault(key, set()).update(range(self.next[key], lowest))
            self._go_on(key, lowest)


def world_of(form: tuple[Any, str], *, skips: bool, first: int) -> World:
    with_, until = form
    order = {"from": first, "per": ".subject" if form is PLAIN else '.subject + ""', "by": "sequence"}
    stream: dict[str, Any] = {"with": with_, "order": order}
    if skips:
        stream["gap"] = {"after": {"seconds": 300}, "then": "continue"}
    tasks = [{"collect": {"listen": {"to": {"any": [{"with": with_}], "until": until}, "read": "envelope"}}}]
    world = World(plan_of(tasks, streams={"papers": stream}), echo)
    world.start()
    return world


def play(world: World, model: Model, move: Move, sent: list[dict[str, Any]]) -> None:
    match move:
        case ("send", number, key, "again") if sent:
            event = sent[number % len(sent)]
            world.do("o_root", c.ReceiveEvent, event=event, digest=event["id"].encode())
        case ("send", number, key, _):
            event = {"specversion": "1.0", "id": f"e{len(sent)}", "source": "s", "type": "paper"}
            event |= {"subject": key, "sequence": number}
            sent.append(event)
            events = world.do("o_root", c.ReceiveEvent, event=event, digest=event["id"].encode())
            assert [ev.outcome for ev in events if ev.topic == "event.received"] == [model.send(number, key)]  # type: ignore[attr-defined]
        case ("pass", seconds):
            world.pass_time(seconds)
            model.pass_(seconds)
        case ("suspend",):
            world.do("o_root", c.Suspend)
            model.suspended = True
        case ("resume",):
            world.do("o_root", c.Resume)
            model.suspended = False
            model.overdue()


def taken(state: State) -> list[tuple[str, int]]:
    (run,) = state.runs.values()
    assert run.listening is not None
    return [(event["subject"], event["sequence"]) for event in run.listening.values]


def of(key: str, found: list[tuple[str, int]]) -> list[int]:
    return [number for each, number in found if each == key]


@settings(max_examples=EXAMPLES)
@given(st.lists(moves, max_size=40), st.sampled_from([PLAIN, IN_JQ]), st.booleans(), st.sampled_from([0, 1]))
def test_what_is_taken_is_what_the_model_says_in_order_and_each_once(
    story: list[Move], form: tuple[Any, str], skips: bool, first: int
) -> None:
    world, model = world_of(form, skips=skips, first=first), Model(skips=skips, first=first)
    sent: list[dict[str, Any]] = []
    for move in story:
        play(world, model, move, sent)
        orders = world.root.streams["papers"].orders.values()
        parked = {order.key: set(order.parked) for order in orders if order.parked}
        assert parked == {key: numbers for key, numbers in model.parked.items() if numbers}
        assert world.root.parked == sum(map(len, parked.values()))
        if not model.suspended:
            assert sorted(taken(world.root)) == sorted(model.taken)
        for key in "ab":
            order = of(key, taken(world.root))
            assert order == sorted(set(order))
            assert order == of(key, model.taken)[: len(order)]
    world.do("o_root", c.Resume)
    model.suspended = False
    model.overdue()
    assert sorted(taken(world.root)) == sorted(model.taken)
    assert world.root.held == []


@settings(max_examples=EXAMPLES)
@given(st.permutations(range(1, 8)), st.data())
def test_whatever_comes_and_however_often_all_are_taken_in_order(order: list[int], data: st.DataObject) -> None:
    world, model = world_of(IN_JQ, skips=False, first=1), Model(skips=False, first=1)
    repeats = data.draw(st.lists(st.sampled_from(order), max_size=10))
    story = data.draw(st.permutations([*order, *repeats]))
    sent: list[dict[str, Any]] = []
    for number in story:
        play(world, model, ("send", number, "a", "new"), sent)
    assert of("a", taken(world.root)) == sorted(order)


@settings(max_examples=max(20, EXAMPLES // 10))
@given(st.lists(moves, min_size=1, max_size=15), st.data())
def test_a_fork_goes_on_where_its_original_was(story: list[Move], data: st.DataObject) -> None:
    world, model = world_of(PLAIN, skips=True, first=1), Model(skips=True, first=1)
    sent: list[dict[str, Any]] = []
    for move in story:
        play(world, model, move, sent)
    version = data.draw(st.sampled_from(boundaries(world)))
    world.pass_time(1000)
    forked = fork(world, version)
    left = {ev.id for ev in world.history["o_root"][:version] if ev.topic == "event.received"}  # type: ignore[attr-defined]
    for event in sent:
        if event["id"] not in left:
            world.do("o_fork", c.ReceiveEvent, event=event, digest=event["id"].encode())
    for key in "ab":
        order = of(key, taken(forked))
        assert order == sorted(set(order))
