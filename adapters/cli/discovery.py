"""What a folder of definitions holds: the documents to deploy, and the functions beside them.

A YAML file is a definition when it has ``document.dsl``; other YAML (a compose file, a chart) is none of our business.
One that cannot be read but looks like a definition counts as one, so that its author hears what is wrong with it.
``functions.py`` is looked for in the folder itself and in every folder between it and a definition, never elsewhere:
it is executed. Hidden folders, virtual environments and the like are not entered.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from application.samples import sample

FUNCTIONS = "functions.py"
_SUFFIXES = (".yaml", ".yml")
_NOT_ENTERED = frozenset({"__pycache__", "node_modules", "site-packages"})
_LOOKS_LIKE_ONE = re.compile(
    r"^document\s*:(?:\s*\{[^}]*?['\"]?\bdsl|.*\n(?:[ \t#].*\n|\s*\n)*?[ \t]+['\"]?dsl)['\"]?\s*:", re.MULTILINE
)


@dataclass(frozen=True)
class Found:
    """Files, in the order of their paths."""

    documents: list[Path]
    functions: list[Path]


def discover(folder: Path) -> Found:
    """What `folder` and its subfolders hold. Raises NotADirectoryError."""
    if not folder.is_dir():
        raise NotADirectoryError(folder)
    documents: list[Path] = []
    for place, subfolders, files in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if _entered(Path(place, name)))
        paths = (Path(place, name) for name in sorted(files) if name.endswith(_SUFFIXES))
        documents += [path for path in paths if is_definition(path.read_bytes())]
    return Found(documents, _functions(folder, documents))


def is_definition(text: bytes) -> bool:
    """Whether a YAML text has ``document.dsl``, or would if it could be read."""
    # Most YAML is settled without a parser.
    if b"dsl" not in text or b"document" not in text:
        return False
    from adapters.documents.source import load
    from domain.errors import InvalidDefinitionError

    try:
        value: Any = load(text, "application/yaml").value
    except InvalidDefinitionError:
        return _LOOKS_LIKE_ONE.search(text.decode("utf-8", "replace")) is not None
    return isinstance(value, dict) and isinstance(value.get("document"), dict) and "dsl" in value["document"]


def example_input(document: Any) -> Any:
    """An input to try a definition with: the first example of its schema, or what its schema asks for at least."""
    schema: Any = document
    for name in ("input", "schema", "document"):
        schema = schema.get(name) if isinstance(schema, dict) else None
    made = sample(schema)
    return {} if made is None else made


def _entered(folder: Path) -> bool:
    named_so = folder.name.startswith(".") or folder.name in _NOT_ENTERED
    return not named_so and not (folder / "pyvenv.cfg").exists()


def _functions(folder: Path, documents: list[Path]) -> list[Path]:
    places = {folder}
    for document in documents:
        place = document.parent
        while place not in places:
            places.add(place)
            place = place.parent
    return [path for place in sorted(places) if (path := place / FUNCTIONS).is_file()]
