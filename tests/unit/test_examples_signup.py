"""The signup: an account that lives only if it is confirmed within a day. The day is virtual."""

from __future__ import annotations

import pytest

from adapters.expressions.schemas import JsonSchemas
from domain import commands as c
from tests.support.examples_script import HOLD, Script, example, in_flight, names
from tests.support.pure_world import World, done, doubt, refused

SIGNUP = example("signup/signup.yaml")
INPUT = {"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com"}
CONFIRMED = "com.example.registration.confirmed.v1"
DAY = 24 * 3600


def violations(input_):
    assert SIGNUP.input_schema is not None
    return JsonSchemas().violations(SIGNUP.input_schema.document, input_)


def signup(**answers):
    script = Script(**answers)
    world = World(SIGNUP, script)
    world.start(INPUT)
    return world, script


def test_it_waits_for_the_confirmation():
    world, script = signup()
    assert world.root.status == "running"
    assert script.calls() == ["put accounts", "put mails"]
    assert world.root.next_due() is not None


def test_confirmed_in_time_the_account_becomes_active():
    world, script = signup()
    world.pass_time(DAY - 1)
    world.receive(CONFIRMED)
    assert world.root.status == "completed"
    assert script.calls() == ["put accounts", "put mails", "put activations"]
    assert world.root.output == {"account": "o_root", "email": "ada@example.com"}
    world.pass_time(DAY)
    assert world.root.status == "completed"


def test_not_confirmed_within_a_day_the_account_is_deleted():
    world, script = signup()
    world.pass_time(DAY - 1)
    assert script.undos() == []
    world.pass_time(2)
    assert world.root.status == "compensated"
    assert script.undos() == ["delete accounts"]
    assert world.root.fault.type.endswith("/timeout")
    assert world.root.fault.instance == "/do/2/waitForConfirmation"


def test_the_mail_cannot_be_unsent_and_the_rollback_says_so():
    world, _ = signup()
    world.pass_time(DAY + 1)
    assert names(world, world.root.rollbacks[""].left_behind) == ["sendMail"]


def test_a_confirmation_that_comes_before_the_wait_is_kept():
    world, script = signup(put_mails=[HOLD])
    world.receive(CONFIRMED)
    assert world.root.status == "running"
    world.reply(in_flight(world, "put mails"), done({}))
    assert world.root.status == "completed"
    assert script.calls()[-1] == "put activations"


def test_another_event_confirms_nothing():
    world, script = signup()
    world.receive("com.example.registration.declined.v1")
    assert world.root.status == "running"
    assert "put activations" not in script.calls()


def test_an_address_without_a_mailbox_deletes_the_account_at_once():
    world, script = signup(put_mails=[refused(422)])
    assert world.root.status == "compensated"
    assert script.undos() == ["delete accounts"]


def test_a_taken_address_leaves_nothing_to_undo():
    world, script = signup(put_accounts=[refused(409)])
    assert world.root.status == "faulted"
    assert script.calls() == ["put accounts"]


def test_an_account_that_may_exist_is_deleted_too():
    world, script = signup(put_accounts=[doubt() for _ in range(5)])
    world.pass_time(60)
    assert world.root.status == "compensated"
    assert script.calls() == ["put accounts"] * 5 + ["delete accounts"]


def test_withdrawn_while_pending():
    world, script = signup()
    world.do("o_root", c.Cancel, reason="not me")
    assert world.root.status == "cancelled"
    assert script.undos() == ["delete accounts"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"email": "ada"}, "/email"),
        ({"email": "ada@example"}, "/email"),
        ({"email": "ada lovelace@example.com"}, "/email"),
        ({"first_name": ""}, "/first_name"),
        ({"last_name": "  "}, "/last_name"),
        ({"nickname": "Ada"}, ""),
        ({"email": None}, "/email"),
    ],
)
def test_input_of_the_wrong_form_is_told_with_its_place(change, pointer):
    assert pointer in [place for place, _ in violations(INPUT | change)]


@pytest.mark.parametrize("missing", sorted(INPUT))
def test_every_member_is_needed(missing):
    assert violations({name: value for name, value in INPUT.items() if name != missing})


@pytest.mark.parametrize("email", ["ada@example.com", "ada+news@mail.example.co.uk", "Ö@example.com"])
def test_addresses_that_are_fine(email):
    assert violations(INPUT | {"email": email}) == []
