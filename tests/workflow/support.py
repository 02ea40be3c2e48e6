"""The real workflow in a copy of the repository, so that tests can edit its library and read Snakemake's own plan."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
TINY = yaml.safe_load(Path(__file__).with_name("tiny.yaml").read_text(encoding="utf-8"))
COLLECTING = {"default", "all"}
"""Rules that only name what a user asked for."""


@dataclass(frozen=True)
class Job:
    """A job of Snakemake's plan."""

    rule: str
    outputs: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Workflow:
    """A copy of the repository and the configuration that it is run with."""

    folder: Path
    configuration: dict[str, Any] = field(default_factory=dict)

    @property
    def results(self) -> Path:
        return self.folder / self.configuration["results"]

    def configured(self, configuration: dict[str, Any]) -> Workflow:
        return Workflow(self.folder, configuration)

    def copied(self, folder: Path) -> Workflow:
        shutil.copytree(self.folder, folder, symlinks=True)
        return Workflow(folder, self.configuration)

    def command(self, *arguments: str) -> list[str]:
        file = self.folder / "study.yaml"
        file.write_text(yaml.safe_dump(self.configuration, sort_keys=False), encoding="utf-8")
        return [sys.executable, "-m", "snakemake", *arguments, "--configfile", file.name]

    def snakemake(self, *arguments: str) -> tuple[int, str]:
        return self.execute(self.command(*arguments))

    def execute(self, command: list[str], **variables: str) -> tuple[int, str]:
        done = subprocess.run(
            command, cwd=self.folder, env=environment() | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, timeout=600,
        )  # fmt: skip
        return done.returncode, done.stdout

    def run(self, *arguments: str) -> str:
        code, output = self.snakemake("--cores", "2", *arguments)
        assert code == 0, output
        return output

    def planned(self, *targets: str) -> list[Job]:
        code, output = self.snakemake("-n", *targets)
        assert code == 0, output
        return jobs_of(output)

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.folder / path
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{path} holds no {old!r} to edit"
        file.write_text(text.replace(old, new, 1), encoding="utf-8")


def environment() -> dict[str, str]:
    """The environment of a user: nothing that points to the checkout under test."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "SNAKEMAKE"))}
    return kept | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


SPY = """
import atexit, os, sys


def report():
    files = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "dcsc"]
    if sys.argv[0].endswith(".py") and files:
        with open(os.path.join(os.path.dirname(__file__), f"{os.getpid()}.loaded"), "w") as file:
            print(os.path.basename(sys.argv[0]), *files, sep="\\n", file=file)


atexit.register(report)
"""
"""As sitecustomize, it notes which modules every job of a run has loaded in the end."""


def jobs_of(plan: str) -> list[Job]:
    """Read the jobs of a dry run, without those that only collect."""
    jobs = []
    for block in re.split(r"^(?:local)?rule (?=[\w.-]+:$)", plan, flags=re.MULTILINE)[1:]:
        rule = block.partition(":")[0]
        fields = dict(re.findall(r"^    (\w+): (.*)$", block.partition("\n\n")[0], flags=re.MULTILINE))
        if "output" in fields:
            jobs.append(Job(rule, tuple(fields["output"].split(", ")), fields.get("reason", "")))
    return jobs


def rules_of(jobs: list[Job]) -> set[str]:
    return {job.rule for job in jobs}


def experiments_of(jobs: list[Job], configuration: dict[str, Any]) -> set[str]:
    """Experiments that a plan touches; dictionaries belong to none."""
    paths = [path for job in jobs for path in job.outputs]
    return {name for name in configuration["experiments"] for path in paths if re.search(rf"/{name}[/-]", path)}


def copy_of_repository(folder: Path) -> Path:
    """What a fresh clone would hold, with the edits of the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return folder


def digests(folder: Path) -> dict[str, bytes]:
    """Every file below a folder and its bytes."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
