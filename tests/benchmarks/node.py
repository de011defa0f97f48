"""A node of Retrace in this process: the real adapters over a given database, with the definitions of the benchmark."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.bootstrap import Service, open_service
from adapters.settings import Settings
from adapters.system import calm_collector
from retrace.functions import load_functions

DEFINITIONS = Path(__file__).parent / "definitions"
FUNCTIONS = DEFINITIONS / "functions.py"
STEPS, UNDONE, PARKED = "bench/steps", "bench/undone", "bench/parked"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Service]:
    """A service as `retrace serve` would open it, definitions deployed."""
    service = await open_service(
        Settings(database=url, grace=1.0), functions=load_functions(FUNCTIONS), development=False
    )
    try:
        for document in sorted(DEFINITIONS.glob("*.yaml")):
            await service.definitions.deploy(document.read_bytes(), "application/yaml")
        calm_collector()
        yield service
    finally:
        await service.close()
