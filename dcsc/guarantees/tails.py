"""Failure probability of one layer from Hoeffding's inequality, and the threshold that makes it small."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dcsc.guarantees.interference import Interference

_BINS_PER_OCTAVE = 8
_OCTAVES = 24
_GRID = 33


def tail(margin: NDArray, variance: NDArray, bound: NDArray, factor: NDArray | float, guard: NDArray) -> NDArray:
    """
    Bound the probability that a Rademacher sum exceeds a margin.

    Parameters
    ----------
    margin : ndarray
        What the sum must not exceed; a negative one counts as 0.
    variance : ndarray
        v, its sum of squares.
    bound : ndarray
        Its largest value; infinity for a sum with a Gaussian part.
    factor : ndarray or float
        2 for both signs, 1 for one.
    guard : ndarray
        Margin against rounding.

    Returns
    -------
    ndarray
        min(1, factor exp(-margin_+^2 / (2 v))) (Hoeffding), and 0 when the margin exceeds the bound.
        Half the guard is kept here, so that what a uniform guarantee promises has probability 0.
    """
    positive = np.maximum(margin, 0.0)
    exponent = -(positive**2) / (2 * np.where(variance > 0, variance, 1.0))
    value = np.where(variance > 0, np.minimum(1.0, factor * np.exp(exponent)), 1.0)
    return np.where(margin > bound + guard / 2, 0.0, value)


def failure(
    interference: Interference, threshold: NDArray, eps: NDArray, guard: NDArray, noise_variance: float = 0.0
) -> NDArray:
    """
    Bound the probability that thresholding one layer returns a wrong support, for a given threshold.

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

    Returns
    -------
    ndarray, shape (code,)
        The instance form of docs/theory.md, "One layer", capped at 1.
    """
    active = interference.active
    bound = interference.bound if noise_variance == 0 else np.inf
    floor = interference.magnitude + interference.locked
    margin = np.where(active, floor - (threshold + eps)[:, None], (threshold - eps)[:, None])
    factor = np.where(active, 1.0, 2.0)
    terms = tail(margin, interference.variance + noise_variance, bound, factor, guard[:, None])
    return np.minimum(1.0, terms.sum(axis=1))


def false_alarm(
    interference: Interference, threshold: NDArray, eps: NDArray, guard: NDArray, noise_variance: float = 0.0
) -> NDArray:
    """
    Bound the probability that some inactive atom exceeds the threshold.

    Parameters
    ----------
    interference : Interference
        Of the layer.
    threshold, eps, guard : ndarray, shape (code,)
        As for `failure`.
    noise_variance : float
        sigma^2 of Gaussian noise on the input.

    Returns
    -------
    ndarray, shape (code,)
        Sum off the support of 2 exp(-(beta - eps)_+^2 / (2 v_i)), capped at 1.
    """
    bound = interference.bound if noise_variance == 0 else np.inf
    terms = tail((threshold - eps)[:, None], interference.variance + noise_variance, bound, 2.0, guard[:, None])
    return np.minimum(1.0, np.where(interference.active, 0.0, terms).sum(axis=1))


def two_sided(interference: Interference, level: NDArray, guard: NDArray, noise_variance: float = 0.0) -> NDArray:
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

    Returns
    -------
    ndarray, shape (code,)
        Sum over the support of 2 exp(-t^2 / (2 v_i)), capped at 1.
    """
    bound = interference.bound if noise_variance == 0 else np.inf
    terms = tail(level[:, None], interference.variance + noise_variance, bound, 2.0, guard[:, None])
    return np.minimum(1.0, np.where(interference.active, terms, 0.0).sum(axis=1))


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
        The best of a fine search, X_min/2, and the middle and both ends of the instance-uniform
        interval, and the bound that holds for it.
    """
    floor = np.where(interference.active, interference.magnitude + interference.locked, np.inf)
    on = (floor - np.where(interference.active, interference.bound, 0.0)).min(axis=1)
    off = np.where(interference.active, 0.0, interference.bound).max(axis=1)
    x_min = np.where(interference.active, interference.magnitude, np.inf).min(axis=1)
    some = interference.active.any(axis=1)
    # A code without non-zeros is recovered by any threshold above the input error.
    empty = eps + 1.0 + 40 * np.sqrt(noise_variance)
    candidates = [
        np.where(some, candidate, empty)
        for candidate in (
            x_min / 2,
            (on + off) / 2,
            on - eps - 16 * guard,
            off + eps + 16 * guard,
            _search(interference, eps, floor, noise_variance),
        )
    ]
    values = [failure(interference, beta, eps, guard, noise_variance) for beta in candidates]
    best = np.argmin(values, axis=0)[None]
    return np.take_along_axis(np.array(candidates), best, 0)[0], np.take_along_axis(np.array(values), best, 0)[0]


def _search(interference: Interference, eps: NDArray, floor: NDArray, noise_variance: float) -> NDArray:
    """Minimise with the variances off the support rounded up to bins, which makes a candidate cheap."""
    counts, edges = _binned(np.where(interference.active, 0.0, interference.variance + noise_variance))
    floors, variances = _padded(interference.active, floor, interference.variance + noise_variance)
    smallest = np.where(np.isfinite(floor.min(axis=1)), floor.min(axis=1), 1.0)
    low, high = eps, np.maximum(smallest - eps, eps)
    step = (high - low) / (_GRID + 1)
    centre = (low + high) / 2
    for _ in range(3):
        offsets = step[:, None] * (np.arange(_GRID) - _GRID // 2)
        beta = np.clip(centre[:, None] + offsets, low[:, None], high[:, None])
        value = np.empty(beta.shape)
        rows = max(1, 2**21 // (_GRID * (counts.shape[1] + floors.shape[1])))
        for start in range(0, len(beta), rows):
            part = slice(start, start + rows)
            value[part] = _log_failure(beta[part], eps[part], counts[part], edges[part], floors[part], variances[part])
        centre = np.take_along_axis(beta, np.argmin(value, axis=1)[:, None], 1)[:, 0]
        step = step / (_GRID // 4)
    return centre


def _log_failure(
    beta: NDArray, eps: NDArray, counts: NDArray, edges: NDArray, floors: NDArray, variances: NDArray
) -> NDArray:
    """Logarithm of the failure bound, which orders candidates even where the bound underflows."""
    room = np.maximum(beta - eps[:, None], 0.0)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.log(2.0 * counts)[:, None] - room**2 / (2 * edges[:, None])
        gap = np.maximum(floors[:, None] - (beta + eps[:, None])[..., None], 0.0)
        on = -(gap**2) / (2 * variances[:, None])
    exponents = np.concatenate([off, np.where(np.isnan(on), -np.inf, on)], axis=-1)
    largest = np.maximum(exponents.max(axis=-1, keepdims=True), -1e300)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(exponents - largest).sum(axis=-1)) + largest[..., 0]


def _binned(variance: NDArray) -> tuple[NDArray, NDArray]:
    """Count variances in logarithmic bins below the largest of a code; zeros are left out."""
    bins = _OCTAVES * _BINS_PER_OCTAVE
    largest = variance.max(axis=1, keepdims=True)
    largest = np.where(largest > 0, largest, 1.0)
    with np.errstate(divide="ignore"):
        index = np.ceil(np.log2(variance / largest) * _BINS_PER_OCTAVE) + bins - 1
    index = np.clip(index, 0, bins - 1).astype(np.int64) + bins * np.arange(len(variance))[:, None]
    counts = np.bincount(index[variance > 0], minlength=bins * len(variance)).reshape(-1, bins)
    return counts, largest * 2.0 ** ((np.arange(bins) - bins + 1) / _BINS_PER_OCTAVE)


def _padded(active: NDArray, floor: NDArray, variance: NDArray) -> tuple[NDArray, NDArray]:
    """Values on the supports as rows of equal length; the padding never fails."""
    sizes = active.sum(axis=1)
    filled = np.arange(max(1, int(sizes.max(initial=0)))) < sizes[:, None]
    floors, variances = np.full(filled.shape, np.inf), np.ones(filled.shape)
    floors[filled], variances[filled] = floor[active], variance[active]
    return floors, variances
