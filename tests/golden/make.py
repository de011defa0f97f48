"""``python -m tests.golden.make``: writes the golden histories that are not there yet.

What is there is never written again, not even by a version that would write it otherwise: add a story with a new name. To see
what this version would make of the old ones: ``--anew FOLDER``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.golden import scenes
from tests.golden.stories import FOLDER

SUMS = "SHA256SUMS"


def told() -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, bundle) of every story and of the children in it."""
    for name, story in scenes.STORIES.items():
        for number, bundle in enumerate(story().bundles()):
            yield (f"{name}.json" if number == 0 else f"{name}.child{number}.json"), bundle


def main() -> None:
    """Write what is new."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden.make", description=__doc__)
    parser.add_argument("--anew", metavar="FOLDER", type=Path, help="write all of them there")
    folder = parser.parse_args().anew or FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, bundle in told():
        if not (folder / name).exists():
            text = lines(bundle)
            (folder / name).write_text(text, encoding="utf-8")
            with (folder / SUMS).open("a", encoding="utf-8") as sums:
                sums.write(f"{sha256(text.encode()).hexdigest()}  {name}\n")


def lines(bundle: dict[str, Any]) -> str:
    """JSON with an event a line: short, and still readable in a diff."""
    history = ",\n  ".join(json.dumps(each, ensure_ascii=False) for each in bundle["history"])
    rest = json.dumps({name: value for name, value in bundle.items() if name != "history"}, ensure_ascii=False)
    return f'{rest[:-1]}, "history": [\n  {history}\n]}}\n'


if __name__ == "__main__":
    main()
