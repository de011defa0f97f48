"""``emit``: the event that goes out and the output of the task."""

import pytest

from tests.support.flows import completed, fault_of, ran, runs_of


def emit(**attributes):
    return {"emit": {"event": {"with": {"source": "https://x.test", "type": "x.done", **attributes}}}}


def test_the_output_is_the_whole_event_that_goes_out():
    world = ran([{"e": emit(data={"n": "${ .n + 1 }"}, subject="${ .s }")}], {"n": 1, "s": "sub"})
    event = world.root.output
    assert world.emitted == [event]
    assert event == {
        "specversion": "1.0",
        "id": event["id"],
        "time": "2026-01-01T00:00:00.000Z",
        "source": "https://x.test",
        "type": "x.done",
        "subject": "sub",
        "data": {"n": 2},
        "datacontenttype": "application/json",
    }
    assert len(event["id"]) == 22


def test_every_event_has_an_id_of_its_own():
    world = ran([{"l": {"for": {"in": "[range(50)]"}, "do": [{"e": emit()}]}}])
    assert len({event["id"] for event in world.emitted}) == 50


def test_what_the_author_says_stays():
    event = completed(
        [{"e": emit(id="mine", time="2020-01-01T00:00:00Z", datacontenttype="text/plain", data="hello", custom=7)}]
    )
    assert (event["id"], event["time"], event["datacontenttype"], event["data"], event["custom"]) == (
        "mine",
        "2020-01-01T00:00:00Z",
        "text/plain",
        "hello",
        7,
    )


def test_without_data_there_is_no_content_type():
    assert not {"data", "datacontenttype"} & set(completed([{"e": emit()}]))


@pytest.mark.parametrize(
    "bad", [{"source": "${ null }"}, {"source": "${ 5 }"}, {"type": '${ "" }'}, {"id": "${ .missing }"}]
)
def test_an_event_without_a_source_type_or_id_is_a_validation_fault(bad):
    name, status, instance, _ = fault_of([{"e": emit(**bad)}])
    assert (name, status, instance) == ("validation", 400, "/do/0/e")
    assert ran([{"e": emit(**bad)}]).emitted == []


def test_output_and_export_of_an_emit():
    task = {**emit(data={"n": 1}), "output": {"as": ".data"}, "export": {"as": "${ {id: $task.output.id} }"}}
    world = ran([{"e": task}])
    assert world.root.output == {"n": 1}
    assert world.root.context == {"id": world.emitted[0]["id"]}


def test_an_event_that_went_out_is_an_effect_even_when_its_output_fails():
    world = ran([{"e": {**emit(), "output": {"as": ".type.x"}}}])
    run = runs_of(world.root, "e")[0]
    assert (world.root.status, run.effect, len(world.emitted)) == ("faulted", "completed", 1)


def test_an_event_that_went_out_is_an_effect_even_when_a_sibling_fails_meanwhile():
    branches = [
        {"no": {"set": {"x": '${ error("no") }'}}},
        {"e": {**emit(type="t"), "output": {"as": ".type | tojson"}}},
    ]
    world = ran([{"f": {"fork": {"branches": branches}}}])
    run = runs_of(world.root, "e")[0]
    assert (world.root.status, len(world.emitted)) == ("faulted", 1)
    assert (run.status, run.effect, run.output) == ("cancelled", "completed", world.emitted[0])
