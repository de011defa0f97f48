"""The signup over HTTP: register, confirm, and what happens when nobody does."""

from __future__ import annotations

import pytest

from examples.participants import Reply
from tests.support.running_examples import running_examples

pytestmark = pytest.mark.anyio
ADA = {"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com"}
CONFIRMED = {
    "ce-specversion": "1.0",
    "ce-id": "confirmation-1",
    "ce-source": "/mail",
    "ce-type": "com.example.registration.confirmed.v1",
}


async def test_registered_confirmed_active(tmp_path):
    async with running_examples(tmp_path, "signup") as (api, participants):
        created = await api.http.post("/registrations", json=ADA)
        assert created.status_code == 201
        id_ = created.json()["id"]
        assert created.headers["Location"].endswith(f"/registrations/{id_}")
        await api.waiting(id_, "waitForConfirmation")
        shown = await api.done("GET", f"/registrations/{id_}")
        assert (shown["status"], shown["data"]) == ("Pending", ADA)
        sent = await api.http.post(f"/v1/orchestrations/{id_}/events", headers=CONFIRMED)
        assert (sent.status_code, sent.json()["outcome"]) == (202, "matched")
        status = await api.ended(id_)
        assert status["status"] == "completed"
        shown = await api.done("GET", f"/registrations/{id_}")
        assert (shown["status"], shown["output"]) == ("Confirmed", {"account": id_, "email": "ada@example.com"})
        assert participants.effects(id_) == [("done", "accounts"), ("done", "mails"), ("done", "activations")]
        again = await api.http.post(f"/v1/orchestrations/{id_}/events", headers=CONFIRMED)
        assert (again.status_code, again.json()["outcome"]) == (202, "duplicate")


async def test_not_confirmed_in_time_the_account_is_gone(tmp_path):
    faster = {"{hours: 24}": "{milliseconds: 300}"}
    async with running_examples(tmp_path, "signup", faster=faster) as (api, participants):
        id_ = (await api.done("POST", "/registrations", json=ADA))["id"]
        status = await api.ended(id_)
        assert status["status"] == "compensated"
        assert status["error"]["type"].endswith("/timeout")
        assert status["rollback"]["plan"] == ["createAccount"]
        assert [left["task"] for left in status["rollback"]["left_behind"]] == ["sendMail"]
        assert (await api.done("GET", f"/registrations/{id_}"))["status"] == "Expired"
        assert participants.effects(id_)[-1] == ("undone", "accounts")


async def test_a_confirmation_before_the_wait_counts(tmp_path):
    async with running_examples(tmp_path, "signup") as (api, participants):
        participants.script("PUT", "mails", Reply(acts=True, delay_s=0.5))
        id_ = (await api.done("POST", "/registrations", json=ADA))["id"]
        await participants.until("done", "mails", id_)
        early = await api.http.post(f"/v1/orchestrations/{id_}/events", headers=CONFIRMED)
        assert (early.status_code, early.json()["outcome"]) == (202, "held")
        assert (await api.ended(id_))["status"] == "completed"


async def test_withdrawn(tmp_path):
    async with running_examples(tmp_path, "signup") as (api, participants):
        id_ = (await api.done("POST", "/registrations", json=ADA))["id"]
        await api.waiting(id_, "waitForConfirmation")
        withdrawn = await api.http.delete(f"/registrations/{id_}", params={"reason": "not me"})
        assert withdrawn.status_code == 202
        assert (await api.ended(id_))["status"] == "cancelled"
        assert (await api.done("GET", f"/registrations/{id_}"))["status"] == "Withdrawn"
        assert participants.effects(id_)[-1] == ("undone", "accounts")


@pytest.mark.parametrize(
    ("email", "label", "effects"),
    [
        ("taken@example.com", "Rejected", []),
        ("nobody@example.com", "Expired", [("done", "accounts"), ("undone", "accounts")]),
    ],
)
async def test_refused(tmp_path, email, label, effects):
    async with running_examples(tmp_path, "signup") as (api, participants):
        id_ = (await api.done("POST", "/registrations", json=ADA | {"email": email}))["id"]
        await api.ended(id_)
        assert (await api.done("GET", f"/registrations/{id_}"))["status"] == label
        assert participants.effects(id_) == effects


async def test_input_of_the_wrong_form(tmp_path):
    async with running_examples(tmp_path, "signup") as (api, participants):
        answer = await api.http.post("/registrations", json=ADA | {"email": "ada"})
        assert answer.status_code == 422
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/email"]
        assert participants.requests == []
