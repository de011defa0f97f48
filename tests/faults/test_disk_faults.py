"""The disk under SQLite fills up under load; with space again the service goes on, without a restart.

The limit on the size of files that a process may write (RLIMIT_FSIZE) is set from outside on the running node: no byte
more can be written, and the system refuses it to the database as a full disk would. Where a file system of a few
megabytes can be mounted, the disk is really full.
"""

from __future__ import annotations

import asyncio
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.conftest import FAULTS, LIMIT_S, LONG, SAGAS
from tests.faults.nodes import Node
from tests.faults.site import site, sound

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(LIMIT_S),
    pytest.mark.skipif(sys.platform != "linux", reason="limits of another process"),
]
_SMALL = "64m" if LONG else "24m"
"""Twice what is needed: SQLite's journal grows with what others do on the machine."""


async def refused(node: Node) -> None:
    """Return once the node has said that something could not be written."""
    await node.says("could not be used")


async def test_no_file_can_grow_and_then_it_can_again(tmp_path):
    async with site(tmp_path, f"sqlite:///{tmp_path}/retrace.db") as found:
        (node,) = found.nodes
        soft, hard = resource.prlimit(node.pid, resource.RLIMIT_FSIZE)
        async with found.under_load(SAGAS):
            async for _ in found.at_moments(FAULTS, SAGAS):
                resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (0, hard))
                await refused(node)
                resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (soft, hard))
        await sound(found, SAGAS)
        assert node.lives == 1


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of its own, where that is allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={_SMALL}", "tmpfs", folder], capture_output=True, check=False
    )
    if not made or made.returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


async def test_the_disk_is_full_and_then_it_is_not(tmp_path, small_disk):
    async with site(tmp_path, f"sqlite:///{small_disk}/retrace.db") as found:
        (node,) = found.nodes
        ballast = small_disk / "ballast"
        async with found.under_load(SAGAS):
            async for _ in found.at_moments(FAULTS, SAGAS):
                await asyncio.to_thread(fill, ballast)
                await refused(node)
                ballast.unlink()
        await sound(found, SAGAS)
        assert node.lives == 1


def fill(ballast: Path) -> None:
    """Take all the space that is left."""
    with ballast.open("wb", buffering=0) as file:
        size = 1 << 16
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
