"""W4: starts over HTTP as fast as the server takes them, then the time until everything it accepted has ended.

A short load before warms the server up; what it leaves behind is part of what has to end. The load breaks off requests under way, so a few more may have begun than were answered; fewer may not have ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.benchmarks.figures import Value
from tests.benchmarks.http_load import Generator, Starts
from tests.benchmarks.processes import RunFailedError
from tests.benchmarks.workloads import Sizes

_ASK_EVERY_S = 0.05


def w4(
    starts: Starts,
    unfinished: Callable[[], bool],
    ended: Callable[[], int],
    sizes: Sizes,
    load: Generator,
) -> list[Value]:
    """Measure one server.

    Args:
        starts: the request; the server must answer 2xx once the start is safe.
        unfinished: whether an instance has not ended yet.
        ended: how many have ended as they should; asked after the clock has stopped.
        sizes: connections, time of the load, limit.
        load: makes the load.

    Raises:
        RunFailedError: something accepted has not ended.
    """
    warm = load(starts, sizes.connections, sizes.warm_load_s)
    found = load(starts, sizes.connections, sizes.load_s)
    stopped = time.monotonic()
    while unfinished():
        if time.monotonic() - stopped > sizes.limit_s:
            raise RunFailedError(f"{sizes.limit_s:.0f} s after the load has stopped some are still unfinished")
        time.sleep(_ASK_EVERY_S)
    ended_after_s = time.monotonic() - stopped
    accepted, there = found.answers - found.refused, ended()
    every = accepted + warm.answers - warm.refused
    if there < every:
        raise RunFailedError(f"{every} were accepted, {there} have ended as they should")
    return [
        Value("accepted_per_s", accepted / found.seconds),
        Value("refused", found.refused + found.broken),
        Value("p50_ms", found.p50_ms),
        Value("p99_ms", found.p99_ms),
        Value("ended_after_s", ended_after_s),
    ]
