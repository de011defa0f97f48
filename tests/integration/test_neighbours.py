"""Processes that ask each other over sockets of a folder."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from adapters.neighbours import Neighbours, Place

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="r-") as made:
        yield Path(made)


async def test_all_answer_and_one_that_ended_is_left_out(folder):
    both = [Neighbours(Place(folder, number, 2), {"add": partial(add, number)}) for number in (1, 2)]
    for each in both:
        await each.open()
    assert await both[0].ask("add", 10) == {1: 11, 2: 12}
    await both[1].close()
    assert await both[0].ask("add", 10) == {1: 11}
    await both[0].close()


async def test_a_folder_whose_path_is_too_long_keeps_nobody_from_working(folder):
    deep = folder / ("d" * 110)
    deep.mkdir()
    alone = Neighbours(Place(deep, 1, 2), {"add": lambda n: n + 1})
    await alone.open()
    assert await alone.ask("add", 10) == {1: 11}
    await alone.close()
