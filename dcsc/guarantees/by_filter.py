"""Bounds on the interference at the atoms of each filter, for a threshold for each filter (proofs: docs/theory.md)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.convolution.arguments import thresholds_by_filter
from dcsc.errors import UserError
from dcsc.guarantees.checks import check_choice
from dcsc.guarantees.interference import (
    Interference,
    LayerInterference,
    interference_bound,
    interference_variance,
    layer_interference,
    rare_level,
)
from dcsc.guarantees.levels import Levels
from dcsc.guarantees.tails import TAILS, of_variance
from dcsc.model.coherence import filter_coherence
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.sparsity import extremes_by_filter, window_sums
from dcsc.ragged import RaggedCodes, places_by_filter, reduce_by_filter

FORMS = ("coherence", "instance")
"""Of the uniform guarantees, those that look at pairs of filters or atoms; one Babel function serves all filters."""

ENTRIES = 2**21
"""Atoms of codes that are held densely at once."""


def check_form(form: str) -> None:
    """
    Refuse a form that does not tell filters apart.

    Parameters
    ----------
    form : str
        The form of a condition.

    Raises
    ------
    UserError
        When it has no statement for each filter.
    """
    if form not in FORMS:
        raise UserError(f"form {form!r} does not tell filters apart: use {' or '.join(map(repr, FORMS))} by filter.")


def pair_sums(dictionary: ConvolutionalDictionary, codes: RaggedCodes, power: int) -> tuple[NDArray, NDArray]:
    """
    Bound the interference, or its variance, at the atoms of each filter by the coherences of pairs of filters.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer's dictionary.
    codes : RaggedCodes
        Its codes, batch shape (...).
    power : {1, 2}
        1 for the interference, 2 for its variance.

    Returns
    -------
    off, on : ndarray, shape (..., filter)
        Largest sum over g of n_g (mu_fg X_max,g)^power, n_g the active atoms of filter g in one stripe, of all stripes
        and of those about active atoms of the filter, without these atoms themselves; 0 without any
        (docs/theory.md, "A threshold for each filter").
    """
    weights = filter_coherence(dictionary) ** power
    largest = extremes_by_filter(codes)[1].reshape(-1, dictionary.n_filters) ** power
    off, on = np.zeros((2, *largest.shape))
    for rows, part in _in_blocks(codes):
        active = part.to_dense() != 0
        counts = active.astype(np.int64)
        for axis, overlap in enumerate(dictionary.overlap, start=-dictionary.rank):
            counts = window_sums(counts, 1 - overlap, 2 * overlap - 1, 1, axis + counts.ndim)
        flat = (len(counts), dictionary.n_filters, -1)
        sums = weights @ (counts.reshape(flat) * largest[rows][..., None])
        off[rows] = sums.max(axis=-1)
        own = np.diagonal(weights) * largest[rows]
        on[rows] = np.where(active.reshape(flat), np.maximum(sums - own[..., None], 0.0), 0.0).max(axis=-1)
    shape = (*codes.batch_shape, dictionary.n_filters)
    return off.reshape(shape), on.reshape(shape)


def _in_blocks(codes: RaggedCodes) -> Iterator[tuple[slice, RaggedCodes]]:
    """Consecutive codes, few enough to be expanded."""
    total, step = codes.row_size.size, max(1, ENTRIES // math.prod(codes.code_shape))
    for first in range(0, total, step):
        rows = slice(first, min(first + step, total))
        yield rows, codes.rows(rows)


def uniform_levels(dictionary: ConvolutionalDictionary, codes: RaggedCodes, form: str) -> Levels:
    """
    Bound the interference at the atoms of each filter over all signs.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer's dictionary.
    codes : RaggedCodes
        Its codes, batch shape (...).
    form : {"coherence", "instance"}
        By coherences of pairs of filters, or sum_j |x_j| |g_ij|.

    Returns
    -------
    Levels
        By filter.

    Raises
    ------
    UserError
        When the form does not tell filters apart.
    """
    check_form(form)
    if form == "instance":
        flat = codes.reshape((codes.row_size.size,))
        levels = layer_levels(dictionary, layer_interference(dictionary, flat))
        shape = (*codes.batch_shape, dictionary.n_filters)
        return Levels(levels.off.reshape(shape), levels.on.reshape(shape), each=levels.each, by_filter=True)
    off, active = pair_sums(dictionary, codes, 1)
    on = extremes_by_filter(codes)[0] - active
    return Levels(off, on, each=active.reshape(-1)[places_by_filter(codes)], by_filter=True)


def closed_failure(
    dictionary: ConvolutionalDictionary,
    codes: RaggedCodes,
    eps: NDArray,
    *,
    threshold: ArrayLike | None = None,
    tail: str = "exact",
    noise_variance: float = 0.0,
) -> tuple[NDArray, NDArray]:
    """
    Bound the failure of a layer by the coherences of pairs of filters, with a threshold for each filter (D-CSC-R).

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer's dictionary.
    codes : RaggedCodes
        Its codes, batch shape (...).
    eps : ndarray, shape (...)
        Bound on the input error, valid before the signs are drawn.
    threshold : array_like, shape (), (filter,) or (..., filter), optional
        beta_f; by default X_min,f/2, which is the best, and infinity for filters without active atoms.
    tail : {"hoeffding", "gaussian", "chernoff", "exact"}
        The bound on the tails; as a closed form has variances alone, the last two are the Gaussian one.
    noise_variance : float
        sigma^2 of Gaussian noise on the input, added to v_f.

    Returns
    -------
    threshold : ndarray, shape (..., filter)
        beta_f.
    probability : ndarray, shape (...)
        min(1, sum_f 2 M_f tail(m_f)), m_f = min(beta_f, X_min,f - beta_f) - eps
        (docs/theory.md, "A threshold for each filter").

    Raises
    ------
    UserError
        When the tail is unknown, or thresholds do not fit.
    """
    check_choice(tail, TAILS, "tail")
    variance = pair_sums(dictionary, codes, 2)[0] + noise_variance
    smallest = extremes_by_filter(codes)[0]
    beta = smallest / 2
    if threshold is not None:
        beta = thresholds_by_filter(threshold, codes.batch_shape, dictionary.n_filters)
    has_active = np.isfinite(smallest)
    below = np.where(has_active, np.where(has_active, smallest, 0.0) - beta, np.inf)
    margin = np.minimum(beta, below) - np.asarray(eps)[..., None]
    spread = np.sqrt(np.where(variance > 0, variance, 1.0))
    terms = np.where(variance > 0, of_variance(np.maximum(margin, 0.0) / spread, tail), 0.0)
    terms = np.where(margin > 0, terms, 1.0)
    return beta, np.minimum(1.0, 2 * math.prod(dictionary.positions) * terms.sum(axis=-1))


def rare_levels(
    dictionary: ConvolutionalDictionary, codes: RaggedCodes, growth: float, noise_variance: float = 0.0
) -> tuple[Levels, NDArray]:
    """
    Bound the interference at the atoms of each filter, rarely exceeded over random signs, by coherences of pairs.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer's dictionary.
    codes : RaggedCodes
        Its codes, batch shape (code,).
    growth : float
        Square of a level over the variance.
    noise_variance : float
        sigma^2 of Gaussian noise on the input.

    Returns
    -------
    levels : Levels
        By filter.
    variance : ndarray, shape (code, filter)
        v_f (docs/theory.md, "A threshold for each filter").
    """
    variance = pair_sums(dictionary, codes, 2)[0]
    level = np.sqrt((variance + noise_variance) * growth)
    each = level.reshape(-1)[places_by_filter(codes)]
    return Levels(level, extremes_by_filter(codes)[0] - level, each=each, by_filter=True), variance


def layer_levels(
    dictionary: ConvolutionalDictionary,
    described: LayerInterference,
    growth: float = math.inf,
    noise_variance: float = 0.0,
) -> Levels:
    """
    Bound the interference by the supports and magnitudes themselves, filter by filter (D-CSC-R).

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer's dictionary.
    described : LayerInterference
        Of the layer, described for the same growth.
    growth : float
        Square of a level over the variance, for levels that are rarely exceeded; infinity for the largest values.
    noise_variance : float
        sigma^2 of Gaussian noise on the input, for levels that are rarely exceeded.

    Returns
    -------
    Levels
        By filter, batch shape (code,).
    """
    codes = described.codes
    off = np.zeros((codes.row_size.size, dictionary.n_filters))
    for rows, part in _in_blocks(codes):
        bound = interference_bound(dictionary, part)
        variance = interference_variance(dictionary, part) if math.isfinite(growth) else bound
        off[rows] = _largest_off(bound, variance, part.to_dense() != 0, growth, noise_variance)
    return _levels(described, off, growth, noise_variance)


def plain_levels(
    dictionary: ConvolutionalDictionary,
    everywhere: Interference,
    codes: RaggedCodes,
    growth: float,
    noise_variance: float = 0.0,
) -> Levels:
    """
    Bound the interference of a layer of the plain model, filter by filter.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer's dictionary.
    everywhere : Interference
        Of the layer.
    codes : RaggedCodes
        Its codes, batch shape (code,).
    growth, noise_variance
        As for `layer_levels`.

    Returns
    -------
    Levels
        By filter, batch shape (code,).
    """
    shape = (codes.row_size.size, *dictionary.code_shape)
    bound, variance, active = (
        values.reshape(shape) for values in (everywhere.bound, everywhere.variance, everywhere.active)
    )
    off = _largest_off(bound, variance, active, growth, noise_variance)
    described = everywhere.of_layer(codes, growth if math.isfinite(growth) else 0.0, noise_variance)
    return _levels(described, off, growth, noise_variance)


def _largest_off(bound: NDArray, variance: NDArray, active: NDArray, growth: float, noise_variance: float) -> NDArray:
    """Largest level of every filter off the support; arrays (code, filter, *position)."""
    level = rare_level(variance, bound, growth, noise_variance) if math.isfinite(growth) else bound
    return np.where(active, 0.0, level).reshape(*level.shape[:2], -1).max(axis=-1)


def _levels(described: LayerInterference, off: NDArray, growth: float, noise_variance: float) -> Levels:
    codes, level = described.codes, described.bound
    if math.isfinite(growth):
        level = rare_level(described.variance, level, growth, noise_variance)
    on = reduce_by_filter(np.minimum, np.abs(codes.value) + described.locked - level, codes, np.inf)
    return Levels(off, on, each=level + np.abs(described.locked), by_filter=True)
