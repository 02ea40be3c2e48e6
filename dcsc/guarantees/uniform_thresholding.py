"""Uniform guarantees of layered thresholding: recovery for every sign, from sparsity and coherence ([PRE17])."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.guarantees.checks import check_choice, check_path, rounding_guard
from dcsc.guarantees.interference import layer_interference
from dcsc.guarantees.levels import Levels, choose_threshold, error_bound, given_thresholds
from dcsc.model.cascade import Cascade
from dcsc.model.coherence import babel, mutual_coherence
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.sparsity import extreme_magnitudes, patch_norm, stripe_norm
from dcsc.ragged import RaggedCodes, reduce_codes

RULES = ("hard", "relu", "soft")
FORMS = ("babel", "coherence", "instance")


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
    threshold : {"midpoint", "lower"} or sequence, one entry a layer
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
    choices = given_thresholds(threshold, model.depth)
    layers = []
    for layer, code in enumerate(codes, start=1):
        guarantee = _layer(model, layer, code, eps, rule, form, choices[layer - 1])
        layers.append(guarantee)
        eps = guarantee.error_bound
    return PathGuarantee(tuple(layers), rule, form)


def uniform_levels(dictionary: ConvolutionalDictionary, code: RaggedCodes, form: str) -> Levels:
    """
    Bound the interference of one layer over all signs.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer's dictionary.
    code : RaggedCodes
        Its codes, batch shape (...).
    form : {"coherence", "babel", "instance"}
        What bounds the interference.

    Returns
    -------
    Levels
        Of docs/theory.md, "Uniform guarantees".
    """
    if form == "instance":
        found = layer_interference(dictionary, code.reshape((code.row_size.size,)))
        on = reduce_codes(np.minimum, np.abs(code.value) - found.bound, code, np.inf)
        return Levels(found.off_bound.reshape(code.batch_shape), on, each=found.bound)
    x_min, x_max = extreme_magnitudes(code, dictionary.rank)
    k = np.asarray(stripe_norm(code, dictionary))
    mu = mutual_coherence(dictionary)
    off, active = (
        (babel(dictionary, count) if form == "babel" else mu * count) * x_max for count in (k, np.maximum(k - 1, 0))
    )
    return Levels(off, x_min - active, active)


def _layer(
    model: Cascade, layer: int, code: RaggedCodes, eps: NDArray, rule: str, form: str, threshold: str | ArrayLike
) -> LayerGuarantee:
    dictionary, below = model.dictionaries[layer - 1], model.next_dictionary(layer)
    x_min, x_max = extreme_magnitudes(code, model.rank)
    levels = uniform_levels(dictionary, code, form)
    interval = choose_threshold(levels, eps, rounding_guard(dictionary, x_max, eps), threshold)
    signed = (reduce_codes(np.minimum, code.value, code, 0.0) < 0) & (rule == "relu")
    holds = interval.contains & ~signed
    shrink = np.zeros_like(eps) if rule == "hard" else interval.threshold
    bound = error_bound(levels, code, eps, shrink, below, model.rank)
    found = LayerGuarantee(
        holds=holds,
        stripe_sparsity=np.asarray(stripe_norm(code, dictionary)),
        coherence=mutual_coherence(dictionary),
        x_min=x_min,
        x_max=x_max,
        patch_sparsity=np.asarray(patch_norm(code, below, model.rank)),
        eps_in=eps,
        threshold=interval.threshold,
        threshold_lower=interval.lower,
        threshold_upper=interval.upper,
        error_bound=np.where(holds, bound, np.inf),
        reason="",
    )
    return replace(found, reason=_reason(found, interval.is_open, signed))


def _reason(found: LayerGuarantee, is_open: NDArray, signed: NDArray) -> str:
    """Say in one sentence why the first code without a guarantee has none."""
    if found.holds.all():
        return ""
    first = np.unravel_index(int(np.argmin(found.holds)), found.holds.shape)
    beta, lower, upper = (end[first] for end in (found.threshold, found.threshold_lower, found.threshold_upper))
    count = f"{found.holds.size - int(found.holds.sum())} of {found.holds.size} codes have no guarantee"
    if not np.isfinite(found.eps_in[first]):
        return f"{count}, the first because the layer before it has no error bound."
    if signed[first]:
        return f"{count}, the first because it has negative entries, which ReLU cannot return."
    if not is_open[first]:
        return (
            f"{count}, the first because no threshold fits between {lower:.4g} and {upper:.4g} "
            f"(k = {found.stripe_sparsity[first]}, mu = {found.coherence:.4g}, X_min = {found.x_min[first]:.4g}, "
            f"X_max = {found.x_max[first]:.4g}, eps = {found.eps_in[first]:.4g})."
        )
    return f"{count}, the first because its threshold {beta:.4g} lies outside the interval ({lower:.4g}, {upper:.4g})."
