"""Layered one-step thresholding: the forward pass of a convolutional network, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc import guarantees
from dcsc.arrays import real_numbers
from dcsc.convolution.arguments import thresholds_by_filter
from dcsc.convolution.filter_bank import listed_codes
from dcsc.errors import UserError
from dcsc.guarantees.checks import check_choice
from dcsc.model import sparsity
from dcsc.model.cascade import Cascade
from dcsc.pursuit.arguments import (
    check_layers,
    checked_signals,
    of_layer,
    sizes_of_layer,
    support_sizes,
    true_codes,
)
from dcsc.pursuit.least_squares import least_squares
from dcsc.pursuit.protocol import PursuitResult, register
from dcsc.ragged import RaggedCodes

Rule = Literal["hard", "soft", "relu", "top-k"]
RULES = ("hard", "soft", "relu", "top-k")
COMMON_THRESHOLDS = ("uniform", "uniform-lower", "statistical", "oracle")
BY_FILTER = "-by-filter"
"""What the name of thresholds ends in where every filter has its own."""
THRESHOLDS = (*COMMON_THRESHOLDS, *(name + BY_FILTER for name in COMMON_THRESHOLDS))


def hard(correlations: NDArray, threshold: ArrayLike) -> NDArray:
    """
    Hard thresholding, H_beta(c) = c if |c| > beta, else 0.

    Parameters
    ----------
    correlations : ndarray, any shape
        c.
    threshold : array_like
        beta >= 0, broadcast against the correlations.

    Returns
    -------
    ndarray
        Of the shape of the correlations.
    """
    return np.where(np.abs(correlations) > threshold, correlations, 0)


def soft(correlations: NDArray, threshold: ArrayLike) -> NDArray:
    """
    Soft thresholding, S_beta(c) = sign(c) max(|c| - beta, 0).

    Parameters
    ----------
    correlations, threshold
        As for `hard`.

    Returns
    -------
    ndarray
        Of the shape of the correlations.
    """
    kept = np.abs(correlations) > threshold
    with np.errstate(invalid="ignore"):  # an infinite threshold keeps nothing
        return np.where(kept, correlations - np.sign(correlations) * threshold, 0)


def relu(correlations: NDArray, threshold: ArrayLike) -> NDArray:
    """
    One-sided soft thresholding, the activation ReLU(c - beta) of a network with bias -beta.

    Parameters
    ----------
    correlations : ndarray, any shape
        c.
    threshold : array_like
        beta, broadcast against the correlations.

    Returns
    -------
    ndarray
        Of the shape of the correlations, not negative.
    """
    return np.where(correlations > threshold, correlations - threshold, 0)


def top_k(correlations: NDArray, k: ArrayLike, rank: int) -> NDArray:
    """
    Keep the k largest magnitudes of each code, the one-step thresholding of [SV07].

    Parameters
    ----------
    correlations : ndarray, shape (..., filter, *position)
        c.
    k : int or array_like of int, shape (...)
        Number of entries to keep, one per code; of equal magnitudes the one of lower atom index is kept first.
    rank : int
        Number of spatial axes.

    Returns
    -------
    ndarray, shape (..., filter, *position)
        The kept correlations.

    Raises
    ------
    UserError
        When k is negative, fractional or exceeds the number of atoms.
    """
    batch = correlations.shape[: -rank - 1]
    flat = np.abs(correlations).reshape(*batch, math.prod(correlations.shape[-rank - 1 :]))
    sizes = real_numbers(k, "k", batch, low=0, high=flat.shape[-1], whole=True).astype(np.int64)[..., None]
    descending = -np.sort(-flat, axis=-1)
    smallest_kept = np.take_along_axis(descending, np.maximum(sizes - 1, 0), axis=-1)
    above = flat > smallest_kept
    ties = flat == smallest_kept
    kept = above | (ties & (np.cumsum(ties, axis=-1) <= sizes - above.sum(axis=-1, keepdims=True)))
    return np.where((kept & (sizes > 0)).reshape(correlations.shape), correlations, 0)


def separating_threshold(correlations: NDArray, k: NDArray, rank: int, rule: Rule = "hard") -> NDArray:
    """
    Threshold that keeps exactly the k largest magnitudes: the oracle threshold of a known support size.

    Parameters
    ----------
    correlations : ndarray, shape (..., filter, *position)
        c.
    k : ndarray of int, shape (...)
        Support sizes.
    rank : int
        Number of spatial axes.
    rule : {'hard', 'soft', 'relu', 'top-k'}
        For rules that shrink, the smallest such threshold, the (k+1)-th magnitude, which changes the values
        least; for the others, the midpoint between the k-th and the (k+1)-th magnitude.

    Returns
    -------
    ndarray, shape (...)
        The thresholds; the next magnitude counts as 0 when all atoms are active.
    """
    batch = correlations.shape[: -rank - 1]
    magnitudes = correlations if rule == "relu" else np.abs(correlations)
    descending = -np.sort(-magnitudes.reshape(*batch, math.prod(correlations.shape[-rank - 1 :])), axis=-1)
    padded = np.concatenate([np.full((*batch, 1), np.inf), descending, np.zeros((*batch, 1))], axis=-1)
    last, following = (np.take_along_axis(padded, (k + step)[..., None], axis=-1)[..., 0] for step in (0, 1))
    following = np.maximum(following, 0)
    return np.where((k > 0) & (rule in ("hard", "top-k")), (last + following) / 2, following)


def derived_thresholds(
    name: str, model: Cascade, reference: Sequence[ArrayLike | RaggedCodes], rule: str, noise: ArrayLike = 0.0
) -> list[NDArray]:
    """
    Compute the thresholds of the theory from the true codes, for every layer.

    Parameters
    ----------
    name : {'uniform', 'uniform-lower', 'statistical'}, or one of these with '-by-filter'
        The midpoint (X_min + mu X_max)/2 or the lower end of the interval of [PRE17] Thm 8, or
        X_min/2, the choice of the statistical guarantees. By filter: the same of the interval, or of the smallest
        magnitude, of each filter; statistical ones of filters without active atoms are those of the whole code,
        which say nothing of which filters are active.
    model : Cascade
        The cascade.
    reference : sequence of array_like or RaggedCodes
        [X^(1), ..., X^(L)].
    rule : {'hard', 'soft', 'relu'}
        The non-linearity, which decides the error that reaches the next layer.
    noise : array_like, shape () or (...)
        Bound on the patch norm of the noise.

    Returns
    -------
    list of ndarray, each of shape (...) or (..., filter)
        One threshold per layer and trial, or per layer, trial and filter.
    """
    by_filter, name = is_by_filter(name), name.removesuffix(BY_FILTER)
    if name == "statistical":
        listed = [listed_codes(code, layer) for code, layer in zip(reference, model.dictionaries, strict=True)]
        return [_half_smallest(code, model.rank, by_filter) for code in listed]
    ends = {"uniform": "midpoint", "uniform-lower": "lower"}
    found = guarantees.uniform(model, reference, noise, rule=rule, threshold=ends[name], by_filter=by_filter)
    return found.thresholds


def is_by_filter(threshold: object) -> bool:
    """
    Tell whether the choice of a configuration gives every filter a threshold of its own.

    Parameters
    ----------
    threshold : str, float, sequence of float, sequence that holds sequences, or None
        A name, a number, one per layer, or, of some layer, one per filter.

    Returns
    -------
    bool
        True for names that end in '-by-filter', and where a layer has a sequence.
    """
    if isinstance(threshold, str):
        return threshold.endswith(BY_FILTER)
    return isinstance(threshold, Sequence) and any(isinstance(of_one, Sequence) for of_one in threshold)


def _half_smallest(code: RaggedCodes, rank: int, by_filter: bool) -> NDArray:
    """X_min/2 of each code, or of each filter of it that has active atoms."""
    smallest = sparsity.extreme_magnitudes(code, rank)[0]
    common = np.where(np.isfinite(smallest), smallest / 2, 1.0)  # any threshold suits an empty code
    if not by_filter:
        return common
    of_filters = sparsity.extremes_by_filter(code)[0]
    return np.where(np.isfinite(of_filters), of_filters / 2, common[..., None])


@register("layered-thresholding")
def layered_thresholding(
    model: Cascade,
    signals: ArrayLike,
    *,
    rule: Rule = "hard",
    threshold: float | str | Sequence[ArrayLike] | None = None,
    k: int | Sequence[ArrayLike] | None = None,
    by_filter: bool = False,
    debias: bool = False,
    reference: Sequence[ArrayLike] | None = None,
    noise: ArrayLike = 0.0,
) -> PursuitResult:
    """
    Layered thresholding: one thresholding step per layer, the forward pass of a network ([PRE17] section 5).

    When to take it: for the forward pass of a network, with hard thresholding, soft thresholding, ReLU or top-k,
    and with given thresholds or those of the theory.

    Parameters
    ----------
    model : Cascade
        The cascade; with signs T^(l) the pursuit works with A^(l) T^(l).
    signals : array_like, shape (..., channel, *space)
        X^(0), or X^(0) + E.
    rule : {'hard', 'soft', 'relu', 'top-k'}
        The non-linearity; ReLU is one-sided, for codes without negative entries.
    threshold : float, str or sequence, optional
        A number, one entry per layer (a number, or one per trial), or 'uniform', 'uniform-lower',
        'statistical' or 'oracle', which are computed from the reference. A name that ends in '-by-filter', such as
        'uniform-by-filter', gives every filter its own threshold.
    k : int or sequence, optional
        For top-k: the support size of the whole code, one per layer (a number, or one per trial);
        by default that of the reference.
    by_filter : bool
        Whether the last axis of every threshold that is given is that of the filters: entries are numbers, one a
        filter, or one per trial and filter. Without it an entry of one axis is one per trial, whatever its length.
    debias : bool
        Replace the values of each layer by the least squares fit on the recovered support.
    reference : sequence of array_like, optional
        The true codes [X^(1), ..., X^(L)], for thresholds and sizes that derive from them.
    noise : array_like, shape () or (...)
        Bound on the patch norm of the noise, for the thresholds that derive from it.

    Returns
    -------
    PursuitResult
        Codes and thresholds of every layer.

    Raises
    ------
    UserError
        When the signals are not finite real numbers, the rule or threshold is unknown or incomplete, a number for all
        trials and filters is negative, or a threshold of a shape that does not fit, or ReLU meets signed inner codes.

    Examples
    --------
    >>> import dcsc
    >>> import numpy as np
    >>> dictionary = dcsc.families.create("lapped", grid=64, n_filters=4)
    >>> model = dcsc.Cascade([dictionary])
    >>> code = np.zeros(dictionary.code_shape)
    >>> code[1, 5] = -1.0
    >>> found = dcsc.pursuit.layered_thresholding(model, dictionary.synthesize(code), rule="hard", threshold=0.5)
    >>> np.argwhere(found.supports[0])
    array([[1, 5]])
    >>> found.codes[0][1, 5].round(6)
    np.float64(-1.0)
    """
    current, truth = checked_signals(model, signals), true_codes(model, reference)
    _check(model, rule, threshold, k, by_filter, truth)
    by_filter = rule != "top-k" and (by_filter or (isinstance(threshold, str) and is_by_filter(threshold)))
    if isinstance(threshold, str) and not threshold.startswith("oracle") and rule != "top-k":
        threshold = derived_thresholds(threshold, model, truth, rule, noise)
    codes: list[NDArray] = []
    thresholds: list[NDArray] = []
    for layer in range(1, model.depth + 1):
        correlations = model.correlate_layer(layer, current)
        batch = correlations.shape[: -model.rank - 1]
        if rule == "top-k":
            wanted = [support_sizes(known, model.rank) for known in truth] if k is None else k
            size = sizes_of_layer(wanted, layer, batch, model.dictionaries[layer - 1].n_atoms, "k")
            code = top_k(correlations, size, model.rank)
            beta = separating_threshold(correlations, size, model.rank)
        else:
            if isinstance(threshold, str):  # the oracle; the others are numbers by now
                beta = _oracle(correlations, truth[layer - 1], model.rank, rule, by_filter)
            elif by_filter:
                beta = thresholds_by_filter(of_layer(threshold, layer), batch, correlations.shape[len(batch)])
            else:
                beta = _one_a_trial(np.asarray(of_layer(threshold, layer)), batch)
            spread = beta.astype(correlations.dtype)[(..., *[None] * (model.rank + (not by_filter)))]
            code = {"hard": hard, "soft": soft, "relu": relu}[rule](correlations, spread)
        if debias:
            code = least_squares(model, layer, current, code != 0)
        codes.append(code)
        thresholds.append(np.array(beta, dtype=np.float64))
        current = code
    shape = (*batch, model.depth)
    return PursuitResult(codes, thresholds, np.ones(shape, dtype=np.int64), np.zeros(shape), "one step a layer")


def _oracle(correlations: NDArray, truth: NDArray, rank: int, rule: Rule, by_filter: bool) -> NDArray:
    """Thresholds that keep as many entries as are active, of a code or of each filter as if it were one."""
    if by_filter:
        correlations, truth = (np.expand_dims(values, -rank - 1) for values in (correlations, truth))
    return separating_threshold(correlations, support_sizes(truth, rank), rank, rule)


def _one_a_trial(threshold: NDArray, batch: tuple[int, ...]) -> NDArray:
    try:
        return np.broadcast_to(threshold, batch)
    except ValueError:
        raise UserError(
            f"thresholds of shape {threshold.shape} do not fit batch axes {batch}: give a number or one per trial, or "
            "set by_filter for one per filter."
        ) from None


def _check(model: Cascade, rule: str, threshold: object, k: object, by_filter: bool, truth: Sequence[NDArray]) -> None:
    check_choice(rule, RULES, "rule")
    if isinstance(threshold, str):
        check_choice(threshold, THRESHOLDS, "threshold")
    check_layers(model.depth, threshold=threshold, k=k)
    if rule == "top-k":
        if k is None and not truth:
            raise UserError("top-k needs k, or the reference codes to count.")
    elif threshold is None:
        raise UserError(f"rule {rule!r} needs a threshold: a number, one per layer, or one of {', '.join(THRESHOLDS)}.")
    if isinstance(threshold, str) and not truth:
        raise UserError(f"threshold {threshold!r} derives from the true codes: pass them as reference.")
    if rule != "top-k" and not isinstance(threshold, str):
        for layer in range(1, model.depth + 1):
            given = real_numbers(of_layer(threshold, layer), f"threshold of layer {layer}")
            # Biases may be above 0, and for trials without an admissible threshold guarantees give one below 0.
            if not (by_filter or given.ndim):
                real_numbers(given, f"threshold of layer {layer}", low=0)
    if rule == "relu":
        check_signs(model, rule, [listed_codes(*layer) for layer in zip(truth, model.dictionaries, strict=False)])


def check_signs(model: Cascade, rule: str, truth: Sequence[RaggedCodes]) -> None:
    """
    Refuse ReLU where codes have negative entries.

    Parameters
    ----------
    model : Cascade
        The cascade.
    rule : str
        The non-linearity.
    truth : sequence of RaggedCodes
        The true codes, as far as they are known.

    Raises
    ------
    UserError
        When it cannot return them.
    """
    inner_signed = model.depth > 1 and model.signs is not None
    if rule == "relu" and (inner_signed or any(np.min(code.value, initial=0) < 0 for code in truth)):
        raise UserError("relu cannot recover codes with negative entries: use rule 'soft' or 'hard' there.")
