"""What a study will cost before it runs: jobs, core-hours, memory and disk of what is to be done."""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dcsc.errors import UserError
from dcsc.study import config
from dcsc.study.estimate.model import Correction, Cost
from dcsc.study.estimate.sizes import StudySizes
from dcsc.study.estimate.timings import timed_jobs
from dcsc.study.options.study import Study
from dcsc.study.workflow_plan import PlannedJob, planned_jobs

TEMPORARY = {"sample_signals": "signals", "run_pursuits": "pursuits"}
"""Rules whose outputs can be deleted after use, and the stage that `keep` names."""


@dataclass
class RuleEstimate:
    """
    What the jobs of one rule take together.

    Parameters
    ----------
    jobs : int
        Their number.
    core_hours : float
        Together.
    longest_minutes : float
        Of the longest one.
    memory_mb : float
        Of the largest one.
    disk_mb : float
        Of their outputs.
    kept : bool
        Whether the outputs stay on disk.
    """

    jobs: int = 0
    core_hours: float = 0.0
    longest_minutes: float = 0.0
    memory_mb: float = 0.0
    disk_mb: float = 0.0
    kept: bool = True

    def add(self, cost: Cost) -> None:
        """
        Count one more job.

        Parameters
        ----------
        cost : Cost
            Of the job.
        """
        self.jobs += 1
        self.core_hours += cost.seconds / 3600
        self.longest_minutes = max(self.longest_minutes, cost.seconds / 60)
        self.memory_mb = max(self.memory_mb, cost.memory_mb)
        self.disk_mb += cost.disk_mb


@dataclass
class Estimate:
    """
    What is to be done, and what it takes.

    Parameters
    ----------
    configuration : str
        Path of the configuration.
    cores : int
        Cores that work at the same time.
    rules : dict of str to RuleEstimate
        In the order of the workflow.
    hours : float
        On the clock with that many cores; no less than the longest job.
    memory_mb : float
        When the largest jobs meet on all cores.
    disk_mb : float
        At the end of the run.
    passing_disk_mb : float
        Of outputs that are deleted after use, if none were deleted yet.
    timed_jobs : int
        Jobs of earlier runs that the estimate learned from.
    """

    configuration: str
    cores: int
    rules: dict[str, RuleEstimate] = field(default_factory=dict)
    hours: float = 0.0
    memory_mb: float = 0.0
    disk_mb: float = 0.0
    passing_disk_mb: float = 0.0
    timed_jobs: int = 0

    @property
    def jobs(self) -> int:
        """Jobs to be done."""
        return sum(rule.jobs for rule in self.rules.values())

    @property
    def core_hours(self) -> float:
        """Their time together, in hours on one core."""
        return sum(rule.core_hours for rule in self.rules.values())


def estimate(
    configuration: str | Path,
    *,
    targets: Sequence[str] = (),
    cores: int | None = None,
    timings: Iterable[str | Path] = (),
) -> Estimate:
    """
    Estimate what is to be done of a study.

    Parameters
    ----------
    configuration : str or Path
        A YAML file.
    targets : sequence of str
        What to make; everything by default.
    cores : int, optional
        Cores that work at the same time; those of this machine by default.
    timings : iterable of str or Path
        Configurations of other studies that ran here, to learn from.

    Returns
    -------
    Estimate
        Of the jobs that Snakemake plans; those that are finished cost nothing.

    Raises
    ------
    UserError
        When a configuration is wrong or Snakemake does not answer.
    """
    if cores is not None and cores < 1:
        raise UserError(f"cores = {cores} is not allowed: give a positive number.")
    study = config.load(configuration)
    sizes = StudySizes(study)
    jobs = planned_jobs(configuration, targets)
    correction = Correction()
    everything = planned_jobs(configuration) if targets else jobs
    _learn(correction, sizes, study.results, everything)
    for path in timings:
        if Path(path).resolve() != Path(configuration).resolve():
            other = config.load(path)
            _learn(correction, StudySizes(other), other.results, planned_jobs(path))
    return summed(str(configuration), study, sizes, jobs, correction, cores or os.cpu_count() or 1)


def _learn(correction: Correction, sizes: StudySizes, results: str, waiting: Iterable[PlannedJob]) -> None:
    """Take in the timing files of finished jobs; those of jobs to be done again may be of other settings."""
    outdated = {(job.rule, tuple(sorted(job.wildcards.items()))) for job in waiting}
    for rule, wildcards, measured in timed_jobs(sizes, results):
        if (rule, tuple(sorted(wildcards.items()))) not in outdated:
            correction.add(rule, sizes.features(rule, wildcards), measured)


def summed(
    configuration: str,
    study: Study,
    sizes: StudySizes,
    jobs: Iterable[PlannedJob],
    correction: Correction,
    cores: int,
) -> Estimate:
    """
    Add the jobs of a plan up.

    Parameters
    ----------
    configuration : str
        Path of the configuration.
    study : config.Study
        What it holds.
    sizes : StudySizes
        Of the study.
    jobs : iterable of PlannedJob
        What is to be done.
    correction : Correction
        What was learned from earlier runs.
    cores : int
        Cores that work at the same time.

    Returns
    -------
    Estimate
        Rule by rule and together.
    """
    found = Estimate(configuration, cores, timed_jobs=correction.jobs)
    memory: list[float] = []
    for job in jobs:
        cost = correction.cost(job.rule, sizes.features(job.rule, job.wildcards))
        stage = TEMPORARY.get(job.rule)
        kept = stage is None or getattr(study.keep, stage)
        found.rules.setdefault(job.rule, RuleEstimate(kept=kept)).add(cost)
        memory.append(cost.memory_mb)
    rules = found.rules.values()
    longest = max((rule.longest_minutes for rule in rules), default=0.0) / 60
    found.hours = max(found.core_hours / cores, longest)
    found.memory_mb = sum(heapq.nlargest(cores, memory))
    found.disk_mb = sum(rule.disk_mb for rule in rules if rule.kept)
    found.passing_disk_mb = sum(rule.disk_mb for rule in rules if not rule.kept)
    return found


def as_json(found: Estimate) -> str:
    """
    Write an estimate for a program to read.

    Parameters
    ----------
    found : Estimate
        From `estimate`.

    Returns
    -------
    str
        Units are in the names of the keys.
    """
    whole: Mapping[str, object] = {"jobs": found.jobs, "core_hours": found.core_hours, **asdict(found)}
    return json.dumps(whole, indent=1)


def as_text(found: Estimate) -> str:
    """
    Write an estimate for a person to read.

    Parameters
    ----------
    found : Estimate
        From `estimate`.

    Returns
    -------
    str
        A table of the rules, and what follows from it in a few lines.
    """
    if not found.jobs:
        return f"{found.configuration}: nothing to be done."
    width = max(len(name) for name in (*found.rules, "all"))
    heading = f"{'rule':<{width}}  {'jobs':>6}  {'core-hours':>10}  {'longest':>8}  {'memory':>8}  {'disk':>8}"
    lines = [heading, "-" * len(heading)]
    for name, rule in found.rules.items():
        lines.append(_row(name, width, rule) + ("" if rule.kept else "  deleted after use"))
    total = RuleEstimate(
        found.jobs,
        found.core_hours,
        max(rule.longest_minutes for rule in found.rules.values()),
        max(rule.memory_mb for rule in found.rules.values()),
        found.disk_mb + found.passing_disk_mb,
    )
    lines += ["-" * len(heading), _row("all", width, total), ""]
    lines.append(f"{_time(found.hours)} on {found.cores} cores, {_size(found.memory_mb)} of memory if the largest meet")
    lines.append(f"{_size(found.disk_mb)} of disk in the end" + _passing(found.passing_disk_mb))
    source = f"and {found.timed_jobs} jobs timed here" if found.timed_jobs else "as no job of it was timed here yet"
    lines.append(f"from the coefficients that ship, {source}; expect a factor of 2 either way")
    return "\n".join(lines)


def _row(name: str, width: int, rule: RuleEstimate) -> str:
    return (
        f"{name:<{width}}  {rule.jobs:>6}  {rule.core_hours:>10.3f}  {_time(rule.longest_minutes / 60):>8}  "
        f"{_size(rule.memory_mb):>8}  {_size(rule.disk_mb):>8}"
    )


def _passing(megabytes: float) -> str:
    return f", and at most {_size(megabytes)} before that is deleted again" if megabytes else ""


def _time(hours: float) -> str:
    for unit, length in (("h", 1.0), ("min", 1 / 60)):
        if hours >= length:
            return f"{hours / length:.1f} {unit}"
    return f"{hours * 3600:.0f} s"


def _size(megabytes: float) -> str:
    for unit, size in (("TB", 1e6), ("GB", 1e3)):
        if megabytes >= size:
            return f"{megabytes / size:.1f} {unit}"
    return f"{megabytes:.0f} MB"
