"""What the processes of a node and of a worker run: `retrace serve`, `retrace worker`, each set up by an environment of its own,
its log on a pipe.
"""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection

import uvloop  # noqa: F401 - the server that nodes are forked from has everything imported

import retrace.worker  # noqa: F401
from adapters.cli.app import main


def serve(environment: dict[str, str], log: Connection, port: int = 0) -> None:
    """Serve until a signal; the exit code is that of the command line."""
    run(["serve", "--port", str(port)], environment, log)


def run(arguments: list[str], environment: dict[str, str], log: Connection) -> None:
    """Run a command until it ends; the exit code is its own."""
    for name in [name for name in os.environ if name.startswith("RETRACE_")]:
        del os.environ[name]
    os.environ.update(environment)
    os.dup2(log.fileno(), 2)
    log.close()
    sys.exit(main(arguments))
