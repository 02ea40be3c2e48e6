"""
Tails of Rademacher sums that are sharper than Hoeffding's, and the failure bound of a layer from them.

=============  ===================================================================================
tail           P(sum of a_j s_j >= t) is bounded by the smaller of what comes before and
=============  ===================================================================================
"hoeffding"    exp(-t^2 / (2 v)), v the sum of squares; 0 where t exceeds the sum of magnitudes
"gaussian"     Q(t / sqrt(v)) / (4 Q(sqrt 2)) (Bentkus and Dzindzalieta, Bernoulli 21, 2015)
"chernoff"     the smallest exp(-lambda t) times the product of cosh(lambda a_j)
"exact"        the probability itself, on a lattice, its rounding on the safe side
=============  ===================================================================================

Statements and proofs are in docs/theory.md, "Tails".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.convolution import layouts
from dcsc.errors import UserError
from dcsc.guarantees.checks import check_choice
from dcsc.guarantees.interference import layer_failure, plain_interference, propagated_columns
from dcsc.guarantees.tails import best_threshold
from dcsc.kernels import rademacher, sharpen
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.parallel import over_spans
from dcsc.ragged import RaggedCodes, kernel_codes, kernel_magnitudes

TAILS = ("hoeffding", "gaussian", "chernoff", "exact")
"""From the loosest to the sharpest."""
SPAN = 4
"""Codes a task of a thread: one of them takes milliseconds."""


def tail_probability(
    coefficients: ArrayLike,
    row_size: ArrayLike,
    margin: ArrayLike,
    *,
    tail: str = "exact",
    two_sided: ArrayLike = False,
    noise_variance: float = 0.0,
    guard: ArrayLike = 0.0,
    step: float | None = None,
) -> NDArray:
    """
    Bound the probability that Rademacher sums reach a margin.

    Parameters
    ----------
    coefficients : array_like, shape (coefficient,)
        The a_j of one sum after another.
    row_size : array_like of int, shape (sum,)
        Coefficients of each sum.
    margin : array_like, shape () or (sum,)
        t; where it is not positive the bound is 1.
    tail : {"hoeffding", "gaussian", "chernoff", "exact"}
        The bound; each is the smaller of itself and those before it.
    two_sided : array_like of bool, shape () or (sum,)
        Whether the magnitude of a sum counts.
    noise_variance : float
        sigma^2 of an independent Gaussian part of every sum.
    guard : array_like, shape () or (sum,)
        What rounding may have added to a margin, beyond that of the summation itself.
    step : float, optional
        Width of the lattice of "exact"; by default one that costs about 0.5 % of the margin, and on which equal
        coefficients lie.

    Returns
    -------
    ndarray, shape (sum,)
        P(sum_j a_j s_j + sigma Z >= t), or of the magnitude, at most (docs/theory.md, "Tails").

    Raises
    ------
    UserError
        When the tail is unknown, sizes disagree or a number is not finite or negative where it must not be.
    """
    check_choice(tail, TAILS, "tail")
    coefficients, sizes = np.array(coefficients, np.float64), np.asarray(row_size, np.int64)
    if sizes.ndim != 1 or coefficients.ndim != 1 or (sizes < 0).any() or sizes.sum() != len(coefficients):
        raise UserError(f"row sizes add up to {sizes.sum()} for {coefficients.size} coefficients: make them agree.")
    margins, guards, sides = (np.broadcast_to(given, sizes.shape) for given in (margin, guard, two_sided))
    if not (np.isfinite(coefficients).all() and not np.isnan(margins).any()):
        raise UserError("a coefficient or margin is not a number: remove NaN and infinity.")
    if not (noise_variance >= 0 and (guards >= 0).all() and (step is None or step > 0)):
        raise UserError("the noise variance and guard must be 0 or more, and the step above 0.")
    found = np.empty(len(sizes))
    rademacher.listed_tails(
        TAILS.index(tail), coefficients, np.concatenate([[0], np.cumsum(sizes)]), margins.astype(np.float64),
        np.where(sides, 2.0, 1.0), float(noise_variance), guards.astype(np.float64), float(step or 0.0), found,
    )  # fmt: skip
    return found


def failure_at(
    dictionary: ConvolutionalDictionary,
    codes: RaggedCodes,
    threshold: ArrayLike,
    eps: NDArray,
    guard: NDArray,
    *,
    tail: str = "exact",
    noise_variance: float = 0.0,
) -> NDArray:
    """
    Bound the probability that thresholding one layer at given thresholds returns a wrong support (D-CSC-R).

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer's dictionary.
    codes : RaggedCodes
        The codes, batch shape (code,); only their magnitudes count.
    threshold : array_like, shape (), (code,) or (code, filter)
        beta, or one for each filter.
    eps, guard : ndarray, shape (code,)
        Bound on the input error, valid before the signs are drawn, and margin against rounding.
    tail : {"hoeffding", "gaussian", "chernoff", "exact"}
        The bound on the tails.
    noise_variance : float
        sigma^2 of Gaussian noise on the input.

    Returns
    -------
    ndarray, shape (code,)
        Sum of the two-sided tails off the support at beta - eps and the one-sided ones on it at |x_i| - beta - eps,
        capped at 1 (docs/theory.md, "Sharper tails of a layer").
    """
    thresholds = _by_filter(threshold, len(codes.row_size), dictionary)
    return _layer(dictionary, codes, thresholds, eps, guard, tail, noise_variance, False, False)[1]


def best_failure(
    dictionary: ConvolutionalDictionary,
    codes: RaggedCodes,
    eps: NDArray,
    guard: NDArray,
    *,
    tail: str = "exact",
    noise_variance: float = 0.0,
    by_filter: bool = False,
) -> tuple[NDArray, NDArray]:
    """
    Minimise the failure bound of one layer over the threshold, which may depend on all but the signs (D-CSC-R).

    Parameters
    ----------
    dictionary, codes, eps, guard, tail, noise_variance
        As for `failure_at`.
    by_filter : bool
        Whether every filter has a threshold of its own.

    Returns
    -------
    threshold : ndarray, shape (code,) or (code, filter)
        The best of a search.
    probability : ndarray, shape (code,)
        The bound at it, never above that of a looser tail, or of one threshold for all filters.
    """
    check_choice(tail, TAILS, "tail")
    _, start, closed = layer_failure(dictionary, codes, eps, guard, noise_variance=noise_variance)
    if tail == "hoeffding" and not by_filter:
        return start, closed
    thresholds = _by_filter(start, len(start), dictionary)
    thresholds, found = _layer(dictionary, codes, thresholds, eps, guard, tail, noise_variance, True, by_filter)
    return _smaller(thresholds, found, start, closed, by_filter)


def plain_failure_at(
    model: Cascade,
    deepest: RaggedCodes,
    layer: int,
    threshold: ArrayLike,
    eps: NDArray,
    guard: NDArray,
    *,
    tail: str = "exact",
    noise_variance: float = 0.0,
) -> NDArray:
    """
    As `failure_at`, for a layer of the plain model, where the propagated columns have disjoint supports.

    Parameters
    ----------
    model : Cascade
        Layers without signs.
    deepest : RaggedCodes
        X^(L), batch shape (code,).
    layer : int
        1..L.
    threshold, eps, guard, tail, noise_variance
        As for `failure_at`.

    Returns
    -------
    ndarray, shape (code,)
        The bound; what an active entry's own column makes is locked to its sign (docs/theory.md, "Plain model").
    """
    thresholds = _by_filter(threshold, len(deepest.row_size), model.dictionaries[layer - 1])
    return _plain(model, deepest, layer, thresholds, eps, guard, tail, noise_variance, False, False)[1]


def plain_best_failure(
    model: Cascade,
    deepest: RaggedCodes,
    layer: int,
    eps: NDArray,
    guard: NDArray,
    *,
    tail: str = "exact",
    noise_variance: float = 0.0,
    by_filter: bool = False,
) -> tuple[NDArray, NDArray]:
    """
    As `best_failure`, for a layer of the plain model, where the propagated columns have disjoint supports.

    Parameters
    ----------
    model, deepest, layer, eps, guard, tail, noise_variance
        As for `plain_failure_at`.
    by_filter : bool
        Whether every filter has a threshold of its own.

    Returns
    -------
    threshold, probability : ndarray
        As from `best_failure`.
    """
    return _plain(model, deepest, layer, None, eps, guard, tail, noise_variance, True, by_filter)


def _smaller(
    thresholds: NDArray, found: NDArray, start: NDArray, closed: NDArray, by_filter: bool
) -> tuple[NDArray, NDArray]:
    """The better of what a search began with and what it found."""
    worse = found >= closed
    thresholds = np.where(worse[:, None], start[:, None], thresholds)
    return thresholds if by_filter else thresholds[:, 0], np.where(worse, closed, found)


def _by_filter(threshold: ArrayLike, n_codes: int, dictionary: ConvolutionalDictionary) -> NDArray:
    given = np.asarray(threshold, np.float64)
    shape = (n_codes, dictionary.n_filters)
    if given.shape not in ((), shape[:1], shape):
        raise UserError(f"thresholds of shape {given.shape} do not fit: give one, {shape[:1]} or {shape}.")
    if np.isnan(given).any():
        raise UserError("a threshold is not a number: give numbers.")
    return np.array(np.broadcast_to(given[:, None] if given.ndim == 1 else given, shape))


def _layer(
    dictionary: ConvolutionalDictionary,
    codes: RaggedCodes,
    thresholds: NDArray,
    eps: NDArray,
    guard: NDArray,
    tail: str,
    noise_variance: float,
    seeking: bool,
    by_filter: bool,
) -> tuple[NDArray, NDArray]:
    check_choice(tail, TAILS, "tail")
    patterns = layouts.tiled_patterns(dictionary, "magnitude", np.float64)
    listed = kernel_magnitudes(codes)
    eps, guard, found = np.array(eps, np.float64), np.array(guard, np.float64), np.empty(codes.row_size.size)

    def work(first: int, last: int) -> None:
        part, here = listed.part(first, last), slice(first, last)
        sharpen.sharpened_layer(
            TAILS.index(tail), seeking, by_filter, layouts.scratch_of(dictionary, part.starts), patterns, part,
            float(noise_variance), eps[here], guard[here], thresholds[here], found[here],
        )  # fmt: skip

    over_spans(len(found), SPAN, work)
    return thresholds, found


def _plain(
    model: Cascade,
    deepest: RaggedCodes,
    layer: int,
    thresholds: NDArray | None,
    eps: NDArray,
    guard: NDArray,
    tail: str,
    noise_variance: float,
    seeking: bool,
    by_filter: bool,
) -> tuple[NDArray, NDArray]:
    check_choice(tail, TAILS, "tail")
    dictionary, columns = model.dictionaries[layer - 1], propagated_columns(model, deepest)[layer - 1]
    everywhere = plain_interference(model, deepest, layer, columns)
    eps, guard, found = np.array(eps, np.float64), np.array(guard, np.float64), np.empty(len(deepest.row_size))
    start = closed = None
    if thresholds is None:
        start, closed = best_threshold(everywhere, eps, guard, noise_variance)
        if tail == "hoeffding" and not by_filter:
            return start, closed
        thresholds = _by_filter(start, len(start), dictionary)
    patterns = layouts.tiled_patterns(dictionary, "others", np.float64)
    listed, firsts = kernel_codes(columns), deepest.starts
    arrays = [
        np.ascontiguousarray(getattr(everywhere, name))
        for name in ("active", "magnitude", "locked", "variance", "bound")
    ]

    def work(first: int, last: int) -> None:
        scratch, here = (
            layouts.scratch_of(dictionary, listed.part(firsts[first], firsts[last]).starts),
            slice(first, last),
        )
        sharpen.sharpened_columns(
            TAILS.index(tail), seeking, by_filter, scratch, patterns, listed, firsts[first : last + 1],
            float(noise_variance), eps[here], guard[here], tuple(array[here] for array in arrays), thresholds[here],
            found[here],
        )  # fmt: skip

    over_spans(len(found), SPAN, work)
    return (thresholds, found) if start is None else _smaller(thresholds, found, start, closed, by_filter)
