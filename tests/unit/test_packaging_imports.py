"""What each layer may load: the domain imports a short list, and importing `retrace` loads nothing of the service."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOMAIN_MAY_IMPORT = ("domain", "transitions", "msgspec", "eventsourcing.domain")


def imports(path: Path) -> set[str]:
    """Absolute names of the modules that a file imports, at whatever depth of the code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "domain").rglob("*.py")), ids=lambda path: path.stem)
def test_the_domain_imports_only_what_is_pure(path):
    allowed = {
        name
        for name in imports(path)
        if name.partition(".")[0] in sys.stdlib_module_names
        or any(name == prefix or name.startswith(prefix + ".") for prefix in DOMAIN_MAY_IMPORT)
    }
    assert imports(path) - allowed == set()


def test_importing_retrace_loads_nothing_of_the_service_and_no_library():
    program = (
        "import sys; before = set(sys.modules); import retrace, retrace.launcher;"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(shown.stdout.split()) == {"retrace"}


def test_the_version_of_the_package_is_that_of_the_distribution():
    from importlib.metadata import version

    import retrace

    assert version("retrace") == retrace.__version__
