"""Tokens that open a door stand in no log, whatever is logged."""

from __future__ import annotations

import logging

import pytest

from adapters.cli.logs import configure_logs


@pytest.fixture
def restored():
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    "told",
    [
        '127.0.0.1:5 - "POST /v1/callbacks/s3cr3t-t0ken HTTP/1.1" 202',
        '127.0.0.1:5 - "POST /v1/callbacks/s3cr3t-t0ken?x=1 HTTP/1.1" 202',
        "the header Authorization: Bearer s3cr3t-t0ken",
        "authorization: bearer s3cr3t-t0ken, again",
    ],
)
def test_tokens_are_masked(restored, capsys, form, told):
    configure_logs(form, "debug")
    logging.getLogger("uvicorn.access").info(told)
    shown = capsys.readouterr().err
    assert "***" in shown
    assert "s3cr3t" not in shown


@pytest.mark.parametrize(("level", "heard"), [("info", False), ("debug", True)])
def test_a_connection_that_is_refused_is_not_told_twice(restored, capsys, level, heard):
    """The source or sink says it; the library, once more."""
    configure_logs("text", level)
    logging.getLogger("aiormq.connection").error("error when creating transport")
    logging.getLogger("aiormq").error("a defect")
    shown = capsys.readouterr().err
    assert ("error when creating transport" in shown) is heard
    assert "a defect" in shown
