"""Layered one-step thresholding: the forward pass of a convolutional network, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc import guarantees
from dcsc.convolution.filter_bank import listed_codes
from dcsc.errors import UserError
from dcsc.guarantees.checks import check_choice
from dcsc.model import sparsity
from dcsc.model.cascade import Cascade
from dcsc.pursuit.arguments import check_layers, check_whole, of_layer, support_sizes, true_codes
from dcsc.pursuit.least_squares import least_squares
from dcsc.pursuit.protocol import PursuitResult, register
from dcsc.ragged import RaggedCodes

Rule = Literal["hard", "soft", "relu", "top-k"]
RULES = ("hard", "soft", "relu", "top-k")
THRESHOLDS = ("uniform", "uniform-lower", "statistical", "oracle")


def hard(correlations: NDArray, threshold: ArrayLike) -> NDArray:
    """
    Keep what exceeds the threshold in magnitude, H_beta(c) = c if |c| > beta else 0.

    Parameters
    ----------
    correlations : ndarray
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
    Shrink towards zero, S_beta(c) = sign(c) max(|c| - beta, 0).

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
    return np.where(kept, correlations - np.sign(correlations) * threshold, 0)


def relu(correlations: NDArray, threshold: ArrayLike) -> NDArray:
    """
    Shrink one-sidedly, the activation ReLU(c - beta) of a network with bias -beta.

    Parameters
    ----------
    correlations : ndarray
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
        How many, one a code; among equal magnitudes the lower atom index wins.
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
    flat = np.abs(correlations).reshape(*batch, -1)
    sizes = np.broadcast_to(np.asarray(k), batch)
    check_whole(sizes, flat.shape[-1], f"k = {k}")
    sizes = sizes.astype(np.int64)[..., None]
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
        Rules that shrink get the smallest such threshold, the next magnitude, which spoils the
        values least; the others the midpoint between the k-th and the next, which is safest.

    Returns
    -------
    ndarray, shape (...)
        The thresholds; the next magnitude counts as 0 when all atoms are active.
    """
    batch = correlations.shape[: -rank - 1]
    magnitudes = correlations if rule == "relu" else np.abs(correlations)
    descending = -np.sort(-magnitudes.reshape(*batch, -1), axis=-1)
    padded = np.concatenate([np.full((*batch, 1), np.inf), descending, np.zeros((*batch, 1))], axis=-1)
    last, following = (np.take_along_axis(padded, (k + step)[..., None], axis=-1)[..., 0] for step in (0, 1))
    following = np.maximum(following, 0)
    return np.where((k > 0) & (rule in ("hard", "top-k")), (last + following) / 2, following)


def derived_thresholds(
    name: str, model: Cascade, reference: Sequence[ArrayLike | RaggedCodes], rule: Rule, noise: ArrayLike = 0.0
) -> list[NDArray]:
    """
    Thresholds from what the theory may know of the true codes.

    Parameters
    ----------
    name : {'uniform', 'uniform-lower', 'statistical'}
        The midpoint (X_min + mu X_max)/2 or the lower end of the interval of [PRE17] Thm 8, or
        X_min/2, the choice of the statistical guarantees.
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
    list of ndarray, each of shape (...)
        One threshold a layer and trial.
    """
    if name == "statistical":
        smallest = [
            sparsity.extreme_magnitudes(listed_codes(code, layer), model.rank)[0] / 2
            for code, layer in zip(reference, model.dictionaries, strict=True)
        ]
        return [np.where(np.isfinite(beta), beta, 1.0) for beta in smallest]  # any threshold suits an empty code
    ends = {"uniform": "midpoint", "uniform-lower": "lower"}
    return guarantees.uniform(model, reference, noise, rule=rule, threshold=ends[name]).thresholds


@register("layered-thresholding")
def layered_thresholding(
    model: Cascade,
    signals: ArrayLike,
    *,
    rule: Rule = "hard",
    threshold: float | str | Sequence[ArrayLike] | None = None,
    k: int | Sequence[ArrayLike] | None = None,
    debias: bool = False,
    reference: Sequence[ArrayLike] | None = None,
    noise: ArrayLike = 0.0,
) -> PursuitResult:
    """
    Threshold the correlations of each layer once, and pass the result on ([PRE17] section 5).

    Parameters
    ----------
    model : Cascade
        The cascade; with signs T^(l) the pursuit works with A^(l) T^(l).
    signals : array_like, shape (..., channel, *space)
        X^(0), or X^(0) + E.
    rule : {'hard', 'soft', 'relu', 'top-k'}
        The non-linearity; ReLU is one-sided, for codes without negative entries.
    threshold : float, str or sequence, optional
        A number, one entry a layer (a number, or one a trial), or 'uniform', 'uniform-lower',
        'statistical' or 'oracle', which read the reference.
    k : int or sequence, optional
        For top-k: the support size of the whole code, one a layer (a number, or one a trial);
        by default that of the reference.
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
        When the rule or threshold is unknown or incomplete, or ReLU meets signed inner codes.
    """
    truth = true_codes(reference)
    _check(model, rule, threshold, k, truth)
    if isinstance(threshold, str) and threshold != "oracle" and rule != "top-k":
        threshold = derived_thresholds(threshold, model, truth, rule, noise)
    current = np.asarray(signals)
    codes: list[NDArray] = []
    thresholds: list[NDArray] = []
    for layer in range(1, model.depth + 1):
        correlations = model.correlate_layer(layer, current)
        batch = correlations.shape[: -model.rank - 1]
        if rule == "top-k":
            size = support_sizes(truth[layer - 1], model.rank) if k is None else of_layer(k, layer)
            code = top_k(correlations, size, model.rank)
            beta = separating_threshold(correlations, np.broadcast_to(size, batch).astype(np.int64), model.rank)
        else:
            if isinstance(threshold, str):  # the oracle; the others are numbers by now
                beta = separating_threshold(correlations, support_sizes(truth[layer - 1], model.rank), model.rank, rule)
            else:
                beta = np.broadcast_to(of_layer(threshold, layer), batch)
            spread = beta.astype(correlations.dtype).reshape(*batch, *[1] * (model.rank + 1))
            code = {"hard": hard, "soft": soft, "relu": relu}[rule](correlations, spread)
        if debias:
            code = least_squares(model, layer, current, code != 0)
        codes.append(code)
        thresholds.append(np.array(beta, dtype=np.float64))
        current = code
    shape = (*thresholds[0].shape, model.depth)
    return PursuitResult(codes, thresholds, np.ones(shape, dtype=np.int64), np.zeros(shape), "one step a layer")


def _check(model: Cascade, rule: str, threshold: object, k: object, truth: Sequence[NDArray]) -> None:
    check_choice(rule, RULES, "rule")
    if isinstance(threshold, str):
        check_choice(threshold, THRESHOLDS, "threshold")
    check_layers(model.depth, threshold=threshold, k=k)
    if rule == "top-k":
        if k is None and not truth:
            raise UserError("top-k needs k, or the reference codes to count.")
    elif threshold is None:
        raise UserError(f"rule {rule!r} needs a threshold: a number, one a layer, or one of {', '.join(THRESHOLDS)}.")
    if isinstance(threshold, str) and not truth:
        raise UserError(f"threshold {threshold!r} derives from the true codes: pass them as reference.")
    if rule == "relu":
        inner_signed = model.depth > 1 and model.signs is not None
        if inner_signed or any(np.min(code, initial=0) < 0 for code in truth):
            raise UserError("relu cannot recover codes with negative entries: use rule 'soft' or 'hard' there.")
