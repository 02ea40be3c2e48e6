"""Bounds on the failure probability of a layer by tails that depend on variances only, and the best threshold."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.guarantees.interference import Interference
from dcsc.kernels import failure as failure_kernels

TAILS = ("hoeffding", "gaussian", "chernoff", "exact")
"""From the loosest to the sharpest; the last two need more than a variance (`dcsc.guarantees.sharp_tails`)."""
GAUSSIAN = 3.178655565886999
"""C = 1 / (4 Q(sqrt 2)) of Bentkus and Dzindzalieta (2015), in digits: SciPy's functions take long to import."""

_ARRAYS = ("active", "magnitude", "locked", "variance", "bound")
_ROUNDING = 1e-12


def squared_level(probability: float, tail: str) -> float:
    """
    Square of the level that a Rademacher sum of variance 1 exceeds with at most some probability.

    Parameters
    ----------
    probability : float
        In (0, 1), that the sum exceeds the level in magnitude.
    tail : {"hoeffding", "gaussian", "chernoff", "exact"}
        The bound; as the variance alone is known, the last two are the Gaussian one.

    Returns
    -------
    float
        2 log(2 / p), or the square of the upper quantile at p / (2 C) of a standard normal, whichever is less
        (docs/theory.md, "Tails").
    """
    level = 2 * math.log(2 / probability)
    if tail == "hoeffding":
        return level
    from scipy.special import ndtri

    quantile = -float(ndtri(probability / (2 * GAUSSIAN)))
    return min(level, (quantile * (1 + _ROUNDING)) ** 2)


def of_variance(ratio: NDArray, tail: str) -> NDArray:
    """
    Bound the probability that a Rademacher sum of variance 1 reaches a value.

    Parameters
    ----------
    ratio : ndarray, shape (...)
        The value, not negative.
    tail : {"hoeffding", "gaussian", "chernoff", "exact"}
        The bound; as the variance alone is known, the last two are the Gaussian one.

    Returns
    -------
    ndarray, shape (...)
        The bound exp(-x^2 / 2), or the minimum of that and C Q(x) (docs/theory.md, "Tails").
    """
    value = np.exp(-(ratio**2) / 2)
    if tail == "hoeffding":
        return value
    from scipy.special import ndtr

    return np.minimum(value, GAUSSIAN * (1 + _ROUNDING) * ndtr(-ratio))


def tail(
    margin: NDArray,
    variance: NDArray,
    bound: ArrayLike,
    factor: ArrayLike,
    guard: NDArray,
    kind: str = "hoeffding",
) -> NDArray:
    """
    Bound the probability that a Rademacher sum exceeds a margin.

    Parameters
    ----------
    margin : ndarray, shape (...)
        What the sum must not exceed; a negative one counts as 0.
    variance : ndarray, shape (...)
        v, the sum of the squared coefficients.
    bound : array_like, shape (...)
        The largest value of the sum; infinity for a sum with a Gaussian part.
    factor : array_like, shape (...)
        2 if the margin may be exceeded with either sign, 1 for one sign.
    guard : ndarray, shape (...)
        Margin against rounding.
    kind : {"hoeffding", "gaussian", "chernoff", "exact"}
        As for `of_variance`.

    Returns
    -------
    ndarray, shape (...)
        min(1, factor exp(-margin_+^2 / (2 v))) (Hoeffding) or sharper, and 0 when the margin exceeds the bound.
        Half of the guard is subtracted here, so that codes with a uniform guarantee have probability 0.
    """
    positive = np.maximum(margin, 0.0)
    reached = of_variance(positive / np.sqrt(np.where(variance > 0, variance, 1.0)), kind)
    value = np.where(variance > 0, np.minimum(1.0, np.asarray(factor) * reached), 1.0)
    return np.where(margin > np.asarray(bound) + guard / 2, 0.0, value)


def _sum_of_tails(
    interference: Interference,
    margin: NDArray,
    factor: ArrayLike,
    guard: NDArray,
    noise_variance: float,
    where: ArrayLike,
    kind: str,
) -> NDArray:
    """Sum of the tails of some atoms, capped at 1, shape (code,)."""
    bound = interference.bound if noise_variance == 0 else np.inf
    terms = tail(margin, interference.variance + noise_variance, bound, factor, guard[:, None], kind)
    return np.minimum(1.0, np.where(where, terms, 0.0).sum(axis=1))


def false_alarm(
    interference: Interference,
    threshold: NDArray,
    eps: NDArray,
    guard: NDArray,
    noise_variance: float = 0.0,
    kind: str = "hoeffding",
) -> NDArray:
    """
    Bound the probability that some inactive atom exceeds the threshold.

    Parameters
    ----------
    interference : Interference
        Of the layer.
    threshold : ndarray, shape (code,)
        beta.
    eps, guard : ndarray, shape (code,)
        Bound on the input error, valid before the signs are drawn, and margin against rounding.
    noise_variance : float
        sigma^2 of Gaussian noise on the input.
    kind : {"hoeffding", "gaussian", "chernoff", "exact"}
        As for `of_variance`.

    Returns
    -------
    ndarray, shape (code,)
        Sum off the support of 2 exp(-(beta - eps)_+^2 / (2 v_i)), or of sharper tails, capped at 1.
    """
    margin = (threshold - eps)[:, None]
    return _sum_of_tails(interference, margin, 2.0, guard, noise_variance, ~interference.active, kind)


def two_sided(
    interference: Interference,
    level: NDArray,
    guard: NDArray,
    noise_variance: float = 0.0,
    kind: str = "hoeffding",
) -> NDArray:
    """
    Bound the probability that the interference at some active atom exceeds a level in magnitude.

    Parameters
    ----------
    interference : Interference
        Of the layer.
    level : ndarray, shape (code,)
        t.
    guard : ndarray, shape (code,)
        Margin against rounding.
    noise_variance : float
        sigma^2 of Gaussian noise on the input.
    kind : {"hoeffding", "gaussian", "chernoff", "exact"}
        As for `of_variance`.

    Returns
    -------
    ndarray, shape (code,)
        Sum over the support of 2 exp(-t^2 / (2 v_i)), or of sharper tails, capped at 1.
    """
    return _sum_of_tails(interference, level[:, None], 2.0, guard, noise_variance, interference.active, kind)


def best_threshold(
    interference: Interference, eps: NDArray, guard: NDArray, noise_variance: float = 0.0
) -> tuple[NDArray, NDArray]:
    """
    Minimise the failure bound over the threshold, which may depend on all but the signs.

    Parameters
    ----------
    interference : Interference
        Of the layer.
    eps, guard : ndarray, shape (code,)
        Bound on the input error, and margin against rounding.
    noise_variance : float
        sigma^2 of Gaussian noise on the input.

    Returns
    -------
    threshold, probability : ndarray, shape (code,)
        The best of a search, X_min/2, and the middle and both ends of the instance-uniform interval, and the
        bound at it.
    """
    threshold, probability = np.empty((2, len(eps)))
    failure_kernels.listed_failure(
        *(np.ascontiguousarray(getattr(interference, name)) for name in _ARRAYS),
        float(noise_variance), np.array(eps, np.float64), np.array(guard, np.float64), threshold, probability,
    )  # fmt: skip
    return threshold, probability
