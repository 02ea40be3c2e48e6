"""The package: the names that it offers, what is packed, the command, and the lints before a commit."""

import importlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from flit_core import buildapi

import dcsc
from dcsc import __main__ as command

ROOT = Path(__file__).parents[2]


def test_what_import_offers_is_there_and_nothing_else():
    code = """
import dcsc
before = [name for name in dir(dcsc) if not name.startswith("_")]
assert before == dcsc.__all__, set(before) ^ set(dcsc.__all__)
missing = [name for name in before if getattr(dcsc, name, None) is None]
assert not missing, missing
after = [name for name in dir(dcsc) if not name.startswith("_")]
assert after == before, set(after) ^ set(before)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("name", ["families", "guarantees", "pursuit", "sampling"])
def test_what_a_package_of_the_library_offers_is_there_once(name):
    module = importlib.import_module(f"dcsc.{name}")
    assert len(set(module.__all__)) == len(module.__all__)
    missing = [offered for offered in module.__all__ if not hasattr(module, offered)]
    assert not missing


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="coherense"):
        _ = dcsc.coherense


def test_the_wheel_holds_every_file_of_the_library(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    with zipfile.ZipFile(tmp_path / buildapi.build_wheel(str(tmp_path))) as wheel:
        packed = {name for name in wheel.namelist() if name.startswith("dcsc/")}
        (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
        assert "dcsc=dcsc.__main__:main" in wheel.read(entry_points).decode().replace(" ", "")
    kinds = {".py", ".json", ".yaml", ".md", ".typed"}
    there = {path for path in (ROOT / "dcsc").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert packed == {path.relative_to(ROOT).as_posix() for path in there}
    assert {"dcsc/py.typed", "dcsc/study/template/config.yaml", "dcsc/study/estimate/coefficients.json"} <= packed
    assert {path.suffix for path in there if path.name != "py.typed"} <= kinds


def test_the_command_has_what_the_module_has(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    told = capsys.readouterr().out
    assert told.startswith("usage: dcsc ")
    for name in ("certify", "list", "new", "trace", "orphans", "estimate", "profile", "schema", "keys"):
        assert f"\n    {name}" in told


def test_the_lints_before_a_commit_are_those_of_make_lint():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nlint:")[2].partition("\n\n")[0]
    commands = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()[1:]]
    assert [hook["entry"] for hook in hooks] == commands
