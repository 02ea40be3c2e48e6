"""What can be told of the folders of a study, and of Snakemake's command line, before anything is planned."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from dcsc.errors import UserError
from dcsc.study import command_line, surroundings
from dcsc.study.options.study import CHECKOUT
from tests.workflow.support import ROOT


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["a{b}c", "{", "x}y"])
def test_braces_in_the_path_are_refused(name):
    with pytest.raises(UserError, match="has braces in its path, which mean wildcards: rename or move it"):
        surroundings.check_checkout(Path("/home"), Path("/home", name, "dcsc"))
    surroundings.check_checkout(Path("/home/a b'c"))


@pytest.mark.parametrize("results", ["file", "file/below", "file/far/below"])
def test_results_that_are_a_file_are_named(folder, results):
    (folder / "file").write_text("mine")
    with pytest.raises(UserError, match=f"results = {results} is not allowed: file is a file; name another folder"):
        surroundings.check_results(results)
    with pytest.raises(UserError):
        surroundings.check_writable(results)
    surroundings.check_writable("other/below")


def test_a_path_that_no_file_system_takes_is_one_sentence():
    with pytest.raises(UserError, match=r"cannot be looked at \(File name too long\)"):
        surroundings.check_results("x" * 300)


def test_every_folder_of_the_checkout_is_reserved():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    folders = {path.split("/")[0] for path in listed if "/" in path}
    assert {name for name in folders if not name.startswith(".")} | {"logs"} == set(CHECKOUT)


def recorded(folder, output, content, kind="metadata"):
    name = base64.urlsafe_b64encode(output.encode()).decode()
    path = folder / ".snakemake" / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", ["metadata", "incomplete"])
@pytest.mark.parametrize("content", [b"", b'{"rule": "a', b"[1]", b"3", b"\xff\xfe", b"[" * 100_000, b"\0" * 9])
def test_a_damaged_record_is_named_with_what_it_is_about(folder, kind, content):
    recorded(folder, "results/a.nc", json.dumps({"rule": "a"}).encode())
    surroundings.check_records()
    path = recorded(folder, "results/b.nc", content, kind)
    with pytest.raises(UserError, match=r"delete it and results/b.nc, which it is about, and run again") as refusal:
        surroundings.check_records()
    assert str(path.relative_to(folder)) in str(refusal.value)
    path.unlink()
    surroundings.check_records()


def test_records_of_long_names_and_of_none_are_named_too(folder):
    name = base64.urlsafe_b64encode(("results/" + "x" * 300).encode()).decode()
    path = folder / ".snakemake/metadata" / f"@{name[:200]}" / name[200:]
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(UserError, match=r"delete it and results/x+"):
        surroundings.check_records()
    path.write_text("{}")
    (folder / ".snakemake/metadata/a").write_text("{")
    with pytest.raises(UserError, match=r"metadata/a is damaged: delete it, and run again"):
        surroundings.check_records()


GOOD = [
    [],
    ["-n"],
    ["--cores", "2", "metrics", "--configfile", "good.yaml"],
    ["--configfile=good.yaml", "-n"],
    ["--config", "seed=3", "results=x", "--cores", "1"],
    ["-C", "seed=3"],
    ["--configfile", "good.yaml", "--", "figures", "--config"],
]
WRONG = {
    "a missing file": (["--configfile", "missing.yaml"], r"missing.yaml cannot be read \(No such file"),
    "a folder": (["--configfiles", "."], "cannot be read"),
    "no file": (["--configfile", "-n"], "--configfile names no file"),
    "two files": (["--configfile", "good.yaml", "other.yaml"], "2 configuration files are named, 'good.yaml' and"),
    "a file twice": (["--configfile", "good.yaml", "--configfile", "good.yaml"], "nothing is merged: name one"),
    "a target that is taken for a file": (["--configfile", "good.yaml", "figures"], "goes before --configfile"),
    "no value": (["--config"], "--config has no value: give key=value"),
    "a key alone": (["--config", "seed"], "--config 'seed' is not allowed: give key=value"),
    "a short key": (["-C", "n=3"], "--config 'n=3' is not allowed: .* a key of two letters"),
    "a value alone": (["--config", "=3"], "'=3' is not allowed"),
    "depth": (["--configfile", "deep.yaml"], "deep.yaml: the configuration is nested too deeply"),
    "a key twice": (["--configfile", "twice.yaml"], "twice.yaml: the key 'seed' stands twice, at lines 1 and 3"),
    "no YAML": (["--configfile=broken.yaml"], "broken.yaml is not valid YAML at line 1"),
}


@pytest.fixture
def files(folder):
    texts = {
        "good": "seed: 1\n", "other": "seed: 2\n", "deep": "a: " + "[" * 3000 + "]" * 3000, "broken": "a: [",
        "twice": "seed: 1\nresults: x\nseed: 2\n",
    }  # fmt: skip
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)


@pytest.mark.parametrize("arguments", GOOD, ids=" ".join)
def test_a_command_line_that_is_right_passes(files, arguments):
    command_line.check(arguments)


@pytest.mark.parametrize("name", WRONG)
def test_a_command_line_that_snakemake_would_fail_on_is_one_sentence(files, monkeypatch, name):
    arguments, words = WRONG[name]
    with pytest.raises(UserError, match=words) as refusal:
        command_line.check(arguments)
    assert str(refusal.value).isprintable()
    monkeypatch.setattr(sys, "argv", ["snakemake", *arguments])
    with pytest.raises(SystemExit, match="error in the configuration: "):
        command_line.stop_if_wrong()
