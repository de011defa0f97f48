"""The ``retrace`` command: finds the service's packages, refuses to start beside others of the same name, hands over.

The service's packages are called ``domain``, ``application`` and ``adapters``. A wheel carries them inside
``retrace/_app``, so that an install adds one name to site-packages; this module puts that folder first on ``sys.path``.
In a checkout the root of the repository plays that part. The price: a user's own package of one of these names cannot
live in the same process. Rather than let the one hide the other, the launcher names it and stops.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

NAMES = ("domain", "application", "adapters")
"""The top-level packages of the service."""

CLI = "adapters.cli.app"
CLASH_EXIT_CODE = 2


class Clash(NamedTuple):
    """A package or module of the user that has the name of one of ours, and where it lies."""

    name: str
    path: Path


def main() -> int:
    """Run the command line; the exit code of the process."""
    home = app_home()
    sys.path.insert(0, str(home))
    clashes = find_clashes(home, [Path.cwd(), *map(Path, sys.path)])
    if clashes:
        print(explain(clashes), file=sys.stderr)
        return CLASH_EXIT_CODE
    code = importlib.import_module(CLI).main()
    return int(code or 0)


def app_home(package: Path | None = None) -> Path:
    """The folder that holds the service's packages: ``retrace/_app`` of an install, else the root of a checkout."""
    package = package or Path(__file__).resolve().parent
    installed = package / "_app"
    return installed if installed.is_dir() else package.parent


def app_module(module: str) -> ModuleType:
    """A module of the service, for what users import, found at run time as the command finds it. Raises ImportError where
    another package hides it.
    """
    home = app_home()
    if str(home) not in sys.path:
        clashes = find_clashes(home, map(Path, sys.path))
        if clashes:
            raise ImportError(explain(clashes))
        sys.path.insert(0, str(home))
    for name in NAMES:
        loaded = getattr(sys.modules.get(name), "__file__", None)
        if loaded is not None and home not in Path(loaded).resolve().parents:
            raise ImportError(f"{loaded} was imported first and hides the package {name} of Retrace; rename it")
    return importlib.import_module(module)


def find_clashes(home: Path, search_path: Iterable[Path]) -> list[Clash]:
    """Every package or module on the search path that has one of our names and is not ours.

    A folder of that name without Python in it is no clash, and neither is another checkout of Retrace in the current
    folder: its packages are ours under the same names, and the ones at `home` win.
    """
    clashes: list[Clash] = []
    seen = {home.resolve()}
    for folder in search_path:
        place = folder.resolve()
        if place in seen or (place / "retrace" / "launcher.py").is_file():
            continue
        seen.add(place)
        clashes += [Clash(name, path) for name in NAMES if (path := _importable(name, place)) is not None]
    return clashes


def explain(clashes: list[Clash]) -> str:
    """What is wrong and what to do, for the terminal."""
    found = "\n".join(f"  {clash.name}: {clash.path}" for clash in clashes)
    names = ", ".join(NAMES)
    return (
        f"retrace: these have the name of a package of Retrace ({names}) and would hide it or be hidden by it:\n"
        f"{found}\n"
        "Rename them, move them into a package of your own, or start retrace from another folder or virtual "
        "environment where they cannot be imported."
    )


def _importable(name: str, folder: Path) -> Path | None:
    spec = PathFinder.find_spec(name, [str(folder)])
    if spec is None:
        return None
    if spec.origin is not None:
        return Path(spec.origin)
    # A folder without __init__.py is importable whatever it holds; it matters only if there is Python to import.
    package = folder / name
    return package if next(package.rglob("*.py"), None) is not None else None
