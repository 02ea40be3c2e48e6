"""What every pursuit takes and gives, and the registry that names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from numpy.typing import NDArray

from dcsc.registry import Registry


@dataclass(frozen=True, eq=False)
class PursuitResult:
    """
    The codes that a pursuit found, and how it came to stop.

    Parameters
    ----------
    codes : list of ndarray, each of shape (..., filter, *position)
        [X^(1), ..., X^(L)].
    thresholds : list of ndarray, each of shape (...) or (..., filter)
        The threshold (or penalty) used at each layer, one a trial, or one a trial and filter.
    iterations : ndarray of int, shape (..., layer)
        Steps taken; 1 a layer for one-step thresholding.
    optimality : ndarray, shape (..., layer)
        Distance from optimality at the end; 0 where a step has no objective.
    stopped : str
        Why it stopped, in a few words.
    """

    codes: list[NDArray]
    thresholds: list[NDArray]
    iterations: NDArray
    optimality: NDArray
    stopped: str

    @property
    def supports(self) -> list[NDArray]:
        """Supports of the codes as boolean arrays: the recovered activation path."""
        return [code != 0 for code in self.codes]


Pursuit = Callable[..., PursuitResult]

PURSUITS: Registry[Pursuit] = Registry("pursuit", filled_in=("reference", "noise"))
"""The pursuits by name; what every pursuit takes and a study fills in is no parameter of a configuration."""

register, get, names, check_parameters = PURSUITS.register, PURSUITS.get, PURSUITS.names, PURSUITS.check


def stopped_at(optimality: NDArray, tolerance: float) -> str:
    """
    Say how iterations came to stop.

    Parameters
    ----------
    optimality : ndarray
        Distance from optimality of each problem.
    tolerance : float
        What it was to reach.

    Returns
    -------
    str
        How many problems did not.
    """
    missed = int((optimality > tolerance).sum())
    return f"{missed} of {optimality.size} problems above the tolerance" if missed else "tolerance reached"
