"""Where the processes of fault tests come from: a server that has imported everything, so that a birth is a fork."""

from __future__ import annotations

import multiprocessing

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.faults.mortal_node", "tests.faults.node_main"])
