"""Levels and thresholds of all layers, optimised together for draws whose deepest code determines the path."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dcsc.guarantees.interference import Interference
from dcsc.guarantees.tails import best_threshold, false_alarm, two_sided
from dcsc.model.cascade import Cascade
from dcsc.model.sparsity import patch_l2_of_bounds
from dcsc.ragged import RaggedCodes

_FRACTIONS = (0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0)
_STARTS = (0.1, 0.25, 0.5, 0.9)
_WORST = -1.0  # stands for the level that no signs exceed


def optimise_levels(
    model: Cascade,
    codes: list[RaggedCodes],
    interferences: list[Interference],
    eps: NDArray,
    guards: list[NDArray],
    rule: str,
    noise_variance: float,
    tail: str,
) -> list[tuple[NDArray, NDArray, NDArray]]:
    """
    Minimise the sum of the layers' failure bounds over the levels t_l and thresholds beta_l.

    The bound holds for every choice made without looking at the signs, so a coarse search is
    legitimate (docs/theory.md, "Optimised levels").

    Parameters
    ----------
    model : Cascade
        The layers.
    codes : list of RaggedCodes, each of batch shape (code,)
        [X^(1), ..., X^(L)].
    interferences : list of Interference
        One per layer.
    eps : ndarray, shape (code,)
        Bound on the noise.
    guards : list of ndarray, each of shape (code,)
        Margins against rounding.
    rule : str
        "hard", or a soft one, which adds its threshold to the error.
    noise_variance : float
        sigma^2 of Gaussian noise on the signal.
    tail : {"hoeffding", "gaussian", "chernoff", "exact"}
        The bound on the tails of the layers above the deepest one, as far as variances decide it; that one's is
        Hoeffding's.

    Returns
    -------
    list of tuple of ndarray, each of shape (code,)
        Threshold, bound on the error and on the failure of each layer; the deepest has no bound on its error.
    """
    inner = model.depth - 1
    # Hard thresholding takes the largest admissible threshold; soft weighs it against the error that it adds.
    free = inner if rule == "hard" else 2 * inner

    def evaluate(fractions: NDArray) -> list[tuple[NDArray, NDArray, NDArray]]:
        error, layers = eps, []
        for index in range(inner):
            position = np.ones(len(eps)) if rule == "hard" else fractions[inner + index]
            variance = 0.0 if index else noise_variance
            beta, each, probability = _inner_layer(
                interferences[index], fractions[index], position, error, guards[index], variance, tail
            )
            each = each + (error + (0.0 if rule == "hard" else beta))[:, None]
            each = np.where(interferences[index].active, each, 0.0).reshape(-1, *codes[index].code_shape)
            error = np.asarray(patch_l2_of_bounds(each, model.next_dictionary(index + 1), model.rank))
            layers.append((beta, error, probability))
        beta, probability = best_threshold(interferences[-1], error, guards[-1])
        return [*layers, (beta, np.full(len(eps), np.inf), probability)]

    def total(fractions: NDArray) -> NDArray:
        return np.sum([probability for *_, probability in evaluate(fractions)], axis=0)

    return evaluate(_coordinate_search(total, free, len(eps)))


def _coordinate_search(objective: Callable[[NDArray], NDArray], free: int, codes: int) -> NDArray:
    """Minimise over fractions of shape (free, code), each code on its own."""
    starts = [np.full((free, codes), start) for start in (_WORST, *_STARTS)]
    values = np.array([objective(start) for start in starts])
    best = np.argmin(values, axis=0)
    fractions = np.array(starts)[best, :, np.arange(codes)].T
    value = values.min(axis=0)
    for _ in range(1 if free == 1 else 2):
        for row in range(free):
            for fraction in (_WORST, *_FRACTIONS):
                trial = fractions.copy()
                trial[row] = fraction
                tried = objective(trial)
                better = tried < value
                fractions[row, better] = fraction
                value = np.where(better, tried, value)
    return fractions


def _inner_layer(
    interference: Interference,
    fraction: NDArray,
    position: NDArray,
    eps: NDArray,
    guard: NDArray,
    noise_variance: float,
    tail: str,
) -> tuple[NDArray, NDArray, NDArray]:
    """Threshold, bound on the interference of each active atom, and failure bound for one level."""
    floor = np.where(interference.active, interference.magnitude + interference.locked, np.inf)
    smallest = floor.min(axis=1)
    margin = np.where(np.isfinite(smallest), np.maximum(smallest - 2 * eps, 0.0), 1.0)
    worst = np.where(interference.active, interference.bound, 0.0).max(axis=1) + guard
    level = np.where(fraction == _WORST, worst, fraction * margin)
    rest = level[:, None] if noise_variance else np.minimum(level[:, None], interference.bound)
    highest = np.minimum((floor - rest).min(axis=1), 1e300) - eps - guard
    lowest = eps + guard
    highest = np.where(np.isfinite(smallest), highest, lowest + 1.0 + 40 * np.sqrt(noise_variance))
    beta = lowest + np.where(position == _WORST, 1.0, position) * np.maximum(highest - lowest, 0.0)
    probability = false_alarm(interference, beta, eps, guard, noise_variance, tail)
    probability = probability + two_sided(interference, level, guard, noise_variance, tail)
    probability = np.where(highest > lowest, np.minimum(1.0, probability), 1.0)
    return beta, rest + np.abs(interference.locked), probability
