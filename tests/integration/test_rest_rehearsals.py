"""``POST /v1/rehearsals``: the same report over REST, within bounds; nobody is called, nothing is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.callouts.dispatch import CalloutDispatch
from application import rehearsals
from tests.support.service import Api, running_service

pytestmark = pytest.mark.anyio
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
async def api(tmp_path, monkeypatch):
    async def nobody(*_: object) -> None:
        raise AssertionError("somebody is called")

    monkeypatch.setattr(CalloutDispatch, "send", nobody)
    async with running_service(tmp_path) as api:
        yield api


def document(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((EXAMPLES / name).read_text()))


async def deployed(api: Api, name: str) -> None:
    assert (await api.deploy((EXAMPLES / name).read_text()))["http_status"] == 201


async def test_what_is_deployed_is_rehearsed_with_its_children(api):
    await deployed(api, "order/shipping.yaml")
    await deployed(api, "order/order.yaml")
    report = await api.done("POST", "/v1/rehearsals", json={"definition": "shop/order"})
    assert report["definition"] == "shop/order@1.0.0"
    assert report["stand_ins"] == []
    titles = {each["title"]: each for each in report["scenarios"]}
    assert [each["task"] for each in titles["bookCarrier times out"]["undone"]] == [
        "bookCarrier",
        "charge",
        "reserveStock",
    ]
    assert (await api.done("GET", "/v1/orchestrations"))["items"] == []


async def test_a_document_need_not_be_deployed(api):
    body = {"definition": document("signup/signup.yaml"), "limit": 8}
    report = await api.done("POST", "/v1/rehearsals", json=body)
    assert len(report["scenarios"]) == 8
    assert report["left_out"] > 0
    assert {each["code"] for each in report["warnings"]} == {"left-behind"}
    assert all("line" not in each for each in report["warnings"])
    assert (await api.done("GET", "/v1/definitions"))["items"] == []


async def test_input_and_outputs_are_given(api):
    await deployed(api, "trip/trip.yaml")
    body = {
        "definition": "travel/trip-booking@1.0.0",
        "input": {"traveller": "Ada", "city": "Rome"},
        "outputs": {"pay": {"id": 4}},
    }
    report = await api.done("POST", "/v1/rehearsals", json=body)
    assert report["input"] == body["input"]
    assert report["input_made_up"] is False


@pytest.mark.parametrize(
    ("body", "status", "slug", "pointer"),
    [
        ({"definition": "nowhere"}, 404, "not-found", None),
        ({"definition": {"document": {"dsl": "1.0.3"}}}, 422, "invalid-definition", "/definition/document"),
        ({"definition": "travel/trip-booking", "input": {"city": 4}}, 422, "invalid-input", "/input/city"),
        ({"definition": "travel/trip-booking", "limit": 0}, 422, "invalid-input", "/limit"),
        ({"definition": "travel/trip-booking", "odd": 1}, 422, "invalid-input", "/odd"),
        ({}, 422, "invalid-input", "/definition"),
    ],
)
async def test_what_cannot_be_rehearsed_is_told(api, body, status, slug, pointer):
    await deployed(api, "trip/trip.yaml")
    answer = await api.http.post("/v1/rehearsals", json=body)
    assert answer.status_code == status
    assert answer.json()["type"] == f"/problems/{slug}"
    if pointer is not None:
        assert any(each["pointer"].startswith(pointer) for each in answer.json()["errors"]), answer.json()


async def test_an_expression_that_does_not_compile_is_told_at_its_place_in_the_body(api):
    bad = document("trip/trip.yaml") | {"output": {"as": "${ ( }"}}
    answer = await api.http.post("/v1/rehearsals", json={"definition": bad})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/definition/output/as"
    assert "line" not in answer.json()["errors"][0]


async def test_a_rehearsal_ends_when_its_time_is_over(api, monkeypatch):
    monkeypatch.setattr(rehearsals, "LONGEST", rehearsals.LONGEST * 0)
    report = await api.done("POST", "/v1/rehearsals", json={"definition": document("trip/trip.yaml")})
    assert report["happy_path"]["status"] == "completed"
    assert report["scenarios"] == []
    assert report["left_out"] > 0
