"""Secrets from the environment, from files and folders, and their redaction."""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.callouts.redaction import Redaction
from adapters.callouts.secrets import EnvironmentSecrets, complaints

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


# Forms --------------------------------------------------------------------------------------------------------------


@given(
    st.text(min_size=8, max_size=40, alphabet=st.characters(codec="utf-8")), st.text(max_size=7), st.text(max_size=7)
)
def test_no_form_of_a_secret_survives(secret, before, after):
    redaction = Redaction([secret])
    octets = secret.encode()
    whole = (before + secret + after).encode()
    for form in (
        before + secret + after,
        quote(secret), quote(secret, safe=""), quote_plus(secret),
        re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), quote(secret)),
        json.dumps(secret), json.dumps(secret, ensure_ascii=False), octets.hex(),
        b64encode(octets).decode(), urlsafe_b64encode(octets).decode(),
    ):  # fmt: skip
        assert "***" in redaction.apply(form), form
    if len(octets) >= 9:
        for encoded in (b64encode(whole), urlsafe_b64encode(whole)):
            assert "***" in redaction.apply(encoded.decode())


@pytest.mark.parametrize("left", ["!", "~", "!'()*", "@:/?$,", "aX9", ""], ids=repr)
@pytest.mark.parametrize("space", ["%20", "+"])
@pytest.mark.parametrize("hexadecimal", ["%{:02X}", "%{:02x}"])
def test_whatever_a_client_leaves_unquoted_in_a_url_the_secret_is_hidden(left, space, hexadecimal):
    """Every client has characters of its own that it does not quote; ours leaves ``!`` in a query."""
    secret = "aX9 ü!~'()*@:/?$,&+=%41"
    quoted = "".join(
        each if each in left else space if each == " " else "".join(map(hexadecimal.format, each.encode()))
        for each in secret
    )
    assert Redaction([secret]).apply(f"/find?a=%41&key={quoted}&b=1+1") == "/find?a=%41&key=***&b=1+1"


def test_of_two_secrets_in_a_url_the_longer_is_hidden_whole():
    redaction = Redaction(["a-pass", "a-pass word!"])
    assert redaction.apply("?x=a-pass%20word!&y=a-pass+word!&z=a-pass%2F") == "?x=***&y=***&z=***%2F"


def test_a_text_full_of_percent_signs_is_read_in_no_time():
    redaction = Redaction(["a-pass word!", *(f"secret number {number}!" for number in range(50))])
    innocent = "%41%zz%+" * 100_000
    started = time.process_time()
    assert redaction.apply(innocent) == innocent
    assert time.process_time() - started < 3


@pytest.mark.parametrize("form", [r"a\/b\u003cc\u003e\u0026d", r"a\/b<c>&d", r"a/b\u003Cc\u003E\u0026d"])
def test_json_as_other_languages_write_it(form):
    """PHP escapes slashes; Go, .NET and whoever puts JSON into pages escape what HTML knows."""
    assert Redaction(["a/b<c>&d"]).apply(f'{{"key":"{form}"}}') == '{"key":"***"}'


def test_names_of_members_are_redacted_too():
    assert Redaction(["k3y-12345"]).apply({"is k3y-12345": [{"k3y-12345": 1}]}) == {"is ***": [{"***": 1}]}


def test_a_text_that_is_added_later_is_hidden_as_well_as_the_first():
    redaction = Redaction(["first-one"])
    redaction.add(["second-one"])
    assert redaction.apply("first-one second-one") == "*** ***"


# Files --------------------------------------------------------------------------------------------------------------


def test_a_file_holds_a_secret(tmp_path):
    (tmp_path / "key").write_text("fr0m-a-file\n")
    secrets = EnvironmentSecrets({"RETRACE_SECRET_API_KEY_FILE": str(tmp_path / "key")})
    assert secrets.get("api-key") == "fr0m-a-file"
    assert secrets.get("api-key-file") is None
    assert secrets.redact("x fr0m-a-file") == "x ***"


def test_a_folder_holds_one_a_file_and_is_read_again_when_it_changes(tmp_path):
    (tmp_path / "api-key").write_text("first-value")
    (tmp_path / "login").write_text('{"username": "ann", "password": "deep-one"}')
    (tmp_path / "..data").write_text("hidden")
    secrets = EnvironmentSecrets({}, folder=tmp_path)
    assert secrets.redact("first-value deep-one") == "*** ***", "known before anybody asks"
    assert secrets.get("api-key") == "first-value"
    (tmp_path / "new").write_text("second-value")
    (tmp_path / "new").replace(tmp_path / "api-key")
    (tmp_path / "late").write_text("third-value")
    assert secrets.get("API_KEY") == "second-value"
    assert secrets.get("late") == "third-value"
    assert secrets.redact("first-value second-value third-value") == "*** *** ***", "of before, too"
    (tmp_path / "api-key").unlink()
    assert secrets.get("api-key") == "second-value", "the last value stands"


def test_the_environment_wins_over_the_folder(tmp_path):
    (tmp_path / "api-key").write_text("of-the-folder")
    assert (
        EnvironmentSecrets({"RETRACE_SECRET_API_KEY": "of-the-environment"}, folder=tmp_path).get("api-key")
        == "of-the-environment"
    )


def test_files_that_cannot_be_used_are_told_without_their_content(tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    told = complaints(
        {
            "RETRACE_SECRET_A_FILE": str(tmp_path / "nothing"),
            "RETRACE_SECRET_B_FILE": str(tmp_path / "bytes"),
            "RETRACE_SECRET_C": "value",
            "RETRACE_SECRET_C_FILE": __file__,
        }
    )
    assert len(told) == 3
    assert "exclude each other" in told[2]
    assert not complaints({"RETRACE_SECRET_C": "value", "RETRACE_SECRET_D_FILE": __file__})
