"""Installs the peers into ``.peers/``, in pinned versions, from PyPI and npm; never into the project's environment.

What is there already is kept. Restate's TypeScript SDK asks for Node 22, which comes from npm too.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.processes import ROOT

FOLDER = ROOT / ".peers"
DBOS_PYTHON = FOLDER / "dbos" / "bin" / "python"
RESTATE_PYTHON = FOLDER / "restate" / "bin" / "python"
NPM = FOLDER / "npm"
NODE = NPM / "node_modules" / ".bin" / "node"

DBOS = ("dbos==3.4.0", "fastapi==0.165.0", "uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0", "psutil==7.2.2")
RESTATE = ("restate-sdk==1.3.0", "hypercorn==0.18.0")
PACKAGES = ("@restatedev/restate-server@1.7.12", "@restatedev/restate-sdk@1.17.2", "node@22.23.3")


class InstallationError(Exception):
    """A peer cannot be installed here; the message says what to do."""


def install(names: Sequence[str]) -> None:
    """Make sure that these peers (``dbos``, ``restate``) are there. Raises InstallationError."""
    FOLDER.mkdir(exist_ok=True)
    if "dbos" in names:
        _environment(DBOS_PYTHON, DBOS)
    if "restate" in names:
        _environment(RESTATE_PYTHON, RESTATE)
        _packages()


def restate_server() -> Path:
    """The server itself: the command beside it is a script that hides its process. Raises InstallationError."""
    found = next(iter((NPM / "node_modules" / "@restatedev").glob("restate-server-*/bin/restate-server")), None)
    if found is None:
        raise InstallationError("npm has no Restate server for this machine; leave it out with --peer dbos.")
    return found


def _environment(python: Path, requirements: tuple[str, ...]) -> None:
    """A virtual environment with exactly these; a list of them beside it says that it is complete."""
    done = python.parents[1] / "requirements.done"
    if done.exists() and done.read_text() == "\n".join(requirements):
        return
    uv = (sys.executable, "-m", "uv")
    _call(*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(python.parents[1]))
    _call(*uv, "pip", "install", "--quiet", "--python", str(python), *requirements)
    done.write_text("\n".join(requirements))


def _packages() -> None:
    done = NPM / "packages.done"
    if done.exists() and done.read_text() == "\n".join(PACKAGES):
        return
    if shutil.which("npm") is None:
        raise InstallationError("Restate comes from npm, which is not here: install Node.js, or --peer dbos.")
    NPM.mkdir(exist_ok=True)
    (NPM / "package.json").write_text('{"private": true, "type": "module"}\n')
    _call("npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(NPM), *PACKAGES)
    done.write_text("\n".join(PACKAGES))


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InstallationError(f"{' '.join(command)}\n{(done.stdout + done.stderr).strip()[-2000:]}")
