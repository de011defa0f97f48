"""Addresses of brokers: what is understood, and that what is not is told without the address."""

from __future__ import annotations

import importlib.util

import pytest

from adapters.messaging.addresses import AddressError, read_sink, read_sources
from adapters.messaging.encoding import encoded
from adapters.messaging.jetstream import message_id, subject_of
from adapters.settings import SettingsError, read_settings

SECRET = "s3cr%40t"


def complaint(**environment: str) -> str:
    with pytest.raises(AddressError) as caught:
        read_sources({f"RETRACE_SOURCE_{name}": value for name, value in environment.items()})
    message = str(caught.value)
    assert SECRET not in message
    return message


def test_a_sink_keeps_what_is_the_brokers_and_takes_what_is_ours():
    found = read_sink(f"amqps://me:{SECRET}@rabbit:5671/shop?exchange=events&heartbeat=5")
    assert (found.kind, found.options) == ("amqp", {"exchange": "events"})
    assert found.url == f"amqps://me:{SECRET}@rabbit:5671/shop?heartbeat=5"
    assert found.password == "s3cr@t"
    assert SECRET not in repr(found)
    assert read_sink("nats://token@h?subject=a.{type}").password == "token"
    assert read_sink("https://a.example/e?x=1").url == "https://a.example/e?x=1"


@pytest.mark.parametrize("subject", ["", "a b", "a.*", "a..b", ">"])
def test_a_subject_is_one(subject):
    with pytest.raises(AddressError, match="subject"):
        read_sink(f"nats://h?subject={subject}")


def test_sources_have_names(tmp_path):
    file = tmp_path / "address"
    file.write_text("nats://h?stream=S&consumer=c\n")
    found = read_sources(
        {
            "RETRACE_SOURCE_NEW_ORDERS": "amqp://h?queue=q&prefetch=7",
            "RETRACE_SOURCE_B_FILE": str(file),
            "RETRACE_SOURCE_EMPTY": " ",
        }
    )
    assert [(each.name, each.address.kind, each.prefetch) for each in found] == [
        ("b", "nats", 20),
        ("new-orders", "amqp", 7),
    ]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"amqp://me:{SECRET}@h", "names no queue"),
        (f"nats://me:{SECRET}@h?subject=x", "names no stream and no consumer"),
        (f"nats://me:{SECRET}@h?stream=a.b&consumer=c", "has a stream whose name"),
        (f"nats://me:{SECRET}@h?stream=a&consumer=c&dead_letter=*", "dead_letter"),
        (f"nats://me:{SECRET}@h?stream=a&consumer=c&colour=red", "unknown option colour"),
        (f"amqp://me:{SECRET}@h?queue=q&prefetch=0", "prefetch"),
        (f"amqp://me:{SECRET}@h?queue=q&prefetch=1001", "prefetch"),
        (f"https://me:{SECRET}@h", "posted to /v1/events"),
        (f"kafka://me:{SECRET}@h", "cannot be used"),
        (f"amqp://me:{SECRET}@h:port?queue=q", "is not a URL"),
    ],
)
def test_what_cannot_be_used_is_told(url, words):
    message = complaint(ORDERS=url)
    assert message.startswith("RETRACE_SOURCE_ORDERS ")
    assert words in message


def test_names_that_cannot_be():
    assert "no name" in complaint(**{"A-B": "amqp://h?queue=q"})
    assert "cannot be read" in complaint(A_FILE="/nowhere/at/all")
    assert "another variable" in complaint(a="amqp://h?queue=q", A="amqp://h?queue=q")


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert "pip install 'retrace[amqp]'" in complaint(A="amqp://h?queue=q")
    with pytest.raises(AddressError, match=r"retrace\[nats\]"):
        read_sink("nats://h?subject=x")
    assert importlib.util.find_spec("aio_pika") is None


def test_settings_tell_about_sources_too(monkeypatch):
    monkeypatch.setenv("RETRACE_SOURCE_ORDERS", f"amqp://me:{SECRET}@h")
    monkeypatch.setenv("RETRACE_LIFECYCLE_EVENTS", f"nats://me:{SECRET}@h")
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert "RETRACE_SOURCE_ORDERS names no queue" in str(caught.value)
    assert "RETRACE_LIFECYCLE_EVENTS names no subject" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_whatever_cannot_be_used_is_told_at_once(monkeypatch):
    for name, url in {"A": "kafka://h", "B": "amqp://h", "C": "amqp://h?queue=q&prefetch=0"}.items():
        monkeypatch.setenv(f"RETRACE_SOURCE_{name}", url)
    monkeypatch.setenv("RETRACE_CONNECTION_A", "x")
    monkeypatch.setenv("RETRACE_CONNECTION_B", "oracle://h/x")
    with pytest.raises(SettingsError) as caught:
        read_settings()
    told = [each.split()[0] for each in caught.value.problems]
    assert told == [*(f"RETRACE_CONNECTION_{name}" for name in "AB"), *(f"RETRACE_SOURCE_{name}" for name in "ABC")]


def test_subjects_and_ids_are_fit_for_nats():
    assert subject_of("out.{type}", "a.b c..*>x") == "out.a.b_c._.__x"
    assert subject_of("fixed", "a.b") == "fixed"
    one, same, other = ({"source": source, "id": id_} for source, id_ in (("/a", "1"), ("/a", "1"), ("/", "a1")))
    assert message_id(one) == message_id(same) != message_id(other)


def test_attributes_are_texts_in_binary_mode():
    event = {"id": "1", "flag": True, "n": 5, "data": "x", "datacontenttype": "text/plain"}
    found = encoded(event, "binary")
    assert found.attributes == {"ce-id": "1", "ce-flag": "true", "ce-n": "5"}
    assert (found.content_type, found.body) == ("text/plain", b"x")
    assert encoded({"id": "1", "data": "x"}, "binary").body == b'"x"'
