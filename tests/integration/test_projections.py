"""Projections over HTTP and SQL, on both databases: a user's file makes a table that anyone may query."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import psycopg
import pytest

from adapters.bootstrap import open_service
from adapters.postgres.storage import PostgresStorage
from adapters.settings import Settings
from application.projection_store import Build, Column, ProjectionChangedError, Shape
from domain.errors import StorageError
from retrace.functions import load_functions
from tests.support.service import Api

pytestmark = pytest.mark.anyio
DEFINITION = """
document: {dsl: '1.0.3', namespace: shop, name: parcel, version: '1.0.0'}
do:
  - label: {set: {text: '${ "To " + .city }'}}
"""
FILE = """
from datetime import datetime
from retrace import Event, Row, projection

@projection("parcels", version=%(version)d, key="parcel",
            table={"city": str, "weight": float, "open": bool, "at": datetime, "labels": list%(more)s})
def parcels(row: Row | None, event: Event) -> Row | None:
    if event.type == "orchestration.started":
        return {"city": event.data["input"]["city"], "weight": 2, "open": True, "at": event.at, "labels": []}
    if event.type == "task.completed":
        row["labels"].append(event.data["output"]["text"])
    elif event.type == "orchestration.completed":
        row["open"] = False
    return row

@projection("broken", table={"n": int})
def broken(row, event):
    if event.type == "task.completed":
        return {"n": "none"}
    return {"n": event.version}
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/retrace.db"
    return str(request.getfixturevalue("fresh_postgres"))


def code(tmp_path, version=1, more=""):
    file = tmp_path / "functions.py"
    file.write_text(FILE % {"version": version, "more": more})
    return load_functions(file)


@asynccontextmanager
async def serving(database, registry, *, development=True, **settings):
    given = Settings(database=database, partitions=4, grace=0.1, **settings)
    service = await open_service(
        given, functions=registry, projections=registry.projections.values(), development=development
    )
    try:
        transport = httpx2.ASGITransport(app=service.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", timeout=30) as http:
            yield service.node, Api(http)
    finally:
        await service.close()


async def told(api, name="parcels"):
    items = (await api.done("GET", "/v1/projections"))["items"]
    return [each for each in items if each["name"] == name]


async def until(api, holds, name="parcels"):
    """The projection (the newest build) once it is as asked for."""
    found: list[dict[str, Any]] = []
    for _ in range(400):
        found = await told(api, name)
        if found and holds(found[-1]):
            return found[-1]
        await asyncio.sleep(0.05)
    raise AssertionError(found)


def caught_up(version=1):
    return lambda each: each["live"] and each["version"] == version and each["lag_events"] == 0


async def rows(api, **params):
    return (await api.done("GET", "/v1/projections/parcels/rows", params=params))["items"]


async def send(api, *cities):
    ids = [(await api.start("shop/parcel", {"city": city}))["id"] for city in cities]
    for each in ids:
        await api.ended(each)
    return ids


def queried(database, text):
    if database.startswith("sqlite"):
        with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as connection:
            return connection.execute(text).fetchall()
    with psycopg.connect(database) as connection:
        return connection.execute(text.encode()).fetchall()


async def test_a_table_for_sql_and_rows_over_rest(database, tmp_path):
    async with serving(database, code(tmp_path)) as (_, api):
        await api.deploy(DEFINITION)
        faro, cork, faro_too = await send(api, "Faro", "Cork", "Faro")
        told_of = await until(api, caught_up())
        assert (told_of["state"], told_of["table"], told_of["error"]) == ("live", "projection_parcels_v1", None)
        assert told_of["events_done"] == told_of["events_total"] > 0
        assert told_of["lag_ms"] == 0

        found = {each["parcel"]: each for each in await rows(api)}
        assert set(found) == {faro, cork, faro_too}
        started_at = (await api.status(cork))["started_at"]
        expected = {
            "parcel": cork,
            "city": "Cork",
            "weight": 2.0,
            "open": False,
            "at": started_at,
            "labels": ["To Cork"],
        }
        assert found[cork] == expected
        assert {each["parcel"] for each in await rows(api, where="city:Faro")} == {faro, faro_too}
        assert await rows(api, where=["city:Faro", f"parcel:{faro}"]) == [found[faro]]
        assert await rows(api, where=f"at:{started_at}") == [found[cork]]
        assert await rows(api, where="open:true") == []

        sql = "SELECT city, count(*) FROM projection_parcels GROUP BY city ORDER BY city"
        assert queried(database, sql) == [("Cork", 1), ("Faro", 2)]
        columns = "SELECT parcel, city, weight, open FROM projection_parcels WHERE city = 'Cork'"
        assert queried(database, columns) == [(cork, "Cork", 2.0, False)]


async def test_pages_and_refusals(database, tmp_path):
    async with serving(database, code(tmp_path)) as (_, api):
        await api.deploy(DEFINITION)
        ids = await send(api, *"abcdefg")
        await until(api, caught_up())
        seen, cursor = [], None
        while True:
            page = await api.done(
                "GET", "/v1/projections/parcels/rows", params={"limit": 3} | ({"cursor": cursor} if cursor else {})
            )
            seen += [each["parcel"] for each in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert sorted(seen) == sorted(ids)
        for params, status in [
            ({"where": "nothing:1"}, 400),
            ({"where": "labels:1"}, 400),
            ({"where": "weight:heavy"}, 400),
            ({"where": "city"}, 400),
            ({"cursor": "AAAA"}, 400),
            ({"where": 'city":x'}, 400),
        ]:
            answer = await api.http.get("/v1/projections/parcels/rows", params=params)
            assert answer.status_code == status, params
        for path in ("nothing/rows", "nothing/rebuild", "nothing/retry", "Parcels/rebuild"):
            answer = await api.http.request("GET" if path.endswith("rows") else "POST", f"/v1/projections/{path}")
            assert answer.status_code == 404


async def test_a_fold_that_fails_says_where(database, tmp_path):
    async with serving(database, code(tmp_path)) as (_, api):
        await api.deploy(DEFINITION)
        (id_,) = await send(api, "Faro")
        failed = await until(api, lambda each: each["state"] == "failed", "broken")
        event = next(each for each in await api.history(id_) if each["type"] == "task.completed")
        assert failed["error"]["orchestration"] == id_
        assert failed["error"]["version"] == event["version"]
        assert failed["error"]["detail"] == "The column n cannot hold 'none': it is no whole number"
        assert failed["lag_events"] > 0
        await until(api, caught_up())  # the other goes on
        assert (await api.done("POST", "/v1/projections/broken/retry"))["name"] == "broken"
        await until(api, lambda each: each["state"] == "failed", "broken")


async def test_a_new_version_takes_over_also_what_is_archived(database, tmp_path):
    async with serving(database, code(tmp_path)) as (node, api):
        await api.deploy(DEFINITION)
        ids = await send(api, "Faro", "Cork")
        await until(api, caught_up())
        before = await rows(api)
        await node.projector.caught_up()
        assert await node.archivist.archive(node.engine.clock.now() + timedelta(seconds=1)) == 2
    async with serving(database, code(tmp_path, 2, ', "note": str')) as (_, api):
        ids += await send(api, "Oslo")
        await until(api, caught_up(2))
        found = await rows(api)
        assert {each["parcel"] for each in found} == set(ids)
        assert [{**each, "note": None} for each in before] == [each for each in found if each["city"] != "Oslo"]
        found_now = {(each["version"], each["state"], each["registered"]) for each in await told(api)}
        assert found_now == {(1, "retired", False), (2, "live", True)}
        with pytest.raises((sqlite3.Error, psycopg.Error)):
            queried(database, "SELECT * FROM projection_parcels_v1")
        anew = await api.done("POST", "/v1/projections/parcels/rebuild", json={})
        assert anew["table"] == "projection_parcels_v2_2"
        await until(api, lambda each: each["live"] and each["table"] == anew["table"])
        assert await rows(api) == found


async def test_a_projection_that_is_dropped_is_gone_for_everyone(database, tmp_path):
    async with serving(database, code(tmp_path)) as (_, api):
        await api.deploy(DEFINITION)
        await send(api, "Faro")
        await until(api, caught_up())
        assert (await api.http.delete("/v1/projections/parcels")).status_code == 204
        assert (await api.http.delete("/v1/projections/parcels")).status_code == 404
        assert (await api.http.get("/v1/projections/parcels/rows")).status_code == 404
        with pytest.raises((sqlite3.Error, psycopg.Error)):
            queried(database, "SELECT * FROM projection_parcels")
        ids = await send(api, "Cork")
        assert [each["state"] for each in await told(api)] == ["retired"]
    async with serving(database, code(tmp_path)) as (_, api):
        await until(api, caught_up())
        assert len(await rows(api)) == 1 + len(ids)


async def test_other_columns_under_the_same_version_do_not_start(database, tmp_path):
    async with serving(database, code(tmp_path), development=False):
        pass
    with pytest.raises(ProjectionChangedError, match="raise the version"):
        async with serving(database, code(tmp_path, 1, ', "note": str'), development=False):
            pass
    async with serving(database, code(tmp_path, 1, ', "note": str')) as (_, api):  # a developer tries things out
        await until(api, lambda each: each["live"] and each["table"] == "projection_parcels_v1_2")


async def test_nodes_share_the_work_and_take_it_over(fresh_postgres, tmp_path):
    registry = code(tmp_path)
    async with serving(fresh_postgres, registry, lease=1.0) as (first, api):
        await api.deploy(DEFINITION)
        ids = await send(api, "a", "b", "c", "d")
        async with serving(fresh_postgres, registry, lease=1.0) as (second, other):
            for _ in range(200):
                if len(second.ownership.held) == 2 and len(first.ownership.held) == 2:
                    break
                await asyncio.sleep(0.05)
            ids += await send(api, "e", "f") + await send(other, "g", "h")
            await until(api, caught_up())
            assert sorted(each["parcel"] for each in await rows(other)) == sorted(ids)
            await other.done("POST", "/v1/projections/parcels/rebuild")
            ids += await send(other, "i", "j")
            await until(other, lambda each: caught_up()(each) and each["table"].endswith("_2"))
        ids += await send(api, "k", "l")
        await until(api, caught_up())
        found = await rows(api)
        assert sorted(each["parcel"] for each in found) == sorted(ids)
        assert all(len(each["labels"]) == 1 for each in found), "an event was folded twice"


async def test_a_long_query_holds_up_the_swap_and_nobody_else(fresh_postgres, tmp_path):
    async with serving(fresh_postgres, code(tmp_path)) as (node, api):
        await api.deploy(DEFINITION)
        await send(api, "a")
        await until(api, caught_up())
        store = node.world.storage.projections
        with psycopg.connect(fresh_postgres) as reader:
            reader.execute("SELECT * FROM projection_parcels").fetchall()  # its transaction stays open
            await api.done("POST", "/v1/projections/parcels/rebuild")
            build = (await store.builds())[-1]
            assert build.number == 2
            with pytest.raises(StorageError):
                await store.swap(build)
            await send(api, "b")  # writers go on
        await until(api, lambda each: caught_up()(each) and each["table"].endswith("_2"))
        assert len(await rows(api)) == 2


async def test_nodes_that_begin_and_go_live_at_the_same_moment_agree(fresh_postgres):
    storages = [PostgresStorage(fresh_postgres) for _ in range(3)]
    for each in storages:
        await each.log.open(4, 10.0)
    shape = Shape("id", (Column("n", "integer"),))
    at = datetime(2030, 1, 1, tzinfo=UTC)
    begun = [each.projections.begin("p", 1, shape, at) for each in storages]
    found = [each for each in await asyncio.gather(*begun, return_exceptions=True) if isinstance(each, Build)]
    assert found, "one of them at least has made it; the others may have to try again"
    (build,) = await storages[0].projections.builds()
    swapped = [each.projections.swap(build) for each in storages]
    went = [each for each in await asyncio.gather(*swapped, return_exceptions=True) if each is True]
    assert went == [True]
    assert [each.state for each in await storages[0].projections.builds()] == ["live"]
    written = [each.projections.apply(build, 1, 0, 5, {"a": (number,)}) for number, each in enumerate(storages)]
    assert sorted(await asyncio.gather(*written)) == [False, False, True]
    for each in storages:
        await each.log.close()
