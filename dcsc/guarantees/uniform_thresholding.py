"""Uniform guarantees of layered thresholding: recovery for every sign, from sparsity and coherence ([PRE17])."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.guarantees.by_filter import uniform_levels
from dcsc.guarantees.checks import RULES, check_choice, check_path, has_negative, rounding_guard
from dcsc.guarantees.interference import LayerInterference, layer_interference
from dcsc.guarantees.levels import Interval, Levels, choose_threshold, error_bound, given_thresholds, levels_of
from dcsc.guarantees.results import LayerForAllSigns, PathForAllSigns, ThresholdedLayer, first_without
from dcsc.model.cascade import Cascade
from dcsc.model.coherence import babel, mutual_coherence
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.sparsity import extreme_magnitudes, patch_norm, stripe_norm
from dcsc.ragged import RaggedCodes

FORMS = ("babel", "coherence", "instance")


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerGuarantee(ThresholdedLayer, LayerForAllSigns):
    """
    The uniform guarantee for one layer of each code of a batch.

    Parameters
    ----------
    holds : ndarray of bool, shape (...)
        Whether the layer's support is certain to be recovered with `threshold`.
    eps_in, error_bound, stripe_sparsity, coherence, x_min, reason
        As for `LayerForAllSigns`.
    threshold, threshold_lower, threshold_upper
        As for `ThresholdedLayer`.
    x_max : ndarray, shape (...)
        Largest magnitude; 0 without non-zeros.
    patch_sparsity : ndarray of int, shape (...)
        ||X||^P_{0,inf}.
    """

    x_max: NDArray
    patch_sparsity: NDArray


@dataclass(frozen=True, eq=False)
class PathGuarantee(PathForAllSigns[LayerGuarantee]):
    """
    The uniform guarantee for every layer of the paths of a batch.

    Parameters
    ----------
    layers : tuple of LayerGuarantee
        From layer 1 to layer L.
    form, rule : str
        The form of the condition and the thresholding rule.
    """

    rule: str

    @property
    def thresholds(self) -> list[NDArray]:
        """The threshold of every layer, each of shape (...), by filter (..., filter)."""
        return [layer.threshold for layer in self.layers]


def uniform(
    model: Cascade,
    codes: Sequence[ArrayLike | RaggedCodes],
    noise: ArrayLike = 0.0,
    *,
    rule: str = "hard",
    form: str = "coherence",
    threshold: str | Sequence[ArrayLike] = "midpoint",
    by_filter: bool = False,
    known: Sequence[LayerInterference] | None = None,
) -> PathGuarantee:
    """
    Tell for which codes layered thresholding recovers the path for all signs.

    With the mutual coherence these are [PRE17] Theorem 8 (hard) and Theorem 10 (soft). The forms with the Babel
    function, and with the supports and magnitudes themselves, are sharper (docs/theory.md, "Uniform guarantees"). For
    hard thresholding, and for soft thresholding with threshold "lower", a path covered by one form is also covered by
    the next in the order coherence, Babel, instance.

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
    threshold : {"midpoint", "lower"} or sequence, one entry per layer
        The middle of the interval; its lower end, where the error of soft thresholding is
        smallest; or thresholds fixed beforehand, each a number or of shape (...).
    by_filter : bool
        Whether every filter has a threshold and an interval of its own; the last axis of thresholds fixed beforehand is
        then that of the filters. Not with the form "babel" (docs/theory.md, "A threshold for each filter").
    known : sequence of LayerInterference, optional
        Interference in each layer of the codes of the flat batch, where it is known already, for the form "instance"
        with common thresholds.

    Returns
    -------
    PathGuarantee
        Whether each path is recovered, with the interval of thresholds, the error bound and the quantities of each
        layer.

    Raises
    ------
    UserError
        When an option is unknown or shapes do not fit.

    Examples
    --------
    >>> import dcsc
    >>> import numpy as np
    >>> dictionary = dcsc.families.create("hadamard-dirac", grid=64, taps=16)
    >>> codes = np.zeros((2, *dictionary.code_shape))
    >>> codes[0, 3, 1] = codes[1, :3, 1] = 1.0
    >>> model = dcsc.Cascade([dictionary])
    >>> dcsc.guarantees.uniform(model, [codes], form="coherence").holds
    array([ True, False])
    """
    check_choice(rule, RULES, "rule")
    check_choice(form, FORMS, "form")
    listed, eps = check_path(model, codes, noise)
    choices = given_thresholds(threshold, model.depth)
    layers = []
    for layer, code in enumerate(listed, start=1):
        if known is not None and form == "instance" and not by_filter:
            levels = _instance_levels(known[layer - 1], code.batch_shape)
        else:
            levels = (uniform_levels if by_filter else _levels)(model.dictionaries[layer - 1], code, form)
        layers.append(_layer(model, layer, code, eps, rule, levels, choices[layer - 1]))
        eps = layers[-1].error_bound
    return PathGuarantee(tuple(layers), form, rule)


def _levels(dictionary: ConvolutionalDictionary, code: RaggedCodes, form: str) -> Levels:
    """Bound the interference of one layer over all signs."""
    if form == "instance":
        return _instance_levels(layer_interference(dictionary, code.reshape((code.row_size.size,))), code.batch_shape)
    x_min, x_max = extreme_magnitudes(code, dictionary.rank)
    k = np.asarray(stripe_norm(code, dictionary))
    mu = mutual_coherence(dictionary)
    off, active = (
        (babel(dictionary, count) if form == "babel" else mu * count) * x_max for count in (k, np.maximum(k - 1, 0))
    )
    return Levels(off, x_min - active, active)


def _instance_levels(interference: LayerInterference, batch: tuple[int, ...]) -> Levels:
    """Bound the interference of one layer by its supports and magnitudes."""
    levels = levels_of(interference)
    return Levels(levels.off.reshape(batch), levels.on.reshape(batch), each=levels.each)


def _layer(
    model: Cascade, layer: int, code: RaggedCodes, eps: NDArray, rule: str, levels: Levels, threshold: str | ArrayLike
) -> LayerGuarantee:
    dictionary, below = model.dictionaries[layer - 1], model.next_dictionary(layer)
    x_min, x_max = extreme_magnitudes(code, model.rank)
    k, mu = np.asarray(stripe_norm(code, dictionary)), mutual_coherence(dictionary)
    interval = choose_threshold(levels, eps, rounding_guard(dictionary, code, eps), threshold)
    signed = has_negative(code) & (rule == "relu")
    holds = interval.contains & ~signed
    shrink = np.zeros_like(interval.threshold) if rule == "hard" else interval.threshold
    bound = error_bound(levels, code, eps, shrink, below, model.rank)
    reason = ""
    if not holds.all():
        first, words = first_without(holds)
        sizes = (
            f"k = {k[first]}, mu = {mu:.4g}, X_min = {x_min[first]:.4g}, X_max = {x_max[first]:.4g}, "
            f"eps = {eps[first]:.4g}"
        )
        reason = f"{words} {_cause(first, eps, interval, signed, sizes)}."
    return LayerGuarantee(
        holds=holds, eps_in=eps, error_bound=np.where(holds, bound, np.inf),
        threshold=interval.threshold, threshold_lower=interval.lower, threshold_upper=interval.upper,
        stripe_sparsity=k, coherence=mu, x_min=x_min, x_max=x_max,
        patch_sparsity=np.asarray(patch_norm(code, below, model.rank)), reason=reason,
    )  # fmt: skip


def _cause(first: tuple[np.intp, ...], eps: NDArray, interval: Interval, signed: NDArray, sizes: str) -> str:
    """Say why a code has no guarantee."""
    if not np.isfinite(eps[first]):
        return "the layer before it has no error bound"
    if signed[first]:
        return "it has negative entries, which ReLU cannot return"
    place, of = first, ""
    if interval.is_open.ndim > eps.ndim:
        place = (*first, _failing_filter(interval, first))
        of = f" for filter {place[-1]}"
    lower, upper = interval.lower[place], interval.upper[place]
    if not interval.is_open[place]:
        return f"no threshold fits{of} between {lower:.4g} and {upper:.4g} ({sizes})"
    return f"its threshold {interval.threshold[place]:.4g}{of} lies outside the interval ({lower:.4g}, {upper:.4g})"


def _failing_filter(interval: Interval, code: tuple[np.intp, ...]) -> np.intp:
    """The filter of a code whose threshold lies least inside its interval."""
    beta = interval.threshold[code]
    room = np.where(np.isfinite(beta), np.minimum(beta - interval.lower[code], interval.upper[code] - beta), -np.inf)
    return np.argmin(np.where(interval.is_open[code], room, -np.inf))
