"""
Tail bounds of Rademacher sums that are sharper than Hoeffding's, and the failure bounds of a layer that follow.

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

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import real_array, real_numbers
from dcsc.convolution import layouts
from dcsc.errors import UserError
from dcsc.guarantees.checks import check_choice
from dcsc.guarantees.interference import Interference, layer_failure
from dcsc.guarantees.plain_model import Propagation
from dcsc.guarantees.tails import TAILS, best_threshold
from dcsc.kernels import rademacher, sharpen
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.parallel import over_spans
from dcsc.ragged import RaggedCodes, kernel_codes, kernel_magnitudes

SPAN = 4
"""Codes per task of a thread: one of them takes milliseconds."""

DRAWN = 36
"""Atoms that are drawn of a code."""


@dataclass(frozen=True, eq=False)
class DrawnAtoms:
    """
    A random choice of atoms of each code for which sharp tails are computed, in proportion to their closed tails.

    The bound is then a random value whose mean is the bound or larger. Its mean over draws of codes gives a confidence
    limit on a failure rate, at a fraction of the cost (docs/theory.md, "Sharp tails of some atoms").

    Parameters
    ----------
    uniforms : ndarray, shape (code, drawn)
        Independent, uniform in [0, 1).
    room : float
        What the closed bound may rise to where a better threshold is looked for; at 0 that of closed tails is taken.
    """

    uniforms: NDArray
    room: float = 0.0

    @classmethod
    def of(cls, rng: Generator, n_codes: int, room: float = 0.0) -> DrawnAtoms:
        """
        Draw them.

        Parameters
        ----------
        rng : numpy.random.Generator
            The source.
        n_codes : int
            How many codes there are.
        room : float
            As above.

        Returns
        -------
        DrawnAtoms
            `DRAWN` of each code.
        """
        return cls(rng.random((n_codes, DRAWN)), room)


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
    coefficients = np.array(real_array(coefficients, "coefficients"), np.float64)
    sizes = real_numbers(row_size, "row_size", whole=True).astype(np.int64)
    if sizes.ndim != 1 or coefficients.ndim != 1 or (sizes < 0).any() or sizes.sum() != len(coefficients):
        raise UserError(f"row sizes add up to {sizes.sum()} for {coefficients.size} coefficients: make them agree.")
    margins, guards, sides = (
        real_numbers(given, name, sizes.shape)
        for name, given in (("margin", margin), ("guard", guard), ("two_sided", two_sided))
    )
    if not (noise_variance >= 0 and (guards >= 0).all() and (step is None or step > 0)):
        raise UserError("the noise variance and guard must be 0 or more, and the step above 0.")
    bounds = np.empty(len(sizes))
    rademacher.listed_tails(
        TAILS.index(tail), coefficients, np.concatenate([[0], np.cumsum(sizes)]), margins.astype(np.float64),
        np.where(sides, 2.0, 1.0), float(noise_variance), guards.astype(np.float64), float(step or 0.0), bounds,
    )  # fmt: skip
    return bounds


def failure_at(
    dictionary: ConvolutionalDictionary,
    codes: RaggedCodes,
    threshold: ArrayLike,
    eps: NDArray,
    guard: NDArray,
    *,
    tail: str = "exact",
    noise_variance: float = 0.0,
    drawn: DrawnAtoms | None = None,
    rough: bool = False,
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
    drawn : DrawnAtoms, optional
        Compute sharp tails of these atoms only; the results are to be averaged over codes.
    rough : bool
        Give, in a fraction of the time, a bound that is not below the result: by Gaussian tails that may be too large
        by a share of 1e-6, wherever they or sharper ones are asked for.

    Returns
    -------
    ndarray, shape (code,)
        Sum of the two-sided tails off the support at beta - eps and the one-sided ones on it at |x_i| - beta - eps,
        capped at 1 (docs/theory.md, "Sharper tails of a layer"). With `drawn` it is a random value whose mean is this
        bound, unless the sum of closed tails exceeds 1.
    """
    return _at(_of_layer(dictionary, codes), threshold, eps, guard, tail, noise_variance, drawn, rough)


def best_failure(
    dictionary: ConvolutionalDictionary,
    codes: RaggedCodes,
    eps: NDArray,
    guard: NDArray,
    *,
    tail: str = "exact",
    noise_variance: float = 0.0,
    by_filter: bool = False,
    drawn: DrawnAtoms | None = None,
    rough: bool = False,
    closed: tuple[NDArray, NDArray] | None = None,
) -> tuple[NDArray, NDArray]:
    """
    Minimise the failure bound of one layer over the threshold, which may depend on all but the signs (D-CSC-R).

    Parameters
    ----------
    dictionary, codes, eps, guard, tail, noise_variance, drawn, rough
        As for `failure_at`.
    by_filter : bool
        Whether every filter has a threshold of its own; not where atoms are drawn.
    closed : tuple of ndarray, optional
        Thresholds and bounds that `dcsc.guarantees.interference.layer_failure` gives, when they are at hand.

    Returns
    -------
    threshold : ndarray, shape (code,) or (code, filter)
        The best of a search.
    probability : ndarray, shape (code,)
        The bound at it, never above that of a looser tail, or of one threshold for all filters.
    """
    return _best(_of_layer(dictionary, codes), eps, guard, tail, noise_variance, by_filter, drawn, rough, closed)


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
    known: tuple[RaggedCodes, Interference] | None = None,
    drawn: DrawnAtoms | None = None,
    rough: bool = False,
) -> NDArray:
    """
    Bound the failure of a layer like `failure_at`, in the plain model with propagated columns of disjoint supports.

    Parameters
    ----------
    model : Cascade
        Layers without signs.
    deepest : RaggedCodes
        X^(L), batch shape (code,).
    layer : int
        1..L.
    threshold, eps, guard, tail, noise_variance, drawn, rough
        As for `failure_at`.
    known : tuple of RaggedCodes and Interference, optional
        What `Propagation` gives of the layer, when it is at hand.

    Returns
    -------
    ndarray, shape (code,)
        The bound; what an active entry's own column makes is locked to its sign (docs/theory.md, "Plain model").
    """
    return _at(_of_columns(model, deepest, layer, known), threshold, eps, guard, tail, noise_variance, drawn, rough)


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
    known: tuple[RaggedCodes, Interference] | None = None,
    drawn: DrawnAtoms | None = None,
    rough: bool = False,
) -> tuple[NDArray, NDArray]:
    """
    Minimise the failure bound like `best_failure`, in the plain model with propagated columns of disjoint supports.

    Parameters
    ----------
    model, deepest, layer, eps, guard, tail, noise_variance, known, drawn, rough
        As for `plain_failure_at`.
    by_filter : bool
        Whether every filter has a threshold of its own; not where atoms are drawn.

    Returns
    -------
    threshold, probability : ndarray
        As from `best_failure`.
    """
    return _best(_of_columns(model, deepest, layer, known), eps, guard, tail, noise_variance, by_filter, drawn, rough)


class _Sums(NamedTuple):
    """
    The Rademacher sums of a layer.

    `closed` gives the best threshold by Hoeffding's inequality and its bound, for eps, guard and noise variance;
    `sharpen` writes thresholds and sharper bounds of a slice of the codes; `roughly` gives a rough bound at one
    threshold a code, or at that of `closed`, where there is a faster way to it.
    """

    dictionary: ConvolutionalDictionary
    n_codes: int
    closed: Callable[[NDArray, NDArray, float], tuple[NDArray, NDArray]]
    sharpen: Callable[[slice, tuple, tuple, tuple[NDArray, NDArray]], None]
    roughly: Callable[[NDArray, NDArray, float, NDArray | None], tuple[NDArray, NDArray]] | None = None


def _of_layer(dictionary: ConvolutionalDictionary, codes: RaggedCodes) -> _Sums:
    """The signs of all non-zeros are independent."""
    patterns, listed = layouts.tiled_patterns(dictionary, "magnitude", np.float64), kernel_magnitudes(codes)

    def closed(eps: NDArray, guard: NDArray, noise_variance: float) -> tuple[NDArray, NDArray]:
        return layer_failure(dictionary, codes, eps, guard, noise_variance=noise_variance)[1:]

    def roughly(
        eps: NDArray, guard: NDArray, noise_variance: float, threshold: NDArray | None
    ) -> tuple[NDArray, NDArray]:
        return layer_failure(
            dictionary, codes, eps, guard, noise_variance=noise_variance, threshold=threshold, gaussian=True
        )[1:]

    def sharpened(here: slice, kind: tuple, error: tuple, results: tuple) -> None:
        part = listed.part(here.start, here.stop)
        scratch = layouts.scratch_of(dictionary, part.starts)
        sharpen.sharpened_layer(*kind, scratch, patterns, part, *error, *results)

    return _Sums(dictionary, codes.row_size.size, closed, sharpened, roughly)


def _of_columns(
    model: Cascade, deepest: RaggedCodes, layer: int, known: tuple[RaggedCodes, Interference] | None
) -> _Sums:
    """The non-zeros that come from one deepest atom share its sign."""
    if known is None:
        propagation = Propagation.of(model)
        known = propagation.columns(deepest)[layer - 1], propagation.interference(deepest, layer)
    dictionary, (columns, everywhere), firsts = model.dictionaries[layer - 1], known, deepest.starts
    patterns, listed = layouts.tiled_patterns(dictionary, "others", np.float64), kernel_codes(columns)
    arrays = [np.ascontiguousarray(values) for values in vars(everywhere).values()]

    def closed(eps: NDArray, guard: NDArray, noise_variance: float) -> tuple[NDArray, NDArray]:
        return best_threshold(everywhere, eps, guard, noise_variance)

    def sharpened(here: slice, kind: tuple, error: tuple, results: tuple) -> None:
        scratch = layouts.scratch_of(dictionary, listed.part(firsts[here.start], firsts[here.stop]).starts)
        sharpen.sharpened_columns(
            *kind, scratch, patterns, listed, firsts[here.start : here.stop + 1], *error,
            tuple(values[here] for values in arrays), *results,
        )  # fmt: skip

    return _Sums(dictionary, deepest.row_size.size, closed, sharpened)


def _at(
    sums: _Sums,
    threshold: ArrayLike,
    eps: NDArray,
    guard: NDArray,
    tail: str,
    noise_variance: float,
    drawn: DrawnAtoms | None,
    rough: bool,
) -> NDArray:
    given, shape = np.asarray(threshold, np.float64), (sums.n_codes, sums.dictionary.n_filters)
    if given.shape not in ((), shape[:1], shape):
        raise UserError(f"thresholds of shape {given.shape} do not fit: give one, {shape[:1]} or {shape}.")
    if np.isnan(given).any():
        raise UserError("a threshold is not a number: give numbers.")
    if rough and tail != "hoeffding" and sums.roughly is not None and given.ndim < 2:
        return sums.roughly(eps, guard, noise_variance, np.full(sums.n_codes, given))[1]
    by_filter = given[:, None] if given.ndim == 1 else given
    return _sharpened(sums, by_filter, eps, guard, noise_variance, tail, drawn=drawn, rough=rough)[1]


def _best(
    sums: _Sums,
    eps: NDArray,
    guard: NDArray,
    tail: str,
    noise_variance: float,
    by_filter: bool,
    drawn: DrawnAtoms | None,
    rough: bool,
    at_hand: tuple[NDArray, NDArray] | None = None,
) -> tuple[NDArray, NDArray]:
    check_choice(tail, TAILS, "tail")
    if by_filter and drawn is not None:
        raise UserError("thresholds by filter are looked for with the tails of all atoms: leave `drawn` out.")
    eps, guard = np.array(eps, np.float64), np.array(guard, np.float64)
    if rough and tail != "hoeffding" and sums.roughly is not None:
        start, bound = sums.roughly(eps, guard, noise_variance, None)
        return np.repeat(start[:, None], sums.dictionary.n_filters, axis=1) if by_filter else start, bound
    start, closed = at_hand or sums.closed(eps, guard, noise_variance)
    if tail == "hoeffding" and not by_filter:
        return start, closed
    if rough:
        every = _sharpened(sums, start[:, None], eps, guard, noise_variance, tail, rough=True)
        return every[0] if by_filter else start, np.minimum(every[1], closed)
    thresholds, sharper = _sharpened(sums, start[:, None], eps, guard, noise_variance, tail, True, by_filter, drawn)
    is_worse = (sharper >= closed) & (drawn is None)  # the smaller of a draw and a bound would be too small on average
    thresholds = np.where(is_worse[:, None], start[:, None], thresholds)
    return thresholds if by_filter else thresholds[:, 0], np.where(is_worse, closed, sharper)


def _sharpened(
    sums: _Sums,
    thresholds: NDArray,
    eps: NDArray,
    guard: NDArray,
    noise_variance: float,
    tail: str,
    is_search: bool = False,
    by_filter: bool = False,
    drawn: DrawnAtoms | None = None,
    rough: bool = False,
) -> tuple[NDArray, NDArray]:
    """The thresholds of all filters, as they are given or after a search that begins there, and the bound at them."""
    check_choice(tail, TAILS, "tail")
    eps, guard, bounds = np.array(eps, np.float64), np.array(guard, np.float64), np.empty(sums.n_codes)
    thresholds = np.array(np.broadcast_to(thresholds, (sums.n_codes, sums.dictionary.n_filters)), order="C")

    drawn = drawn or DrawnAtoms(np.empty((sums.n_codes, 0)))
    number = sharpen.ROUGHLY if rough and tail != "hoeffding" else TAILS.index(tail)
    kind = (number, is_search, by_filter, float(drawn.room))

    def work(first: int, last: int) -> None:
        here = slice(first, last)
        error = (float(noise_variance), eps[here], guard[here], drawn.uniforms[here])
        sums.sharpen(here, kind, error, (thresholds[here], bounds[here]))

    over_spans(sums.n_codes, SPAN, work)
    return thresholds, bounds
