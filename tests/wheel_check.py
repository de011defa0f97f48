"""Builds the wheel, installs it into a clean environment, and looks at what a stranger would get.

Run by ``make wheel``. Four promises are checked: the install adds ``retrace`` alone to site-packages, the command
starts from a folder that knows nothing of this checkout, a bundle replays there, and a user's module with one of our names is
refused by name.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden" / "trip_rolled_back.json"


def main() -> int:
    """Exit code 0 when the wheel keeps its promises; else the first broken one is told."""
    with tempfile.TemporaryDirectory(prefix="retrace-wheel-") as name:
        folder = Path(name)
        wheel = build(folder / "dist")
        print(f"built {wheel.name}")
        python = install(wheel, folder / "clean")
        names = installed_names(python)
        expect(names == {"retrace"}, f"the wheel adds {sorted(names)} to site-packages, not retrace alone")
        empty = folder / "empty"
        empty.mkdir()
        shown = run([python.with_name("retrace"), "--help"], empty)
        expect(shown.returncode == 0, f"retrace --help failed:\n{shown.stdout}{shown.stderr}")
        expect("retrace" in shown.stdout.lower(), f"retrace --help says:\n{shown.stdout}")
        program = f"from retrace import replay; assert replay.load({str(GOLDEN)!r}).verify() == []"
        replayed = run([python, "-c", program], empty)
        expect(replayed.returncode == 0, f"a bundle does not replay:\n{replayed.stderr}")
        (empty / "domain.py").write_text("")
        refused = run([python.with_name("retrace"), "--help"], empty)
        expect(refused.returncode == 2, f"a clash ends with {refused.returncode}, not 2")
        expect(str(empty / "domain.py") in refused.stderr, f"a clash is not named:\n{refused.stderr}")
    print("the wheel adds retrace alone, its command starts, and a clash is named")
    return 0


def build(folder: Path) -> Path:
    """The wheel of this checkout."""
    module("build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """The Python of a new environment that holds the wheel and what it depends on."""
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    module("uv", "pip", "install", "--quiet", "--python", str(python), str(wheel))
    return python


def installed_names(python: Path) -> set[str]:
    """The top-level names that the distribution recorded, its own metadata and scripts apart."""
    program = (
        "from importlib.metadata import files;"
        "print(*{file.parts[0] for file in files('retrace') if not file.parts[0].endswith('.dist-info')} - {'..'})"
    )
    return set(run([python, "-I", "-c", program], ROOT).stdout.split())


def run(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would: in their folder, without our variables."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "RETRACE_"))}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def module(*arguments: str) -> None:
    """Run a tool of this environment; what it says is shown only if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    expect(done.returncode == 0, f"{' '.join(arguments[:2])} failed:\n{done.stdout}")


def expect(kept: bool, otherwise: str) -> None:
    """Stop with a message unless a promise is kept."""
    if not kept:
        sys.exit(f"wheel: {otherwise}")


if __name__ == "__main__":
    sys.exit(main())
