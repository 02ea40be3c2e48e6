"""The interface of pursuits: what every pursuit takes and returns, and the registry of their names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcsc.errors import UserError
from dcsc.model.cascade import Cascade
from dcsc.registry import Registry, returned


@dataclass(frozen=True, eq=False)
class PursuitResult:
    """
    Result of a pursuit: the codes of every layer, and why it stopped.

    Parameters
    ----------
    codes : list of ndarray, each of shape (..., filter, *position)
        The estimates of [X^(1), ..., X^(L)].
    thresholds : list of ndarray, each of shape (...) or (..., filter)
        The threshold (or penalty) used at each layer, one per trial, or one per trial and filter.
    iterations : ndarray of int, shape (..., layer)
        Steps taken; 1 per layer for one-step thresholding.
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

PURSUITS: Registry[Pursuit] = Registry("pursuit", filled_in=("reference", "noise"), demanded=True)
"""The pursuits by name; what every pursuit takes and a study fills in is no parameter of a configuration."""

register, get, names, check_parameters = PURSUITS.register, PURSUITS.get, PURSUITS.names, PURSUITS.check


def run(name: str, model: Cascade, signals: NDArray, **parameters: Any) -> PursuitResult:
    """
    Run a pursuit by its name, and check its result.

    Parameters
    ----------
    name : str
        A registered name.
    model : Cascade
        The cascade.
    signals : ndarray, shape (trial, channel, *space)
        A batch.
    **parameters
        Those of the pursuit, with `reference` and `noise`.

    Returns
    -------
    PursuitResult
        Of shapes and numbers that fit the cascade and the batch.

    Raises
    ------
    UserError
        When there is none of that name, it fails, or it gives something else.
    """
    result, owner = PURSUITS.call(name, model, signals, **parameters), PURSUITS.described(name)
    if not isinstance(result, PursuitResult):
        raise UserError(f"{owner} returned a {type(result).__name__}: it must return a PursuitResult.")
    batch, depth = signals.shape[:1], model.depth
    for what, listed in (("codes", result.codes), ("thresholds", result.thresholds)):
        if not isinstance(listed, list | tuple) or len(listed) != depth:
            raise UserError(f"{owner} returned no {depth} {what}: it must return a list of one array a layer.")
    for layer, (code, threshold) in enumerate(zip(result.codes, result.thresholds, strict=True), start=1):
        shape = (*batch, *model.dictionaries[layer - 1].code_shape)
        returned(f"{owner}, codes of layer {layer},", code, f"finite real numbers of shape {shape}", shape)
        by_filter = (*batch, shape[1])
        chosen = by_filter if getattr(threshold, "ndim", 0) > len(batch) else batch
        expected = f"real numbers of shape {batch} or {by_filter}"
        returned(f"{owner}, thresholds of layer {layer},", _filled(threshold), expected, chosen)
    steps = (*batch, depth)
    returned(f"{owner}, iterations,", result.iterations, f"whole numbers of shape {steps}", steps, "iu")
    returned(f"{owner}, optimality,", _filled(result.optimality), f"real numbers of shape {steps}", steps)
    return result


def _filled(numbers: Any) -> Any:
    """Finite in place of NaN and infinite: there is no threshold, nothing may pass, or there is no objective."""
    is_real = isinstance(numbers, np.ndarray) and numbers.dtype.kind == "f"
    return np.nan_to_num(numbers) if is_real else numbers


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
