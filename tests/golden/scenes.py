"""The stories: every example, and features that no example has. Together they have every event and every command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from domain import commands as c
from domain.errors import Fault, fault
from tests.golden.stories import Story, example, feature
from tests.support.examples_script import HOLD, name_of
from tests.support.pure_world import Result, done, doubt, refused, unusable

TRAVELLER = {"traveller": "Ada", "city": "Turin", "card": "4711"}
BUYER = {"sku": "teapot", "quantity": 2, "country": "Italy", "card": "4711"}
PERSON = {"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com"}
CONFIRMED = "com.example.registration.confirmed.v1"
COLLECTED = "com.example.parcel.collected.v1"
RATES = {"alpine": 4.4, "coastal": 3.9, "harbour": 3.7, "lakeside": 4.1, "meadow": 4.6}
SOLD_OUT = Result("refused", fault=Fault("https://example.com/errors/sold-out", 409, "Sold out", "The flight is full."))
BROKEN = Result("refused", fault=Fault("https://example.com/errors/closed", 423, "Closed", "The reception is closed."))
HOUR: Final = 3600


# The trip -------------------------------------------------------------------------------------------------------------


def trip(**answers: list[Result]) -> Story:
    given = {name.replace("_", " ", 1): results for name, results in answers.items()}
    return Story(example("trip/trip.yaml"), answers=given).begin(TRAVELLER)


def trip_completed() -> Story:
    return trip()


def trip_rolled_back() -> Story:
    return trip(put_flights=[SOLD_OUT])


def trip_without_a_car() -> Story:
    return trip(put_cars=[SOLD_OUT])


def trip_partly_undone() -> Story:
    story = trip(put_flights=[SOLD_OUT], delete_hotels=[BROKEN, BROKEN])
    story.ask(c.AddNote, text="called the hotel: nobody answers")
    story.pass_time(300)
    story.ask(c.Resolve, number=1, action="retry", reason="they should be open by now")
    story.ask(c.Resolve, number=2, action="skip", reason="the hotel does not exist any more")
    return story


def trip_uncertain() -> Story:
    story = trip(put_flights=[doubt(), doubt(), doubt()], delete_flights=[refused(404)])
    story.pass_time(10)
    return story


def trip_cancelled() -> Story:
    story = trip(put_flights=[HOLD])
    story.ask(c.Cancel, reason="changed my mind", trace="4bf92f3577b34da6a3ce929d0e0e4736", request_id="r-17")
    story.answer_to("put flights", done({"id": story.id}))
    return story


def trip_too_late_to_cancel() -> Story:
    story = trip(put_payments=[HOLD])
    story.ask(c.Cancel, reason="too expensive")
    story.answer_to("put payments", done({"id": story.id}))
    return story


# The other examples -----------------------------------------------------------------------------------------------------


def order(**answers: list[Result]) -> Story:
    given = {name.replace("_", " ", 1): results for name, results in answers.items()}
    return Story(example("order/order.yaml"), example("order/shipping.yaml"), answers=given).begin(BUYER)


def shipped(story: Story) -> str:
    story.pass_time(31)
    return list(story.history)[1]


def order_shipped() -> Story:
    story = order()
    story.tell(COLLECTED, of=shipped(story), subject=story.id)
    return story


def order_cancelled_while_it_ships() -> Story:
    story = order()
    shipped(story)
    story.ask(c.Cancel, reason="too late?")
    return story


def order_not_collected() -> Story:
    story = order()
    shipped(story)
    story.pass_time(72 * HOUR)
    return story


def signup_confirmed() -> Story:
    story = Story(example("signup/signup.yaml")).begin(PERSON, business_key="ada", tags={"team": "north"})
    story.pass_time(HOUR)
    story.tell(CONFIRMED)
    return story


def signup_expired() -> Story:
    story = Story(example("signup/signup.yaml")).begin(PERSON)
    story.pass_time(25 * HOUR)
    return story


def quotes() -> Story:
    story = Story(example("quotes/quotes.yaml"), answers={"get banks/harbour": [unusable("<html>")]})
    story.script.default = lambda attempt: {"bank": (bank := name_of(attempt).rpartition("/")[2]), "rate": RATES[bank]}
    return story.begin({"amount": 250_000, "years": 20})


# Features ---------------------------------------------------------------------------------------------------------------


def step(name: str, **members: Any) -> dict[str, Any]:
    return {name: {"call": name, "compensate": {"call": f"undo_{name}"}, **members}}


def bare(name: str, **members: Any) -> dict[str, Any]:
    return {name: {"call": name, **members}}


def data_and_loops() -> Story:
    each = {"for": {"each": "n", "in": "${ .numbers }"}, "do": [{"twice": {"set": {"n": "${ $n * 2 }"}}}]}
    tasks = [
        {"skipped": {"if": "${ .numbers == null }", "set": {"no": True}}},
        {"each": {**each, "export": {"as": "${ {doubled: .} }"}}},
        {"shout": {"emit": {"event": {"with": {"source": "https://example.com", "type": "said", "data": "${ . }"}}}}},
        {"rest": {"wait": {"seconds": 5}}},
        {"sum": {"set": {"sum": "${ $context.doubled }"}}},
    ]
    story = Story(feature("data-and-loops", tasks)).begin({"numbers": [1, 2, 3]})
    story.pass_time(10)
    return story


def try_undoes_and_goes_on() -> Story:
    caught = {
        "catch": {"as": "problem", "compensate": True, "do": [{"plan_b": {"set": {"why": "${ $problem.status }"}}}]}
    }
    again = {"catch": {"retry": {"delay": {"seconds": 2}, "limit": {"attempt": {"count": 1}}}}}
    tasks = [
        step("a"),
        {"t": {"try": [step("b"), bare("c")], **caught}},
        {"u": {"try": [bare("d")], **again}},
        step("e"),
    ]
    answers = {"c": [refused()], "d": [refused(503), done()]}
    story = Story(feature("try-undoes", tasks), answers=answers).begin()
    story.pass_time(5)
    return story


def race() -> Story:
    branches = [{"fast": {"call": "fast"}}, {"slow": {"do": [step("slow_one"), {"nap": {"wait": {"hours": 1}}}]}}]
    tasks = [{"first": {"fork": {"compete": True, "branches": branches}}}, bare("after")]
    story = Story(feature("race", tasks), answers={"fast": [HOLD]}).begin()
    story.answer_to("fast", done({"won": True}))
    return story


def some_of_many() -> Story:
    """Three are enough, and two may fail: one is refused, others come too late, and what they had done is undone."""
    each = [
        step("ask", **{"with": {"who": "${ $item }"}}),
        {"confirm": {"call": "confirm", "with": {"who": "${ $item }", "n": "${ $index }"}}},
    ]
    some = {"completion": {"at_least": 3}, "tolerate": 2}
    tasks = [{"each": {"for": {"in": "."}, "parallel": some, "do": each}}, bare("after")]
    answers = {"ask": [done({"n": n}) for n in range(7)], "confirm": [HOLD, refused(), done(1), HOLD, done(2), HOLD]}
    story = Story(feature("some-of-many", tasks), answers=answers, portion=3).begin(list("abcdef"))
    story.answer_to("confirm", done(0))
    return story


def siblings_settle() -> Story:
    inner = {"do": [step("a"), bare("never")], "timeout": {"after": {"minutes": 5}}}
    branches = [{"one": inner}, {"two": {"do": [bare("b")]}}, {"three": {"wait": {"hours": 2}}}]
    tasks = [step("x"), {"f": {"fork": {"branches": branches}}}]
    story = Story(feature("siblings", tasks), answers={"a": [HOLD], "b": [refused()]}).begin()
    story.answer_to("a", done({"n": 1}))
    return story


def ends_while_others_finish() -> Story:
    quick = {"do": [bare("q"), {"stop": {"set": {"enough": True}, "then": "end"}}]}
    branches = [{"quick": quick}, {"long": {"do": [bare("a")]}}]
    tasks = [{"f": {"fork": {"branches": branches}}}]
    story = Story(feature("ends-early", tasks), answers={"q": [HOLD], "a": [HOLD]}).begin()
    story.answer_to("q", done())
    story.answer_to("a", done())
    return story


def suspended() -> Story:
    story = Story(feature("suspended", [step("a"), bare("b")]), answers={"a": [HOLD]}).begin()
    story.ask(c.Suspend, reason="the other side is down")
    story.answer_to("a", done({"n": 1}))
    story.ask(c.Resume, reason="it is up again")
    return story


def terminated() -> Story:
    story = Story(feature("terminated", [step("a"), bare("b")]), answers={"b": [HOLD]}).begin()
    story.ask(c.Terminate, reason="no use")
    story.answer_to("b", done({"late": True}))
    story.ask(c.AddNote, text="b was done after all")
    return story


def plan_corrected() -> Story:
    cut = {"t": {"try": [step("a")], "timeout": {"after": {"seconds": 1}}, "catch": {}}}
    tasks = [{"o": {"try": [cut], "catch": {}}}, step("last"), bare("fail")]
    story = Story(feature("corrected", tasks), answers={"a": [HOLD], "fail": [refused()], "undo_last": [HOLD]}).begin()
    story.pass_time(2)
    story.answer_to("a", refused())
    story.answer_to("undo_last", done())
    return story


def undo_only_if() -> Story:
    conditional = {"a": {"call": "a", "compensate": {"call": "undo_a", "if": "${ .n > 1 }"}}}
    other = {"b": {"call": "b", "compensate": {"call": "undo_b", "if": "${ .n > 1 }"}}}
    answers = {"a": [done({"n": 1})], "b": [done({"n": 2})], "d": [refused()]}
    return Story(feature("undo-only-if", [conditional, other, bare("c"), bare("d")]), answers=answers).begin()


def uncertain_pivot() -> Story:
    tasks = [step("a"), bare("pay", pivot=True), bare("b")]
    answers = {"pay": [doubt()], "b": [Result("uncertain", fault=fault("communication", "gone", status=502))]}
    story = Story(feature("pivot", tasks), answers=answers).begin()
    story.ask(c.Resolve, number=1, action="complete", reason="the bank says it is paid", output={"receipt": "r1"})
    story.ask(c.Resolve, number=2, action="retry", reason="try once more")
    return story


def called_back() -> Story:
    """Called back before the acknowledgement, tried again, given up and called back too late."""
    told = {"with": {"answer_to": "${ $callback.url }"}, "callback": True, "timeout": {"after": {"minutes": 5}}}
    retry = {"delay": {"seconds": 5}, "limit": {"attempt": {"count": 1}}}
    tasks = [step("a", **told), step("b", **told, retry=retry), step("c", **told)]
    document = feature("called-back", tasks)
    story = Story(document, answers={"a": [HOLD]}).begin()
    story.call_back("a", digest=b"1", outcome="completed", output={"n": 1})
    story.answer_to("a", done())
    error = {"type": "https://golden.invalid/busy", "status": 503}
    story.call_back("b", digest=b"2", outcome="uncertain", error=error, retryable=True)
    story.pass_time(5)
    story.call_back("b", digest=b"3", outcome="completed", output=2)
    story.pass_time(300)
    story.call_back("c", digest=b"4", outcome="completed", output=3)
    return story


def asked_of_people() -> Story:
    """Claimed, given back, escalated, given to somebody; refused, asked again, answered while suspended; withdrawn."""
    asked = {"title": "Approve", "candidates": {"groups": ["clerks"]}, "due": {"hours": 2}, "form": {"type": "boolean"}}
    later = [{"after": {"hours": 1}, "remind": True}, {"candidates": ["mia"], "priority": 5}]
    first = {"a": {"call": "human", "with": {**asked, "escalation": later}, "compensate": {"call": "undo_a"}}}
    retry = {"retry": {"delay": {"seconds": 5}, "limit": {"attempt": {"count": 1}}}}
    again = {"g": {"try": [{"b": {"call": "human", "with": asked}}], "catch": retry}}
    last = {"c": {"call": "human", "with": {"title": "Sign", "assignee": "ann"}, "compensate": {"call": "undo_c"}}}
    story = Story(feature("people", [first, again, last])).begin()
    ann = {"user": "ann", "groups": ["clerks"]}
    story.ask(c.ClaimTask, number=1, **ann)
    story.ask(c.ReleaseTask, number=1, **ann)
    story.pass_time(7200)
    story.ask(c.ReassignTask, number=1, assignee="max", reason="mia is away")
    story.ask(c.AnswerTask, number=1, user="max", outcome="completed", output=True, digest=b"1")
    error = {"type": "https://golden.invalid/no", "status": 422}
    story.ask(c.AnswerTask, number=2, **ann, outcome="refused", error=error, digest=b"2")
    story.pass_time(5)
    story.ask(c.Suspend, reason="holidays")
    story.ask(c.AnswerTask, number=3, **ann, outcome="completed", output=True, digest=b"3")
    story.ask(c.Resume)
    story.ask(c.Cancel, reason="changed their mind")
    return story


def poisoned() -> Story:
    story = Story(feature("poisoned", [step("a")]), answers={"a": [HOLD]}).begin()
    story.ask(c.ReportPoison, detail="a result could not be handled")
    story.ask(c.Resolve, number=1, action="retry", reason="a new version is out")
    story.answer_to("a", done())
    return story


def child_undoes_itself() -> Story:
    child = feature("child", [step("inner"), bare("more")])
    run = {"run": {"workflow": {"namespace": "golden", "name": "child", "version": "1.0.0", "input": {"n": 1}}}}
    parent = feature("parent", [step("a"), {"c": run}, bare("fail")])
    return Story(parent, child, answers={"fail": [refused()]}).begin()


def parallel_undo() -> Story:
    branches = [{f"b{n}": {"do": [step(f"p{n}"), step(f"q{n}")]}} for n in (1, 2)]
    tasks = [step("a"), {"f": {"fork": {"branches": branches}}}, bare("fail")]
    document = feature("parallel-undo", tasks, compensation={"order": "parallel"})
    return Story(document, answers={"fail": [refused()]}).begin()


def forked() -> Story:
    """The second one could not go on, so it was stopped and taken up again before it, with another input."""
    document = feature("forked", [step("a"), step("b"), bare("c")])
    story = Story(document, answers={"b": [HOLD]}).begin({"customer": "Ada"})
    story.ask(c.Terminate, reason="the second system is moved")
    story.fork(6, {"customer": "Grace"}, reason="it is back")
    return story


def migrated() -> Story:
    """While the second step was under way the definition got a step more."""
    first = feature("migrated", [step("a"), step("b")])
    second = feature("migrated", [step("a"), step("b"), bare("c")], version="1.1.0")
    story = Story(first, answers={"b": [HOLD]}).begin()
    story.ask(c.Migrate, to=story.deploy(second), reason="receipts are sent now")
    story.answer_to("b", done({"n": 2}))
    return story


def documents_in_any_order() -> Story:
    """The welcome pack comes first, the certificate twice, under two ids."""
    story = Story(example("documents/documents.yaml")).begin({"employee": "E-17"})
    for document in ("welcome-pack", "certificate", "issue", "certificate", "schedule"):
        story.receive(f"com.example.document.{document}", {"document": document}, id_=story.id, subject="E-17")
    return story


def one_that_never_came() -> Story:
    """A gap is skipped; then the definition is another one, which knows no order."""
    papers = {
        "papers": {
            "with": {"type": "paper"},
            "order": {"per": ".subject"},
            "gap": {"after": "PT1H", "then": "continue"},
        }
    }
    collect = {"listen": {"to": {"any": [{"with": {"type": "paper"}}], "until": "length == 4"}}}
    first = feature("one-that-never-came", [{"collect": collect}], streams=papers)
    story = Story(first).begin()
    for number in (3, 4, 1, 6):
        story.receive("paper", number, id_=story.id, sequence=number, subject="a")
    story.pass_time(HOUR)
    story.receive("paper", 2, id_=story.id, sequence=2, subject="a")
    story.ask(c.Migrate, to=story.deploy(feature("one-that-never-came", [{"collect": collect}], version="1.1.0")))
    return story


STORIES: dict[str, Callable[[], Story]] = {
    story.__name__: story
    for story in (
        trip_completed,
        trip_rolled_back,
        trip_without_a_car,
        trip_partly_undone,
        trip_uncertain,
        trip_cancelled,
        trip_too_late_to_cancel,
        order_shipped,
        order_cancelled_while_it_ships,
        order_not_collected,
        signup_confirmed,
        signup_expired,
        quotes,
        data_and_loops,
        try_undoes_and_goes_on,
        race,
        some_of_many,
        siblings_settle,
        ends_while_others_finish,
        suspended,
        terminated,
        plan_corrected,
        undo_only_if,
        uncertain_pivot,
        poisoned,
        called_back,
        asked_of_people,
        child_undoes_itself,
        parallel_undo,
        forked,
        migrated,
        documents_in_any_order,
        one_that_never_came,
    )
}
