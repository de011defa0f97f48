"""Redacted bundles: the values are gone everywhere, and the history still replays."""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from uuid import UUID

import msgspec
import pytest

from adapters.stored_events import EventMapper
from application.bundles import BundledDefinition, encoded
from application.redaction import RedactionError, Values, read_places
from application.storage import StoredRecord
from domain import commands as c
from domain.errors import Fault
from retrace import replay
from tests.golden import scenes
from tests.golden.stories import Story, feature
from tests.golden.test_golden import FILES
from tests.support.examples_script import HOLD
from tests.support.forks import boundaries, fork
from tests.support.pure_world import Result

CODEC = EventMapper()


def redacted(bundle: dict[str, Any], *places: str) -> dict[str, Any]:
    """What the service would give out of what lies behind this bundle."""
    records = [
        StoredRecord(
            n, UUID(int=1), n, each["type"], base64.b64decode(each["stored"]), bytes.fromhex(each["hash"]), b""
        )
        for n, each in enumerate(bundle["history"], 1)
    ]
    head = {name: bundle.get(name, []) for name in ("format", "exported_at", "versions", "checkpoints")}
    documents = [BundledDefinition(**each) for each in (*bundle.get("earlier", ()), bundle["definition"])]
    made = encoded(CODEC, head, records, documents, read_places(places))
    return dict(json.loads(made))


def everything(bundle: dict[str, Any]) -> str:
    """All texts of a bundle, those in stored bytes too."""
    stored = [msgspec.msgpack.decode(base64.b64decode(each["stored"])) for each in bundle["history"]]
    return json.dumps([bundle, stored], default=str)


def bundle_of(story: Any) -> dict[str, Any]:
    return dict(next(story().bundles()))


def test_a_named_member_is_nowhere_and_the_history_replays():
    made = redacted(bundle_of(scenes.trip_rolled_back), "traveller", "card")
    assert '"Ada"' not in everything(made)
    assert "4711" not in everything(made)
    assert '"Turin"' in everything(made)
    assert made["status"]["input"] == {"traveller": "[redacted 1]", "city": "Turin", "card": "[redacted 2]"}
    found = replay.load(made)
    assert (found.verify(), found.unlike(), found.broken_links()) == ([], [], [])


def test_the_key_of_an_order_of_events_is_replaced_too():
    paper = {"type": "paper"}
    streams = {"papers": {"with": paper, "order": {"per": ".subject"}}}
    story = Story(feature("letters", [{"l": {"listen": {"to": {"all": [{"with": paper}] * 2}}}}], streams=streams))
    story.begin({"customer": "Ada Lovelace"})
    for number in (2, 1):
        story.receive("paper", number, id_=story.id, sequence=number, subject="Ada Lovelace")
    made = redacted(next(story.bundles()), "customer")
    assert "Lovelace" not in everything(made)
    history = replay.load(made)
    assert history.verify() == []


def test_the_same_value_is_replaced_alike_wherever_it_stands():
    made = redacted(bundle_of(scenes.trip_rolled_back), "traveller")
    bodies = [each["data"]["arguments"].get("body") for each in made["history"] if each["type"] == "attempt.started"]
    assert [body.get("driver") or body.get("guest") or body.get("passenger") for body in bodies if body] == [
        "[redacted 1]"
    ] * 3


def test_a_value_inside_a_longer_text_is_replaced_too():
    made = redacted(bundle_of(scenes.signup_confirmed), "/status/input/last_name", "/status/input/email", "email")
    assert "ada@example.com" not in everything(made)
    assert "Lovelace" not in everything(made)
    assert replay.load(made).verify() == []


def test_a_redacted_bundle_says_so():
    made = redacted(bundle_of(scenes.trip_rolled_back), "card", "/status/input/city", "nowhere")
    assert made["redacted"] == {
        "places": ["card", "/status/input/city", "nowhere"],
        "values": 2,
        "nowhere": ["nowhere"],
        "hashes_checkable": False,
    }
    assert bundle_of(scenes.trip_rolled_back)["redacted"] is None


def test_numbers_keep_their_kind_and_truth_values_stay():
    values = Values(["Lisbon", 4711, 2.5, "ab"])
    assert len(values) == 4
    told = {
        "a": 4711,
        "b": 4711.0,
        "c": True,
        "d": None,
        "e": "to Lisbon, 4711!",
        "f": "ab",
        "g": "abc",
        "Lisbon": 1,
        "h": 2.5,
    }
    assert values.hide(told) == {
        "a": 900_000_002,
        "b": 900_000_002,
        "c": True,
        "d": None,
        "e": "to [redacted 1], 900000002!",
        "f": "[redacted 4]",
        "g": "abc",
        "[redacted 1]": 1,
        "h": 900_000_003,
    }


def test_one_is_not_true():
    assert Values([1]).hide([1, True, 1.0, "1"]) == [900_000_001, True, 900_000_001, "1"]


def test_the_longest_value_goes_first():
    assert Values(["Lisbon", "Lisbon-Porto"]).hide("from Lisbon-Porto") == "from [redacted 2]"


@pytest.mark.parametrize(
    "place", ["", "/", "/a~2b", "/status/input/nowhere", "/history/999", "/status/input/card/deeper"]
)
def test_a_place_that_cannot_be_is_refused(place):
    with pytest.raises(RedactionError):
        redacted(bundle_of(scenes.trip_rolled_back), place)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_any_input_can_be_redacted_and_still_replays(file):
    """What users gave at the start; a definition decides by some of it only as by any other value."""
    bundle = json.loads(file.read_text(encoding="utf-8"))
    given = bundle["status"]["input"]
    members = given if isinstance(given, dict) else dict(enumerate(given or ()))
    texts = {f"/status/input/{name}": value for name, value in members.items() if isinstance(value, str)}
    made = redacted(bundle, *texts, "/status/business_key", "/status/tags")
    assert (replay.load(made).verify(), replay.load(made).unlike()) == ([], [])
    own = {bundle["id"], bundle["status"]["parent"], *(child["id"] for child in bundle["children"])}
    for value in texts.values():
        if value not in own and len(value) >= 4:
            assert value not in everything(made)


SECRET = "PIN-4711-0815"


def story_with(arguments: dict[str, Any], input_: Any, **top: Any) -> Story:
    return Story(feature("places", [{"a": {"call": "a", "with": arguments}}], **top)).begin(input_)


@pytest.mark.parametrize(
    "arguments",
    [
        {"document": SECRET, "type": SECRET, "use": {"at": SECRET}, "call": SECRET},
        {"amount": 47_110_815, "note": f"paid with {SECRET}"},
    ],
)
def test_arguments_that_are_called_like_words_of_the_language_are_data(arguments):
    made = redacted(next(story_with(arguments, {"pin": SECRET, "no": 47_110_815}).bundles()), "pin", "no")
    assert SECRET not in everything(made)
    assert "47110815" not in everything(made)
    assert replay.load(made).verify() == []


def test_functions_of_a_definition_are_redacted_too():
    call = {"call": "http", "with": {"method": "post", "endpoint": f"http://x.test/{SECRET}", "body": {"pin": SECRET}}}
    made = redacted(next(Story(calling(call)).begin({"pin": SECRET}).bundles()), "pin")
    assert SECRET not in everything(made)
    assert replay.load(made).verify() == []


def calling(function: dict[str, Any]) -> Any:
    return feature("calling", [{"a": {"call": "ours", "with": {}}}], use={"functions": {"ours": function}})


def test_a_users_thing_with_a_type_and_a_status_is_no_error():
    customer = {"type": "confidential", "status": "divorced", "name": "Lovelace"}
    made = redacted(next(story_with({"c": "${ .customer }"}, {"customer": customer}).bundles()), "customer")
    assert not any(value in everything(made) for value in customer.values())


@pytest.mark.parametrize("how", ["@uri", "{n: .} | tojson"])
def test_a_value_is_found_where_it_is_written_otherwise(how):
    given = {"name": 'Ada "Countess" Lovelace'}
    made = redacted(next(story_with({"text": f"${{ .name | {how} }}"}, given).bundles()), "name")
    assert "Lovelace" not in everything(made)
    assert replay.load(made).verify() == []


def test_names_are_found_in_answers_that_were_errors():
    fault = Fault("https://example.com/no", 402, "No", None, None, {"status": 402, "content": {"pin": SECRET}})
    story = Story(
        feature("refused", [{"a": {"call": "a", "with": {}}}]), answers={"a": [Result("refused", fault=fault)]}
    ).begin()
    assert SECRET not in everything(redacted(next(story.bundles()), "pin"))


def test_a_fork_of_a_fork_has_nothing_of_the_first_original():
    tasks = [{name: {"call": name, "with": {}}} for name in "abc"]
    story = Story(feature("twice", tasks), answers={"a": [Result("completed", {"pin": SECRET})], "c": [HOLD]})
    story.begin({"customer": "Ada"}).ask(c.Terminate, reason="x")
    fork(story, boundaries(story, story.id)[2], "o_fork1", story.id, reason="r")
    fork(story, boundaries(story, "o_fork1")[0], "o_fork2", "o_fork1", reason="r")
    made = redacted(list(story.bundles())[2], "pin")
    assert made["redacted"]["values"] == 1
    assert SECRET not in everything(made)
    assert replay.load(made).verify() == []


def test_no_digest_of_what_was_sent_is_left_by_which_a_short_value_could_be_found():
    digest = b"d" * 32
    story = Story(feature("held", [{"a": {"call": "a", "with": {}}}]), answers={"a": [HOLD]}).begin({"pin": "4711"})
    story.do(story.id, c.ReceiveEvent, event={"source": "s", "id": "1", "type": "t"}, digest=digest)
    story.start({"pin": "4711"}, id_="o_second", request=digest)
    for bundle in story.bundles():
        stored = b"".join(base64.b64decode(each["stored"]) for each in redacted(bundle, "pin")["history"])
        assert digest not in stored
        assert replay.load(redacted(bundle, "pin")).verify() == []


def test_very_many_values_are_found_in_a_long_text_soon():
    """An expression of all of them would hold the interpreter for a minute."""
    values = Values([f"{number:08x}-{number:04x}" for number in range(50_000)])
    text = " ".join(f"{number:012o}" for number in range(20_000))
    began = time.perf_counter()
    assert values.hide(f"{text} 00000001-0001") == f"{text} [redacted 2]"
    assert time.perf_counter() - began < 10


def test_what_people_were_asked_and_said_is_gone_and_still_replays():
    asked = {
        "title": '${ "Approve \\(.name)" }',
        "description": '${ "For \\(.name)" }',
        "data": "${ . }",
        "form": {"type": "object", "properties": {"of": {"enum": ["Lovelace", "Byron"]}}},
        "candidates": {"users": ["${ .name }", "ann"]},
        "due": {"hours": 4},
        "priority": 4,
        "escalation": [{"candidates": ["${ .name }"], "remind": True}],
    }
    story = Story(feature("asked", [{"a": {"call": "human", "with": asked}}, {"b": {"call": "human", "with": asked}}]))
    story.begin({"name": "Lovelace", "hours": 4})
    story.ask(c.ClaimTask, number=1, user="Lovelace", groups=[])
    story.ask(c.ReassignTask, number=1, assignee="Lovelace", users=["Lovelace"], groups=[], reason="Lovelace asked")
    story.pass_time(4 * 3600)
    story.ask(c.AnswerTask, number=1, user="Lovelace", outcome="completed", output={"name": "Lovelace"}, digest=b"1")
    error = {"type": "https://golden.invalid/no", "status": 422, "detail": "not Lovelace"}
    story.ask(c.AnswerTask, number=2, user="Lovelace", outcome="refused", error=error, digest=b"2")
    made = redacted(next(story.bundles()), "name", "hours")
    assert "Lovelace" not in everything(made)
    assert replay.load(made).verify() == []
