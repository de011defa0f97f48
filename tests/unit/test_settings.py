"""Settings: what the environment may say, and what is said when it cannot be used."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest

from adapters.settings import Settings, SettingsError, read_settings

DIGEST = hashlib.sha256(b"a-token").hexdigest()
OTHER = hashlib.sha256(b"another").hexdigest()


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in list(os.environ):
        if name.upper().startswith("RETRACE_"):
            monkeypatch.delenv(name)


def refused(**overrides) -> str:
    with pytest.raises(SettingsError) as caught:
        read_settings(**overrides)
    return str(caught.value)


def test_without_any_variable_the_defaults_hold():
    settings = read_settings()
    assert settings.database == "sqlite:///retrace.db"
    assert settings.sqlite_path == Path("retrace.db")
    assert (settings.host, settings.port, settings.partitions) == ("127.0.0.1", 8080, 16)
    assert (settings.settle_timeout, settings.callout_timeout, settings.grace) == (60, 30, 10)
    assert settings.held_events_for == 7 * 86400
    assert settings.max_body_bytes == 1024 * 1024
    assert (settings.max_requests, settings.max_waiting) == (1000, 2000)
    assert (settings.allow_loopback, settings.auth, settings.api_tokens) == (False, None, {})


def test_what_is_given_by_name_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("RETRACE_PORT", "9000")
    monkeypatch.setenv("RETRACE_HOST", "localhost")
    settings = read_settings(port=9001)
    assert (settings.port, settings.host) == (9001, "localhost")


def test_metrics_are_open_only_where_it_is_said(monkeypatch):
    assert read_settings().metrics is None
    monkeypatch.setenv("RETRACE_METRICS", "Open")
    assert read_settings().metrics == "open"
    assert "RETRACE_METRICS" in refused(metrics="yes")


def test_an_empty_variable_counts_as_absent(monkeypatch):
    monkeypatch.setenv("RETRACE_PORT", "")
    assert read_settings().port == 8080


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///retrace.db", Path("retrace.db")),
        ("sqlite:///data/a b.db", Path("data/a b.db")),
        ("sqlite:////var/lib/retrace.db", Path("/var/lib/retrace.db")),
        ("postgresql://u:p@host:5432/name", None),
        ("postgres://host/name", None),
        ("postgresql:///name?host=/run/postgresql", None),
    ],
)
def test_a_database_is_a_sqlite_file_or_a_postgresql_url(monkeypatch, url, path):
    monkeypatch.setenv("RETRACE_DATABASE", url)
    assert read_settings().sqlite_path == path


@pytest.mark.parametrize(
    "url",
    [
        "retrace.db",
        "sqlite://retrace.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///data/",
        "postgresql+psycopg://u:hunter2@host/name",
        "mysql://u:hunter2@host/name",
        "postgresql://",
    ],
)
def test_another_database_is_refused_with_what_to_write_and_without_its_password(url):
    message = refused(database=url)
    assert message.startswith("RETRACE_DATABASE ")
    assert "sqlite:///retrace.db" in message
    assert "postgresql://user:password@host:5432/name" in message
    assert "hunter2" not in message


def test_passwords_and_tokens_stay_out_of_the_repr():
    text = repr(read_settings(database="postgresql://u:hunter2@host/name", api_tokens=f"ci:{DIGEST}"))
    assert "hunter2" not in text
    assert DIGEST not in text


@pytest.mark.parametrize(("text", "seconds"), [("45", 45), ("0.5", 0.5), ("PT1M30S", 90), ("P7D", 604800)])
def test_a_duration_is_seconds_or_iso_8601(monkeypatch, text, seconds):
    monkeypatch.setenv("RETRACE_HELD_EVENTS_FOR", text)
    assert read_settings().held_events_for == seconds


@pytest.mark.parametrize("text", ["0", "-3", "soon", "Pxyz", "inf", "nan"])
def test_what_is_no_duration_is_refused(monkeypatch, text):
    monkeypatch.setenv("RETRACE_GRACE", text)
    assert refused().startswith("RETRACE_GRACE")


@pytest.mark.parametrize(("text", "size_bytes"), [("4096", 4096), ("2MiB", 2 << 20)])
def test_a_size_is_bytes_or_has_a_unit(monkeypatch, text, size_bytes):
    monkeypatch.setenv("RETRACE_MAX_BODY_BYTES", text)
    assert read_settings().max_body_bytes == size_bytes


def test_tokens_are_digests_by_name(monkeypatch):
    monkeypatch.setenv("RETRACE_API_TOKENS", f"ci:{DIGEST.upper()} , ops:{OTHER}")
    assert read_settings().api_tokens == {"ci": DIGEST, "ops": OTHER}


@pytest.mark.parametrize(
    "text", ["my-secret-token", "ci:my-secret-token", f":{DIGEST}", f"a b:{DIGEST}", f"ci:{DIGEST},"]
)
def test_a_token_in_another_form_is_refused_and_not_repeated(monkeypatch, text):
    monkeypatch.setenv("RETRACE_API_TOKENS", text)
    message = refused()
    assert "RETRACE_API_TOKENS entry" in message
    assert "sha256sum" in message
    assert "my-secret-token" not in message


def test_each_token_has_a_name_of_its_own(monkeypatch):
    monkeypatch.setenv("RETRACE_API_TOKENS", f"ci:{DIGEST},ci:{OTHER}")
    assert "two tokens named ci" in refused()


def test_tokens_and_no_authentication_exclude_each_other():
    assert "exclude each other" in refused(auth="none", api_tokens=f"ci:{DIGEST}")


@pytest.mark.parametrize("url", ["broker", "ftp://broker", "http://", "amqp:///x?exchange=y", "http://h:x/"])
def test_a_sink_is_an_address_of_a_known_kind(url):
    for setting in ("event_sink", "lifecycle_events"):
        message = refused(**{setting: url})
        assert message.startswith(f"RETRACE_{setting.upper()} ")
        assert "https://broker.example/events" in message


def test_batches_are_for_http():
    assert "RETRACE_EVENT_MODE=batch" in refused(event_mode="batch", event_sink="nats://h?subject=x")


def test_a_folder_or_file_that_is_not_there_is_refused(tmp_path):
    assert refused(definitions=tmp_path / "no").startswith("RETRACE_DEFINITIONS")
    assert refused(functions=tmp_path / "no.py").startswith("RETRACE_FUNCTIONS")


def test_an_unknown_variable_names_the_nearest_known_one(monkeypatch):
    monkeypatch.setenv("RETRACE_DATABSE", "sqlite:///x.db")
    assert refused() == "RETRACE_DATABSE is not a setting of Retrace; did you mean RETRACE_DATABASE?"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("RETRACE_SORCE_ORDERS", "RETRACE_SOURCE_ORDERS"),
        ("RETRACE_CONECTION_Q", "RETRACE_CONNECTION_Q"),
        ("RETRACE_SECRETS_BANK", "RETRACE_SECRET_BANK"),
        ("RETRACE_SECRETS_DIRS", "RETRACE_SECRETS_DIR"),
    ],
)
def test_an_unknown_variable_may_be_meant_for_a_name_of_the_users(monkeypatch, written, meant):
    monkeypatch.setenv(written, "x")
    assert refused() == f"{written} is not a setting of Retrace; did you mean {meant}?"


def test_an_unknown_variable_like_nothing_we_know_lists_what_there_is(monkeypatch):
    monkeypatch.setenv("RETRACE_QQQQ", "1")
    assert "after RETRACE_ may stand ALLOW_LOOPBACK, API_TOKENS, " in refused()
    assert ", CONNECTION_<NAME>, " in refused()


@pytest.mark.parametrize("name", ["RETRACE_SECRET_BANK", "RETRACE_URL", "RETRACE_TOKEN", "RETRACE_TEST_POSTGRES"])
def test_variables_that_others_read_are_left_alone(monkeypatch, name):
    monkeypatch.setenv(name, "x")
    assert read_settings().port == 8080


def test_every_problem_is_told_at_once(monkeypatch):
    monkeypatch.setenv("RETRACE_PORT", "many")
    monkeypatch.setenv("RETRACE_LOG_LEVEL", "loud")
    monkeypatch.setenv("RETRACE_PORTS", "1")
    message = refused()
    assert [line.split(" ")[0].rstrip(":") for line in message.splitlines()] == [
        "RETRACE_PORTS",
        "RETRACE_PORT",
        "RETRACE_LOG_LEVEL",
    ]


def test_every_setting_is_on_the_page_about_operations():
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(RETRACE_[A-Z0-9_]+)`", page, re.MULTILINE))
    assert told == {f"RETRACE_{field.upper()}" for field in Settings.model_fields}


def test_words_are_read_in_any_case(monkeypatch):
    monkeypatch.setenv("RETRACE_LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("RETRACE_AUTH", "None")
    assert (read_settings().log_level, read_settings().auth) == ("debug", "none")


@pytest.mark.parametrize(
    ("host", "elsewhere"),
    [
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("::", True),
        ("10.0.0.3", True),
        ("retrace.internal", True),
    ],
)
def test_what_is_more_than_loopback_is_known(host, elsewhere):
    assert Settings(host=host).reachable_from_elsewhere is elsewhere


@pytest.mark.parametrize(("retention", "early"), [(None, False), ("PT48H", False), ("P30D", False), ("60", True)])
def test_a_retention_that_breaks_a_promise_is_known(monkeypatch, retention, early):
    if retention is not None:
        monkeypatch.setenv("RETRACE_RETENTION", retention)
    assert read_settings().forgets_too_early is early
