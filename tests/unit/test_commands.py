"""The commands that the documentation shows are understood as they are meant: no option takes a word of another."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import yaml
from snakemake.cli import get_argument_parser

from dcsc import __main__ as ours
from dcsc.study.options.study import STAGES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "config/README.md", "dcsc/study/template/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md")) + sorted((ROOT / "docs/site").rglob("*.md"))
PAGES += sorted((ROOT / "config").glob("*.yaml")) + sorted((ROOT / "profiles").glob("*/config.yaml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROGRAM = r"(?:\.venv/bin/)?(?:make|snakemake|dcsc|python -m dcsc)"


def commands():
    """Every command of a page: in an indented block, after "or:", in backquotes, or after the colon of a comment."""
    for page in PAGES:
        if {"_build", "_generated"} & set(page.parts):
            continue
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        found = re.findall(rf"^(?: {{4,}}|# .*: )({PROGRAM} .*)$", text, re.MULTILINE)
        found += re.findall(rf"# or: ({PROGRAM} .*)$", text, re.MULTILINE)
        found += re.findall(rf"`({PROGRAM} [^`\n]*)`", text)
        for line in found:
            words = re.sub(r"[{<][^}>]*[}>]", "X", line.split("  #")[0].split(" && ")[0])
            words = re.sub(r"[\[\]]", "", words)  # what may be left out
            if "cluster-generic" in words:  # a plug-in that is not installed here
                continue
            if "..." not in words and len(words.split()) > 2 - words.startswith("make") and "--help" not in words:
                yield pytest.param(words.strip(), id=f"{page.name}: {words.strip()[:80]}")


COMMANDS = list(commands())


def targets():
    """What a user may name: stages, experiments, figures, and rules."""
    names = set(STAGES) | {"claims", "all"}
    for path in (ROOT / "config").glob("*.yaml"):
        # What `make networks` reads is no study.
        for name, experiment in yaml.safe_load(path.read_text(encoding="utf-8")).get("experiments", {}).items():
            names |= {name, *(f"{name}-{figure}" for figure in experiment["figures"])}
    return names


TARGETS = targets()


@cache
def snakemakes_parser():
    return get_argument_parser()


def check_snakemake(words):
    given = snakemakes_parser().parse_args(words)
    files = list(map(str, given.configfile or ()))
    assert len(files) <= 1, f"--configfile takes {files}"
    assert all(file.endswith(".yaml") for file in files)
    assert set(given.targets) <= TARGETS, given.targets
    forced = given.forcerun or ()
    assert all((ROOT / f"scripts/{rule}.py").is_file() for rule in forced), f"--forcerun takes {forced}"
    assert all("=" in entry for entry in given.config or ()), f"--config takes {given.config}"
    assert not set(given.cache or ()) - {"draw_dictionaries"}, f"--cache takes {given.cache}"


def check_make(words):
    settings = {word.split("=")[0]: word.partition("=")[2] for word in words if "=" in word}
    for variable in settings:
        assert f"$({variable})" in MAKEFILE or f"$(if $({variable})" in MAKEFILE, variable
    for target in (word for word in words if "=" not in word):
        assert re.search(rf"^{re.escape(target)}:|^\$\(READY\):", MAKEFILE, re.MULTILINE), target
        assert target == ".venv/.ready" or f"\n{target}:" in MAKEFILE, target
    assert {settings.get("TARGET", "all")} <= TARGETS
    if "FORCE" in settings:
        assert (ROOT / f"scripts/{settings['FORCE']}.py").is_file()


def check_ours(words):
    given, further = ours._divided(words)
    try:
        chosen = ours._parser().parse_args(given)
    except SystemExit as end:
        raise AssertionError(f"dcsc does not understand {given}") from end
    if chosen.run is ours._run:
        assert set(chosen.targets) <= TARGETS
        check_snakemake(["--cores", "all", *further])


def test_enough_commands_are_found():
    assert len(COMMANDS) > 40
    found = " ".join(command.values[0] for command in COMMANDS)
    assert all(words in found for words in ("make run TARGET=metrics", "dcsc run transition", "snakemake --cores all"))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_shown_is_understood(command):
    program, *words = shlex.split(command)
    program = Path(program).name
    if program == "python":
        program, words = "dcsc", words[2:]
    {"make": check_make, "snakemake": check_snakemake, "dcsc": check_ours}[program](words)


@pytest.mark.parametrize(
    "command",
    ["--cores 2 --configfile my.yaml figures", "--forcerun transition", "--configfile my.yaml --cache figures"],
)
def test_the_trap_is_seen(command):
    with pytest.raises(AssertionError, match="takes"):
        check_snakemake(shlex.split(command))
