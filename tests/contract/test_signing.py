"""The contracts of keys, and of the places outside that checkpoints go to."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from werkzeug import Request, Response

from adapters.checkpoint_outlets import CheckpointFile, CheckpointReceiver
from adapters.signatures import Ed25519Keys, Ed25519Signer, read_private
from application.checkpoint_store import CheckpointOutlet, NoKeys, PublicKeys, Signer
from application.ports import DeliveryError
from tests.simulation.signing import SimulatedKey


def ed25519() -> tuple[Signer, PublicKeys]:
    signer = Ed25519Signer(read_private(base64.b64encode(bytes(32)).decode()))
    return signer, Ed25519Keys([], current=signer.public)


def simulated() -> tuple[Signer, PublicKeys]:
    key = SimulatedKey()
    return key, key


@pytest.mark.parametrize("make", [ed25519, simulated])
def test_a_signature_holds_for_its_message_alone(make: Callable[[], tuple[Signer, PublicKeys]]) -> None:
    signer, keys = make()
    signature = signer.sign(b"a message")
    assert keys.holds(signer.key_id, b"a message", signature) is True
    for message, other in ((b"another", signature), (b"a message", signature[:-1] + b"x"), (b"a message", b"")):
        assert keys.holds(signer.key_id, message, other) is False
    assert keys.holds("somebody else's", b"a message", signature) is None
    assert [each["key_id"] for each in keys.listed()] == [signer.key_id]
    assert make()[0].key_id == signer.key_id


def test_without_keys_nothing_is_known() -> None:
    assert NoKeys().holds("k", b"a message", b"") is None
    assert NoKeys().listed() == []


# Outlets --------------------------------------------------------------------------------------------------------------


class Place:
    """An outlet, what has arrived there, and a way to break it."""

    def __init__(self, outlet: CheckpointOutlet, arrived: Callable[[], list[Any]], broken: CheckpointOutlet) -> None:
        self.outlet = outlet
        self.arrived = arrived
        self.broken = broken


@pytest.fixture(params=["file", "receiver"])
async def place(request, tmp_path):
    if request.param == "file":
        path = tmp_path / "checkpoints"
        broken = CheckpointFile(tmp_path / "no" / "folder")
        yield Place(CheckpointFile(path), lambda: [json.loads(line) for line in path.read_text().splitlines()], broken)
        return
    server = request.getfixturevalue("httpserver")
    arrived: list[Any] = []

    def receive(sent: Request) -> Response:
        arrived.extend(sent.get_json()["checkpoints"])
        return Response(status=202)

    server.expect_request("/good", method="POST").respond_with_handler(receive)
    server.expect_request("/bad", method="POST").respond_with_data("no", status=302, headers={"Location": "/good"})
    async with aiohttp.ClientSession() as session:
        good, bad = (CheckpointReceiver(server.url_for(each), session) for each in ("/good", "/bad"))
        yield Place(good, lambda: arrived, bad)


@pytest.mark.anyio
async def test_all_arrive_in_order(place: Place) -> None:
    many = [{"position": each, "log_hash": "ab" * 32} for each in range(1200)]
    await place.outlet.put(many[:1])
    await place.outlet.put(many[1:])
    assert place.arrived() == many


@pytest.mark.anyio
async def test_trouble_is_told(place: Place) -> None:
    with pytest.raises(DeliveryError):
        await place.broken.put([{"position": 1}])
