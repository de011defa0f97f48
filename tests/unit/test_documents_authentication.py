"""What the standard knows of authentication and we cannot do is refused at deployment, never at run time."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.documents import compile_plan
from domain.errors import InvalidDefinitionError


def call(policy: dict[str, Any]) -> dict[str, Any]:
    endpoint = {"uri": "http://x.test/", "authentication": {"oauth2": policy}}
    return {
        "document": {"dsl": "1.0.3", "namespace": "test", "name": "x", "version": "1.0.0"},
        "do": [{"a": {"call": "http", "with": {"method": "get", "endpoint": endpoint}}}],
    }


@pytest.mark.parametrize("grant", ["client_credentials", "password", "${ .grant }"])
def test_grants_that_can_be_had(grant: str) -> None:
    compile_plan(call({"authority": "http://auth.test", "grant": grant}), "sha256:x")


@pytest.mark.parametrize(
    ("policy", "pointer", "code"),
    [
        ({"grant": "refresh_token"}, "grant", "unsupported"),
        ({"grant": "urn:ietf:params:oauth:grant-type:token-exchange"}, "grant", "unsupported"),
        (
            {"grant": "password", "client": {"authentication": "client_secret_jwt"}},
            "client/authentication",
            "unsupported",
        ),
        ({"grant": "password", "subject": {"token": "x", "type": "y"}}, "subject", "unknown-keyword"),
        ({"grant": "wish"}, "grant", "invalid"),
    ],
)
def test_what_cannot_be_had_is_refused_with_its_place(policy: dict[str, Any], pointer: str, code: str) -> None:
    with pytest.raises(InvalidDefinitionError) as refused:
        compile_plan(call({"authority": "http://auth.test", **policy}), "sha256:x")
    place = f"/do/0/a/with/endpoint/authentication/oauth2/{pointer}"
    assert (place, code) in [(problem.pointer, problem.code) for problem in refused.value.problems]
