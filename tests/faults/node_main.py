"""What the process of a node runs: `retrace serve`, set up by an environment of its own, its log on a pipe."""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection

import uvloop  # noqa: F401 - the server that nodes are forked from has everything imported

import adapters.bootstrap
import adapters.cli.deployment
import adapters.cli.discovery
import adapters.cli.failures
import adapters.cli.hosting
import adapters.cli.logs
import adapters.postgres.storage
import adapters.sqlite.storage  # noqa: F401
from adapters.cli.app import main


def serve(environment: dict[str, str], log: Connection) -> None:
    """Serve until a signal; the exit code is that of the command line."""
    for name in [name for name in os.environ if name.startswith("RETRACE_")]:
        del os.environ[name]
    os.environ.update(environment)
    os.dup2(log.fileno(), 2)
    log.close()
    sys.exit(main(["serve", "--port", "0"]))
