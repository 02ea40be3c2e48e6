"""
Bound on the failure probability of top-k with the true support size over random signs, pair by pair of atoms.

Top-k with known k = |S| recovers the support and signs where every active atom beats every inactive one, |c_j| <
s_i c_i. There is a tail for each pair of them and each sign of c_j, and their sum bounds the failure (docs/theory.md,
"Top-k by pairs"). Hundreds of thousands of pairs matter, so that sharp tails are taken of some that are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from dcsc.errors import UserError
from dcsc.guarantees.checks import check_choice, check_path, rounding_guard
from dcsc.guarantees.interference import inner_products, layer_interference
from dcsc.guarantees.sharp_tails import tail_probability
from dcsc.guarantees.tails import GAUSSIAN, TAILS
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.parallel import over_trials
from dcsc.ragged import RaggedCodes, reduce_codes

PAIRS = 64
"""Pairs that are drawn of a code, if nothing else is asked for."""

_ENTRIES = 1 << 14
"""Pairs that are looked at together: their arrays stay in the cache."""
_ROUNDING = 1e-12


def top_k_failure(
    dictionary: ConvolutionalDictionary,
    codes: ArrayLike | RaggedCodes,
    noise: ArrayLike = 0.0,
    *,
    tail: str = "exact",
    rng: Generator | None = None,
    pairs: int = PAIRS,
) -> NDArray:
    """
    Bound the probability that random signs defeat top-k with known k in one layer, or draw a number whose mean does.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    codes : array_like of shape (..., filter, *position), or RaggedCodes
        Only their magnitudes count.
    noise : array_like, shape () or (...)
        Bound on the patch norm of the noise.
    tail : {"hoeffding", "gaussian", "chernoff", "exact"}
        The bound on the tails.
    rng : numpy.random.Generator, optional
        With one, the two dear tails are taken of pairs that it draws.
    pairs : int
        How many of each code.

    Returns
    -------
    ndarray, shape (...)
        Without `rng` a bound b(S) on the failure probability given supports and magnitudes, from the tails of all
        pairs, capped at 1. With it a random number in [0, 1] whose mean over the drawn pairs is b(S), or above it
        where cheap tails add up to more than 1: its mean over draws of codes bounds a failure rate, by a confidence
        limit (docs/theory.md, "Top-k by pairs").

    Raises
    ------
    UserError
        When the tail is unknown, shapes do not fit, the noise is negative or no pair is to be drawn.
    """
    check_choice(tail, TAILS, "tail")
    if pairs < 1:
        raise UserError(f"{pairs} pairs are not allowed: draw 1 or more.")
    (listed,), eps = check_path(Cascade([dictionary]), [codes], noise)
    guard = rounding_guard(dictionary, listed, eps).ravel()
    flat, eps = listed.reshape((eps.size,)), np.array(eps).ravel()
    generators = [None] * eps.size if rng is None else rng.spawn(eps.size)

    surely = _are_separated(dictionary, flat, eps, guard)

    def work(code: int) -> float:
        if surely[code]:  # no signs do any harm, and every tail is 0
            return 0.0
        here = slice(*flat.starts[code : code + 2])
        active = _ActiveAtoms.of(dictionary, flat.atom[here], np.abs(flat.value[here]), eps[code], guard[code])
        return _bound(active, tail, generators[code], pairs)

    return np.array(over_trials(eps.size, work)).reshape(listed.batch_shape)


def _are_separated(dictionary: ConvolutionalDictionary, codes: RaggedCodes, eps: NDArray, guard: NDArray) -> NDArray:
    """Whether every active atom beats all inactive ones whatever the signs, with room for rounding, shape (code,)."""
    everywhere, magnitude = layer_interference(dictionary, codes), np.abs(codes.value)
    lowest = reduce_codes(np.minimum, magnitude - everywhere.bound, codes, np.inf)
    rounding = 2 * guard + 1e-9 * reduce_codes(np.maximum, magnitude, codes, 0.0)
    return lowest - everywhere.off_bound > 2 * eps + rounding


@dataclass(frozen=True, eq=False)
class _ActiveAtoms:
    """
    The active atoms of one code, and what meets at them.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    atom, magnitude : ndarray, shape (active,)
        S and |x_S|.
    noise, guard : float
        Bound on what noise adds to a correlation, and margin against rounding.
    others : ndarray, shape (active, active)
        g_ik for active atoms i and k, 0 for an atom and itself.
    """

    dictionary: ConvolutionalDictionary
    atom: NDArray
    magnitude: NDArray
    noise: float
    guard: float
    others: NDArray

    @classmethod
    def of(
        cls, dictionary: ConvolutionalDictionary, atom: NDArray, magnitude: NDArray, noise: float, guard: float
    ) -> _ActiveAtoms:
        """Look up what meets at the active atoms of a code."""
        others = inner_products(dictionary, atom, atom)
        np.fill_diagonal(others, 0.0)
        return cls(dictionary, atom, magnitude, noise, guard, others)

    def inactive(self) -> Iterator[NDArray]:
        """Give g_jk, shape (inactive, active), for inactive atoms j that S reaches, and one of those it does not."""
        atoms = np.delete(np.arange(self.dictionary.n_atoms), self.atom)
        size, is_first = max(1, _ENTRIES // len(self.atom)), True
        for start in range(0, len(atoms), size):
            rows = inner_products(self.dictionary, atoms[start : start + size], self.atom)
            reached = np.any(rows != 0, axis=1)
            if is_first and not reached.all():
                reached[np.argmin(reached)], is_first = True, False
            yield rows[reached]


@dataclass(frozen=True, eq=False)
class _Pairs:
    """
    Sums over S that make an inactive atom beat an active one.

    Parameters
    ----------
    inactive : ndarray, shape (pair, active)
        g_jk of the inactive atom of each pair.
    active : ndarray of int, shape (pair,)
        Number of the active atom.
    sign : ndarray, shape (pair,)
        That of c_j, which is looked at.
    """

    inactive: NDArray
    active: NDArray
    sign: NDArray

    def tails(self, code: _ActiveAtoms, tail: str) -> NDArray:
        """Bound P(sum over k != i of s_k |x_k| (+-g_jk - g_ik) >= |x_i| (1 -+ g_ij) - 2 eps), shape (pair,)."""
        places = np.arange(len(self.active))
        margin = code.magnitude[self.active] * (1 - self.sign * self.inactive[places, self.active]) - 2 * code.noise
        terms = (self.sign[:, None] * self.inactive - code.others[self.active]) * code.magnitude
        terms[places, self.active] = 0.0
        reaching = terms != 0
        return tail_probability(terms[reaching], reaching.sum(axis=1), margin, tail=tail, guard=code.guard)

    def put(self, where: NDArray, others: _Pairs) -> None:
        """Write other pairs over some of them."""
        self.inactive[where], self.active[where], self.sign[where] = others.inactive, others.active, others.sign


def _bound(code: _ActiveAtoms, tail: str, rng: Generator | None, n_pairs: int) -> float:
    """The bound of one code, or a draw of it."""
    n_active = len(code.atom)
    if n_active in (0, code.dictionary.n_atoms):
        return 0.0
    if rng is None:
        return min(1.0, sum(float(pairs.tails(code, tail).sum()) for pairs in _all_pairs(code)))
    # Of the pairs of all blocks, a draw is one of the newest block with the share that the block has so far.
    drawn = _Pairs(np.empty((n_pairs, n_active)), np.zeros(n_pairs, np.int64), np.ones(n_pairs))
    weight, total = np.zeros(n_pairs), 0.0
    for rows in code.inactive():
        if not len(rows):
            continue
        closed = _closed_tails(code, rows, tail)
        sums = np.cumsum(closed)
        total += float(sums[-1])
        if total > 1:
            return 1.0
        newest = np.flatnonzero(rng.random(n_pairs) * total < sums[-1])
        chosen = np.minimum(np.searchsorted(sums, rng.random(len(newest)) * sums[-1], "right"), len(sums) - 1)
        sign, j, i = np.unravel_index(chosen, closed.shape)
        drawn.put(newest, _Pairs(rows[j], i, 1.0 - 2 * sign))
        weight[newest] = closed.ravel()[chosen]
    if total == 0 or TAILS.index(tail) < TAILS.index("chernoff"):
        return total
    return min(1.0, total * float(np.mean(drawn.tails(code, tail) / weight)))


def _all_pairs(code: _ActiveAtoms) -> Iterator[_Pairs]:
    """Give the pairs of one inactive atom after another, with both signs."""
    n_active = len(code.atom)
    for rows in code.inactive():
        for row in rows:
            active = np.tile(np.arange(n_active), 2)
            yield _Pairs(np.broadcast_to(row, (2 * n_active, n_active)), active, np.repeat([1.0, -1.0], n_active))


def _closed_tails(code: _ActiveAtoms, inactive: NDArray, tail: str) -> NDArray:
    """Tails by variances alone, shape (sign of c_j, inactive, active); of Q(z) the bound of [S53]."""
    squares, others = code.magnitude**2, code.others
    at_active, at_inactive = (others**2) @ squares, inactive**2 @ squares
    variances = at_active + at_inactive[:, None] - inactive**2 * squares
    crossed = 2 * (inactive * squares) @ others.T
    bound = np.abs(others) @ code.magnitude
    reach = bound + (np.abs(inactive) @ code.magnitude)[:, None] - np.abs(inactive) * code.magnitude
    tails = np.empty((2, *inactive.shape))
    for number, sign in enumerate((1.0, -1.0)):
        margin = code.magnitude * (1 - sign * inactive) - 2 * code.noise - code.guard
        # Differences of squares lose digits; what they may lose is added.
        variance = variances - sign * crossed + _ROUNDING * (at_active + at_inactive[:, None])
        squared = np.maximum(margin, 0.0) ** 2 / np.maximum(variance, np.finfo(float).tiny)
        found = np.exp(-squared / 2)
        if tail != "hoeffding":  # twice as fast as the normal distribution function itself, and 0.2 % above it
            ratio = 4 / (3 * np.sqrt(squared) + np.sqrt(squared + 8)) / np.sqrt(2 * np.pi)
            found *= np.minimum(1.0, GAUSSIAN * ratio)
        found *= 1 + _ROUNDING * (1 + squared)
        tails[number] = np.where(margin > reach * (1 + _ROUNDING), 0.0, np.minimum(found, 1.0))
    return tails
