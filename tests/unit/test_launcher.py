"""The launcher: where the service's packages are, which names clash with them, and what is said about it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from retrace import launcher
from retrace.launcher import Clash, app_home, explain, find_clashes

ROOT = Path(launcher.__file__).resolve().parents[1]


def test_an_install_has_its_packages_inside(tmp_path):
    (tmp_path / "retrace" / "_app").mkdir(parents=True)
    assert app_home(tmp_path / "retrace") == tmp_path / "retrace" / "_app"


def test_a_checkout_has_its_packages_at_the_root(tmp_path):
    (tmp_path / "retrace").mkdir()
    assert app_home(tmp_path / "retrace") == tmp_path


@pytest.mark.parametrize("file", ["domain/__init__.py", "domain/model.py", "domain/deep/model.py", "domain.py"])
def test_a_package_or_module_of_our_name_clashes(tmp_path, file):
    path = tmp_path / "user" / file
    path.parent.mkdir(parents=True)
    path.write_text("")
    (clash,) = find_clashes(tmp_path / "home", [tmp_path / "user"])
    assert clash.name == "domain"
    assert clash.path.is_relative_to(tmp_path / "user")


def test_each_of_our_names_is_looked_for_in_each_place_once(tmp_path):
    for name in launcher.NAMES:
        (tmp_path / f"{name}.py").write_text("")
    clashes = find_clashes(tmp_path / "home", [tmp_path, tmp_path / "nowhere", tmp_path])
    assert [clash.name for clash in clashes] == ["domain", "application", "adapters"]


@pytest.mark.parametrize("file", ["domain/readme.md", "domains.py", "sub/domain.py"])
def test_what_cannot_be_imported_by_our_name_is_no_clash(tmp_path, file):
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    assert find_clashes(tmp_path / "home", [tmp_path]) == []


def test_our_own_packages_are_no_clash(tmp_path):
    assert find_clashes(ROOT, [ROOT]) == []
    assert find_clashes(tmp_path, [ROOT]) == [], "another checkout of Retrace"


def test_the_message_names_the_clash_and_the_way_out(tmp_path):
    text = explain([Clash("adapters", tmp_path / "adapters.py")])
    assert f"adapters: {tmp_path / 'adapters.py'}" in text
    assert "Rename" in text


@pytest.fixture
def restored_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.usefixtures("restored_path")
def test_a_clash_in_the_current_folder_ends_with_2(tmp_path, monkeypatch, capsys):
    (tmp_path / "domain.py").write_text("")
    monkeypatch.chdir(tmp_path)
    assert launcher.main() == 2
    assert str(tmp_path / "domain.py") in capsys.readouterr().err


@pytest.mark.usefixtures("restored_path")
@pytest.mark.parametrize(("returned", "code"), [(None, 0), (3, 3)])
def test_without_a_clash_the_command_line_takes_over(tmp_path, monkeypatch, returned, code):
    cli = ModuleType("cli_of_this_test")
    cli.main = lambda: returned  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, cli.__name__, cli)
    monkeypatch.setattr(launcher, "CLI", cli.__name__)
    monkeypatch.chdir(tmp_path)
    assert launcher.main() == code
    assert sys.path[0] == str(ROOT)
