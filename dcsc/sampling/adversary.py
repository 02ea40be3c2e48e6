"""
Worst-case signs for one-step thresholding and for basis pursuit, for a given support and given magnitudes.

For a fixed threshold, recovery of support and signs fails for some signs if and only if it fails in the worst case of
a single atom; for top-k, of a pair of atoms. So the worst case is exact, and no signs are enumerated (docs/theory.md,
"Worst case"; our derivation). The signs against basis pursuit violate the condition that certifies its success
whenever any signs do; basis pursuit itself may still succeed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import real_numbers
from dcsc.convolution.arguments import checked_type
from dcsc.convolution.layouts import padded, padded_gram, scratch_of, tiled_patterns
from dcsc.convolution.sparse_path import correlate_codes, interference_bound
from dcsc.kernels import worst_case
from dcsc.kernels.independence import INJECTIVE
from dcsc.model.coherence import filter_coherence
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.parallel import over_blocks
from dcsc.ragged import RaggedCodes, kernel_codes


class ThresholdAttack(NamedTuple):
    """
    Worst-case signs for a fixed threshold.

    Parameters
    ----------
    signs : ndarray of int8, shape (non-zero,)
        The signs, one per non-zero of the codes.
    atom : ndarray of int64, shape (...)
        The atom that they attack, in C order of (filter, *position).
    margin : ndarray of float64, shape (...)
        What is left at that atom: |x_i| - interference - threshold if it is active, threshold - interference if not.
    breaks : ndarray of bool, shape (...)
        Whether some signs break the recovery of support and signs: margin <= 0 at an active atom
        or margin < 0 at another, for the rule |c| > threshold.
    exact_for_supports : ndarray of bool, shape (...)
        Whether the same is known to hold for supports alone: no single active atom interferes with another by
        more than the threshold.
    """

    signs: NDArray
    atom: NDArray
    margin: NDArray
    breaks: NDArray
    exact_for_supports: NDArray


class TopKAttack(NamedTuple):
    """
    Worst-case signs for top-k.

    Parameters
    ----------
    signs : ndarray of int8, shape (non-zero,)
        The signs, one per non-zero of the codes.
    active, inactive : ndarray of int64, shape (...)
        The pair of atoms that they attack; -1 when there is none.
    margin : ndarray of float64, shape (...)
        Smallest sign_i c_i - |c_j| over signs and pairs, infinity without a pair.
    breaks : ndarray of bool, shape (...)
        Whether some signs break the recovery of support and signs: margin <= 0.
    """

    signs: NDArray
    active: NDArray
    inactive: NDArray
    margin: NDArray
    breaks: NDArray


class BasisPursuitAttack(NamedTuple):
    """
    Worst-case signs for basis pursuit in its equality form.

    Parameters
    ----------
    signs : ndarray of int8, shape (non-zero,)
        The signs, one per non-zero of the codes.
    atom : ndarray of int64, shape (...)
        The inactive atom j that they attack; -1 when there is none, or active atoms are dependent.
    constant : ndarray of float64, shape (...)
        |W_j|_1 of that atom, the largest one; the signs reach it, <W_j, s> = |W_j|_1. 0 without an atom.
    """

    signs: NDArray
    atom: NDArray
    constant: NDArray


class Separation(NamedTuple):
    """
    Worst cases of active and inactive atoms, each on its own.

    Parameters
    ----------
    smallest_on : ndarray of float64, shape (...)
        Smallest |x_i| - interference over active atoms; infinity for an empty support.
    largest_off : ndarray of float64, shape (...)
        Largest interference at an inactive atom; 0 for a full support.
    """

    smallest_on: NDArray
    largest_off: NDArray

    @property
    def separated(self) -> NDArray:
        """Whether one threshold recovers support and signs for all signs, which suffices for top-k too."""
        return self.largest_off < self.smallest_on


def _gram_and_positions(dictionary: ConvolutionalDictionary) -> tuple[NDArray, NDArray]:
    return padded_gram(dictionary), padded(dictionary.positions)


def _own(dictionary: ConvolutionalDictionary, codes: RaggedCodes) -> NDArray:
    """What each non-zero contributes to its own correlation, |x_i| g_ii."""

    def norms() -> NDArray:
        gram, _ = _gram_and_positions(dictionary)
        middle = [n // 2 for n in gram.shape[2:]]
        return np.array([gram[(i, i, *middle)] for i in range(dictionary.n_filters)]).astype(np.float64)

    squared_norms = dictionary.prepared("squared norms", norms)
    return codes.value * squared_norms[codes.atom // (dictionary.n_atoms // dictionary.n_filters)]


def _worst_cases(dictionary: ConvolutionalDictionary, codes: RaggedCodes) -> tuple[NDArray, NDArray]:
    """Smallest |x_i| g_ii - interference on the support, largest interference off it, and their atoms: (trial, 2)."""
    patterns = tiled_patterns(dictionary, "magnitude", np.float64)
    extremes, where = np.empty((len(codes.row_size), 2)), np.empty((len(codes.row_size), 2), np.int64)
    scratch, own = scratch_of(dictionary, codes.starts), _own(dictionary, codes)
    worst_case.worst_of_codes(scratch, patterns, kernel_codes(codes), own, extremes, where)
    return extremes, where


def _in_blocks(
    dictionary: ConvolutionalDictionary,
    codes: RaggedCodes,
    work: Callable[[RaggedCodes, slice], tuple[NDArray, ...]],
    threads: int | None,
) -> list[NDArray]:
    """Work on blocks of codes, with magnitudes as values; gives the signs first, then arrays of one value per trial."""
    checked_type(dictionary, codes)
    magnitudes = np.abs(codes.value.astype(np.float64))
    flat = RaggedCodes(codes.row_size.ravel(), codes.atom.astype(np.int32), magnitudes, codes.code_shape)

    def span(first: int, last: int) -> tuple[NDArray, ...]:
        trials = slice(first, last)
        return work(flat.rows(trials), trials)

    parts = over_blocks(len(flat.row_size), span, threads) or [span(0, 0)]
    signs, *others = (np.concatenate(column) for column in zip(*parts, strict=True))
    return [signs, *[column.reshape(codes.batch_shape) for column in others]]


def worst_signs_for_threshold(
    dictionary: ConvolutionalDictionary,
    codes: RaggedCodes,
    threshold: ArrayLike,
    *,
    threads: int | None = None,
) -> ThresholdAttack:
    """
    Choose the worst-case signs for one-step thresholding at a fixed threshold.

    They are exact for the recovery of support and signs: it fails for these signs if it fails for any.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer.
    codes : RaggedCodes
        Supports and magnitudes, batch axes (...); their signs do not count.
    threshold : float or array_like, shape (...)
        beta >= 0 of the rule |c| > beta.
    threads : int, optional
        Largest number of threads used; by default the number of cores that this process may use.

    Returns
    -------
    ThresholdAttack
        Signs, the atom attacked (the lowest among equals), its margin, and whether they break recovery.

    Raises
    ------
    UserError
        When shapes do not fit or a threshold is negative.
    """
    thresholds = np.array(real_numbers(threshold, "threshold", codes.batch_shape, low=0), dtype=np.float64).ravel()
    gram, positions = _gram_and_positions(dictionary)
    peaks = filter_coherence(dictionary)

    def work(block: RaggedCodes, trials: slice) -> tuple[NDArray, ...]:
        extremes, where = _worst_cases(dictionary, block)
        attacks, signs = np.empty((len(block.row_size), 4)), np.empty(len(block.atom), np.int8)
        listed = kernel_codes(block)
        worst_case.attack_threshold(gram, peaks, positions, listed, thresholds[trials], extremes, where, attacks)
        target = attacks[:, 0].astype(np.int64)
        worst_case.signs_against(gram, positions, block.atom, block.starts, target, signs)
        return signs, target, attacks[:, 1], attacks[:, 2] != 0, attacks[:, 3] != 0

    return ThresholdAttack(*_in_blocks(dictionary, codes, work, threads))


def worst_signs_of_atom(
    dictionary: ConvolutionalDictionary, codes: RaggedCodes, atom: ArrayLike, *, threads: int | None = None
) -> NDArray:
    """
    Choose the signs with the largest interference at one given atom.

    Parameters
    ----------
    dictionary, codes, threads
        As for `worst_signs_for_threshold`.
    atom : int or array_like of int, shape (...)
        The atom, in C order of (filter, *position). If it is active its own sign is +1 and the others
        pull it down; if not, they push it up.

    Returns
    -------
    ndarray of int8, shape (non-zero,)
        One sign per non-zero of the codes.

    Raises
    ------
    UserError
        When an atom does not exist or the shapes do not fit.
    """
    last = dictionary.n_atoms - 1
    targets = real_numbers(atom, "atom", codes.batch_shape, low=0, high=last, whole=True).ravel().astype(np.int64)
    gram, positions = _gram_and_positions(dictionary)

    def work(block: RaggedCodes, trials: slice) -> tuple[NDArray, ...]:
        signs = np.empty(len(block.atom), np.int8)
        worst_case.signs_against(gram, positions, block.atom, block.starts, targets[trials], signs)
        return (signs,)

    return _in_blocks(dictionary, codes, work, threads)[0]


def worst_signs_for_top_k(
    dictionary: ConvolutionalDictionary, codes: RaggedCodes, *, threads: int | None = None
) -> TopKAttack:
    """
    Choose the worst-case signs for top-k with the true support size.

    They are exact for the recovery of support and signs: sign_i c_i > |c_j| for every active i and inactive j.

    Parameters
    ----------
    dictionary, codes, threads
        As for `worst_signs_for_threshold`.

    Returns
    -------
    TopKAttack
        Signs, the pair attacked, its margin, and whether they break recovery.

    Raises
    ------
    UserError
        When the codes do not fit.
    """
    gram, positions = _gram_and_positions(dictionary)

    def work(block: RaggedCodes, trials: slice) -> tuple[NDArray, ...]:
        starts, own, n_trials = block.starts, _own(dictionary, block), len(block.row_size)
        bound = interference_bound(dictionary, block, threads=1).reshape(n_trials, dictionary.n_atoms)
        extremes, where = np.empty((n_trials, 2)), np.empty((n_trials, 2), np.int64)
        worst_case.separate(bound, kernel_codes(block), own, extremes, where)
        signs = np.ones(len(block.atom), np.int8)
        pairs = np.full((n_trials, 2), -1, dtype=np.int64)
        margin = np.full(n_trials, np.inf)
        for trial in range(n_trials):
            span = slice(starts[trial], starts[trial + 1])
            if np.any(where[trial] < 0):
                continue
            atoms, magnitudes, start = block.atom[span], block.value[span], where[trial, 1]
            margin[trial] = -worst_case.worst_pair(
                gram, positions, atoms, magnitudes, own[span], bound[trial], start, signs[span], pairs[trial]
            )
        return signs, pairs[:, 0], pairs[:, 1], margin, margin <= 0

    return TopKAttack(*_in_blocks(dictionary, codes, work, threads))


def worst_signs_for_basis_pursuit(
    dictionary: ConvolutionalDictionary, codes: RaggedCodes, *, threads: int | None = None
) -> BasisPursuitAttack:
    """
    Choose the worst-case signs for the recovery condition of basis pursuit in its equality form.

    They are s = sign(W_j) with W_j = G_SS^{-1} G_Sj, j the inactive atom of largest |W_j|_1. The condition for given
    signs is |<W_j, s>| < 1 at every inactive atom; it fails for these signs if it fails for any (docs/theory.md,
    "Worst case"). Basis pursuit then probably fails, but this is not certain.

    Parameters
    ----------
    dictionary, codes, threads
        As for `worst_signs_for_threshold`; magnitudes do not count, and the work grows with their number times that
        of all atoms.

    Returns
    -------
    BasisPursuitAttack
        Signs, the atom attacked and its constant; all signs are +1 where the active atoms are dependent.

    Raises
    ------
    UserError
        When the codes do not fit.
    """

    def work(block: RaggedCodes, trials: slice) -> tuple[NDArray, ...]:
        signs = np.ones(len(block.atom), np.int8)
        atoms, constants = np.full(len(block.row_size), -1, np.int64), np.zeros(len(block.row_size))
        for trial, (start, stop) in enumerate(zip(block.starts[:-1], block.starts[1:], strict=True)):
            projected = _projected(dictionary, block.atom[start:stop])
            if projected is None:
                continue
            sums = np.abs(projected).sum(axis=0)
            sums[block.atom[start:stop]] = -1.0  # W_i of an active atom is its unit vector
            worst = int(np.argmax(sums))
            if sums[worst] > 0:
                atoms[trial], constants[trial] = worst, sums[worst]
                signs[start:stop] = np.where(projected[:, worst] < 0, -1, 1)
        return signs, atoms, constants

    return BasisPursuitAttack(*_in_blocks(dictionary, codes, work, threads))


def _projected(dictionary: ConvolutionalDictionary, active: NDArray) -> NDArray | None:
    """W = G_SS^{-1} G_S over all atoms, shape (active, atom), or nothing where the active atoms are dependent."""
    from scipy.linalg import cho_factor, cho_solve

    if not len(active):
        return None
    ones = np.ones(len(active))
    alone = RaggedCodes(np.ones(len(active), np.int64), active, ones, tuple(dictionary.code_shape))
    rows = np.asarray(correlate_codes(dictionary, alone, threads=1), dtype=np.float64).reshape(len(active), -1)
    gram = rows[:, active]
    if np.linalg.eigvalsh(gram)[0] <= INJECTIVE * (1 + len(active)):
        return None
    return cho_solve(cho_factor(gram), rows)


def separate_worst_cases(
    dictionary: ConvolutionalDictionary, codes: RaggedCodes, *, threads: int | None = None
) -> Separation:
    """
    Compute the worst case of the active atoms and that of the inactive ones, each over its own choice of signs.

    This is the cheaper test. If the two are separated, some threshold and top-k recover the support whatever the
    signs. For top-k this is sufficient but not necessary, since one choice of signs must affect both atoms of a pair.

    Parameters
    ----------
    dictionary, codes, threads
        As for `worst_signs_for_threshold`.

    Returns
    -------
    Separation
        The two worst cases, and whether they are separated.

    Raises
    ------
    UserError
        When the codes do not fit.
    """

    def work(block: RaggedCodes, trials: slice) -> tuple[NDArray, ...]:
        extremes, _ = _worst_cases(dictionary, block)
        return np.empty(0, np.int8), extremes[:, 0], extremes[:, 1]

    return Separation(*_in_blocks(dictionary, codes, work, threads)[1:])
