"""The standard's conformance kit, scenario by scenario, through the REST API; and the page that tells of it."""

from __future__ import annotations

import pytest

from tests.conformance.kit import EXAMPLES, KIT, Scenario, Step, play, scenarios
from tests.conformance.page import PAGE, page
from tests.support.petstore import Petstore
from tests.support.service import running_service

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not KIT.is_dir(), reason=f"the conformance kit is not here: {KIT}"),
]
SCENARIOS = scenarios()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: f"{scenario.feature}-{scenario.name}")
async def test_scenario(scenario, tmp_path):
    async with Petstore().serving() as petstore, running_service(tmp_path) as api:
        await play(scenario, api, petstore.local)


def test_the_kit_is_complete():
    assert len(SCENARIOS) == 21
    assert len(list(EXAMPLES.glob("*.yaml"))) > 60


async def test_a_sentence_that_nobody_knows_fails_the_scenario(tmp_path):
    unknown = Scenario("none", "unknown", (Step("the workflow should please everyone", None),))
    async with running_service(tmp_path) as api:
        with pytest.raises(AssertionError, match="please everyone"):
            await play(unknown, api, str)


async def test_the_page_is_current():
    assert await page() == PAGE.read_text(encoding="utf-8"), "run: python -m tests.conformance.page"
