"""The ladder of guarantees: all of them for the same codes, and the stripe-sparsity that each certifies."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import real_numbers
from dcsc.convolution.filter_bank import listed_codes
from dcsc.errors import UserError
from dcsc.guarantees.basis_pursuit_instance import CertifiedSupports, basis_pursuit_on_supports, recovers_all_signs
from dcsc.guarantees.bounds import closed_form
from dcsc.guarantees.by_filter import check_form, closed_failure
from dcsc.guarantees.certified_size import Failures, certify_upwards
from dcsc.guarantees.checks import check_choice, check_path, rounding_guard
from dcsc.guarantees.sharp_tails import DrawnAtoms, best_failure, failure_at
from dcsc.guarantees.sparse_recovery import BasisPursuitPath, basis_pursuit
from dcsc.guarantees.statistical_thresholding import StatisticalPath, statistical
from dcsc.guarantees.tails import TAILS, squared_level
from dcsc.guarantees.top_k import top_k_failure
from dcsc.guarantees.uniform_thresholding import PathGuarantee, uniform
from dcsc.model.cascade import Cascade
from dcsc.model.coherence import Atoms, babel, babel2, mutual_coherence
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.grouped import GroupedDictionary
from dcsc.model.sparsity import extreme_magnitudes, stripe_norm
from dcsc.ragged import RaggedCodes

THRESHOLDING_RUNGS = (
    "uniform-coherence",
    "uniform-babel",
    "uniform-instance",
    "statistical-coherence",
    "statistical-babel2",
    "statistical-instance",
)
"""Of layered thresholding: for which signs, and by what."""
BASIS_PURSUIT_RUNGS = (
    "basis-pursuit-uniform-coherence",
    "basis-pursuit-uniform-babel",
    "basis-pursuit-uniform-instance",
    "basis-pursuit-statistical-instance",
)
"""Of layered basis pursuit, without noise in its equality form."""
SUPPORT_RUNGS = BASIS_PURSUIT_RUNGS[2:]
"""Those of them that factorise the inner products of the active atoms."""
RUNGS = THRESHOLDING_RUNGS + BASIS_PURSUIT_RUNGS
TOP_K_RUNG = "top-k-statistical-instance"
"""Of top-k with known k in one layer, pair by pair; the others of thresholding bound it by the best threshold."""

_ROUNDING = 1e-12

Rung = PathGuarantee | StatisticalPath | BasisPursuitPath | CertifiedSupports
"""What a rung says of paths."""

Codes = RaggedCodes | ArrayLike | Iterator[RaggedCodes]
"""What a sampler may give."""


@dataclass(frozen=True, eq=False)
class Ladder:
    """
    Every rung of the ladder of guarantees for the codes of a batch.

    Parameters
    ----------
    rungs : dict of str to PathGuarantee, StatisticalPath, BasisPursuitPath or CertifiedSupports
        By the names of `RUNGS`.
    """

    rungs: dict[str, Rung]

    def __getitem__(self, rung: str) -> Rung:
        """Give one rung."""
        check_choice(rung, list(self.rungs), "rung")
        return self.rungs[rung]

    @property
    def holds(self) -> dict[str, NDArray]:
        """Whether each rung covers each code: certain (uniform) or certified at delta (statistical), shape (...)."""
        return {name: rung.holds for name, rung in self.rungs.items()}

    @property
    def reasons(self) -> dict[str, str]:
        """Why a rung does not cover some code, empty when it covers all."""
        return {name: rung.reason for name, rung in self.rungs.items()}


def ladder(
    model: Cascade,
    codes: Sequence[ArrayLike | RaggedCodes],
    noise: ArrayLike = 0.0,
    *,
    delta: float = 0.01,
    rule: str = "hard",
    threshold: str = "midpoint",
    method: str = "split",
    debias: bool = False,
    noise_deviation: float = 0.0,
    noise_failure: float = 0.0,
    tail: str = "exact",
    rungs: Sequence[str] = RUNGS,
) -> Ladder:
    """
    Evaluate every guarantee of layered thresholding and layered basis pursuit on the same paths of D-CSC-R.

    See docs/theory.md, "The ladder". For one layer the statistical probabilities are those of the optimised method,
    at the best threshold.

    Parameters
    ----------
    model : Cascade
        The layers.
    codes : sequence of array_like of shape (..., filter, *position), or of RaggedCodes
        [X^(1), ..., X^(L)].
    noise : array_like, shape () or (...)
        eps_0, at least the patch norm ||E||^P_{2,inf} of the noise.
    delta : float
        Admitted failure probability of the statistical rungs.
    rule, threshold, method, debias, noise_deviation, noise_failure, tail
        As for `uniform` and `statistical`; debiasing and Gaussian noise concern the statistical rungs of thresholding
        alone.
    rungs : sequence of str
        Those of `RUNGS` that are wanted.

    Returns
    -------
    Ladder
        The wanted rungs; with Gaussian noise only the statistical ones of thresholding. Without noise, the rungs of
        basis pursuit are about its equality form, with noise about [PRE17] Theorem 12; its instance rungs certify
        nothing under noise.

    Raises
    ------
    UserError
        As `uniform` and `statistical`.
    """
    for rung in rungs:
        check_choice(rung, RUNGS, "rung")
    wanted = [rung for rung in rungs if not noise_deviation or rung.startswith("statistical")]
    if any(rung in SUPPORT_RUNGS for rung in wanted):
        supports = basis_pursuit_on_supports(model, codes, tail=tail, wanted="not below 1")
        noiseless = real_numbers(noise, "noise", supports.holds.shape, low=0) == 0
    found: dict[str, Rung] = {}
    for rung in wanted:
        kind, form = rung.removeprefix("basis-pursuit-").split("-")
        if rung in SUPPORT_RUNGS:
            random = kind == "statistical"
            found[rung] = supports.for_random_signs(delta, noiseless) if random else supports.for_all_signs(noiseless)
        elif rung in BASIS_PURSUIT_RUNGS:
            found[rung] = basis_pursuit(model, codes, noise, form=form)
        elif kind == "uniform":
            found[rung] = uniform(model, codes, noise, rule=rule, form=form, threshold=threshold)
        else:
            optimised = model.depth == 1 or (method == "optimised" and (debias or form == "instance"))
            found[rung] = statistical(
                model, codes, noise, delta=delta, form=form, rule=rule, threshold=threshold, debias=debias,
                method="optimised" if optimised else "split",
                noise_deviation=noise_deviation, noise_failure=noise_failure, tail=tail,
            )  # fmt: skip
    return Ladder(found)


@dataclass(frozen=True)
class CertifiedSparsity:
    """
    The largest stripe-sparsity that a rung certifies.

    Parameters
    ----------
    rung : str
        The rung.
    stripe_sparsity : int
        The largest certified k, 0 when not even one non-zero is, at most the size of a stripe.
    limit : float
        The same as a real number where a closed form gives one, else `stripe_sparsity`.
    size : int or None
        The number of non-zeros of a code, for rungs that need supports.
    obtained : str
        How it was obtained.
    next_size : int or None
        For rungs that need supports: the next size, which is not certified; None when no larger one was offered.
    """

    rung: str
    stripe_sparsity: int
    limit: float
    size: int | None
    obtained: str
    next_size: int | None = None


def certified_stripe_sparsity(
    dictionary: Atoms,
    contrast: float = 1.0,
    delta: float = 0.01,
    *,
    rung: str,
    threshold: float | None = None,
    n_atoms: int | None = None,
    noise_ratio: float = 0.0,
    draws: Mapping[int, RaggedCodes] | Callable[[int], Codes] | None = None,
    sizes: Sequence[int] | None = None,
    confidence: float = 0.95,
    tail: str = "exact",
    rng: Generator | None = None,
) -> CertifiedSparsity:
    """
    Find the largest stripe-sparsity that a rung certifies for one layer of a dictionary.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary or GroupedDictionary
        The dictionary; the instance rungs write groups out.
    contrast : float
        r = X_min / X_max in (0, 1]; the instance rungs read magnitudes from the draws instead, and basis pursuit
        depends on none.
    delta : float
        Admitted failure probability of the statistical rungs, and share of draws that the uniform instance rungs may
        leave uncovered.
    rung : str
        One of `RUNGS`, or `TOP_K_RUNG`.
    threshold : float, optional
        beta / X_min of the pursuit that the certificate is for, such as 0.5; by default that of the best threshold,
        which is also a certificate of top-k.
    n_atoms : int, optional
        M, by default that of the dictionary.
    noise_ratio : float
        Bound on the patch norm of the noise over X_max; basis pursuit on an instance is certified without noise only.
    draws : mapping from size to codes, or callable, optional
        For the instance rungs: independent codes with a given number of non-zeros, by size, or a sampler called with
        the size; it may give an iterator over parts of its codes, of which one is held at a time.
    sizes : sequence of int, optional
        Sizes at which a sampler is called, by default 1, 2, 3, 4, 6, 8, 12, ... up to all atoms.
    confidence : float
        Level of the limits of the instance rungs, which are estimated from the draws.
    tail : {"hoeffding", "gaussian", "chernoff", "exact"}
        The bound on the tails of the statistical rungs, as for `statistical`.
    rng : numpy.random.Generator, optional
        Draws the atoms, or for `TOP_K_RUNG` the pairs, that have sharp tails; by default one with seed 0.

    Returns
    -------
    CertifiedSparsity
        With the way it was obtained (docs/theory.md, "The ladder").

    Raises
    ------
    UserError
        When the rung is unknown, a number is out of range, or draws are missing.
    """
    check_choice(rung, [*RUNGS, TOP_K_RUNG], "rung")
    check_choice(tail, TAILS, "tail")
    if not (0 < contrast <= 1 and 0 < delta < 1 and noise_ratio >= 0 and 0.5 < confidence < 1):
        raise UserError(
            "give a contrast in (0, 1], a delta in (0, 1), a noise ratio of at least 0 and a confidence in (0.5, 1)."
        )
    if threshold is not None and not 0 < threshold < 1:
        raise UserError(f"threshold {threshold} over X_min is not allowed: give a number between 0 and 1.")
    if rung.endswith("instance"):
        if draws is None:
            raise UserError(f"rung {rung!r} depends on supports: pass draws, codes by size or a sampler.")
        rng = rng or np.random.default_rng(0)
        if isinstance(dictionary, GroupedDictionary):
            dictionary = dictionary.written_out()
        return _by_draws(dictionary, rung, threshold, delta, noise_ratio, draws, sizes, confidence, tail, rng)
    if rung in BASIS_PURSUIT_RUNGS:
        return _certified(rung, _basis_pursuit_condition(dictionary, rung, contrast, noise_ratio), 1.0)
    if contrast <= 2 * noise_ratio:
        return CertifiedSparsity(rung, 0, 0.0, None, "the noise leaves no margin")
    # Margins for the interference off the support and on it, in units of X_max.
    beta = contrast * (0.5 if threshold is None else threshold)
    off, on = beta - noise_ratio, contrast - beta - noise_ratio
    if rung.startswith("uniform"):
        condition = _uniform_condition(dictionary, rung, threshold is None, off, on)
    else:
        growth = squared_level(delta / (n_atoms or dictionary.n_atoms), tail)
        condition = _statistical_condition(dictionary, rung, min(off, on) ** 2, growth, tail)
    return _certified(rung, condition, contrast)


def _certified(rung: str, condition: _Condition, unit: float) -> CertifiedSparsity:
    # What is needed grows with k, so that the last admissible entry is the limit; k = 0 always is.
    scale = unit if condition.allowed == 0 else condition.allowed
    admissible = condition.needed < condition.allowed - _ROUNDING * scale
    largest = int(np.count_nonzero(admissible[1:]))
    limit, how = (largest, "search over integers") if condition.limit is None else (condition.limit, "closed form")
    return CertifiedSparsity(rung, largest, float(limit), None, f"{how}, {condition.words}")


class _Condition(NamedTuple):
    """What every stripe-sparsity k = 0, 1, ... needs, what is allowed, the k at which both meet, and all in words."""

    needed: NDArray
    allowed: float
    limit: float | None
    words: str


def _uniform_condition(dictionary: Atoms, rung: str, is_best: bool, off: float, on: float) -> _Condition:
    """For the best threshold, or a given one that leaves margins off the support and on it."""
    mu, counts = mutual_coherence(dictionary), np.arange(dictionary.stripe_size + 1)
    inactive = np.asarray(babel(dictionary, counts)) if rung == "uniform-babel" else mu * counts
    active = inactive[np.maximum(counts - 1, 0)]
    if is_best:
        needed, allowed, words = active + inactive, off + on, "mu_1(k) + mu_1(k - 1) < r - 2 eps / X_max"
    else:
        needed, allowed = np.maximum(inactive - off, active - on), 0.0
        words = "mu_1(k) < beta - eps and mu_1(k - 1) < X_min - beta - eps, over X_max"
    if rung == "uniform-babel":
        return _Condition(needed, allowed, None, words)
    limit = math.inf
    if mu:
        limit = (1 + allowed / mu) / 2 if is_best else min(off / mu, on / mu + 1)
    words = words.replace("mu_1(k - 1)", "(k - 1) mu").replace("mu_1(k)", "k mu")
    return _Condition(needed, allowed, limit, words)


def _statistical_condition(dictionary: Atoms, rung: str, allowed: float, growth: float, tail: str) -> _Condition:
    """For a margin, given as its square."""
    mu, counts = mutual_coherence(dictionary), np.arange(dictionary.stripe_size + 1)
    bound = "exp(-m^2 / (2 v))" if tail == "hoeffding" else "min(exp(-m^2 / (2 v)), C Q(m / sqrt(v)))"
    words = f"2 M {bound} <= delta, m = min(beta, X_min - beta) - eps, v = "
    if rung == "statistical-babel2":
        needed = np.asarray(babel2(dictionary, counts)) ** 2 * growth
        return _Condition(needed, allowed, None, f"{words}mu_2(k)^2 X_max^2")
    limit = allowed / (mu**2 * growth) if mu else math.inf
    return _Condition(mu**2 * counts * growth, allowed, limit, f"{words}mu^2 k X_max^2")


def _basis_pursuit_condition(dictionary: Atoms, rung: str, contrast: float, noise_ratio: float) -> _Condition:
    """[PRE17] Theorem 11, its Babel form, or with noise Theorem 12."""
    mu, counts = mutual_coherence(dictionary), np.arange(dictionary.stripe_size + 1)
    if noise_ratio:
        allowed = 1.0 if contrast > 7.5 * noise_ratio else 0.0
        words = "(3 k - 1) mu < 1 and X_min > 7.5 eps"
        return _Condition((3 * counts - 1) * mu, allowed, allowed * (1 + 1 / mu) / 3 if mu else None, words)
    if rung.endswith("babel"):
        inner = np.asarray(babel(dictionary, counts))
        return _Condition(inner + inner[np.maximum(counts - 1, 0)], 1.0, None, "mu_1(k) + mu_1(k - 1) < 1")
    return _Condition((2 * counts - 1) * mu, 1.0, (1 + 1 / mu) / 2 if mu else math.inf, "(2 k - 1) mu < 1")


def _by_draws(
    dictionary: ConvolutionalDictionary,
    rung: str,
    threshold: float | None,
    delta: float,
    noise_ratio: float,
    draws: Mapping[int, RaggedCodes] | Callable[[int], Codes],
    sizes: Sequence[int] | None,
    confidence: float,
    tail: str,
    rng: Generator,
) -> CertifiedSparsity:
    """Certify upwards, size after size, by confidence limits."""
    model = Cascade([dictionary])
    if callable(draws):
        sampler, candidates = draws, sorted(sizes or _default_sizes(dictionary.n_atoms))
    else:
        sampler, candidates = draws.__getitem__, sorted(draws if sizes is None else sizes)
    stripes: dict[int, int] = {}

    def failures(size: int) -> Failures:
        drawn = sampler(size)
        failing, norms = [], []
        for part in drawn if isinstance(drawn, Iterator) else [drawn]:
            listed = listed_codes(part, dictionary)
            listed = listed.reshape((listed.row_size.size,))
            norms.append(stripe_norm(listed, dictionary))
            smallest, largest = extreme_magnitudes(listed, dictionary.rank)
            beta = None if threshold is None else threshold * np.where(np.isfinite(smallest), smallest, 1.0)
            failing.append(draw_failures(model, listed, beta, noise_ratio * largest, rung=rung, tail=tail, rng=rng))
        stripes[size] = int(np.median(np.concatenate(norms)))
        return Failures(np.concatenate(failing))

    certified = certify_upwards(failures, candidates, delta, confidence)
    measure = "share of draws not covered" if "uniform" in rung else "mean failure bound of the draws"
    how = f"{measure} at most {delta:g}, by its limit at {confidence:.0%}"
    if certified.size:
        how += f" over {certified.draws} draws; median stripe"
        if certified.next_size is None:
            how += "; the largest size offered is certified, so that the limit may lie higher"
    else:
        how += f", at no size; that takes {math.ceil(math.log(1 - confidence) / math.log1p(-delta))} draws or more"
    stripe = stripes.get(certified.size, 0)
    return CertifiedSparsity(rung, stripe, float(stripe), certified.size, how, certified.next_size)


def draw_failures(
    model: Cascade,
    codes: RaggedCodes,
    threshold: NDArray | None,
    noise: ArrayLike = 0.0,
    *,
    rung: str,
    tail: str = "exact",
    by_filter: bool = False,
    rng: Generator | None = None,
    room: float = 0.0,
    rough: bool = False,
) -> NDArray:
    """
    Tell for each code of one layer whether a rung does not cover it, or bound its failure probability.

    Parameters
    ----------
    model : Cascade
        One layer.
    codes : RaggedCodes, batch shape (code,)
        Its codes; only their magnitudes count.
    threshold : ndarray, shape (code,), by filter (code, filter), or None
        beta, chosen without looking at the signs; None for the best one of each code, for top-k and basis pursuit.
    noise : array_like, shape () or (code,)
        Bound on the patch norm of the noise.
    rung : str
        One of `RUNGS`, or `TOP_K_RUNG`: for signs of any kind, or for Rademacher ones.
    tail : {"hoeffding", "gaussian", "chernoff", "exact"}
        The bound on the tails, for Rademacher signs.
    by_filter : bool
        Whether thresholds are given for each filter; not for the Babel forms.
    rng : numpy.random.Generator, optional
        With one, sharp tails are taken of atoms that it draws, for `TOP_K_RUNG` of pairs: see `DrawnAtoms` and
        `top_k_failure`.
    room : float
        As for `DrawnAtoms`.
    rough : bool
        For "statistical-instance": as for `failure_at`.

    Returns
    -------
    ndarray of bool or float, shape (code,)
        For rungs for all signs, True where recovery is not certain. For Rademacher signs, a bound on the failure
        probability, or with `rng` a random value whose mean is such a bound.

    Raises
    ------
    UserError
        When the rung or tail is unknown, shapes do not fit, or there is noise and the rung knows none.
    """
    check_choice(rung, [*RUNGS, TOP_K_RUNG], "rung")
    check_choice(tail, TAILS, "tail")
    if rung == TOP_K_RUNG:
        return top_k_failure(model.dictionaries[0], codes, noise, tail=tail, rng=rng)
    if rung in BASIS_PURSUIT_RUNGS:
        return _basis_pursuit_failures(model, codes, noise, rung, tail, rng)
    kind, form = rung.split("-")
    if kind == "uniform":
        choice = "midpoint" if threshold is None else [threshold]
        return ~uniform(model, [codes], noise, form=form, threshold=choice, by_filter=by_filter).holds
    dictionary = model.dictionaries[0]
    listed, eps = check_path(model, [codes], noise)
    if form == "instance":
        guard = rounding_guard(dictionary, listed[0], eps)
        drawn = None if rng is None else DrawnAtoms.of(rng, eps.size, room)
        if threshold is None:
            return best_failure(dictionary, listed[0], eps, guard, tail=tail, drawn=drawn, rough=rough)[1]
        return failure_at(dictionary, listed[0], threshold, eps, guard, tail=tail, drawn=drawn, rough=rough)
    if by_filter:
        check_form(form)
        return closed_failure(dictionary, listed[0], eps, threshold=threshold, tail=tail)[1]
    return closed_form(dictionary, listed[0], eps, form, 0.0, threshold, tail=tail)[1]


def _basis_pursuit_failures(
    model: Cascade, codes: RaggedCodes, noise: ArrayLike, rung: str, tail: str, rng: Generator | None
) -> NDArray:
    kind, form = rung.removeprefix("basis-pursuit-").split("-")
    if form != "instance":
        return ~basis_pursuit(model, [codes], noise, form=form).holds
    if np.any(real_numbers(noise, "noise", low=0) > 0):
        raise UserError(f"rung {rung!r} is about signals without noise: leave the noise out, or use its closed forms.")
    if kind == "uniform":
        return ~recovers_all_signs(model, [codes])
    return basis_pursuit_on_supports(model, [codes], tail=tail, rng=rng, wanted="not below 1").layers[0].probability


def _default_sizes(n_atoms: int) -> list[int]:
    powers = [2**power for power in range(n_atoms.bit_length())]
    return sorted({size for power in powers for size in (power, 3 * power // 2) if 1 <= size <= n_atoms} | {n_atoms})
