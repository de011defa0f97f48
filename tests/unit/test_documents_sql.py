"""``call: sql`` in documents: what is compiled, and what is refused at deployment."""

from __future__ import annotations

import pytest

from adapters.documents import compile_plan
from domain.errors import InvalidDefinitionError
from domain.plan import Call


def plan(task):
    document = {"dsl": "1.0.3", "namespace": "test", "name": "sql", "version": "1.0.0"}
    return compile_plan({"document": document, "use": {"secrets": ["pin"]}, "do": [{"ask": task}]}, "sha256:0")[0]


def call(**with_):
    return {"call": "sql", "with": with_}


def test_a_query_leaves_nothing_behind():
    (node,) = plan(call(connection="bank", query="SELECT :a", parameters={"a": "${ $secrets.pin }"})).nodes.values()
    assert isinstance(node.work, Call)
    assert (node.work.kind, node.work.safe) == ("sql", True)


@pytest.mark.parametrize(
    "with_",
    [
        {"execute": "INSERT INTO t VALUES (?)", "parameters": ["${ .a }"], "exactly_once": True, "expect": 1},
        {"execute": ["DELETE FROM t", {"statement": "INSERT INTO t VALUES (:a)", "parameters": {"a": 1}, "expect": 1}]},
        {"execute": "INSERT INTO t VALUES (:a, :b)", "parameters": "${ .everything }"},
    ],
)
def test_an_execute_has_an_effect(with_):
    (node,) = plan(call(connection="bank", **with_)).nodes.values()
    assert isinstance(node.work, Call)
    assert not node.work.safe


@pytest.mark.parametrize(
    ("with_", "pointer", "told"),
    [
        ({"query": "${ .sql }"}, "/query", "no expressions"),
        ({"query": "SELECT '${ .a }'"}, "/query", "no expressions"),
        ({"execute": [{"statement": "${ .sql }"}]}, "/execute/0/statement", "no expressions"),
        ({"query": "SELECT 1", "execute": "DELETE FROM t"}, "", "either query or execute"),
        ({}, "", "either query or execute"),
        ({"query": "SELECT :a"}, "/query", "'a' is missing"),
        ({"query": "SELECT 1", "exactly_once": True}, "/exactly_once", "changes nothing"),
        ({"execute": "DELETE FROM t", "only_if_recorded": True}, "/only_if_recorded", "only a compensation"),
        ({"execute": []}, "/execute", "no statement"),
        ({"execute": ["DELETE FROM t"], "parameters": {}}, "/parameters", "of its own"),
        ({"execute": "DELETE FROM t", "expect": "1"}, "/expect", "number of rows"),
        ({"execute": "COMMIT"}, "/execute", "belong to Retrace"),
        ({"query": 1}, "/query", "text"),
        ({"query": "SELECT 1", "url": "postgresql://x"}, "/url", "unknown keyword"),
    ],
)
def test_what_cannot_be_sent_is_refused(with_, pointer, told):
    with pytest.raises(InvalidDefinitionError) as caught:
        plan(call(connection="bank", **with_))
    assert any(each.pointer == f"/do/0/ask/with{pointer}" and told in each.detail for each in caught.value.problems), (
        caught.value.problems
    )


@pytest.mark.parametrize("connection", ["${ .which }", "sqlite:///x.db", "", 7])
def test_a_connection_is_a_name(connection):
    with pytest.raises(InvalidDefinitionError):
        plan(call(connection=connection, query="SELECT 1"))
