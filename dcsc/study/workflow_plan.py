"""The jobs that the workflow would run, as Snakemake itself plans them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dcsc.errors import UserError
from dcsc.store import provenance

PLANNING = "DCSC_PLANNING"
"""Set in the environment of a Snakemake that is only asked: it does not look at results on its own."""
PATIENCE = 900
"""Seconds that Snakemake may take; a study of ten thousand jobs takes a tenth of it."""


@dataclass(frozen=True)
class PlannedJob:
    """
    A job that Snakemake would run.

    Parameters
    ----------
    rule : str
        Name of its rule.
    wildcards : dict of str to str
        Values of the rule's wildcards.
    outputs : tuple of str
        Files that it makes.
    """

    rule: str
    wildcards: dict[str, str] = field(default_factory=dict, hash=False)
    outputs: tuple[str, ...] = ()


def planned_jobs(configuration: str | Path, targets: Iterable[str] = ()) -> list[PlannedJob]:
    """
    List the jobs that are to be done.

    Parameters
    ----------
    configuration : str or Path
        A YAML file.
    targets : iterable of str
        What to make; everything by default.

    Returns
    -------
    list of PlannedJob
        Without those that only collect.

    Raises
    ------
    UserError
        When the configuration is wrong or Snakemake does not answer.
    """
    jobs = []
    for block in re.split(r"^(?:local)?rule (?=[\w.-]+:$)", _asked(configuration, "-n", *targets), flags=re.M)[1:]:
        fields = dict(re.findall(r"^    (\w+): (.*)$", block.partition("\n\n")[0], flags=re.M))
        if "output" in fields:
            pairs = (pair.partition("=") for pair in fields.get("wildcards", "").split(", ") if pair)
            wildcards = {name: value for name, _, value in pairs}
            jobs.append(PlannedJob(block.partition(":")[0], wildcards, tuple(fields["output"].split(", "))))
    return jobs


def rule_outputs(configuration: str | Path) -> list[str]:
    """
    List the files that the rules make, whether they exist or not.

    Parameters
    ----------
    configuration : str or Path
        A YAML file.

    Returns
    -------
    list of str
        Their paths as Snakemake writes them.

    Raises
    ------
    UserError
        When the configuration is wrong or Snakemake does not answer.
    """
    lines = _asked(configuration, "--summary").splitlines()
    return [line.split("\t")[0] for line in lines if "\t" in line][1:]


def snakefile() -> Path:
    """
    Find the workflow.

    Returns
    -------
    Path
        The Snakefile of this folder, else of the checkout that the library runs from.

    Raises
    ------
    UserError
        When there is none.
    """
    places = (Path("Snakefile"), provenance.PACKAGE.parent / "Snakefile")
    found = next((file for file in places if file.is_file()), None)
    if found is None:
        raise UserError("there is no Snakefile here: change to the folder of the workflow.")
    return found


def _asked(configuration: str | Path, *question: str) -> str:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile()), *question, "--nolock"]
    try:
        done = subprocess.run(
            [*command, "--configfile", str(configuration)],
            capture_output=True, text=True, check=False, timeout=PATIENCE, stdin=subprocess.DEVNULL,
            env=os.environ | {PLANNING: "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise UserError(
            f"Snakemake gave no answer in {PATIENCE} seconds: the machine is overloaded, try again later."
        ) from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it is not installed"]
        ours = [line for line in lines if line.startswith("error")] or lines[-1:]
        raise UserError(f"Snakemake cannot plan this study ({ours[0]}): see snakemake -n.")
    return done.stdout
