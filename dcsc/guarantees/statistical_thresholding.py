"""Statistical guarantees of layered thresholding: recovery with high probability over random signs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.errors import UserError
from dcsc.guarantees.bounds import closed_form, closed_variance, least_squares_gain
from dcsc.guarantees.checks import check_choice, check_path, rounding_guard
from dcsc.guarantees.interference import (
    Interference,
    LayerInterference,
    largest_write_counts,
    layer_failure,
    layer_interference,
    plain_interference,
    propagated_columns,
    rademacher_interference,
)
from dcsc.guarantees.levels import Levels, choose_threshold, error_bound
from dcsc.guarantees.search import optimise_levels
from dcsc.guarantees.tails import best_threshold
from dcsc.guarantees.uniform_thresholding import RULES
from dcsc.model.cascade import Cascade
from dcsc.model.sparsity import extreme_magnitudes, patch_norm
from dcsc.ragged import RaggedCodes, reduce_codes

FORMS = ("babel2", "coherence", "instance")
SIGNS = ("deepest", "rademacher")
METHODS = ("optimised", "split")


@dataclass(frozen=True, eq=False)
class StatisticalLayer:
    """
    What a statistical guarantee says about one layer of each code of a batch.

    Parameters
    ----------
    holds : ndarray of bool, shape (...)
        Split: X_min leaves room for the levels. Optimised: the probability is at most delta.
    probability : ndarray, shape (...)
        The layer's share delta_l (split), or the bound that its threshold attains (optimised).
    variance : ndarray, shape (...)
        Largest variance of an atom's interference, or its bound by mu^2 k X_max^2 or mu_2(k)^2 X_max^2.
    eps_in : ndarray, shape (...)
        Bound on the patch norm of the error of the layer's input.
    threshold, threshold_lower, threshold_upper : ndarray, shape (...)
        beta, and the interval of thresholds that keep the layer's failure below its share of delta.
    error_bound : ndarray, shape (...)
        Bound on the patch norm of the error of the layer's code, infinity where there is none.
    smallest_singular : ndarray, shape (...)
        Smallest singular value of the active atoms when debiasing, 0 where they may be dependent; else NaN.
    """

    holds: NDArray
    probability: NDArray
    variance: NDArray
    eps_in: NDArray
    threshold: NDArray
    threshold_lower: NDArray
    threshold_upper: NDArray
    error_bound: NDArray
    smallest_singular: NDArray


@dataclass(frozen=True, eq=False)
class StatisticalPath:
    """
    What a statistical guarantee says about the paths of a batch.

    Parameters
    ----------
    layers : tuple of StatisticalLayer
        From layer 1 to layer L.
    delta : float
        Admitted failure probability.
    form, rule, signs, method : str
        As asked for.
    debias : bool
        Whether least squares follows each step.
    determined : ndarray of bool, shape (...)
        Whether the deepest support and magnitudes fix those of every layer.
    certified : ndarray of bool, shape (...)
        Split: every layer has room. Optimised: `probability` is at most delta.
    probability : ndarray, shape (...)
        Bound for the draw, in the sense of `statement`; NaN where the draw alone has none, which is where it is not
        `determined`: `failure_rate_bound` then speaks of the whole batch.
    noise_failure : float
        Probability that the noise exceeds its bound.
    statement : str
        What the numbers mean.
    reason : str
        Why the guarantee does not hold for some code, empty when it holds for all.
    """

    layers: tuple[StatisticalLayer, ...]
    delta: float
    form: str
    rule: str
    signs: str
    method: str
    debias: bool
    determined: NDArray
    certified: NDArray
    probability: NDArray
    noise_failure: float
    statement: str
    reason: str

    @property
    def holds(self) -> NDArray:
        """Same as `certified`, shape (...)."""
        return self.certified

    @property
    def thresholds(self) -> list[NDArray]:
        """The threshold of every layer, each of shape (...)."""
        return [layer.threshold for layer in self.layers]

    @property
    def failure_rate_bound(self) -> float:
        """
        Bound on the failure rate, averaged over the draws of the batch.

        The share of uncertified draws plus delta (split), or the mean over draws of their probabilities or, where
        they have none, of the sum of those of their layers (optimised), and at most 1 (docs/theory.md, "Means and
        caps"); an estimate of the bound, as good as the batch is large.
        """
        if self.method == "split":
            return min(1.0, float(np.mean(~self.certified)) + self.delta)
        of_layers = np.sum([layer.probability for layer in self.layers], axis=0) + self.noise_failure
        return min(1.0, float(np.mean(np.where(np.isnan(self.probability), of_layers, self.probability))))


def statistical(
    model: Cascade,
    codes: Sequence[ArrayLike | RaggedCodes],
    noise: ArrayLike = 0.0,
    *,
    delta: float = 0.01,
    form: str = "instance",
    rule: str = "hard",
    signs: str = "rademacher",
    method: str = "split",
    debias: bool = False,
    threshold: str = "midpoint",
    split: Sequence[float] | None = None,
    noise_deviation: float = 0.0,
    noise_failure: float = 0.0,
) -> StatisticalPath:
    """
    Bound the probability that layered thresholding misses a path when signs are random.

    Our derivation, following the abstract of [MT18] and the method of [SV07]: docs/theory.md,
    "Statistical guarantees" (one layer), "Path with random signs", "Optimised levels",
    "Debiasing" and "Plain model".

    Parameters
    ----------
    model : Cascade
        The layers; for signs "rademacher" its T^(l) are drawn afresh for every trial, and do not matter here.
    codes : sequence of array_like of shape (..., filter, *position), or of RaggedCodes
        [X^(1), ..., X^(L)].
    noise : array_like, shape () or (...)
        eps_0 >= ||E||^P_{2,inf}, valid before the signs are drawn.
    delta : float
        Admitted failure probability of the path.
    form : {"coherence", "babel2", "instance"}
        What bounds the variances: mu^2 k X_max^2, mu_2(k)^2 X_max^2, or themselves.
    rule : {"hard", "soft", "relu"}
        The thresholding; "relu" for codes without negative entries, given as such. Only the statement of method
        "split" says something of more than one layer then, because other signs make inner codes of both signs.
    signs : {"rademacher", "deepest"}
        Independent signs at every layer (D-CSC-R), or only those of the deepest code (plain
        D-CSC, where the propagated columns of its active atoms must be disjoint; instance form only).
    method : {"split", "optimised"}
        delta_l fixed before the draw, or levels and thresholds optimised for the draw, which
        needs supports and magnitudes that the deepest code determines (or noiseless debiasing, or one layer).
    debias : bool
        Least squares on the recovered support after each layer.
    threshold : {"midpoint", "lower"}
        For method "split": middle or lower end of the interval of thresholds.
    split : sequence of float, optional
        Shares delta_l / delta, adding up to 1; equal ones by default.
    noise_deviation : float
        sigma of white Gaussian noise on the signal, counted exactly at layer 1, beside `noise`.
    noise_failure : float
        Probability that the noise exceeds `noise`, for unbounded noise; part of delta.

    Returns
    -------
    StatisticalPath
        Whether each draw is certified, the probability where the draw has one, and what they mean.

    Raises
    ------
    UserError
        When options are unknown or do not go together, or shapes do not fit.
    """
    for value, allowed, name in (
        (form, FORMS, "form"), (rule, RULES, "rule"), (signs, SIGNS, "signs"), (method, METHODS, "method"),
        (threshold, ("lower", "midpoint"), "threshold"),
    ):  # fmt: skip
        check_choice(value, allowed, name)
    if rule == "relu" and signs == "deepest":
        raise UserError("signs 'deepest' gives codes of both signs, which ReLU cannot return: use rule 'soft'.")
    shares = _check_options(model, delta, form, signs, method, debias, split, noise_deviation, noise_failure)
    listed, eps = check_path(model, codes, noise)
    batch = eps.shape
    flat = [code.reshape((eps.size,)) for code in listed]
    problem = _Problem(model, flat, np.array(eps).ravel(), shares, form, rule, signs, debias, noise_deviation**2)
    determined, cause = _determined(problem)
    signed, inner = out_of_reach(flat, rule)
    cause = cause or ("a code has negative entries, which ReLU cannot return" if signed.any() else "")
    if method == "split":
        layers, certified = problem.split(threshold)
        certified &= ~signed & (determined if signs == "deepest" else True)
        probability = np.where(determined, np.where(certified, delta, 1.0), np.nan)
    else:
        layers, probability = problem.optimise(determined, delta)
        probability = np.minimum(1.0, probability + noise_failure)
    # Other signs make inner codes of both signs, even if those at hand do not.
    probability = np.where(signed | inner, 1.0, probability)
    if method == "optimised":
        certified = probability <= delta
        cause = cause or ("other signs make inner codes of both signs, which ReLU cannot return" if inner.any() else "")
    reason = _reason(certified, cause, layers, method, delta)
    shaped = tuple(
        replace(layer, **{name: value.reshape(batch) for name, value in vars(layer).items()}) for layer in layers
    )
    return StatisticalPath(
        shaped, delta, form, rule, signs, method, debias, determined.reshape(batch), certified.reshape(batch),
        probability.reshape(batch), noise_failure, _statement(method, determined, probability), reason,
    )  # fmt: skip


def out_of_reach(codes: list[RaggedCodes], rule: str) -> tuple[NDArray, NDArray]:
    """
    Tell which paths ReLU does not return, with the signs at hand or with others.

    Parameters
    ----------
    codes : list of RaggedCodes, batch shape (code,)
        [X^(1), ..., X^(L)].
    rule : str
        Nothing is out of reach of other rules than "relu".

    Returns
    -------
    signed, inner : ndarray of bool, shape (code,)
        Whether some code has negative entries, and whether some inner code has entries at all: the signs of the
        layer below it then make them negative for some draws.
    """
    nothing = np.zeros(len(codes[0].row_size), dtype=bool)
    if rule != "relu":
        return nothing, nothing
    signed = [reduce_codes(np.minimum, code.value, code, 0.0) < 0 for code in codes]
    inner = [code.row_size > 0 for code in codes[:-1]]
    return np.any(signed, axis=0), np.any([nothing, *inner], axis=0)


def _check_options(
    model: Cascade,
    delta: float,
    form: str,
    signs: str,
    method: str,
    debias: bool,
    split: Sequence[float] | None,
    noise_deviation: float,
    noise_failure: float,
) -> NDArray:
    """Refuse what does not go together, and give each layer its share of delta."""
    if not 0 <= noise_failure < delta < 1:
        raise UserError(f"delta {delta} is not allowed: give a probability above noise_failure and below 1.")
    if noise_deviation < 0:
        raise UserError("the noise deviation is negative: give 0 or more.")
    if signs == "deepest" and form != "instance":
        raise UserError("signs 'deepest' has the instance form only: use form='instance'.")
    if signs == "deepest" and model.signs is not None:
        raise UserError("signs 'deepest' is about the plain model: give a cascade without signs.")
    if method == "optimised" and form != "instance" and model.depth > 1 and not debias:
        raise UserError(f"form {form!r} of a path has no optimised levels: use method='split' or form='instance'.")
    if debias and noise_deviation and model.depth > 1:
        raise UserError("debiasing needs a bound on the noise: use gaussian_noise_bound, noise and noise_failure.")
    weights = np.full(model.depth, 1 / model.depth) if split is None else np.asarray(split, dtype=np.float64)
    if weights.shape != (model.depth,) or (weights <= 0).any() or abs(weights.sum() - 1) > 1e-9:
        raise UserError(f"split {split} is not allowed: give {model.depth} positive shares that add up to 1.")
    return weights * (delta - noise_failure)


def _determined(problem: _Problem) -> tuple[NDArray, str]:
    """Whether supports and magnitudes of each path follow from those of its deepest code, and why not."""
    model, codes = problem.model, problem.codes
    if problem.signs == "deepest":
        found, cause = (
            disjoint_columns(codes, problem.columns),
            "the propagated columns of two active deepest atoms overlap",
        )
    else:
        found = separate_writes(model, codes)
        cause = "two active atoms write to one entry of the layer above"
    return found, "" if found.all() else cause


def separate_writes(model: Cascade, codes: list[RaggedCodes]) -> NDArray:
    """
    Tell whether no two active atoms write to one entry of the layer above, at any layer.

    Parameters
    ----------
    model : Cascade
        The layers.
    codes : list of RaggedCodes, batch shape (code,)
        [X^(1), ..., X^(L)].

    Returns
    -------
    ndarray of bool, shape (code,)
        Where it is so, the deepest support and magnitudes fix those of every layer, whatever the signs of D-CSC-R.
    """
    separate = np.ones(len(codes[-1].row_size), dtype=bool)
    for dictionary, code in zip(model.dictionaries[1:], codes[1:], strict=True):
        separate &= largest_write_counts(dictionary, code) <= 1
    return separate


def disjoint_columns(codes: list[RaggedCodes], columns: list[RaggedCodes]) -> NDArray:
    """
    Tell whether the columns of each deepest code have disjoint supports, at every layer above it.

    Parameters
    ----------
    codes : list of RaggedCodes
        [X^(1), ..., X^(L)] of the plain model.
    columns : list of RaggedCodes
        What the active deepest atoms make of every layer, from `propagated_columns`.

    Returns
    -------
    ndarray of bool, shape (code,)
        Where they are, the deepest support and magnitudes fix those of every layer.

    Raises
    ------
    UserError
        When codes do not follow from the deepest ones.
    """
    n_codes = len(codes[-1].row_size)
    of_column = np.repeat(np.arange(n_codes), codes[-1].row_size)
    disjoint = np.ones(n_codes, dtype=bool)
    for layer, (code, column) in enumerate(zip(codes[:-1], columns[:-1], strict=True), start=1):
        n_atoms = math.prod(code.code_shape)
        rows = np.repeat(of_column, column.row_size)
        places, inverse, written = np.unique(rows * n_atoms + column.atom, return_inverse=True, return_counts=True)
        disjoint[np.unique(places[written > 1] // n_atoms)] = False
        made = np.bincount(inverse, np.abs(column.value), len(places))
        true = np.repeat(np.arange(n_codes), code.row_size) * n_atoms + code.atom
        expected = np.zeros(len(places))
        at = np.minimum(np.searchsorted(places, true), max(len(places) - 1, 0))
        found = places[at] == true if len(places) else np.zeros(len(true), dtype=bool)
        expected[at[found]] = np.abs(code.value[found])
        wrong = ~np.isclose(made, expected, rtol=1e-6, atol=1e-12)
        left = np.abs(code.value[~found]) > 1e-12
        wrong_codes = np.concatenate([places[wrong] // n_atoms, true[~found][left] // n_atoms])
        if disjoint[wrong_codes].any():
            raise UserError(f"codes of layer {layer} do not follow from the deepest ones in the plain model.")
    return disjoint


@dataclass(frozen=True, eq=False)
class _Problem:
    """The paths of a flat batch and the options that the two methods share."""

    model: Cascade
    codes: list[RaggedCodes]
    eps: NDArray
    shares: NDArray
    form: str
    rule: str
    signs: str
    debias: bool
    noise_variance: float

    @cached_property
    def columns(self) -> list[RaggedCodes]:
        """What each active deepest atom makes of every layer, in the plain model."""
        return propagated_columns(self.model, self.codes[-1])

    def _interference(self, layer: int) -> Interference:
        """The interference at every atom."""
        if self.signs == "deepest":
            return plain_interference(self.model, self.codes[-1], layer, self.columns[layer - 1])
        return rademacher_interference(self.model.dictionaries[layer - 1], self.codes[layer - 1])

    def _sigma2(self, layer: int) -> float:
        return self.noise_variance if layer == 1 else 0.0

    def _growth(self, layer: int) -> float:
        """Square of the level that a sum of variance 1 exceeds with at most the layer's share."""
        return 2 * math.log(2 * self.model.dictionaries[layer - 1].n_atoms / self.shares[layer - 1])

    def _of_layer(self, layer: int) -> LayerInterference:
        """The interference on the supports, and its extremes elsewhere."""
        code, growth, sigma2 = self.codes[layer - 1], self._growth(layer), self._sigma2(layer)
        if self.signs == "deepest":
            return self._interference(layer).of_layer(code, growth, sigma2)
        return layer_interference(self.model.dictionaries[layer - 1], code, growth=growth, noise_variance=sigma2)

    def _levels(self, layer: int, interference: LayerInterference | None) -> tuple[Levels, NDArray]:
        """Levels that the interference of a layer exceeds with at most its share, and the largest variance."""
        dictionary, code = self.model.dictionaries[layer - 1], self.codes[layer - 1]
        sigma2, growth = self._sigma2(layer), self._growth(layer)
        if interference is None:
            variance = closed_variance(dictionary, code, self.form)
            level = np.sqrt((variance + sigma2) * growth)
            return Levels(level, extreme_magnitudes(code, dictionary.rank)[0] - level, level), variance
        level = np.sqrt((interference.variance + sigma2) * growth)
        level = np.minimum(level, interference.bound + math.sqrt(sigma2 * growth))
        on = reduce_codes(np.minimum, np.abs(code.value) + interference.locked - level, code, np.inf)
        each = level + np.abs(interference.locked)
        return Levels(interference.off_level, on, each=each), interference.largest_variance

    def _debiased(self, layer: int, eps: NDArray) -> tuple[NDArray, NDArray]:
        """Error bound of least squares, and the smallest singular value of the active atoms."""
        dictionary, code = self.model.dictionaries[layer - 1], self.codes[layer - 1]
        gain, smallest = least_squares_gain(dictionary, code)
        patch = np.asarray(patch_norm(code, self.model.next_dictionary(layer), self.model.rank))
        with np.errstate(invalid="ignore"):
            bound = np.where(eps > 0, np.sqrt(patch) * gain * eps, 0.0)
        return np.where(smallest > 0, np.where(patch > 0, bound, 0.0), np.inf), smallest

    def split(self, threshold: str) -> tuple[list[StatisticalLayer], NDArray]:
        """Certify with shares of delta that were fixed before the draw."""
        eps, certified, layers = self.eps, np.ones(len(self.eps), dtype=bool), []
        for layer, (dictionary, code) in enumerate(zip(self.model.dictionaries, self.codes, strict=True), start=1):
            interference = self._of_layer(layer) if self.form == "instance" else None
            levels, variance = self._levels(layer, interference)
            guard = rounding_guard(dictionary, extreme_magnitudes(code, dictionary.rank)[1], eps)
            interval = choose_threshold(levels, eps, guard, threshold)
            smallest = np.full(len(eps), np.nan)
            if self.debias:
                bound, smallest = self._debiased(layer, eps)
            else:
                shrink = np.zeros_like(eps) if self.rule == "hard" else interval.threshold
                below = self.model.next_dictionary(layer)
                bound = error_bound(levels, code, eps, shrink, below, dictionary.rank)
            holds = interval.contains & (np.isnan(smallest) | (smallest > 0))
            certified = certified & holds
            bound = np.where(certified, bound, np.inf)
            share = np.full(len(eps), self.shares[layer - 1])
            layers.append(
                StatisticalLayer(
                    holds, share, variance, eps, interval.threshold, interval.lower, interval.upper, bound, smallest
                )
            )
            eps = bound
        return layers, certified

    def optimise(self, determined: NDArray, delta: float) -> tuple[list[StatisticalLayer], NDArray]:
        """Bound the failure of each draw with the best thresholds and levels for it; NaN where it has no bound."""
        depth = self.model.depth
        guards = [
            rounding_guard(dictionary, extreme_magnitudes(code, dictionary.rank)[1], self.eps)
            for dictionary, code in zip(self.model.dictionaries, self.codes, strict=True)
        ]
        if depth > 1 and not self.debias:
            everywhere = [self._interference(layer) for layer in range(1, depth + 1)]
            betas, errors, probabilities = optimise_levels(
                self.model, self.codes, everywhere, self.eps, guards, self.rule, self.noise_variance
            )
            singular = [np.full(len(self.eps), np.nan)] * depth
            interferences = [
                one.of_layer(code, self._growth(layer), self._sigma2(layer))
                for layer, (one, code) in enumerate(zip(everywhere, self.codes, strict=True), start=1)
            ]
        else:
            betas, errors, probabilities, singular, interferences = self._layer_by_layer(guards)
        # Noiseless debiasing passes on no error, so that each layer is bounded given its own code, whose signs are
        # Rademacher in D-CSC-R alone.
        applies = determined | (self.debias & (self.eps == 0) & (self.signs == "rademacher"))
        total = np.where(applies, np.minimum(1.0, np.sum(probabilities, axis=0)), 1.0)
        total = np.where(applies & ~determined, np.nan, total)
        layers = []
        for layer in range(1, depth + 1):
            eps_in = self.eps if layer == 1 else errors[layer - 2]
            levels, variance = self._levels(layer, interferences[layer - 1])
            interval = choose_threshold(levels, eps_in, guards[layer - 1], "midpoint")
            probability = np.where(applies, probabilities[layer - 1], 1.0)
            layers.append(
                StatisticalLayer(
                    probability <= delta, probability, variance, eps_in, betas[layer - 1],
                    interval.lower, interval.upper, errors[layer - 1], singular[layer - 1],
                )
            )  # fmt: skip
        return layers, total

    def _layer_by_layer(self, guards: list[NDArray]) -> tuple[list, list, list, list, list]:
        """Thresholds, errors, probabilities, singular values and interferences when errors do not depend on levels."""
        eps, found = self.eps, ([], [], [], [], [])
        for layer, guard in enumerate(guards, start=1):
            finite = np.where(np.isfinite(eps), eps, 0.0)
            interference, beta, probability = self._best(layer, finite, guard)
            error, smallest = np.full(len(eps), np.inf), np.full(len(eps), np.nan)
            if self.debias:
                error, smallest = self._debiased(layer, eps)
            probability = np.where(np.isfinite(eps) & ~(smallest == 0), probability, 1.0)
            for values, value in zip(found, (beta, error, probability, smallest, interference), strict=True):
                values.append(value)
            eps = error
        return found

    def _best(self, layer: int, eps: NDArray, guard: NDArray) -> tuple[LayerInterference | None, NDArray, NDArray]:
        """The best threshold of a layer and its failure bound, and the interference that they come from."""
        dictionary, code = self.model.dictionaries[layer - 1], self.codes[layer - 1]
        growth, sigma2 = self._growth(layer), self._sigma2(layer)
        if self.form != "instance":
            return None, *closed_form(dictionary, code, eps, self.form, sigma2)
        if self.signs == "deepest":
            everywhere = self._interference(layer)
            return everywhere.of_layer(code, growth, sigma2), *best_threshold(everywhere, eps, guard, sigma2)
        return layer_failure(dictionary, code, eps, guard, growth=growth, noise_variance=sigma2)


def _statement(method: str, determined: NDArray, probability: NDArray) -> str:
    if method == "split":
        joint = "P(certified and path not recovered) <= delta over the draws; not a bound on P(fail | certified)"
        return joint + "; given a certified deepest support and magnitudes where `determined`."
    if determined.all():
        return "P(path not recovered | deepest support and magnitudes) <= probability."
    if np.isnan(probability).any():
        return "P(path not recovered) <= failure_rate_bound; a draw has a bound of its own where `determined` only."
    return "P(path not recovered | deepest support and magnitudes) <= probability, which is 1 where not `determined`."


def _reason(certified: NDArray, cause: str, layers: list[StatisticalLayer], method: str, delta: float) -> str:
    if certified.all():
        return ""
    count = f"{certified.size - int(certified.sum())} of {certified.size} codes are not certified"
    first = int(np.argmin(certified))
    for number, layer in enumerate(layers, start=1):
        if layer.smallest_singular[first] == 0:
            return f"{count}, the first because the active atoms of layer {number} are linearly dependent."
        if method == "split" and not layer.holds[first]:
            lower, upper = layer.threshold_lower[first], layer.threshold_upper[first]
            return f"{count}, the first because layer {number} has no threshold between {lower:.4g} and {upper:.4g}."
    if cause:
        return f"{count}; where it does not apply, {cause}."
    return f"{count}, because the bound on their failure probability exceeds {delta:g}."
