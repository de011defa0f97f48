"""The documentation tells the truth where a machine can check it: definitions compile, links lead somewhere, no page is
lost, and every code with which a document may be refused is explained.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

from adapters.documents import compile_plan, digest, read_definition
from domain.errors import InvalidDefinitionError

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md"])
LINKING = sorted({*PAGES, *ROOT.glob("*.md"), *(ROOT / "examples").rglob("*.md")})
STARTS = (ROOT / "README.md", DOCS / "index.md")
OF_FRAGMENTS = (DOCS / "language.md", DOCS / "rollback.md")
"""Pages whose YAML is always part of a definition: tasks, or members of its top level."""
HEAD = {"dsl": "1.0.3", "namespace": "docs", "name": "fragment", "version": "1.0.0"}

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\[[^\[\]]*\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*\Z")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def fences(page: Path) -> list[tuple[int, str, str]]:
    """(line, language, text) of every fenced block."""
    text = page.read_text(encoding="utf-8")
    return [(text.count("\n", 0, found.start()) + 1, found[1], found[2]) for found in _FENCE.finditer(text)]


def prose(page: Path) -> str:
    """The text without fenced blocks and code."""
    return _CODE.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))


def definitions() -> list[Any]:
    return [
        pytest.param(text, id=f"{name_of(page)}:{line}")
        for page in PAGES
        for line, language, text in fences(page)
        if language == "yaml" and "document:" in re.findall(r"^\S+", text, re.MULTILINE)
    ]


def fragments() -> list[Any]:
    return [
        pytest.param(text, id=f"{name_of(page)}:{line}")
        for page in OF_FRAGMENTS
        for line, language, text in fences(page)
        if language == "yaml" and "document:" not in re.findall(r"^\S+", text, re.MULTILINE)
    ]


def complaints(error: InvalidDefinitionError) -> str:
    return "\n".join(f"{each.pointer} line {each.line}: {each.detail} ({each.code})" for each in error.problems)


@pytest.mark.parametrize("text", definitions())
def test_a_definition_in_the_documentation_can_be_deployed(text):
    try:
        read_definition(text, "application/yaml")
    except InvalidDefinitionError as error:
        pytest.fail(complaints(error))


@pytest.mark.parametrize("text", fragments())
def test_a_fragment_in_the_documentation_is_part_of_a_definition(text):
    part = yaml.safe_load(text)
    document = {"document": HEAD, **({"do": part} if isinstance(part, list) else {"do": [], **part})}
    try:
        compile_plan(document, digest(document))
    except InvalidDefinitionError as error:
        pytest.fail(complaints(error))


# Links ----------------------------------------------------------------------------------------------------------------


def links(page: Path) -> list[str]:
    return [link for link in _LINK.findall(prose(page)) if "://" not in link and not link.startswith(("/", "mailto:"))]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of headings."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = [re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in _HEADING.findall(text)]
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def destination(page: Path, link: str) -> Path:
    path = unquote(link.partition("#")[0])
    return (page.parent / path).resolve() if path else page


@pytest.mark.parametrize("page", LINKING, ids=name_of)
def test_every_relative_link_leads_somewhere(page):
    lost = []
    for link in links(page):
        target, anchor = destination(page, link), link.partition("#")[2]
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_every_file_of_the_documentation_can_be_reached():
    reached, left = set(STARTS), list(STARTS)
    while left:
        page = left.pop()
        for link in links(page) if page.suffix == ".md" else ():
            target = destination(page, link)
            if target.is_file() and target not in reached:
                reached.add(target)
                left.append(target)
    files = {path for path in DOCS.rglob("*") if path.is_file()}
    assert sorted(name_of(path) for path in files - reached) == []


@pytest.mark.parametrize("page", sorted((DOCS / "decisions").glob("*.md")), ids=name_of)
def test_a_decision_is_short_and_has_its_three_parts(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith(f"# {int(page.name[:4])}. ")
    assert len(lines) <= 15
    assert re.findall(r"^\*\*(\w+)\.\*\*", "\n".join(lines), re.MULTILINE) == ["Context", "Choice", "Consequences"]


def test_decisions_are_numbered_without_gaps():
    numbers = [int(page.name[:4]) for page in sorted((DOCS / "decisions").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))


# Codes ----------------------------------------------------------------------------------------------------------------

_SPEAKERS = frozenset({"refuse", "remark", "report", "stop", "Problem", "_refuse"})


def codes() -> set[str]:
    """Every code that reading, compiling or deploying a definition may give, problems and warnings alike."""
    found = {"invalid"}
    application = [ROOT / "application" / name for name in ("definitions.py", "checking.py")]
    for path in [*(ROOT / "adapters" / "documents").glob("*.py"), *application]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            speaker = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if speaker in _SPEAKERS:
                texts = [each.value for each in node.args if isinstance(each, ast.Constant)]
                found |= {text for text in texts if isinstance(text, str) and _WORD.match(text)}
    return found


def test_every_code_is_explained_and_nothing_else():
    text = (DOCS / "language.md").read_text(encoding="utf-8")
    section = text[text.index("## What is refused") :]
    cells = re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE)
    assert {code for cell in cells for code in re.findall(r"`([^`]+)`", cell)} == codes()
