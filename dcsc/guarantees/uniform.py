"""Uniform guarantees of layered thresholding: recovery for every sign, from sparsity and coherence ([PRE17])."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.coherence import babel, mutual_coherence
from dcsc.dictionary import ConvolutionalDictionary
from dcsc.errors import UserError, nearest
from dcsc.guarantees.interference import dense_codes, interference_bound
from dcsc.model import Cascade
from dcsc.ragged import RaggedCodes
from dcsc.sparsity import extreme_magnitudes, patch_l2, patch_norm, stripe_norm

RULES = ("hard", "relu", "soft")
FORMS = ("babel", "coherence", "instance")
THRESHOLDS = ("lower", "midpoint")


@dataclass(frozen=True, eq=False)
class LayerGuarantee:
    """
    What a uniform guarantee says about one layer of each code of a batch.

    Parameters
    ----------
    holds : ndarray of bool, shape (...)
        Whether the layer's support is certain to be recovered with `threshold`.
    stripe_sparsity : ndarray of int, shape (...)
        k = ||X||^S_{0,inf}.
    coherence : float
        mu.
    x_min, x_max : ndarray, shape (...)
        Smallest and largest non-zero magnitude; infinity and 0 without non-zeros.
    patch_sparsity : ndarray of int, shape (...)
        ||X||^P_{0,inf}.
    eps_in : ndarray, shape (...)
        Bound on the patch norm of the error of the layer's input; infinity after a layer without a bound.
    threshold : ndarray, shape (...)
        beta, defined even when the interval is empty.
    threshold_lower, threshold_upper : ndarray, shape (...)
        Ends of the interval of thresholds that recover the support; empty when lower >= upper.
    error_bound : ndarray, shape (...)
        Bound on the patch norm of the error of the layer's code; infinity where the guarantee does not hold.
    reason : str
        Why the guarantee does not hold for some code; empty when it holds for all.
    """

    holds: NDArray
    stripe_sparsity: NDArray
    coherence: float
    x_min: NDArray
    x_max: NDArray
    patch_sparsity: NDArray
    eps_in: NDArray
    threshold: NDArray
    threshold_lower: NDArray
    threshold_upper: NDArray
    error_bound: NDArray
    reason: str


@dataclass(frozen=True, eq=False)
class PathGuarantee:
    """
    What a uniform guarantee says about every layer of a path.

    Parameters
    ----------
    layers : tuple of LayerGuarantee
        From layer 1 to layer L.
    rule, form : str
        The thresholding rule and the form of the condition.
    """

    layers: tuple[LayerGuarantee, ...]
    rule: str
    form: str

    @property
    def holds(self) -> NDArray:
        """Whether all supports of the path are certain to be recovered, shape (...)."""
        return np.logical_and.reduce([layer.holds for layer in self.layers])

    @property
    def thresholds(self) -> list[NDArray]:
        """The threshold of every layer, each of shape (...)."""
        return [layer.threshold for layer in self.layers]

    @property
    def reason(self) -> str:
        """Why the first layer concerned has no guarantee for some code; empty when all hold."""
        return next(
            (f"Layer {number}: {layer.reason}" for number, layer in enumerate(self.layers, 1) if layer.reason), ""
        )


def check_choice(value: str, allowed: Sequence[str], name: str) -> None:
    """
    Refuse a misspelt option.

    Parameters
    ----------
    value : str
        What was asked for.
    allowed : sequence of str
        The options.
    name : str
        What the option sets, for the message.

    Raises
    ------
    UserError
        When the value is not among the options.
    """
    if value not in allowed:
        raise UserError(f"{name} {value!r} is unknown: {nearest(str(value), allowed)}.")


def check_path(model: Cascade, codes: Sequence[ArrayLike | RaggedCodes], noise: ArrayLike) -> tuple[list, NDArray]:
    """
    Check the codes of a path and the bound on the noise, and expand both to the batch.

    Parameters
    ----------
    model : Cascade
        The layers.
    codes : sequence of array_like of shape (..., filter, *position), or of RaggedCodes
        [X^(1), ..., X^(L)].
    noise : array_like, shape () or (...)
        Bound on the patch norm of the noise, at least 0.

    Returns
    -------
    codes : list of ndarray
        Floating-point codes of each layer.
    noise : ndarray, shape (...)
        One bound a code of the batch.

    Raises
    ------
    UserError
        When the number of layers, a shape or the noise is not right.
    """
    if len(codes) != model.depth:
        raise UserError(f"{len(codes)} arrays of codes for {model.depth} layers: give [X^(1), ..., X^(L)].")
    dense = [dense_codes(code, dictionary) for code, dictionary in zip(codes, model.dictionaries, strict=True)]
    batches = {code.shape[: -model.rank - 1] for code in dense}
    if len(batches) != 1:
        raise UserError(f"the codes of the layers have different batch axes {sorted(batches)}: make them agree.")
    batch = batches.pop()
    noise = np.asarray(noise, dtype=np.float64)
    if not np.all(noise >= 0):
        raise UserError("the bound on the noise is negative or not a number: give 0 or more.")
    try:
        return dense, np.broadcast_to(noise, batch)
    except ValueError:
        raise UserError(f"the noise of shape {noise.shape} does not fit codes of batch axes {batch}.") from None


def rounding_guard(dictionary: ConvolutionalDictionary, x_max: NDArray, eps: NDArray) -> NDArray:
    """
    Margin by which a condition must hold so that rounding cannot make it a false promise.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        Whose atoms are unit norm up to rounding only.
    x_max, eps : ndarray, shape (...)
        Largest magnitude and bound on the input error, the scales of a correlation.

    Returns
    -------
    ndarray, shape (...)
        (deviation of the norms from 1 + 64 units of rounding) times the scale.
    """
    centre = tuple(n - 1 for n in dictionary.overlap)
    squared_norms = dictionary.gram()[(np.arange(dictionary.n_filters),) * 2 + centre]
    relative = np.abs(squared_norms.astype(np.float64) - 1).max() + 64 * np.finfo(dictionary.dtype).eps
    return relative * (x_max + np.where(np.isfinite(eps), eps, 0.0))


def uniform(
    model: Cascade,
    codes: Sequence[ArrayLike | RaggedCodes],
    noise: ArrayLike = 0.0,
    *,
    rule: str = "hard",
    form: str = "coherence",
    threshold: str | Sequence[ArrayLike] = "midpoint",
) -> PathGuarantee:
    """
    Tell for which codes layered thresholding recovers the path whatever the signs.

    [PRE17] Theorem 8 (hard) and Theorem 10 (soft) with the mutual coherence; sharper with the
    Babel function or with the supports and magnitudes themselves (docs/theory.md, "Uniform
    guarantees"). For hard thresholding, and for soft with threshold "lower", a path that one
    form covers is covered by the next: coherence, Babel, instance.

    Parameters
    ----------
    model : Cascade
        The layers; its signs do not matter here.
    codes : sequence of array_like of shape (..., filter, *position), or of RaggedCodes
        [X^(1), ..., X^(L)].
    noise : array_like, shape () or (...)
        eps_0, at least the patch norm ||E||^P_{2,inf} of the noise.
    rule : {"hard", "soft", "relu"}
        The thresholding; "relu" is one-sided soft thresholding, for codes without negative entries.
    form : {"coherence", "babel", "instance"}
        What bounds the interference: k mu X_max, mu_1(k) X_max, or sum_j |x_j| |g_ij|.
    threshold : {"midpoint", "lower"} or sequence of array_like, one a layer
        The middle of the interval; its lower end, where the error of soft thresholding is
        smallest; or thresholds fixed beforehand, each a number or of shape (...).

    Returns
    -------
    PathGuarantee
        With the interval of thresholds, the error bound and the quantities of each layer.

    Raises
    ------
    UserError
        When an option is unknown or shapes do not fit.
    """
    check_choice(rule, RULES, "rule")
    check_choice(form, FORMS, "form")
    codes, eps = check_path(model, codes, noise)
    given = _given_thresholds(threshold, model.depth)
    layers = []
    for layer, code in enumerate(codes, start=1):
        guarantee = _layer(model, layer, code, eps, rule, form, threshold if given is None else given[layer - 1])
        layers.append(guarantee)
        eps = guarantee.error_bound
    return PathGuarantee(tuple(layers), rule, form)


def _given_thresholds(threshold: str | Sequence[ArrayLike], depth: int) -> Sequence[ArrayLike] | None:
    if isinstance(threshold, str):
        check_choice(threshold, THRESHOLDS, "threshold")
        return None
    if np.ndim(threshold) == 0 and not isinstance(threshold, Sequence):
        threshold = [threshold] * depth
    if len(threshold) != depth:
        raise UserError(f"{len(threshold)} thresholds for {depth} layers: give one a layer.")
    return threshold


def _layer(
    model: Cascade, layer: int, code: NDArray, eps: NDArray, rule: str, form: str, threshold: str | ArrayLike
) -> LayerGuarantee:
    dictionary, below = model.dictionaries[layer - 1], model.next_dictionary(layer)
    k = np.asarray(stripe_norm(code, dictionary))
    mu = mutual_coherence(dictionary)
    x_min, x_max = extreme_magnitudes(code, model.rank)
    patch = np.asarray(patch_norm(code, below, model.rank))
    guard = rounding_guard(dictionary, x_max, eps)
    if form == "instance":
        interference = interference_bound(dictionary, code)
        off, on = _extremes(code, interference, model.rank)
    else:
        interference = None
        sums = babel if form == "babel" else lambda _, count: mu * np.asarray(count)
        off, active = (sums(dictionary, count) * x_max for count in (k, np.maximum(k - 1, 0)))
        on = x_min - active
    lower, upper = off + eps, on - eps
    midpoint = (off + on) / 2
    if isinstance(threshold, str):
        beta = midpoint if threshold == "midpoint" else np.minimum(lower + guard, midpoint)
    else:
        beta = np.broadcast_to(np.asarray(threshold, dtype=np.float64), k.shape)
    signed = (code < 0).any(axis=tuple(range(-model.rank - 1, 0))) & (rule == "relu")
    open_interval = upper - lower > 2 * guard
    holds = open_interval & (beta >= lower + guard) & (beta <= upper - guard) & ~signed
    shrink = np.zeros_like(eps) if rule == "hard" else beta
    if interference is None:
        bound = np.sqrt(patch) * np.where(patch > 0, active + eps + shrink, 0.0)
    else:
        each = interference + np.where(holds, eps + shrink, 0.0)[(..., *[None] * (model.rank + 1))]
        bound = np.asarray(patch_l2(np.where(code != 0, each, 0.0), below, model.rank))
    reason = _reason(holds, open_interval, signed, eps, k, mu, x_min, x_max, (lower, beta, upper))
    bound = np.where(holds, bound, np.inf)
    return LayerGuarantee(holds, k, mu, x_min, x_max, patch, eps, beta, lower, upper, bound, reason)


def _extremes(code: NDArray, interference: NDArray, rank: int) -> tuple[NDArray, NDArray]:
    """Largest interference off the support, and smallest magnitude less interference on it."""
    axes = tuple(range(-rank - 1, 0))
    off = np.where(code == 0, interference, 0.0).max(axis=axes)
    return off, np.where(code != 0, np.abs(code) - interference, np.inf).min(axis=axes)


def _reason(
    holds: NDArray,
    open_interval: NDArray,
    signed: NDArray,
    eps: NDArray,
    k: NDArray,
    mu: float,
    x_min: NDArray,
    x_max: NDArray,
    interval: tuple[NDArray, NDArray, NDArray],
) -> str:
    """Say in one sentence why the first code without a guarantee has none."""
    if holds.all():
        return ""
    first = np.unravel_index(int(np.argmin(holds)), holds.shape)
    lower, beta, upper = (float(end[first]) for end in interval)
    count = f"{holds.size - int(holds.sum())} of {holds.size} codes have no guarantee, the first because"
    if not np.isfinite(eps[first]):
        return f"{count} the layer before it has no error bound."
    if signed[first]:
        return f"{count} it has negative entries, which ReLU cannot return."
    if not open_interval[first]:
        return (
            f"{count} no threshold fits between {lower:.4g} and {upper:.4g} (k = {int(k[first])}, mu = {mu:.4g}, "
            f"X_min = {x_min[first]:.4g}, X_max = {x_max[first]:.4g}, eps = {eps[first]:.4g})."
        )
    return f"{count} its threshold {beta:.4g} lies outside the interval from {lower:.4g} to {upper:.4g}."
