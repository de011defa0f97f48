"""The examples as a user runs them: the real service, real sockets to the participants, the definitions as they lie there.

Only addresses, and times that nobody wants to wait for, are replaced in the documents.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from unittest import mock

from adapters.cli.deployment import load_all
from examples.participants import Participants
from retrace.functions import load_functions
from retrace.worker import Worker
from tests.support.examples_script import EXAMPLES
from tests.support.service import Api, running_service

ADDRESS = "http://127.0.0.1:8090"


@contextlib.asynccontextmanager
async def running_examples(
    folder: Path, *names: str, faster: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[Api, Participants]]:
    """Service and participants with the examples of these names deployed; `faster`: text -> text in the documents."""
    async with Participants().serving() as participants:
        with mock.patch.dict(os.environ, {"PARTICIPANTS_URL": participants.url}):
            functions = load_all(sorted(path for name in names for path in (EXAMPLES / name).glob("functions.py")))
        async with running_service(folder, functions, projections=functions.projections.values()) as api:
            # The child before its parent, so that no deployment has to warn of it.
            for path in sorted((path for name in names for path in (EXAMPLES / name).glob("*.yaml")), reverse=True):
                await _deploy(api, path.read_text(encoding="utf-8"), {ADDRESS: participants.url, **(faster or {})})
            async with _workers(api, names, participants.url):
                yield api, participants


@contextlib.asynccontextmanager
async def _workers(api: Api, names: tuple[str, ...], url: str) -> AsyncIterator[None]:
    """A worker for each example that has one, as ``retrace worker`` starts it."""
    with mock.patch.dict(os.environ, {"PARTICIPANTS_URL": url}):
        found = [load_functions(path) for name in names for path in (EXAMPLES / name).glob("worker.py")]
    transport = api.http._transport
    workers = [Worker("http://127.0.0.1:8080", functions=each, transport=transport, wait_s=1) for each in found]
    running = [asyncio.create_task(worker.run(signals=False)) for worker in workers]
    try:
        yield
    finally:
        for worker in workers:
            worker.stop()
        await asyncio.gather(*running)


async def _deploy(api: Api, text: str, replaced: Mapping[str, str]) -> None:
    for old, new in replaced.items():
        text = text.replace(old, new)
    deployed = await api.deploy(text)
    assert deployed["http_status"] == 201, deployed
    assert {each["code"] for each in deployed["warnings"]} <= {"unknown-function"}, deployed
