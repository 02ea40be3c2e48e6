"""The instance guarantees at the thresholds that a pursuit used, with its rule and debiasing, without noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import real_array, real_numbers
from dcsc.convolution.arguments import thresholds_by_filter
from dcsc.errors import UserError
from dcsc.guarantees.bounds import independent_atoms
from dcsc.guarantees.by_filter import layer_levels, plain_levels
from dcsc.guarantees.checks import RULES, SIGNS, check_choice, check_rule, flat_path, rounding_guard
from dcsc.guarantees.interference import Interference, LayerInterference, layer_interference
from dcsc.guarantees.levels import Levels, choose_threshold, error_bound, levels_of
from dcsc.guarantees.plain_model import Propagation
from dcsc.guarantees.random_signs import disjoint_columns, out_of_reach, separate_writes
from dcsc.guarantees.sharp_tails import DrawnAtoms, best_failure, failure_at, plain_best_failure, plain_failure_at
from dcsc.guarantees.tails import TAILS, squared_level
from dcsc.model.cascade import Cascade
from dcsc.ragged import RaggedCodes


@dataclass(frozen=True, eq=False)
class PathInterference:
    """
    The interference in every layer of the paths of a batch; it serves all thresholds.

    Parameters
    ----------
    model : Cascade
        The layers.
    codes : list of RaggedCodes, batch shape (code,)
        [X^(1), ..., X^(L)].
    batch : tuple of int
        Shape of the batch.
    propagated : list of tuple of RaggedCodes and Interference, or None
        For plain D-CSC: the propagated columns of the active deepest atoms at each layer, and the interference over
        their random signs. None in D-CSC-R, where the signs of every layer are Rademacher given its code, so that the
        lists of its non-zeros are enough.
    determined : ndarray of bool, shape (code,)
        Whether the deepest support and magnitudes fix those of every layer. In the plain model the statistical
        forms apply there only.
    signs : str
        As asked for.
    """

    model: Cascade
    codes: list[RaggedCodes]
    batch: tuple[int, ...]
    propagated: list[tuple[RaggedCodes, Interference]] | None
    determined: NDArray
    signs: str
    _described: dict[tuple[int, float, bool], LayerInterference] = field(default_factory=dict, repr=False)

    @property
    def applies(self) -> NDArray:
        """Where the statistical forms speak of the path, shape (code,)."""
        return self.determined | (self.signs == "rademacher")

    def uniform(self, layer: int, growth: float) -> LayerInterference:
        """Return the interference in a layer over all signs, computed once for all pursuits; layers count from 0."""
        key = (layer, np.inf, False)
        if key not in self._described:
            self._described[key] = layer_interference(self.model.dictionaries[layer], self.codes[layer])
        return self._described[key]

    def random(self, layer: int, growth: float) -> LayerInterference:
        """Return the interference in a layer over the random signs; growth as for `layer_interference`."""
        key = (layer, growth, True)
        if key not in self._described:
            self._described[key] = (
                layer_interference(self.model.dictionaries[layer], self.codes[layer], growth=growth)
                if self.propagated is None
                else self.propagated[layer][1].of_layer(self.codes[layer], growth)
            )
        return self._described[key]

    def levels(self, layer: int, growth: float, is_random: bool, by_filter: bool) -> Levels:
        """Bound the interference in a layer, over all signs or, rarely exceeded, over the random ones."""
        dictionary, code = self.model.dictionaries[layer], self.codes[layer]
        if by_filter and is_random and self.propagated is not None:
            return plain_levels(dictionary, self.propagated[layer][1], code, growth)
        described = (self.random if is_random else self.uniform)(layer, growth)
        return layer_levels(dictionary, described, growth) if by_filter else levels_of(described, growth)

    def failure(
        self, layer: int, beta: NDArray | None, tail: str, rng: Generator | None = None, rough: bool = False
    ) -> NDArray:
        """Bound the failure of a layer whose input has no error, or draw it, at a threshold, by default the best."""
        dictionary, code = self.model.dictionaries[layer], self.codes[layer]
        guard = rounding_guard(dictionary, code, 0.0)
        eps, drawn = np.zeros_like(guard), None if rng is None else DrawnAtoms.of(rng, len(guard))
        how: dict[str, Any] = {"tail": tail, "drawn": drawn, "rough": rough}
        if self.propagated is None:
            if beta is None:
                return best_failure(dictionary, code, eps, guard, **how)[1]
            return failure_at(dictionary, code, beta, eps, guard, **how)
        plain = (self.model, self.codes[-1], layer + 1)
        known = self.propagated[layer]
        if beta is None:
            return plain_best_failure(*plain, eps, guard, known=known, **how)[1]
        return plain_failure_at(*plain, beta, eps, guard, known=known, **how)


def path_interference(
    model: Cascade,
    codes: Sequence[ArrayLike | RaggedCodes],
    signs: str = "rademacher",
    *,
    known: Sequence[LayerInterference] = (),
) -> PathInterference:
    """
    Describe the interference in every layer of some paths.

    Parameters
    ----------
    model : Cascade
        The layers.
    codes : sequence of array_like of shape (..., filter, *position), or of RaggedCodes
        [X^(1), ..., X^(L)].
    signs : {"rademacher", "deepest"}
        Independent signs at every layer (D-CSC-R), or only those of the deepest code (plain D-CSC).
    known : sequence of LayerInterference, optional
        Interference over all signs in each layer of the codes of the flat batch, where it is known already.

    Returns
    -------
    PathInterference
        For `as_run`.
    """
    check_choice(signs, SIGNS, "signs")
    flat, _, batch = flat_path(model, codes)
    described = {(layer, np.inf, False): interference for layer, interference in enumerate(known)}
    if signs == "rademacher":
        return PathInterference(model, flat, batch, None, separate_writes(model, flat), signs, described)
    propagation = Propagation.of(model)
    columns = propagation.columns(flat[-1])
    random = [propagation.interference(flat[-1], layer) for layer in range(1, model.depth + 1)]
    propagated = list(zip(columns, random, strict=True))
    return PathInterference(model, flat, batch, propagated, disjoint_columns(flat, columns), signs, described)


@dataclass(frozen=True, eq=False)
class AsRun:
    """
    Guarantees for paths at the thresholds that a pursuit used.

    Parameters
    ----------
    covered : ndarray of bool, shape (...)
        Whether the path is recovered for all signs of every layer.
    failure_bound : ndarray, shape (...)
        Where `determined`, a bound on the failure of the path given its deepest support and magnitudes.
        Elsewhere the draw's contribution to a mean over draws; it may exceed 1 and is no bound by itself.
    determined : ndarray of bool, shape (...)
        Whether the deepest support and magnitudes fix those of every layer.
    """

    covered: NDArray
    failure_bound: NDArray
    determined: NDArray

    @property
    def failure_rate_bound(self) -> float:
        """Bound on the failure rate over the draws of the batch, an estimate as good as the batch is large."""
        return failure_rate_bound(self.covered, self.failure_bound)


def failure_rate_bound(covered: ArrayLike, failure_bound: ArrayLike) -> float:
    """
    Bound the failure rate over draws from the results of `as_run`.

    Parameters
    ----------
    covered, failure_bound : array_like, shape (...)
        Of `AsRun`.

    Returns
    -------
    float
        The minimum of the share of draws that are not covered, the mean of the bounds, and 1
        (docs/theory.md, "Means and caps"); 1 without draws.

    Raises
    ------
    UserError
        When something is not a finite number.
    """
    sure, bounds = real_array(covered, "covered"), real_array(failure_bound, "bounds")
    if not sure.size or not bounds.size:
        return 1.0
    return min(1.0, float(np.mean(bounds)), float(1 - np.mean(sure)))


def as_run(
    paths: PathInterference,
    thresholds: Sequence[ArrayLike] | None,
    *,
    rule: str = "hard",
    debias: bool = False,
    delta: float = 0.01,
    tail: str = "exact",
    by_filter: bool = False,
    rng: Generator | None = None,
    rough: bool = False,
) -> AsRun:
    """
    Evaluate the instance guarantees at the thresholds that a pursuit used, without noise.

    With one layer, or with debiasing, no error is passed on: the bound is the sum of the layers' instance forms
    at these thresholds, each capped at 1 (docs/theory.md, "One layer", "Debiasing"). Otherwise a path that is
    certified with equal shares of delta (docs/theory.md, "Path with random signs") adds delta to the mean and any
    other 1 + delta; where the path is determined, these are delta and 1, and 0 if it is covered.

    Parameters
    ----------
    paths : PathInterference
        From `path_interference`.
    thresholds : sequence of array_like, each of shape () or (...), or None
        beta_l, chosen without looking at the signs; None for the best ones that the forms find, whose
        statements hold for top-k as well.
    rule : {"hard", "soft", "relu"}
        The thresholding; "relu" is for codes without negative entries, given as such.
    debias : bool
        Least squares on the recovered support after each layer.
    delta : float
        Admitted failure probability of paths whose layers pass on an error.
    tail : {"hoeffding", "gaussian", "chernoff", "exact"}
        The bound on the tails, as for `statistical`.
    by_filter : bool
        Whether the last axis of every threshold is that of the filters: shape (), (filter,) or (..., filter)
        (docs/theory.md, "A threshold for each filter").
    rng : numpy.random.Generator, optional
        With one, sharp tails are taken of atoms that it draws, and sums of layers are draws as well, without a cap
        (see `DrawnAtoms`).
    rough : bool
        Where no error is passed on, give bounds that are not below these in a fraction of the time, as `failure_at`.

    Returns
    -------
    AsRun
        One entry per path.

    Raises
    ------
    UserError
        When the rule or tail is unknown or does not fit the signs, or the thresholds are not one per layer.

    Examples
    --------
    >>> import dcsc
    >>> dictionary = dcsc.families.create("perturbed", grid=64, seed=0, base="lapped", n_filters=8, perturbation=0.1)
    >>> codes = dcsc.sampling.sample_codes(dcsc.seeds.stream(0), dictionary, 50, support={"name": "uniform", "size": 4})
    >>> paths = dcsc.guarantees.path_interference(dcsc.Cascade([dictionary]), [codes])
    >>> certified = dcsc.guarantees.as_run(paths, [0.5])
    >>> bool(certified.failure_rate_bound <= 1 - certified.covered.mean())
    True
    """
    check_rule(rule, paths.signs)
    check_choice(tail, TAILS, "tail")
    betas = _given(paths, thresholds, by_filter)
    exact = debias or paths.model.depth == 1
    covered = _holds_for_all_signs(paths, betas, rule, debias)
    if exact:
        capped = np.array([paths.failure(layer, beta, tail, rng, rough) for layer, beta in enumerate(betas)])
        if debias:
            covered = _injective(paths, covered, capped) & covered
        total = capped.sum(axis=0)
        bound = np.where(covered, 0.0, np.where(paths.determined & (rng is None), np.minimum(total, 1.0), total))
    else:
        shares = [delta / (paths.model.depth * layer.n_atoms) for layer in paths.model.dictionaries]
        growths = [squared_level(share, tail) for share in shares]
        certified = _holds(paths, True, growths, betas, exact, rule != "hard")
        bound = np.where(certified, delta, np.where(paths.determined, 1.0, 1.0 + delta))
        bound = np.where(covered, np.where(paths.determined, 0.0, delta), bound)
    bound = np.where(paths.applies, bound, np.where(covered, 0.0, 1.0))
    signed, inner = out_of_reach(paths.codes, rule)
    covered, bound = covered & ~signed, np.where(signed | inner, 1.0, bound)
    return AsRun(*(values.reshape(paths.batch) for values in (covered, bound, paths.determined)))


def covered_as_run(
    paths: PathInterference,
    thresholds: Sequence[ArrayLike] | None,
    *,
    rule: str = "hard",
    debias: bool = False,
    by_filter: bool = False,
) -> NDArray:
    """
    Tell which paths are recovered for all signs at the thresholds that a pursuit used, without noise.

    Parameters
    ----------
    paths, thresholds, rule, debias, by_filter
        As for `as_run`.

    Returns
    -------
    ndarray of bool, shape (...)
        `covered` of `as_run`, without the cost of bounds for random signs.

    Raises
    ------
    UserError
        As `as_run`.
    """
    check_choice(rule, RULES, "rule")
    covered = _holds_for_all_signs(paths, _given(paths, thresholds, by_filter), rule, debias)
    if debias:
        covered = covered & _injective(paths, covered, np.ones((paths.model.depth, len(covered))))
    return (covered & ~out_of_reach(paths.codes, rule)[0]).reshape(paths.batch)


def _holds_for_all_signs(paths: PathInterference, betas: Sequence[NDArray | None], rule: str, debias: bool) -> NDArray:
    """Whether the thresholds of all layers separate whatever the signs."""
    exact = debias or paths.model.depth == 1
    return _holds(paths, False, [np.inf] * paths.model.depth, betas, exact, rule != "hard")


def _given(paths: PathInterference, thresholds: Sequence[ArrayLike] | None, by_filter: bool) -> list[NDArray | None]:
    """One array of thresholds a layer, (code,) or (code, filter), or nothing a layer."""
    if thresholds is None:
        return [None] * paths.model.depth
    if len(thresholds) != paths.model.depth:
        raise UserError(f"{len(thresholds)} thresholds for {paths.model.depth} layers: give one per layer.")
    if by_filter:
        counts = [layer.n_filters for layer in paths.model.dictionaries]
        each = [thresholds_by_filter(beta, paths.batch, n) for beta, n in zip(thresholds, counts, strict=True)]
        return [beta.reshape(-1, beta.shape[-1]) for beta in each]
    return [
        real_numbers(beta, "threshold", paths.batch, missing=True).astype(np.float64).ravel() for beta in thresholds
    ]


def _injective(paths: PathInterference, covered: NDArray, capped: NDArray) -> NDArray:
    """Tell whether least squares is unique at every layer, and set the bound of a layer to 1 where it is not."""
    injective = np.ones(len(covered), dtype=bool)
    for bounds, dictionary, code in zip(capped, paths.model.dictionaries, paths.codes, strict=True):
        rows = np.flatnonzero(covered | (bounds < 1))
        dependent = rows[~independent_atoms(dictionary, code, rows)]
        bounds[dependent], injective[dependent] = 1.0, False
    return injective


def _holds(
    paths: PathInterference,
    is_random: bool,
    growths: Sequence[float],
    betas: Sequence[NDArray | None],
    exact: bool,
    shrinks: bool,
) -> NDArray:
    """
    Whether every threshold separates, with levels sqrt(growth v) or the largest interference, whichever is less.

    The best threshold of a layer is the middle of its interval. Nothing is passed on where layers are `exact`.
    """
    model = paths.model
    eps, holds = np.zeros(len(paths.determined)), np.ones(len(paths.determined), dtype=bool)
    for layer, (growth, beta) in enumerate(zip(growths, betas, strict=True)):
        code = paths.codes[layer]
        levels = paths.levels(layer, growth, is_random, beta is not None and beta.ndim > 1)
        guard = rounding_guard(model.dictionaries[layer], code, eps)
        interval = choose_threshold(levels, eps, guard, "midpoint" if beta is None else beta)
        holds = holds & interval.contains
        if not exact:
            shrink = interval.threshold if shrinks else np.zeros_like(interval.threshold)
            below = model.next_dictionary(layer + 1)
            passed_on = error_bound(levels, code, np.where(holds, eps, 0.0), shrink, below, model.rank)
            eps = np.where(holds, passed_on, np.inf)
    return holds
