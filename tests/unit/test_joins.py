"""Several tokens in one scope: plans with Split and Join, as a later notation would compile them.

The plans are built by hand, because no document of the Serverless Workflow language says this.
"""

from __future__ import annotations

from typing import Any

import pytest

from domain import commands as c
from domain.expressions import parse
from domain.plan import (
    END,
    EXIT,
    Call,
    Catch,
    Do,
    Duration,
    Hole,
    Join,
    Node,
    Plan,
    Raise,
    Scope,
    Set,
    Split,
    Template,
    Try,
    Wait,
    Work,
)
from tests.support.flows import names, never, runs_of
from tests.support.pure_world import World, done, refused

ONE = Template({"n": 1})


def scope(pointer: str, start: str | None, *nodes: Node) -> Scope:
    return Scope(pointer, {node.pointer: node for node in nodes}, start)


def node(name: str, work: Work, then: str = EXIT, under: str = "/do", **more: Any) -> Node:
    to = then if then in (EXIT, END) else f"{under}/{then}"
    return Node(pointer=f"{under}/{name}", name=name, work=work, then=to, **more)


def split(name: str, *targets: str, under: str = "/do") -> Node:
    return node(name, Split(tuple(t if t in (EXIT, END) else f"{under}/{t}" for t in targets)), under=under)


def plan(root: Scope) -> Plan:
    found: dict[str, Node] = {}

    def gather(inside: Scope) -> None:
        for each in inside.nodes.values():
            found[each.pointer] = each
            for name in ("scope",):
                if isinstance(inner := getattr(each.work, name, None), Scope):
                    gather(inner)
            if isinstance(each.work, Try) and each.work.catch.scope is not None:
                gather(each.work.catch.scope)

    gather(root)
    return Plan(namespace="test", name="x", version="1.0.0", digest="sha256:x", document={}, root=root, nodes=found)


def call(name: str, then: str = EXIT, under: str = "/do", **more: Any) -> Node:
    return node(name, Call("function", name, Template({})), then, under, **more)


def world(root: Scope, answer: Any = never) -> Any:
    made = World(plan(root), answer)
    made.start({"in": True})
    return made


def reply(made: Any, function: str, result: Any) -> None:
    made.reply(next(a for a in made.flying if a.function == function), result)


def diamond(tokens: int, *branches: str, then: str = "z") -> Scope:
    return scope(
        "/do",
        "/do/s",
        split("s", *branches),
        *(call(name, "j") for name in branches),
        node("j", Join(tokens), then),
        node("z", Set(Template({"z": None}, (Hole(("z",), parse(".")),)))),
    )


def test_two_tokens_go_side_by_side_and_one_goes_on_after_the_join():
    made = world(diamond(2, "a", "b"))
    assert [a.function for a in made.flying] == ["a", "b"]
    reply(made, "b", done("b"))
    assert names(made)[-1] == "j"
    reply(made, "a", done("a"))
    assert made.root.status == "completed"
    assert made.root.output == {"z": "b"}  # of the token that opened the join
    assert names(made).count("j") == names(made).count("z") == 1


def test_a_join_of_three():
    made = world(diamond(3, "a", "b", "c"))
    for function in ("c", "a"):
        reply(made, function, done(function))
        assert made.root.status == "running"
    assert made.root.runs["/do/j#1"].joined == 1
    assert made.root.scopes[""].tokens == 2
    reply(made, "b", done("b"))
    assert made.root.output == {"z": "c"}


def test_all_tokens_reach_the_join_in_the_same_decision():
    made = world(diamond(3, "a", "b", "c"), lambda a: done(a.function))
    assert (made.root.status, made.root.output) == ("completed", {"z": "a"})


def test_tokens_that_have_to_ask_first_join_as_well():
    """`a` and `b` need jq, so both are on their way when the first one arrives."""
    hole = (Hole((), parse(".in | not")),)
    root = scope(
        "/do",
        "/do/s",
        split("s", "a", "b"),
        node("a", Set(Template(None, hole)), "j"),
        node("b", Set(Template(None, hole)), "j"),
        node("j", Join(2), "z"),
        node("z", Set(ONE)),
    )
    made = world(root)
    assert (made.root.status, made.root.output, names(made).count("j")) == ("completed", {"n": 1}, 1)


def test_a_join_in_a_loop_waits_anew_each_time():
    again = node("again", Wait(Duration(1.0)), "s")
    root = scope(
        "/do", "/do/s", split("s", "a", "b"), call("a", "j"), call("b", "j"), node("j", Join(2), "again"), again
    )
    made = world(root, lambda a: done(a.function))
    made.pass_time(3.5)
    assert [run.status for run in runs_of(made.root, "j")] == ["completed"] * 4
    assert made.root.scopes[""].tokens == 1


def test_a_join_of_one_is_no_more_than_a_step():
    root = scope("/do", "/do/j", node("j", Join(1), "z"), node("z", Set(ONE)))
    assert world(root).root.output == {"n": 1}


def test_two_tokens_may_follow_each_other_through_the_same_task():
    """Without a join the task behind runs once per token, each run with a name of its own."""
    asks = node("t", Set(Template(None, (Hole((), parse("[.]")),))), if_=parse(". != null and true"))
    root = scope("/do", "/do/s", split("s", "a", "b"), call("a", "t"), call("b", "t"), asks)
    made = world(root, lambda a: done(a.function))
    assert (made.root.status, made.root.output) == ("completed", ["b"])
    assert [run.id for run in runs_of(made.root, "t")] == ["/do/t#1", "/do/t#2"]


def test_a_split_that_leads_twice_to_the_same_task():
    asks = node("t", Set(Template(None, (Hole((), parse("[.]")),))), if_=parse(". != null and true"))
    made = world(scope("/do", "/do/s", split("s", "t", "t", "t"), asks))
    assert made.root.status == "completed"
    assert len({run.id for run in runs_of(made.root, "t")}) == 3


def test_a_scope_ends_when_its_last_token_has_left():
    root = scope("/do", "/do/s", split("s", "a", "b", EXIT), call("a"), call("b"))
    made = world(root)
    reply(made, "b", done("b"))
    assert made.root.status == "running"
    reply(made, "a", done("a"))
    assert (made.root.status, made.root.output) == ("completed", "a")


def test_one_token_may_end_the_orchestration():
    root = scope("/do", "/do/s", split("s", "a", "b"), call("a"), node("b", Set(ONE), END))
    made = world(root)
    assert made.root.status == "running"
    reply(made, "a", done("a"))
    assert (made.root.status, made.root.output) == ("completed", {"n": 1})


def nested(work: Any, *around: Node) -> Scope:
    return scope(
        "/do",
        "/do/d",
        node("d", work, "z"),
        node("z", Set(Template({"z": None}, (Hole(("z",), parse(".")),)))),
        *around,
    )


def inner(*more: Node) -> Scope:
    under = "/do/d/do"
    return scope(
        under,
        f"{under}/s",
        split("s", "a", "b", under=under),
        call("a", "j", under),
        call("b", "j", under),
        node("j", Join(2), EXIT, under),
        *more,
    )


def test_a_join_inside_a_nested_scope():
    made = world(nested(Do(inner())))
    reply(made, "a", done("a"))
    reply(made, "b", done("b"))
    assert (made.root.status, made.root.output) == ("completed", {"z": "a"})


def test_an_error_of_one_token_settles_the_others():
    made = world(diamond(2, "a", "b"))
    reply(made, "a", refused(404))
    assert made.root.status == "compensating"
    assert "z" not in names(made)
    reply(made, "b", done("b"))
    assert (made.root.status, made.root.fault.status) == ("faulted", 404)
    assert runs_of(made.root, "b")[0].status == "completed"
    assert "j" not in names(made)


def test_an_error_after_another_token_waits_in_the_join():
    made = world(diamond(2, "a", "b"))
    reply(made, "a", done("a"))
    reply(made, "b", refused(404))
    assert (made.root.status, runs_of(made.root, "j")[0].status) == ("faulted", "cancelled")


def test_an_error_of_one_token_in_a_try_is_caught_once_the_others_have_settled():
    handler = scope("/do/d/catch/do", "/do/d/catch/do/h", node("h", Set(ONE), under="/do/d/catch/do"))
    made = world(nested(Try(inner(), Catch(scope=handler))))
    reply(made, "b", refused(404))
    assert "h" not in names(made)
    reply(made, "a", done("a"))
    assert (made.root.status, made.root.output) == ("completed", {"z": {"n": 1}})


def test_two_tokens_that_fail_in_the_same_decision_are_one_error():
    error = Template({"type": "https://x.test/e", "status": 400})
    under = "/do/d/do"
    both = scope(
        under,
        f"{under}/s",
        split("s", "a", "b", under=under),
        node("a", Raise(error), under=under),
        node("b", Raise(error), under=under),
    )
    made = world(nested(Do(both)))
    assert (made.root.status, made.root.fault.instance) == ("faulted", "/do/d/do/a")
    made = world(nested(Try(both, Catch())))
    assert made.root.status == "completed"


@pytest.mark.parametrize("waiting", ["a", "b"])
def test_cancel_ends_a_join_that_waits(waiting):
    made = world(diamond(2, "a", "b"))
    reply(made, waiting, done(waiting))
    made.do("o_root", c.Cancel)
    reply(made, "b" if waiting == "a" else "a", done())
    assert made.root.status == "cancelled"
    assert not made.root.open


def test_splits_and_joins_nest():
    root = scope(
        "/do", "/do/s",
        split("s", "s2", "c"), split("s2", "a", "b"), call("a", "j2"), call("b", "j2"), node("j2", Join(2), "j"),
        call("c", "j"), node("j", Join(2), "z"), node("z", Set(ONE)),
    )  # fmt: skip
    made = world(root)
    for function in "cba":
        assert made.root.status == "running"
        reply(made, function, done(function))
    assert made.root.output == {"n": 1}
    assert made.root.scopes[""].tokens == 0
