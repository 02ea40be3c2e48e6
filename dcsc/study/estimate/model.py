"""The cost model of a job: linear in its sizes, with coefficients of the package that earlier runs correct."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from dcsc.figures.panels import panels

COEFFICIENTS = Path(__file__).with_name("coefficients.json")
QUANTITIES = ("seconds", "memory_mb", "disk_mb")
"""Time on one core, the largest resident memory, and what the outputs take on disk."""

PRIOR = {"seconds": 60.0, "memory_mb": 500.0, "disk_mb": 5.0}
"""How much of each must have been measured of a rule until that counts as much as the coefficients that ship."""

LARGEST_CORRECTION = 20.0
"""A machine is hardly this much faster or slower; what says so is a broken file."""


@dataclass(frozen=True)
class Cost:
    """
    What a job takes.

    Parameters
    ----------
    seconds : float, in seconds
        On one core.
    memory_mb : float, in MB
        The largest resident memory.
    disk_mb : float, in MB
        Size of its outputs.
    """

    seconds: float
    memory_mb: float
    disk_mb: float


@cache
def shipped() -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """
    Read the coefficients that ship, which benchmarks/cost_model.py fits.

    Returns
    -------
    dict
        Coefficient by rule, quantity and size.
    """
    return json.loads(COEFFICIENTS.read_text(encoding="utf-8"))


def kind_of(rule: str) -> str:
    """
    Name the model of a rule.

    Parameters
    ----------
    rule : str
        Name of the rule.

    Returns
    -------
    str
        Figures share two models: of those that read every trial, and of the others.
    """
    if rule in shipped():
        return rule
    of_trials = {name.replace("-", "_") for name, panel in panels().items() if panel.reads_trials}
    return "render_trials" if rule.removeprefix("render_") in of_trials else "render"


def predicted(rule: str, sizes: Mapping[str, float]) -> Cost:
    """
    Predict the cost of a job from what ships.

    Parameters
    ----------
    rule : str
        Name of its rule.
    sizes : mapping of str to float
        From `StudySizes.features`.

    Returns
    -------
    Cost
        On the machine that the coefficients were measured on.
    """
    terms = shipped()[kind_of(rule)]
    return Cost(
        *(sum(value * sizes.get(name, 0.0) for name, value in terms[quantity].items()) for quantity in QUANTITIES)
    )


@dataclass
class Correction:
    """
    How measured costs compare with predicted ones, rule by rule.

    Parameters
    ----------
    measured, expected : dict
        Sums over jobs by rule and quantity.
    jobs : int
        Number of measured jobs.
    """

    measured: dict[tuple[str, str], float] = field(default_factory=dict)
    expected: dict[tuple[str, str], float] = field(default_factory=dict)
    jobs: int = 0

    def add(self, rule: str, sizes: Mapping[str, float], quantities: Mapping[str, float]) -> None:
        """
        Learn from one job that ran.

        Parameters
        ----------
        rule : str
            Name of its rule.
        sizes : mapping of str to float
            From `StudySizes.features`.
        quantities : mapping of str to float
            What was measured of `QUANTITIES`.
        """
        expected = predicted(rule, sizes)
        self.jobs += 1
        for quantity, value in quantities.items():
            if math.isfinite(value) and value >= 0:
                key = (kind_of(rule), quantity)
                self.measured[key] = self.measured.get(key, 0.0) + value
                self.expected[key] = self.expected.get(key, 0.0) + getattr(expected, quantity)

    def factor(self, rule: str, quantity: str) -> float:
        """
        Give what a prediction is to be multiplied by.

        Parameters
        ----------
        rule : str
            Name of a rule.
        quantity : str
            One of `QUANTITIES`.

        Returns
        -------
        float
            1 where nothing was measured; a rule without measurements follows the others.
        """
        keys = [key for key in self.measured if key[1] == quantity]
        whole = _ratio((self.measured[key] for key in keys), (self.expected[key] for key in keys), PRIOR[quantity], 1)
        key = (kind_of(rule), quantity)
        if key not in self.measured:
            return whole
        return _ratio([self.measured[key]], [self.expected[key]], PRIOR[quantity], whole)

    def cost(self, rule: str, sizes: Mapping[str, float]) -> Cost:
        """
        Predict the cost of a job on this machine.

        Parameters
        ----------
        rule : str
            Name of its rule.
        sizes : mapping of str to float
            From `StudySizes.features`.

        Returns
        -------
        Cost
            Corrected by what was measured.
        """
        raw = predicted(rule, sizes)
        return Cost(*(getattr(raw, quantity) * self.factor(rule, quantity) for quantity in QUANTITIES))


def _ratio(measured: Iterable[float], expected: Iterable[float], prior: float, before: float) -> float:
    """Compare sums, as if the prior had been measured at the factor known before."""
    ratio = (sum(measured) + prior * before) / (sum(expected) + prior)
    return min(max(ratio, 1 / LARGEST_CORRECTION), LARGEST_CORRECTION)
