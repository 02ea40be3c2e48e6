"""How far a run is: which jobs are done, run and failed, by stage, and how long the rest takes by the cost model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dcsc.errors import printable

STAGE_OF = {
    "draw_dictionaries": "dictionaries",
    "refine_sweep": "sweeps",
    "certify_draws": "certificates",
    "sample_signals": "signals",
    "run_pursuits": "pursuits",
    "measure_recovery": "metrics",
    "summarize_metrics": "metrics",
    "judge_claims": "claims",
    "render_reproduction": "claims",
}
"""The stage of a rule; other rules of the name `render_...` draw figures, and what is left collects only."""

LONGEST_LIST = 5
"""Failures that are told in full."""


class Costs(Protocol):
    """What jobs take by the cost model; a run is shown without when it is not known yet."""

    def add(self, rule: str, wildcards: Mapping[str, str], seconds: float) -> None:
        """Learn from a job that ended."""

    def seconds(self, rule: str, wildcards: Mapping[str, str]) -> float:
        """Predict one job."""

    def all_seconds(self, rule: str, count: int) -> float:
        """Predict so many jobs of a rule."""


@dataclass(frozen=True)
class Job:
    """
    A job that runs or ran.

    Parameters
    ----------
    rule : str
        Name of its rule.
    wildcards : mapping of str to str
        Of the rule.
    begun : float, in seconds
        When, on the clock of the run.
    """

    rule: str
    wildcards: Mapping[str, str]
    begun: float

    @property
    def name(self) -> str:
        """Its rule and what of the study it is about."""
        place = "/".join(self.wildcards.values())
        return printable(f"{self.rule} {place}".rstrip())


@dataclass(frozen=True)
class Failure:
    """
    A job that failed.

    Parameters
    ----------
    name : str
        Rule and place of the job.
    sentence : str
        What it said.
    logs : tuple of str
        Its log files.
    """

    name: str
    sentence: str
    logs: tuple[str, ...]

    def lines(self) -> list[str]:
        """
        Tell it in full.

        Returns
        -------
        list of str
            Rule, sentence, log.
        """
        return [f"failed: {self.name}", f"    {self.sentence}", *(f"    log: {path}" for path in self.logs)]


@dataclass(frozen=True)
class News:
    """
    What is to be told of an event.

    Parameters
    ----------
    stage : str
        One that is complete now; empty if none.
    failure : Failure, optional
        Of a job.
    """

    stage: str = ""
    failure: Failure | None = None


@dataclass
class Progress:
    """
    What is known of a run; fed with events, read by whoever shows it.

    Parameters
    ----------
    cores : int
        Jobs that run at the same time.
    on_cluster : bool
        Whether they wait in a queue and run elsewhere.
    """

    cores: int = 1
    on_cluster: bool = False
    wanted: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    running: dict[int, Job] = field(default_factory=dict)
    failures: dict[int, Failure] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    nothing_to_do: bool = False
    _jobs: dict[int, Job] = field(default_factory=dict)

    def take(self, event: Mapping[str, Any], now: float, costs: Costs | None = None) -> News:
        """
        Take an event in.

        Parameters
        ----------
        event : mapping
            What the logger plugin of the workflow tells.
        now : float, in seconds
            On the clock of the run.
        costs : Costs, optional
            Learns from jobs that ended.

        Returns
        -------
        News
            A stage that is complete, a job that failed.
        """
        kind = event.get("event")
        if kind == "run_info":
            self.wanted = Counter({rule: n for rule, n in event.get("stats", {}).items() if stage_of(rule)})
        elif kind == "resources_info":
            self.on_cluster = "nodes" in event
            given = str(event.get("nodes", event.get("cores", "")))  # on a cluster so many jobs at a time
            self.cores = int(given) if given.isdigit() and int(given) else self.cores
        elif kind == "job_info" and stage_of(event.get("rule_name", "")):
            job = Job(event["rule_name"], event.get("wildcards") or {}, now)
            self.running[event["jobid"]] = self._jobs[event["jobid"]] = job
            self.failures.pop(event["jobid"], None)  # it is tried again
        elif kind == "job_finished":
            return self._finished(event.get("job_id", event.get("jobid", -1)), now, costs)
        elif kind == "job_error":
            return self._failed(event)
        elif kind == "group_error":
            news = [self._failed(job) for job in event.get("job_error_info", ())]
            return next((told for told in news if told.failure), News())
        elif kind == "error" or (kind is None and event.get("message", "").startswith("error")):
            self.messages.append(event.get("message", ""))
        elif kind is None and "Nothing to be done" in event.get("message", ""):
            self.nothing_to_do = True
        return News()

    def _finished(self, number: int, now: float, costs: Costs | None) -> News:
        job = self.running.pop(number, None)
        if job is None:
            return News()
        self.done[job.rule] += 1
        if costs is not None:
            costs.add(job.rule, job.wildcards, now - job.begun)
        stage = stage_of(job.rule)
        done, wanted = self.of_stage(stage)
        return News(stage=stage if done == wanted else "")

    def _failed(self, event: Mapping[str, Any]) -> News:
        number = event.get("jobid", -1)
        self.running.pop(number, None)
        job = self._jobs.get(number, Job(str(event.get("rule_name", "a job")), {}, 0.0))
        logs = tuple(map(str, event.get("log") or ()))
        sentence = sentence_of(logs) or _of_its_end("\n".join(self.messages[-1:]))
        self.failures[number] = failure = Failure(job.name, sentence, logs)
        return News(failure=failure if len(self.failures) <= LONGEST_LIST else None)

    def of_stage(self, stage: str) -> tuple[int, int]:
        """
        Count the jobs of a stage.

        Parameters
        ----------
        stage : str
            Its name.

        Returns
        -------
        done, wanted : int
            Jobs that are done, and all that are to be done in this run.
        """
        rules = [rule for rule in self.wanted if stage_of(rule) == stage]
        return sum(self.done[rule] for rule in rules), sum(self.wanted[rule] for rule in rules)

    def seconds_left(self, now: float, costs: Costs) -> float:
        """
        Predict how long the rest takes.

        Parameters
        ----------
        now : float, in seconds
            On the clock of the run.
        costs : Costs
            The cost model, with what this run taught it.

        Returns
        -------
        float
            In seconds, with the cores of the run.
        """
        rest = [max(costs.seconds(job.rule, job.wildcards) - (now - job.begun), 0.0) for job in self.running.values()]
        failed = Counter(failure.name.partition(" ")[0] for failure in self.failures.values())
        begun = self.done + Counter(job.rule for job in self.running.values()) + failed
        waiting = {rule: count - begun[rule] for rule, count in self.wanted.items() if count > begun[rule]}
        together = sum(rest) + sum(costs.all_seconds(rule, count) for rule, count in waiting.items())
        return max(together / self.cores, *rest, 0.0)

    def waiting_for(self) -> str:
        """
        Say what runs now.

        Returns
        -------
        str
            The jobs that run, those that run longest first.
        """
        jobs = sorted(self.running.values(), key=lambda job: job.begun)
        if not jobs:
            return "Snakemake"
        more = f" and {len(jobs) - 2} more" if len(jobs) > 2 else ""
        return ", ".join(job.name for job in jobs[:2]) + more


def stage_of(rule: str) -> str:
    """
    Name the stage of a rule.

    Parameters
    ----------
    rule : str
        Name of the rule, with its module's prefix or without.

    Returns
    -------
    str
        Empty for rules that only collect.
    """
    for name, stage in STAGE_OF.items():
        if rule == name or rule.endswith(f"_{name}"):
            return stage
    return "figures" if re.search(r"(^|_)render_", rule) else ""


def sentence_of(logs: tuple[str, ...]) -> str:
    """
    Read why a job failed.

    Parameters
    ----------
    logs : tuple of str
        Its log files.

    Returns
    -------
    str
        The sentence that it ended with; of a traceback the last line; empty when there is neither.
    """
    for path in logs:
        try:
            lines = [line for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines() if line]
        except OSError:
            continue
        ours = [line for line in lines if line.startswith("error")]
        if ours:
            return printable(ours[-1])
        if any(line.startswith("Traceback") for line in lines):
            return printable(f"{lines[-1].strip()} (a fault of the program: the traceback is in the log)")
    return ""


def _of_its_end(error: str) -> str:
    """Words for a job that said nothing, by what Snakemake last said of an end."""
    killed = re.search(r"died with <Signals\.(\w+)", error)
    if killed:
        return f"it was killed ({killed[1]}): perhaps memory was short"
    return "it ended without a word: Snakemake's own output has what is known"


def in_words(seconds: float) -> str:
    """
    Write a time as a person would say it.

    Parameters
    ----------
    seconds : float
        The time.

    Returns
    -------
    str
        Rounded, with its unit.
    """
    if seconds < 59.5:
        return f"{max(round(seconds), 1)} s"
    if seconds < 3570:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def clock(seconds: float) -> str:
    """
    Write the time since a start.

    Parameters
    ----------
    seconds : float
        The time.

    Returns
    -------
    str
        Minutes and seconds, with hours before them where there are any.
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} h" if hours else f"{minutes}:{rest:02d} min"
