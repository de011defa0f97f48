"""Secrets from the environment and their redaction."""

from __future__ import annotations

import pytest

from adapters.callouts.secrets import EnvironmentSecrets

SECRETS = EnvironmentSecrets(
    {
        "RETRACE_SECRET_API_KEY": "k3y-12345",
        "RETRACE_SECRET_LOGIN": '{"username": "ann1", "password": "k3y-12345-more", "pin": 12345678, "x": "deep-one"}',
        "RETRACE_SECRET_BROKEN": "{not json",
        "RETRACE_SECRET_TINY": "abc",
        "OTHER": "other",
    }
)


def test_names_ignore_case_and_dashes():
    assert SECRETS.get("api-key") == SECRETS.get("API_KEY") == "k3y-12345"


def test_an_object_is_an_object_and_the_rest_is_text():
    login = SECRETS.get("login")
    assert isinstance(login, dict)
    assert login["username"] == "ann1"
    assert SECRETS.get("broken") == "{not json"


@pytest.mark.parametrize("name", ["nobody", "OTHER", ""])
def test_what_is_not_set_is_none(name):
    assert SECRETS.get(name) is None


def test_every_occurrence_is_replaced_longest_first():
    value = {
        "k3y-12345": ["x k3y-12345 y", "k3y-12345-more", {"a": "deep-one|ann1", "b": "12345678"}],
        "n": 1,
        "t": True,
    }
    assert SECRETS.redact(value) == {"***": ["x *** y", "***", {"a": "***|***", "b": "***"}], "n": 1, "t": True}


def test_short_texts_are_left_alone():
    assert SECRETS.redact("abc and other") == "abc and other"


def test_without_secrets_a_value_comes_back_as_it_is():
    value = {"a": [1]}
    assert EnvironmentSecrets({}).redact(value) is value
