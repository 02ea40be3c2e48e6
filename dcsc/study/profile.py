"""Where the time of a study went: processor time, starts and memory, by rule, by experiment and job by job."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from dcsc.errors import UserError
from dcsc.study import config
from dcsc.study.job_times import read_log, read_timing_file
from dcsc.study.plan import RULES

LONGEST = 10
"""Jobs that are listed by name."""


@dataclass(frozen=True)
class Job:
    """
    What one job took.

    Parameters
    ----------
    rule : str
        Its rule.
    place : str
        Its experiment, cascade and chunk, as far as it has them, with "/" between.
    seconds, processor, computing : float
        Wall-clock time as Snakemake measured it, processor time with imports, and the wall-clock time of the work
        itself, without starts, imports and files.
    memory_mb : float
        The most that was resident.
    """

    rule: str
    place: str
    seconds: float
    processor: float
    computing: float
    memory_mb: float

    @property
    def experiment(self) -> str:
        """Its experiment, or its rule where it belongs to none: dictionaries are shared."""
        return self.rule if not self.place or self.rule == RULES["dictionaries"] else self.place.split("/")[0]


@dataclass(frozen=True)
class Part:
    """
    The jobs of one rule or experiment.

    Parameters
    ----------
    jobs : int
        How many.
    processor, waiting : float
        Their processor time, and the wall-clock time outside their work, in seconds.
    share : float
        Of the processor time of all jobs.
    memory_mb : float
        Of the largest job.
    """

    jobs: int
    processor: float
    waiting: float
    share: float
    memory_mb: float


def timed_jobs(configuration: str, logs: Path = Path("logs")) -> list[Job]:
    """
    Read what the jobs of a study took when each of them ran for the last time.

    Parameters
    ----------
    configuration : str
        File of the study.
    logs : Path
        Folder of all logs.

    Returns
    -------
    list of Job
        Those that took most first.

    Raises
    ------
    UserError
        When the configuration cannot be read, or no job was timed.
    """
    folder = logs / config.load(configuration).results
    jobs = [found for path in sorted(folder.rglob("*.log")) if (found := _job(path, folder)) is not None]
    if not jobs:
        raise UserError(f"{folder} has no times of jobs: run 'make reproduce' for {configuration} first.")
    return sorted(jobs, key=lambda job: -job.processor)


def by(jobs: Iterable[Job], name: Callable[[Job], str]) -> dict[str, Part]:
    """
    Sum jobs up.

    Parameters
    ----------
    jobs : iterable of Job
        From `timed_jobs`.
    name : callable
        Tells to which part a job belongs.

    Returns
    -------
    dict of str to Part
        Those that took most first.
    """
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(name(job), []).append(job)
    whole = sum(job.processor for group in groups.values() for job in group) or 1.0
    parts = {}
    for label, group in groups.items():
        processor = sum(job.processor for job in group)
        waiting = sum(max(job.seconds - job.computing, 0.0) for job in group)
        parts[label] = Part(len(group), processor, waiting, processor / whole, max(job.memory_mb for job in group))
    return dict(sorted(parts.items(), key=lambda part: -part[1].processor))


def as_text(jobs: list[Job]) -> str:
    """
    Write a profile for a person to read.

    Parameters
    ----------
    jobs : list of Job
        From `timed_jobs`.

    Returns
    -------
    str
        A table by rule, one by experiment, and the longest jobs.
    """
    lines = []
    for title, name in (("rule", lambda job: job.rule), ("experiment", lambda job: job.experiment)):
        parts = by(jobs, name)
        width = max(len(title), *map(len, parts))
        heading = f"{title:<{width}}  {'jobs':>5}  {'processor':>10}  {'share':>6}  {'around it':>10}  {'memory':>8}"
        lines += [heading, "-" * len(heading)]
        for label, part in parts.items():
            lines.append(
                f"{label:<{width}}  {part.jobs:>5}  {part.processor:>8.1f} s  {part.share:>6.1%}  "
                f"{part.waiting:>8.1f} s  {part.memory_mb:>5.0f} MB"
            )
        lines.append("")
    lines.append("the jobs that took most:")
    lines += [f"{job.processor:>8.1f} s  {job.rule} {job.place}".rstrip() for job in jobs[:LONGEST]]
    total, seconds = sum(job.processor for job in jobs), sum(job.seconds for job in jobs)
    lines += ["", f"{len(jobs)} jobs: {total:.0f} s of processor, {seconds:.0f} s from start to end one after another"]
    lines.append("'around it' is what starts, imports and files took beside the work, while jobs ran side by side")
    return "\n".join(lines)


def as_json(jobs: list[Job]) -> str:
    """
    Write a profile for programs.

    Parameters
    ----------
    jobs : list of Job
        From `timed_jobs`.

    Returns
    -------
    str
        JSON: a list of the jobs.
    """
    return json.dumps([asdict(job) for job in jobs], indent=1)


def _job(log: Path, folder: Path) -> Job | None:
    """Read the log and the timing file of a job; nothing for one that did not end well."""
    logged = read_log(log)
    if logged is None:
        return None
    rule, *places = log.relative_to(folder).with_suffix("").parts
    measured = read_timing_file(log.with_suffix(".tsv"))  # a rule with a cache has none
    seconds, memory = measured.get("seconds", logged.computing), max(measured.get("memory_mb", 0.0), logged.memory_mb)
    return Job(rule, "/".join(places), seconds, logged.processor, logged.computing, memory)
