"""Statistical guarantees of layered thresholding: recovery with high probability over random signs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import real_numbers
from dcsc.errors import UserError
from dcsc.guarantees.bounds import closed_form, closed_variance, least_squares_gain
from dcsc.guarantees.by_filter import check_form, closed_failure, layer_levels, plain_levels, rare_levels
from dcsc.guarantees.checks import SIGNS, check_choice, check_rule, flat_path, rounding_guard
from dcsc.guarantees.interference import (
    Interference,
    LayerInterference,
    layer_failure,
    layer_interference,
    rademacher_interference,
)
from dcsc.guarantees.levels import THRESHOLDS, Levels, choose_threshold, error_bound, levels_of
from dcsc.guarantees.plain_model import Propagation
from dcsc.guarantees.random_signs import disjoint_columns, out_of_reach, separate_writes
from dcsc.guarantees.results import ThresholdedLayer
from dcsc.guarantees.search import optimise_levels
from dcsc.guarantees.sharp_tails import best_failure, plain_best_failure
from dcsc.guarantees.tails import TAILS, squared_level
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.sparsity import extreme_magnitudes, patch_norm
from dcsc.ragged import RaggedCodes

FORMS = ("babel2", "coherence", "instance")
METHODS = ("optimised", "split")


@dataclass(frozen=True, eq=False, kw_only=True)
class StatisticalLayer(ThresholdedLayer):
    """
    The statistical guarantee for one layer of each code of a batch.

    Parameters
    ----------
    holds : ndarray of bool, shape (...)
        Split: X_min leaves a margin for the levels. Optimised: the probability is at most delta.
    eps_in, error_bound
        As for `ThresholdedLayer`.
    threshold, threshold_lower, threshold_upper : ndarray, shape (...), or by filter (..., filter)
        beta, and the interval of thresholds that keep the layer's failure below its share of delta.
    probability : ndarray, shape (...)
        The layer's share delta_l (split), or the bound that its threshold attains (optimised).
    variance : ndarray, shape (...)
        Largest variance of an atom's interference, or its bound by mu^2 k X_max^2 or mu_2(k)^2 X_max^2.
    smallest_singular : ndarray, shape (...)
        Smallest singular value of the active atoms when debiasing, 0 where they may be dependent; else NaN.
    """

    probability: NDArray
    variance: NDArray
    smallest_singular: NDArray


@dataclass(frozen=True, eq=False, kw_only=True)
class StatisticalOptions:
    """
    Options of a statistical guarantee, see `statistical`.

    Parameters
    ----------
    delta : float
        Admitted failure probability.
    form, rule, signs, method : str
        As asked for.
    debias : bool
        Whether least squares follows each step.
    noise_deviation, noise_failure : float
        sigma of Gaussian noise, and the probability that the noise exceeds its bound.
    tail : str
        The bound on the tails of the interference.
    by_filter : bool
        Whether every filter has a threshold of its own.
    """

    delta: float
    form: str
    rule: str
    signs: str
    method: str
    debias: bool
    noise_deviation: float
    noise_failure: float
    tail: str
    by_filter: bool

    def check(self, model: Cascade) -> None:
        """
        Refuse what is unknown or does not go together.

        Parameters
        ----------
        model : Cascade
            What the guarantee is about.

        Raises
        ------
        UserError
            With what to do.
        """
        check_choice(self.form, FORMS, "form")
        check_choice(self.method, METHODS, "method")
        check_choice(self.signs, SIGNS, "signs")
        check_choice(self.tail, TAILS, "tail")
        check_rule(self.rule, self.signs)
        if not 0 <= self.noise_failure < self.delta < 1:
            raise UserError(f"delta {self.delta} is not allowed: give a probability above noise_failure and below 1.")
        if self.noise_deviation < 0:
            raise UserError("the noise deviation is negative: give 0 or more.")
        if self.signs == "deepest" and self.form != "instance":
            raise UserError("signs 'deepest' has the instance form only: use form='instance'.")
        if self.signs == "deepest" and model.signs is not None:
            raise UserError("signs 'deepest' is about the plain model: give a cascade without signs.")
        if self.method == "optimised" and self.form != "instance" and model.depth > 1 and not self.debias:
            raise UserError(
                f"form {self.form!r} of a path has no optimised levels: use method='split' or form='instance'."
            )
        if self.by_filter:
            check_form(self.form)
            if self.method == "optimised" and model.depth > 1 and not self.debias:
                raise UserError("levels of a path are optimised for one threshold per layer: use method='split'.")
        if self.debias and self.noise_deviation and model.depth > 1:
            raise UserError("debiasing needs a bound on the noise: use gaussian_noise_bound, noise and noise_failure.")


@dataclass(frozen=True, eq=False, kw_only=True)
class StatisticalPath(StatisticalOptions):
    """
    The statistical guarantee for the paths of a batch.

    Parameters
    ----------
    delta, form, rule, signs, method, debias, noise_deviation, noise_failure, tail, by_filter
        As asked for.
    layers : tuple of StatisticalLayer
        From layer 1 to layer L.
    determined : ndarray of bool, shape (...)
        Whether the deepest support and magnitudes fix those of every layer.
    certified : ndarray of bool, shape (...)
        Split: every layer holds. Optimised: `probability` is at most delta.
    probability : ndarray, shape (...)
        Bound for the draw, in the sense of `statement`. NaN where the draw alone has no bound because it is not
        `determined`; `failure_rate_bound` then bounds the failure rate of the whole batch.
    statement : str
        What the numbers mean.
    reason : str
        Why the guarantee does not hold for some code, empty when it holds for all.
    """

    layers: tuple[StatisticalLayer, ...]
    determined: NDArray
    certified: NDArray
    probability: NDArray
    statement: str
    reason: str

    @property
    def holds(self) -> NDArray:
        """Same as `certified`, shape (...)."""
        return self.certified

    @property
    def thresholds(self) -> list[NDArray]:
        """The threshold of every layer, each of shape (...), or (..., filter)."""
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
    tail: str = "exact",
    by_filter: bool = False,
) -> StatisticalPath:
    """
    Bound the probability that layered thresholding does not recover a path when signs are random.

    Our derivation, following the abstract of [MT18] and the method of [SV07]: docs/theory.md,
    "One layer", "Path with random signs", "Optimised levels",
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
        How the variances are bounded: by mu^2 k X_max^2, by mu_2(k)^2 X_max^2, or computed from the instance.
    rule : {"hard", "soft", "relu"}
        The thresholding; "relu" for codes without negative entries. With more than one layer, only method "split" has
        a statement about "relu", because random signs give inner codes with entries of both signs.
    signs : {"rademacher", "deepest"}
        Independent signs at every layer (D-CSC-R), or signs of the deepest code only (plain D-CSC). The latter needs
        the instance form, and propagated columns of the active deepest atoms with disjoint supports.
    method : {"split", "optimised"}
        Shares delta_l fixed before the draw, or levels and thresholds optimised for each draw. The latter needs
        supports and magnitudes that the deepest code determines, or noiseless debiasing, or one layer.
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
    tail : {"hoeffding", "gaussian", "chernoff", "exact"}
        The bound on the tails of the interference; each is the minimum of its own bound and those before it
        (docs/theory.md, "Tails"). Where only variances are used, the last two equal the Gaussian one: in closed forms,
        in the levels of method "split", and above the deepest layer in optimised ones.
    by_filter : bool
        A threshold for each filter, as the biases of a CNN (docs/theory.md, "A threshold for each filter"); forms
        "coherence", by pairs of filters, and "instance".

    Returns
    -------
    StatisticalPath
        Whether each draw is certified, the bound on its failure probability where it has one, and the statement that
        they belong to.

    Raises
    ------
    UserError
        When options are unknown or do not go together, or shapes do not fit.
    """
    options = StatisticalOptions(
        delta=delta, form=form, rule=rule, signs=signs, method=method, debias=debias,
        noise_deviation=noise_deviation, noise_failure=noise_failure, tail=tail,
        by_filter=by_filter,
    )  # fmt: skip
    options.check(model)
    check_choice(threshold, THRESHOLDS, "threshold")
    flat, eps, batch = flat_path(model, codes, noise)
    propagation = Propagation.of(model) if signs == "deepest" else None
    columns = None if propagation is None else propagation.columns(flat[-1])
    layers = _layers(model, flat, propagation, columns, options, _shares(model.depth, split))
    determined = separate_writes(model, flat) if columns is None else disjoint_columns(flat, columns)
    signed, inner = out_of_reach(flat, rule)
    if method == "split":
        results, certified = _split(layers, eps, options, threshold)
        certified &= ~signed & (determined if signs == "deepest" else True)
        probability = np.where(determined, np.where(certified, delta, 1.0), np.nan)
    else:
        # Noiseless debiasing passes on no error, so that each layer is bounded given its own code, whose signs are
        # Rademacher in D-CSC-R alone.
        applies = determined | (debias & (eps == 0) & (signs == "rademacher"))
        results = _optimise(model, layers, eps, options, applies)
        total = np.minimum(1.0, np.sum([layer.probability for layer in results], axis=0))
        probability = np.where(applies & ~determined, np.nan, np.where(applies, total, 1.0))
        probability = np.minimum(1.0, probability + noise_failure)
    # Other signs make inner codes of both signs, even if those at hand do not.
    probability = np.where(signed | inner, 1.0, probability)
    if method == "optimised":
        certified = probability <= delta
    causes = {
        "two active atoms write to one entry of the layer above": ~determined & (signs == "rademacher"),
        "the propagated columns of two active deepest atoms overlap": ~determined & (signs == "deepest"),
        "a code has negative entries, which ReLU cannot return": signed,
        "other signs make inner codes of both signs, which ReLU cannot return": inner & (method == "optimised"),
    }
    cause = next((text for text, where in causes.items() if where.any()), "")
    shaped = tuple(
        replace(layer, **{name: value.reshape((*batch, *value.shape[1:])) for name, value in vars(layer).items()})
        for layer in results
    )
    return StatisticalPath(
        **vars(options), layers=shaped, determined=determined.reshape(batch), certified=certified.reshape(batch),
        probability=probability.reshape(batch), statement=_statement(method, determined, probability),
        reason=_reason(certified, cause, results, method, delta),
    )  # fmt: skip


def _shares(depth: int, split: Sequence[float] | None) -> NDArray:
    """Give each layer its share of delta."""
    weights = np.full(depth, 1 / depth) if split is None else real_numbers(split, "split").astype(np.float64)
    if weights.shape != (depth,) or (weights <= 0).any() or abs(weights.sum() - 1) > 1e-9:
        raise UserError(f"split {split} is not allowed: give {depth} positive shares that add up to 1.")
    return weights


@dataclass(frozen=True, eq=False)
class _Layer:
    """One layer of the paths of a flat batch, and how its interference is bounded."""

    dictionary: ConvolutionalDictionary
    below: ConvolutionalDictionary | None
    codes: RaggedCodes
    everywhere: Callable[[], Interference]
    sharp: Callable[..., tuple[NDArray, NDArray]]
    is_plain: bool
    options: StatisticalOptions
    share: float
    noise_variance: float

    @property
    def growth(self) -> float:
        """Square of the level that a sum of variance 1 exceeds with at most the layer's share of delta."""
        return squared_level(self.share / self.dictionary.n_atoms, self.options.tail)

    def described(self, everywhere: Interference | None = None) -> LayerInterference | None:
        """The interference on the supports, and its extremes elsewhere; nothing for a closed form."""
        if self.options.form != "instance":
            return None
        if everywhere is None and not self.is_plain:
            return layer_interference(
                self.dictionary, self.codes, growth=self.growth, noise_variance=self.noise_variance
            )
        return (everywhere or self.everywhere()).of_layer(self.codes, self.growth, self.noise_variance)

    def levels(self, interference: LayerInterference | None) -> tuple[Levels, NDArray]:
        """Levels that the interference exceeds with at most the layer's share of delta, and the largest variance."""
        if self.options.by_filter:
            return self._levels_by_filter(interference)
        if interference is not None:
            return levels_of(interference, self.growth, self.noise_variance), interference.largest_variance
        variance = closed_variance(self.dictionary, self.codes, self.options.form)
        level = np.sqrt((variance + self.noise_variance) * self.growth)
        return Levels(level, extreme_magnitudes(self.codes, self.dictionary.rank)[0] - level, level), variance

    def _levels_by_filter(self, interference: LayerInterference | None) -> tuple[Levels, NDArray]:
        here = (self.growth, self.noise_variance)
        if interference is None:
            levels, variance = rare_levels(self.dictionary, self.codes, *here)
            return levels, variance.max(axis=1)
        if self.is_plain:
            levels = plain_levels(self.dictionary, self.everywhere(), self.codes, *here)
        else:
            levels = layer_levels(self.dictionary, interference, *here)
        return levels, interference.largest_variance

    def debiased(self, eps: NDArray) -> tuple[NDArray, NDArray]:
        """Error bound of least squares, and the smallest singular value of the active atoms."""
        gain, smallest = least_squares_gain(self.dictionary, self.codes)
        patch = np.asarray(patch_norm(self.codes, self.below, self.dictionary.rank))
        with np.errstate(invalid="ignore"):
            bound = np.where(eps > 0, np.sqrt(patch) * gain * eps, 0.0)
        return np.where(smallest > 0, np.where(patch > 0, bound, 0.0), np.inf), smallest

    def best(self, eps: NDArray, guard: NDArray) -> tuple[NDArray, NDArray]:
        """The best threshold with its failure bound."""
        asked, noise = self.options, self.noise_variance
        if asked.form == "instance":
            return self.sharp(eps, guard, tail=asked.tail, noise_variance=noise, by_filter=asked.by_filter)
        if asked.by_filter:
            return closed_failure(self.dictionary, self.codes, eps, tail=asked.tail, noise_variance=noise)
        return closed_form(self.dictionary, self.codes, eps, asked.form, noise, tail=asked.tail)

    def best_described(self, eps: NDArray, guard: NDArray) -> tuple[NDArray, NDArray, LayerInterference | None]:
        """As `best`, and as `described`, from one look at the interference where its signs are independent."""
        asked, noise = self.options, self.noise_variance
        if asked.form != "instance" or self.is_plain:
            return (*self.best(eps, guard), self.described())
        described, *closed = layer_failure(
            self.dictionary, self.codes, eps, guard, growth=self.growth, noise_variance=noise
        )
        given = {"tail": asked.tail, "noise_variance": noise, "by_filter": asked.by_filter, "closed": tuple(closed)}
        return (*self.sharp(eps, guard, **given), described)


def _layers(
    model: Cascade,
    codes: Sequence[RaggedCodes],
    propagation: Propagation | None,
    columns: Sequence[RaggedCodes] | None,
    options: StatisticalOptions,
    shares: NDArray,
) -> list[_Layer]:
    layers = []
    for index, (dictionary, code) in enumerate(zip(model.dictionaries, codes, strict=True)):
        everywhere, sharp = partial(rademacher_interference, dictionary, code), partial(best_failure, dictionary, code)
        if propagation is not None and columns is not None:
            everywhere = functools.cache(partial(propagation.interference, codes[-1], index + 1))
            sharp = partial(_plain_best, model, codes[-1], index + 1, columns[index], everywhere)
        below, share = model.next_dictionary(index + 1), shares[index] * (options.delta - options.noise_failure)
        variance = 0.0 if index else options.noise_deviation**2
        plain = columns is not None
        layers.append(_Layer(dictionary, below, code, everywhere, sharp, plain, options, share, variance))
    return layers


def _plain_best(
    model: Cascade,
    deepest: RaggedCodes,
    layer: int,
    columns: RaggedCodes,
    everywhere: Callable[[], Interference],
    eps: NDArray,
    guard: NDArray,
    **options: Any,
) -> tuple[NDArray, NDArray]:
    """The best threshold of a layer of the plain model, with what is at hand of it."""
    return plain_best_failure(model, deepest, layer, eps, guard, known=(columns, everywhere()), **options)


def _split(
    layers: Sequence[_Layer], eps: NDArray, options: StatisticalOptions, threshold: str
) -> tuple[list[StatisticalLayer], NDArray]:
    """Certify with shares of delta that were fixed before the draw."""
    certified, results = np.ones(len(eps), dtype=bool), []
    for layer in layers:
        levels, variance = layer.levels(layer.described())
        guard = rounding_guard(layer.dictionary, layer.codes, eps)
        interval = choose_threshold(levels, eps, guard, threshold)
        smallest = np.full(len(eps), np.nan)
        if options.debias:
            bound, smallest = layer.debiased(eps)
        else:
            shrink = np.zeros_like(interval.threshold) if options.rule == "hard" else interval.threshold
            bound = error_bound(levels, layer.codes, eps, shrink, layer.below, layer.dictionary.rank)
        holds = interval.contains & (np.isnan(smallest) | (smallest > 0))
        certified = certified & holds
        bound = np.where(certified, bound, np.inf)
        results.append(
            StatisticalLayer(
                holds=holds, probability=np.full(len(eps), layer.share), variance=variance, eps_in=eps,
                threshold=interval.threshold, threshold_lower=interval.lower, threshold_upper=interval.upper,
                error_bound=bound, smallest_singular=smallest,
            )
        )  # fmt: skip
        eps = bound
    return results, certified


class _Bounded(NamedTuple):
    """The best threshold of a layer, the error that it passes on, its failure bound, and what they come from."""

    threshold: NDArray
    error: NDArray
    probability: NDArray
    smallest_singular: NDArray
    interference: LayerInterference | None


def _optimise(
    model: Cascade, layers: Sequence[_Layer], eps: NDArray, options: StatisticalOptions, applies: NDArray
) -> list[StatisticalLayer]:
    """Bound the failure of each draw with the best thresholds and levels for it, by 1 where these do not apply."""
    guards = [rounding_guard(layer.dictionary, layer.codes, eps) for layer in layers]
    if len(layers) > 1 and not options.debias:
        bounded = _all_at_once(model, layers, eps, guards, options.rule)
    else:
        bounded = _one_by_one(layers, eps, guards, options.debias)
    results = []
    for layer, guard, best in zip(layers, guards, bounded, strict=True):
        levels, variance = layer.levels(best.interference)
        interval = choose_threshold(levels, eps, guard, "midpoint")
        probability = np.where(applies, best.probability, 1.0)
        results.append(
            StatisticalLayer(
                holds=probability <= options.delta, probability=probability, variance=variance, eps_in=eps,
                threshold=best.threshold, threshold_lower=interval.lower, threshold_upper=interval.upper,
                error_bound=best.error, smallest_singular=best.smallest_singular,
            )
        )  # fmt: skip
        eps = best.error
    return results


def _all_at_once(
    model: Cascade, layers: Sequence[_Layer], eps: NDArray, guards: list[NDArray], rule: str
) -> list[_Bounded]:
    """Optimise the levels of all layers together."""
    everywhere = [layer.everywhere() for layer in layers]
    codes = [layer.codes for layer in layers]
    tail = layers[0].options.tail
    best = optimise_levels(model, codes, everywhere, eps, guards, rule, layers[0].noise_variance, tail)
    if tail != "hoeffding":
        error = best[-2][1]  # what reaches the deepest layer
        beta, probability = layers[-1].best(np.where(np.isfinite(error), error, 0.0), guards[-1])
        best[-1] = (beta, best[-1][1], np.where(np.isfinite(error), probability, 1.0))
    unknown = np.full(len(eps), np.nan)
    return [
        _Bounded(*of_layer, unknown, layer.described(interference))
        for of_layer, layer, interference in zip(best, layers, everywhere, strict=True)
    ]


def _one_by_one(layers: Sequence[_Layer], eps: NDArray, guards: list[NDArray], debias: bool) -> list[_Bounded]:
    """Bound layer after layer, when errors do not depend on levels."""
    bounded = []
    for layer, guard in zip(layers, guards, strict=True):
        beta, probability, described = layer.best_described(np.where(np.isfinite(eps), eps, 0.0), guard)
        error, smallest = np.full(len(eps), np.inf), np.full(len(eps), np.nan)
        if debias:
            error, smallest = layer.debiased(eps)
        probability = np.where(np.isfinite(eps) & ~(smallest == 0), probability, 1.0)
        bounded.append(_Bounded(beta, error, probability, smallest, described))
        eps = error
    return bounded


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
            ends = np.atleast_1d(layer.threshold_lower[first]), np.atleast_1d(layer.threshold_upper[first])
            narrowest = int(np.argmin(ends[1] - ends[0]))
            lower, upper = (end[narrowest] for end in ends)
            return f"{count}, the first because layer {number} has no threshold between {lower:.4g} and {upper:.4g}."
    if cause:
        return f"{count}; where it does not apply, {cause}."
    return f"{count}, because the bound on their failure probability exceeds {delta:g}."
