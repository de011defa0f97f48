"""Random small definitions, driven by random answers in random order: whatever happens, they come to rest.

Checked on the way, for every decision: `decide` with a growing dictionary of facts gives the events that stepping gives;
no question is asked twice under one key; something is always under way that will wake a running orchestration; the state
is the fold of the stored events (the pure world checks that). And afterwards: every prefix of a history folds.
"""

from __future__ import annotations

import copy
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from domain import commands as c
from domain import events as e
from domain.evolve import evolve
from domain.orchestration import Decided, Facts, Needs, decide
from domain.redeciding import bare
from domain.state import State
from tests.support.flows import never
from tests.support.pure_world import Attempt, World, done, doubt, plan_of, refused, unusable

# Definitions ------------------------------------------------------------------------------------------------------------

ERROR = {"type": "https://x.test/e", "status": 400}
UNDO = st.sampled_from(
    [{"call": "undo"}, {"do": [{"u": {"call": "undo"}}, {"v": {"set": {"x": 1}}}]}, {"if": ".x", "call": "undo"}]
)
RETRY = st.fixed_dictionaries(
    {"limit": st.sampled_from([{"attempt": {"count": 1}}, {"attempt": {"count": 1, "duration": {"seconds": 2}}}])},
    optional={"delay": st.sampled_from([{"seconds": 1}, {"milliseconds": 1500}])},
)
LEAVES = st.one_of(
    st.sampled_from(
        [
            {"set": {"x": 1}},
            {"set": {"x": "${ [.] | length }"}},
            {"set": {"x": "${ .x.y }"}},
            {"wait": {"seconds": 1}},
            {"wait": "${ {seconds: 2} }"},
            {"raise": {"error": ERROR}},
            {"emit": {"event": {"with": {"source": "s", "type": "t", "data": "${ . | tojson }"}}}},
            {"listen": {"to": {"any": [{"with": {"type": '${ . == "go" }'}}]}}},
            {"listen": {"to": {"any": [], "until": ". | length >= 2"}}, "foreach": {"do": [{"c": {"call": "f"}}]}},
            {"switch": [{"a": {"when": ".x == 1 and true", "then": "exit"}}]},
            {"switch": [{"a": {"when": '(.x | type) == "number"', "then": "end"}}, {"b": {"then": "continue"}}]},
        ]
    ),
    st.fixed_dictionaries(
        {"call": st.just("f")}, optional={"compensate": UNDO, "retry": RETRY, "with": st.just({"x": "${ .x }"})}
    ),
)
AROUND = st.fixed_dictionaries(
    {},
    optional={
        "if": st.sampled_from(["true", ".x == 1 or true", ". == 1 and false"]),
        "then": st.sampled_from(["continue", "exit", "end"]),
        "output": st.just({"as": "${ {x: 1, of: $task.name} }"}),
        "export": st.just({"as": "${ $context + {seen: $output} }"}),
        "timeout": st.sampled_from([{"after": {"seconds": 1}}, {"after": {"seconds": 30}}]),
    },
)


def named(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{f"t{number}": task} for number, task in enumerate(tasks)]


def composites(task: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    body = st.lists(task, min_size=1, max_size=3).map(named)
    catch = st.fixed_dictionaries(
        {}, optional={"do": body, "retry": RETRY, "compensate": st.booleans(), "when": st.just("$error.status == 400")}
    )
    return st.one_of(
        st.fixed_dictionaries({"do": body}, optional={"compensate": UNDO}),
        st.builds(
            lambda b, n, w: {"for": {"in": f"[range({n})]"}, "do": b, **w},
            body,
            st.integers(0, 3),
            st.sampled_from([{}, {"while": "$index < 2 and true"}]),
        ),
        st.builds(
            lambda b, n, p: {"for": {"in": f"[range({n})]"}, "do": b, "parallel": p},
            body,
            st.integers(0, 5),
            st.fixed_dictionaries(
                {},
                optional={
                    "limit": st.integers(1, 3),
                    "completion": st.sampled_from(["first", {"at_least": 2}]),
                    "tolerate": st.sampled_from(["all", 1]),
                },
            ),
        ),
        st.builds(lambda b, compete: {"fork": {"branches": b, "compete": compete}}, body, st.booleans()),
        st.builds(lambda b, k: {"try": b, "catch": k}, body, catch),
    )


def surrounded(task: dict[str, Any], around: dict[str, Any]) -> dict[str, Any]:
    return {**task, **around}


TASKS = st.builds(surrounded, st.recursive(LEAVES, composites, max_leaves=8), AROUND)
DOCUMENTS = st.fixed_dictionaries(
    {"do": st.lists(TASKS, min_size=1, max_size=4).map(named)},
    optional={"timeout": st.just({"after": {"seconds": 20}}), "compensation": st.just({"order": "parallel"})},
)

# A world that checks itself ---------------------------------------------------------------------------------------------------


class CheckedWorld(World):
    """Every command is decided a second time, by `decide` on a copy."""

    def _decide(self, id_: str, command: c.Command) -> list[e.Event]:
        facts: Facts = {}
        plan, state = self.plan_of[id_], copy.deepcopy(self.states.get(id_) or State())
        decided = decide(plan, state, command, facts, self.limits)
        while isinstance(decided, Needs):
            keys = [question.key for question in decided.questions]
            assert len(set(keys)) == len(keys)
            assert not facts.keys() & set(keys), "a question was asked twice under one key"
            facts |= {question.key: self._fact(question) for question in decided.questions}
            decided = decide(plan, state, command, facts, self.limits)
        assert isinstance(decided, Decided)
        events = super()._decide(id_, command)
        assert list(decided.events) == list(map(bare, events))
        return events


ANSWERS = [done({"x": 1}), done(None), refused(400), refused(409), doubt(), unusable("?")]


def drive(world: World, data: st.DataObject, steps: int = 60) -> None:
    """Let things happen at random; then let everything happen."""
    for step in range(1000):
        state = world.root
        if state.final:
            return
        quiet = step >= steps
        if state.suspended:
            world.do("o_root", c.Resume)
            continue
        incidents = state.open_incidents()
        assert world.flying or state.next_due() or incidents or any(r.listening for r in state.runs.values() if r.open)
        choices = ["time"] if state.next_due() else []
        choices += ["reply"] if world.flying else []
        choices += ["event"] if any(r.listening for r in state.runs.values() if r.open) else []
        choices += ["resolve"] if incidents else []
        if not quiet:
            choices += ["suspend", "cancel"] if step % 4 == 3 else []
        match choices[0] if quiet and step % 2 else data.draw(st.sampled_from(choices)):
            case "time":
                due = state.next_due() or world.now
                world.pass_time(max((due - world.now).total_seconds(), 0))
            case "reply":
                attempt = data.draw(st.sampled_from(world.flying))
                world.reply(attempt, answer_to(attempt, data))
            case "event":
                world.receive(data.draw(st.sampled_from(["go", "t"])), {"x": 1})
            case "suspend":
                world.do("o_root", c.Suspend)
            case "cancel":
                world.do("o_root", c.Cancel)
            case "resolve":
                world.do("o_root", c.Resolve, number=incidents[0].number, action="skip", reason="it stays")
    raise AssertionError(f"still {world.root.status} after a thousand steps: {list(world.root.open)}")


def answer_to(attempt: Attempt, data: st.DataObject) -> Any:
    return data.draw(st.sampled_from(ANSWERS[:2] if attempt.compensates else ANSWERS))


def settled(state: State) -> None:
    """What holds of an orchestration that has ended."""
    assert not state.flying
    assert state.next_due() is None
    assert all(run.order for run in state.runs.values() if not run.open)
    assert not any(scope.phase == "failing" for name, scope in state.scopes.items() if name)
    assert not state.open


def started(document: dict[str, Any]) -> CheckedWorld:
    tasks = document["do"]
    return CheckedWorld(plan_of(tasks, **{k: v for k, v in document.items() if k != "do"}), never)


@given(DOCUMENTS, st.data())
def test_whatever_happens_it_comes_to_rest(document, data):
    world = started(document)
    world.start({"x": 0})
    drive(world, data)
    settled(world.root)


@given(DOCUMENTS, st.data())
def test_every_prefix_of_a_history_folds_and_can_be_looked_at(document, data):
    world = started(document)
    world.start({"x": 0})
    drive(world, data)
    state = State()
    for event in world.history["o_root"]:
        stored = msgspec.msgpack.encode(event)
        evolve(state, msgspec.msgpack.decode(stored, type=e.TOPICS[event.topic]))
        state.next_due()
        state.open_incidents()
        assert state.flying == sum(run.flying for run in state.runs.values())
        assert all(state.runs[name].open for name in state.open)
        assert all(scope.tokens >= 0 for scope in state.scopes.values())
    assert msgspec.to_builtins(state, str_keys=True) == msgspec.to_builtins(world.root, str_keys=True)


@given(DOCUMENTS)
def test_the_same_answers_give_the_same_history(document):
    histories = []
    for _ in range(2):
        world = World(
            plan_of(document["do"], **{k: v for k, v in document.items() if k != "do"}), lambda a: ANSWERS[a.number % 4]
        )
        world.start({"x": 0})
        for _ in range(20):
            if world.root.final:
                break
            world.pass_time(5)
            if not world.root.final:
                world.receive("go", {"x": 1})
        histories.append(world.history["o_root"])
    assert histories[0] == histories[1]
