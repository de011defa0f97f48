"""The contract of DefinitionStore: what was deployed never changes, and a resource path has one owner."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from application.storage import DefinitionRecord, ResourceTakenError
from tests.contract.storages import minutes

pytestmark = pytest.mark.anyio
replace = msgspec.structs.replace

ORDER = DefinitionRecord(
    "shop", "order", "1.0.0", "d1", "application/yaml", "näme: ✓\n".encode(), b"{}", "/orders", b"[]", minutes(0)
)


async def test_a_document_is_kept_as_it_was_sent(storage):
    assert await storage.definitions.put(ORDER) is None
    assert await storage.definitions.get("shop", "order", "1.0.0") == ORDER
    assert await storage.definitions.by_digest("d1") == ORDER
    assert await storage.definitions.get("shop", "order", "1.0.1") is None
    assert await storage.definitions.by_digest("unknown") is None


async def test_a_version_is_not_overwritten(storage):
    await storage.definitions.put(ORDER)
    assert await storage.definitions.put(replace(ORDER, created_at=minutes(5))) == ORDER
    assert await storage.definitions.put(replace(ORDER, digest="d2")) == ORDER
    assert await storage.definitions.get("shop", "order", "1.0.0") == ORDER
    assert await storage.definitions.by_digest("d2") is None


async def test_in_development_the_newest_revision_is_current_and_old_ones_are_found_by_digest(storage):
    await storage.definitions.put(ORDER)
    revised = replace(ORDER, digest="d2", document=b"two", created_at=minutes(1))
    assert await storage.definitions.put(revised, revise=True) is None
    assert await storage.definitions.put(revised, revise=True) == revised
    assert await storage.definitions.get("shop", "order", "1.0.0") == revised
    assert await storage.definitions.versions() == [revised]
    assert await storage.definitions.by_digest("d1") == ORDER
    back = replace(ORDER, created_at=minutes(2))
    assert await storage.definitions.put(back, revise=True) is None
    assert (await storage.definitions.get("shop", "order", "1.0.0")).digest == "d1"
    assert (await storage.definitions.by_digest("d2")).document == b"two"


async def test_versions_by_namespace_name_and_time(storage):
    second = replace(ORDER, version="0.9.0", digest="d2", created_at=minutes(1))
    other = replace(ORDER, name="Refund", digest="d3", resource=None)
    bank = replace(ORDER, namespace="bank", digest="d4", resource=None, created_at=minutes(9))
    for each in (second, other, ORDER, bank):
        assert await storage.definitions.put(each) is None
    assert await storage.definitions.versions() == [bank, other, ORDER, second]
    assert await storage.definitions.versions("shop") == [other, ORDER, second]
    assert await storage.definitions.versions("shop", "order") == [ORDER, second]
    assert await storage.definitions.versions(name="Refund") == [other]


async def test_a_resource_path_has_one_owner(storage):
    await storage.definitions.put(ORDER)
    refund = replace(ORDER, name="refund", digest="d2")
    with pytest.raises(ResourceTakenError):
        await storage.definitions.put(refund)
    assert await storage.definitions.get("shop", "refund", "1.0.0") is None
    assert await storage.definitions.put(replace(ORDER, version="2.0.0", digest="d3")) is None


async def test_a_resource_path_is_free_again_when_no_current_revision_names_it(storage):
    await storage.definitions.put(ORDER)
    await storage.definitions.put(replace(ORDER, digest="d2", resource=None), revise=True)
    assert await storage.definitions.put(replace(ORDER, name="refund", digest="d3")) is None
    with pytest.raises(ResourceTakenError):
        await storage.definitions.put(ORDER, revise=True)


async def test_one_of_many_deploys_a_version(storage):
    records = [replace(ORDER, digest=f"d{each}", created_at=minutes(each)) for each in range(20)]
    found = await asyncio.gather(*[storage.definitions.put(each) for each in records])
    assert found.count(None) == 1
    winner = records[found.index(None)]
    assert {each.digest for each in found if each is not None} == {winner.digest}


async def test_one_of_many_gets_a_resource_path(storage):
    records = [replace(ORDER, name=f"n{each}", digest=f"d{each}") for each in range(20)]
    found = await asyncio.gather(*[storage.definitions.put(each) for each in records], return_exceptions=True)
    assert found.count(None) == 1
    assert sum(isinstance(each, ResourceTakenError) for each in found) == 19
    assert len(await storage.definitions.versions()) == 1
