"""The longest chain of jobs that depend on a job, by which the scheduler starts the most urgent one first."""

from __future__ import annotations

from functools import cache
from typing import Any

from dcsc.kernels.folder import has_machine_code
from dcsc.stages.settings import PursuitRun
from dcsc.study.estimate import model
from dcsc.study.estimate.sizes import StudySizes
from dcsc.study.plan import FILES, RULES, wildcards_of

CLAIMS = ("judge_claims", "render_reproduction")
"""What waits for the figures."""
LONGEST_TO_COMPILE = "fuchs.layer_certificates"
"""The kernel of basis pursuit's certificates: on a first run jobs that compile it begin early."""
COMPILING = 10.0
"""Seconds that it takes."""


class Chains:
    """
    The longest chains of jobs of a study, by the cost model.

    Parameters
    ----------
    sizes : StudySizes
        Of the study.
    """

    def __init__(self, sizes: StudySizes) -> None:
        self._sizes, self._plan = sizes, sizes.plan
        self._experiments: dict[str, list[str]] = {}
        for experiment in self._plan.study.experiments:
            for member in self._plan.members_of(experiment):
                self._experiments.setdefault(member, []).append(experiment)
        self._cached: Any = cache(self._seconds)

    def seconds(self, stage: str, experiment: str = "", cascade: str = "", chunk: str = "") -> float:
        """
        Add the costs of a job and of the longest chain of jobs that wait for it.

        Parameters
        ----------
        stage : str
            A key of `dcsc.study.plan.FILES`, or "figures".
        experiment, cascade, chunk : str
            What the job is about, as far as its stage has it.

        Returns
        -------
        float
            In seconds, on the machine that the cost model was measured on.
        """
        return self._cached(stage, experiment, cascade, chunk)

    def _seconds(self, stage: str, experiment: str, cascade: str, chunk: str) -> float:
        if stage == "figures":
            claims = sum(self._cost(rule, {}) for rule in CLAIMS) if self._plan.study.claims else 0.0
            panels = self._plan.study.experiments[experiment].figures
            rules = {f"render_{panel.replace('-', '_')}" for panel in panels}
            return claims + max((self._cost(rule, {"experiment": experiment}) for rule in rules), default=0.0)
        names = {"experiment": experiment, "cascade": cascade, "chunk": chunk}
        own = self._cost(RULES[stage], {name: names[name] for name in wildcards_of(FILES[stage])})
        if self._uses_longest(stage, experiment) and not has_machine_code(LONGEST_TO_COMPILE):
            own += COMPILING
        return own + max((self._cached(*job) for job in self._after(stage, experiment, cascade, chunk)), default=0.0)

    def _uses_longest(self, stage: str, experiment: str) -> bool:
        """Whether a job certifies basis pursuit, which a study may ask for without running it."""
        if stage not in ("certificates", "metrics"):
            return False
        runs = PursuitRun.by_name(self._plan.pursuit_settings(experiment)["pursuits"]).values()
        asked = stage == "certificates" and self._plan.study.experiments[experiment].bounds.basis_pursuit
        return asked or any(run.is_equality_basis_pursuit for run in runs)

    def _cost(self, rule: str, wildcards: dict[str, str]) -> float:
        return model.predicted(rule, self._sizes.features(rule, wildcards)).seconds

    def _after(self, stage: str, experiment: str, cascade: str, chunk: str) -> list[tuple[str, str, str, str]]:
        """The jobs that read what a job makes."""
        if stage == "dictionaries":
            return [job for of in self._experiments.get(cascade, ()) for job in self._first(of, cascade)]
        if stage == "sweeps":
            return [("signals", experiment, cascade, each) for each in self._plan.chunks_of(experiment)]
        following = {"signals": "pursuits", "pursuits": "metrics"}
        if stage in following:
            return [(following[stage], experiment, cascade, chunk)]
        return [("summary" if stage == "metrics" else "figures", experiment, "", "")]

    def _first(self, experiment: str, cascade: str) -> list[tuple[str, str, str, str]]:
        """The jobs of an experiment that read dictionaries alone."""
        options = self._plan.study.experiments[experiment]
        jobs = [("figures", experiment, "", "")]
        if options.is_certified:
            jobs.append(("certificates", experiment, cascade, ""))
        if options.signals and options.signals.refine:
            jobs.append(("sweeps", experiment, cascade, ""))
        elif options.signals:
            jobs += [("signals", experiment, cascade, chunk) for chunk in self._plan.chunks_of(experiment)]
        return jobs
