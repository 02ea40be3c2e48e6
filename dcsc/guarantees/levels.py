"""The interval of admissible thresholds, and the error bound for the next layer, from bounds on the interference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import real_numbers
from dcsc.convolution.arguments import thresholds_by_filter
from dcsc.errors import UserError
from dcsc.guarantees.checks import check_choice
from dcsc.guarantees.interference import LayerInterference, rare_level
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.sparsity import patch_l2_of_bounds, patch_norm
from dcsc.ragged import RaggedCodes, places_by_filter, reduce_codes

THRESHOLDS = ("lower", "midpoint")


@dataclass(frozen=True, eq=False)
class Levels:
    """
    Bounds on the interference of one layer, for each code of a batch.

    Parameters
    ----------
    off : ndarray, shape (...) or (..., filter)
        Largest magnitude that an inactive atom's correlation can reach, without input error.
    on : ndarray, shape (...) or (..., filter)
        Smallest magnitude that an active atom's correlation can have, without input error; infinity without any.
    entry : ndarray, shape (...), optional
        Bound on the interference at an active atom, for all of them.
    each : ndarray, shape (non-zero,), optional
        The same, one each.
    by_filter : bool
        Whether each filter has bounds of its own.
    """

    off: NDArray
    on: NDArray
    entry: NDArray | None = None
    each: NDArray | None = None
    by_filter: bool = False

    @property
    def midpoint(self) -> NDArray:
        """
        Middle of the interval of thresholds whatever the input error.

        1 above its lower end without non-zeros; of filters without any, as far above it as that of another at least.
        """
        has_end, room = np.isfinite(self.on), np.array(1.0)
        if self.by_filter:
            narrowest = np.min(self.on - self.off, axis=-1, keepdims=True)
            room = np.where(np.isfinite(narrowest), np.maximum(narrowest, 0.0) / 2, 1.0)
        return np.where(has_end, (self.off + np.where(has_end, self.on, 0)) / 2, self.off + room)


def levels_of(interference: LayerInterference, growth: float = math.inf, noise_variance: float = 0.0) -> Levels:
    """
    Bound the interference of one layer by the supports and magnitudes themselves.

    Parameters
    ----------
    interference : LayerInterference
        Of the layer, described for the same growth and noise variance.
    growth : float
        Square of a level over the variance, for levels that are rarely exceeded; infinity for the largest values.
    noise_variance : float
        sigma^2 of Gaussian noise on the input.

    Returns
    -------
    Levels
        On single entries.
    """
    code, level, off = interference.codes, interference.bound, interference.off_bound
    if math.isfinite(growth):
        level, off = rare_level(interference.variance, level, growth, noise_variance), interference.off_level
    on = reduce_codes(np.minimum, np.abs(code.value) + interference.locked - level, code, np.inf)
    return Levels(off, on, each=level + np.abs(interference.locked))


@dataclass(frozen=True, eq=False)
class Interval:
    """
    The thresholds that recover a layer, and the one chosen.

    Parameters
    ----------
    lower, upper : ndarray, shape (...) or (..., filter)
        Ends of the interval, or of that of each filter.
    threshold : ndarray, shape (...) or (..., filter)
        The chosen one, finite even when the interval is empty.
    is_open : ndarray of bool, shape (...) or (..., filter)
        Whether the interval has an inside beyond rounding.
    contains : ndarray of bool, shape (...)
        Whether the threshold lies inside, that of every filter in its own interval.
    """

    lower: NDArray
    upper: NDArray
    threshold: NDArray
    is_open: NDArray
    contains: NDArray


def choose_threshold(levels: Levels, eps: NDArray, guard: NDArray, threshold: str | ArrayLike) -> Interval:
    """
    Find the interval of thresholds and choose one.

    Parameters
    ----------
    levels : Levels
        Bounds on the interference.
    eps : ndarray, shape (...)
        Bound on the patch norm of the input error.
    guard : ndarray, shape (...)
        Margin against rounding.
    threshold : {"midpoint", "lower"} or array_like, shape () or (...), by filter (), (filter,) or (..., filter)
        The choice, or a threshold fixed beforehand.

    Returns
    -------
    Interval
        The open interval (off + eps, on - eps), docs/theory.md, "Interval of thresholds".
    """
    batch = np.shape(eps)
    if levels.by_filter:
        eps, guard = np.asarray(eps)[..., None], np.asarray(guard)[..., None]
    with np.errstate(invalid="ignore"):  # a filter without active atoms, after a layer without a bound
        lower, upper = levels.off + eps, levels.on - eps
        is_open = upper - lower > 2 * guard
    middle = levels.midpoint + np.where(np.isfinite(levels.on) | ~np.isfinite(eps), 0.0, eps)
    if isinstance(threshold, str):
        beta = middle if threshold == "midpoint" else np.minimum(lower + guard, middle)
    elif levels.by_filter:
        beta = thresholds_by_filter(threshold, batch, lower.shape[-1])
    else:
        beta = real_numbers(threshold, "threshold", lower.shape, missing=True).astype(np.float64)
    contains = is_open & (beta >= lower + guard) & (beta <= upper - guard)
    return Interval(lower, upper, beta, is_open, contains.all(axis=-1) if levels.by_filter else contains)


def error_bound(
    levels: Levels, code: RaggedCodes, eps: NDArray, shrink: NDArray, below: ConvolutionalDictionary | None, rank: int
) -> NDArray:
    """
    Bound the patch norm of the error that a recovered layer passes on.

    Parameters
    ----------
    levels : Levels
        Bounds on the interference.
    code : RaggedCodes
        The true code, batch shape (...).
    eps, shrink : ndarray, shape (...), or of what is subtracted (..., filter)
        Bound on the input error, and what the rule subtracts: 0 (hard) or beta (soft).
    below : ConvolutionalDictionary or None
        The next dictionary, whose atoms see the patches.
    rank : int
        Number of spatial axes.

    Returns
    -------
    ndarray, shape (...)
        sqrt(||X||^P_{0,inf}) times the bound of an entry, or the patch norm of the bounds of
        the entries (docs/theory.md, "Error passed on"); 0 for a code without non-zeros.
    """
    if levels.each is None:
        patch = np.asarray(patch_norm(code, below, rank))
        return np.sqrt(patch) * np.where(patch > 0, levels.entry + eps + shrink, 0.0)
    if levels.by_filter:
        each = levels.each + np.repeat(eps.ravel(), code.row_size.ravel()) + shrink.reshape(-1)[places_by_filter(code)]
    else:
        each = levels.each + np.repeat((eps + shrink).ravel(), code.row_size.ravel())
    return np.asarray(patch_l2_of_bounds(code.with_values(each), below, rank))


def given_thresholds(threshold: str | Sequence[ArrayLike], depth: int) -> Sequence[str | ArrayLike]:
    """
    Spread the choice of thresholds over the layers.

    Parameters
    ----------
    threshold : {"midpoint", "lower"}, float, or sequence of array_like
        One choice or number for all layers, or one entry per layer. An entry is a choice, a number, or one number per
        code (or per filter).
    depth : int
        Number of layers.

    Returns
    -------
    sequence
        One entry per layer.

    Raises
    ------
    UserError
        When the name is unknown or the length is not the depth.
    """
    if isinstance(threshold, str) or not np.iterable(threshold):
        threshold = [threshold] * depth
    if len(threshold) != depth:
        raise UserError(f"{len(threshold)} thresholds for {depth} layers: give one per layer.")
    for choice in threshold:
        if isinstance(choice, str):
            check_choice(choice, THRESHOLDS, "threshold")
    return threshold
