"""A defect in one orchestration that waits for an event does not keep the event from the others."""

from __future__ import annotations

from domain import commands as c
from tests.simulation.loop import simulate
from tests.simulation.memory_data import MemoryData
from tests.simulation.nodes import deploy, running, start

LISTEN = {"listen": {"to": {"one": {"with": {"type": "paid"}}}}}


def test_the_others_have_it_and_an_incident_tells(monkeypatch):
    async def main(loop):
        node = await running(loop, MemoryData())
        await deploy(node, [{"l": LISTEN}])
        places = {node.engine.identity.locate(id_): id_ for id_ in [await start(node) for _ in range(5)]}
        first = min(places)
        execute = node.engine.execute

        async def broken(place, make, **members):
            if place == first and isinstance(make(None), c.ReceiveEvent):
                raise KeyError("a defect")
            return await execute(place, make, **members)

        monkeypatch.setattr(node.engine, "execute", broken)
        event = {"specversion": "1.0", "id": "1", "source": "https://outside.test", "type": "paid"}
        assert (await node.commands.publish_event(event)).outcome == "matched"
        found = {id_: await node.queries.status(id_) for id_ in places.values()}
        poisoned = found.pop(places[first])
        assert [each["kind"] for each in poisoned["incidents"]] == ["poison"]
        assert {each["status"] for each in found.values()} == {"completed"}
        await node.stop()

    simulate(1, main)
