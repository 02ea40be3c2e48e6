"""All guarantees side by side, and the sparsity that each of them certifies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.coherence import babel, babel2, mutual_coherence
from dcsc.dictionary import ConvolutionalDictionary
from dcsc.errors import UserError
from dcsc.guarantees.checks import check_choice
from dcsc.guarantees.interference import listed_codes
from dcsc.guarantees.statistical_thresholding import StatisticalPath, statistical
from dcsc.guarantees.uniform_thresholding import PathGuarantee, uniform
from dcsc.model import Cascade
from dcsc.ragged import RaggedCodes
from dcsc.sparsity import extreme_magnitudes, stripe_norm

RUNGS = (
    "uniform-coherence",
    "uniform-babel",
    "uniform-instance",
    "statistical-coherence",
    "statistical-babel2",
    "statistical-instance",
)

_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Ladder:
    """
    Every rung of the ladder of guarantees for the codes of a batch.

    Parameters
    ----------
    rungs : dict of str to PathGuarantee or StatisticalPath
        By the names of `RUNGS`.
    """

    rungs: dict[str, PathGuarantee | StatisticalPath]

    def __getitem__(self, rung: str) -> PathGuarantee | StatisticalPath:
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
) -> Ladder:
    """
    Evaluate every guarantee of layered thresholding on the same paths of D-CSC-R.

    docs/theory.md, "The ladder". A path of one layer takes its statistical probabilities from
    the optimised method, which is then exact about its threshold.

    Parameters
    ----------
    model : Cascade
        The layers.
    codes : sequence of array_like of shape (..., filter, *position), or of RaggedCodes
        [X^(1), ..., X^(L)].
    noise : array_like, shape () or (...)
        eps_0.
    delta : float
        Admitted failure probability of the statistical rungs.
    rule, threshold, method, debias, noise_deviation, noise_failure
        As for `uniform` and `statistical`; debiasing and Gaussian noise concern the statistical rungs alone.

    Returns
    -------
    Ladder
        The six rungs; with Gaussian noise and no bound on it, only the statistical ones.

    Raises
    ------
    UserError
        As `uniform` and `statistical`.
    """
    rungs: dict[str, PathGuarantee | StatisticalPath] = {}
    if not noise_deviation:
        for form in ("coherence", "babel", "instance"):
            rungs[f"uniform-{form}"] = uniform(model, codes, noise, rule=rule, form=form, threshold=threshold)
    for form in ("coherence", "babel2", "instance"):
        optimised = model.depth == 1 or (method == "optimised" and (debias or form == "instance"))
        rungs[f"statistical-{form}"] = statistical(
            model, codes, noise, delta=delta, form=form, rule=rule, threshold=threshold, debias=debias,
            method="optimised" if optimised else "split",
            noise_deviation=noise_deviation, noise_failure=noise_failure,
        )  # fmt: skip
    return Ladder(rungs)


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
    """

    rung: str
    stripe_sparsity: int
    limit: float
    size: int | None
    obtained: str


def certified_stripe_sparsity(
    dictionary: ConvolutionalDictionary,
    contrast: float = 1.0,
    delta: float = 0.01,
    *,
    rung: str,
    n_atoms: int | None = None,
    noise_ratio: float = 0.0,
    draws: Mapping[int, RaggedCodes] | Callable[[int], RaggedCodes | ArrayLike] | None = None,
    sizes: Sequence[int] | None = None,
) -> CertifiedSparsity:
    """
    Find the largest stripe-sparsity that a rung certifies for one layer of a dictionary.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    contrast : float
        r = X_min / X_max in (0, 1]; the instance rungs read magnitudes from the draws instead.
    delta : float
        Admitted failure probability of the statistical rungs, and share of draws that
        uniform-instance may leave uncovered.
    rung : str
        One of `RUNGS`.
    n_atoms : int, optional
        M, by default that of the dictionary.
    noise_ratio : float
        Bound on the patch norm of the noise over X_max.
    draws : mapping from size to codes, or callable, optional
        For the instance rungs: codes with a given number of non-zeros, by size, or a sampler called with the size.
    sizes : sequence of int, optional
        Sizes among which a sampler is searched, by default 1, 2, 3, 4, 6, 8, 12, ... up to all atoms.

    Returns
    -------
    CertifiedSparsity
        With the way it was obtained (docs/theory.md, "The ladder").

    Raises
    ------
    UserError
        When the rung is unknown, a number is out of range, or draws are missing.
    """
    check_choice(rung, RUNGS, "rung")
    if not (0 < contrast <= 1 and 0 < delta < 1 and noise_ratio >= 0):
        raise UserError("give a contrast in (0, 1], a delta in (0, 1) and a noise ratio of at least 0.")
    if rung.endswith("instance"):
        if draws is None:
            raise UserError(f"rung {rung!r} depends on supports: pass draws, codes by size or a sampler.")
        return _by_draws(dictionary, rung, delta, noise_ratio, draws, sizes)
    margin = contrast - 2 * noise_ratio
    mu = mutual_coherence(dictionary)
    counts = np.arange(dictionary.stripe_size + 1)
    log_term = 8 * math.log(2 * (n_atoms or dictionary.n_atoms) / delta)
    limit = None
    if rung == "uniform-coherence":
        needed = np.where(counts > 0, 2 * counts - 1, 0) * mu
        limit = (1 + margin / mu) / 2 if mu else math.inf
        allowed, obtained = margin, "closed form, (1 + (r - 2 eps / X_max) / mu) / 2"
    elif rung == "statistical-coherence":
        needed = mu**2 * counts * log_term
        limit = margin**2 / (mu**2 * log_term) if mu else math.inf
        allowed, obtained = margin**2, "closed form, (r - 2 eps / X_max)^2 / (8 mu^2 log(2 M / delta))"
    elif rung == "uniform-babel":
        needed = babel(dictionary, counts) + babel(dictionary, np.maximum(counts - 1, 0))
        allowed, obtained = margin, "search over integers, mu_1(k) + mu_1(k - 1) < r - 2 eps / X_max"
    else:
        needed = babel2(dictionary, counts) ** 2 * log_term
        allowed, obtained = margin**2, "search over integers, 8 mu_2(k)^2 log(2 M / delta) <= (r - 2 eps / X_max)^2"
    if margin <= 0:
        return CertifiedSparsity(rung, 0, 0.0, None, "the noise leaves no margin")
    # needed grows with k, so that the last admissible entry is the limit; k = 0 always is.
    largest = int(np.count_nonzero(needed < allowed * (1 - _ROUNDING))) - 1
    return CertifiedSparsity(rung, largest, float(largest if limit is None else limit), None, obtained)


def _by_draws(
    dictionary: ConvolutionalDictionary,
    rung: str,
    delta: float,
    noise_ratio: float,
    draws: Mapping[int, RaggedCodes] | Callable[[int], RaggedCodes | ArrayLike],
    sizes: Sequence[int] | None,
) -> CertifiedSparsity:
    """Search upwards by bisection, the share or mean of failures being monotone in the size but for chance."""
    model = Cascade([dictionary])
    if callable(draws):
        sampler, candidates = draws, sorted(sizes or _default_sizes(dictionary.n_atoms))
    else:
        sampler, candidates = draws.__getitem__, sorted(draws if sizes is None else sizes)
    number = 0

    def certified(size: int) -> int | None:
        nonlocal number
        codes = sampler(size)
        listed = listed_codes(codes, dictionary)
        listed = listed.reshape((listed.row_size.size,))
        number = len(listed.row_size)
        noise = noise_ratio * extreme_magnitudes(listed, dictionary.rank)[1]
        if rung == "uniform-instance":
            failing = 1 - float(np.mean(uniform(model, [listed], noise, form="instance").holds))
        else:
            failing = statistical(model, [listed], noise, delta=delta, method="optimised").failure_rate_bound
        return int(np.median(stripe_norm(listed, dictionary))) if failing <= delta else None

    low, high, best, size = 0, len(candidates), 0, 0
    while low < high:
        middle = (low + high) // 2
        found = certified(candidates[middle])
        if found is None:
            high = middle
        else:
            low, best, size = middle + 1, found, candidates[middle]
    measure = "share of draws not covered" if rung == "uniform-instance" else "mean failure bound of the draws"
    how = f"bisection over {len(candidates)} sizes, {number} draws each, {measure} at most {delta:g}; median stripe"
    if size and size == candidates[-1]:
        how += "; the largest size offered is certified, so that the limit may lie higher"
    return CertifiedSparsity(rung, best, float(best), size, how)


def _default_sizes(n_atoms: int) -> list[int]:
    powers = [2**power for power in range(n_atoms.bit_length())]
    return sorted({size for power in powers for size in (power, 3 * power // 2) if 1 <= size <= n_atoms} | {n_atoms})
