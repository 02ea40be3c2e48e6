"""
The adversary: signs that break one-step thresholding for a given support and given magnitudes.

For a fixed threshold the worst case of support and signs is that of a single atom, and for top-k that
of a pair of atoms; both are exact, without enumerating signs (docs/theory.md, "Worst case"; our derivation).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.coherence import filter_coherence
from dcsc.dictionary import ConvolutionalDictionary
from dcsc.errors import UserError
from dcsc.kernels import worst_case
from dcsc.parallel import over_blocks
from dcsc.ragged import RaggedCodes
from dcsc.sparse_path import interference_bound, padded, padded_gram, room_of, tiled_patterns


class ThresholdAttack(NamedTuple):
    """
    Worst signs against a fixed threshold.

    Parameters
    ----------
    signs : ndarray of int8, shape (non-zero,)
        The signs, one a non-zero of the codes.
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
    Worst signs against top-k.

    Parameters
    ----------
    signs : ndarray of int8, shape (non-zero,)
        The signs, one a non-zero of the codes.
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
    return padded_gram(dictionary), np.array(padded(dictionary.positions, 1), dtype=np.int64)


def _part(codes: RaggedCodes, first: int, last: int) -> RaggedCodes:
    """Some consecutive codes, their batch axes flattened, with magnitudes as values."""
    starts = codes.starts
    span = slice(starts[first], starts[last])
    magnitudes = np.abs(codes.value[span].astype(np.float64))
    return RaggedCodes(
        codes.row_size.ravel()[first:last], codes.atom[span].astype(np.int32), magnitudes, codes.code_shape
    )


def _own(dictionary: ConvolutionalDictionary, codes: RaggedCodes) -> NDArray:
    """What each non-zero contributes to its own correlation, |x_i| g_ii."""
    gram, _ = _gram_and_positions(dictionary)
    squared_norms = np.array([gram[(i, i, *[n // 2 for n in gram.shape[2:]])] for i in range(dictionary.n_filters)])
    return codes.value * squared_norms.astype(np.float64)[codes.atom // (dictionary.n_atoms // dictionary.n_filters)]


def _worst_cases(dictionary: ConvolutionalDictionary, codes: RaggedCodes) -> tuple[NDArray, NDArray]:
    """Smallest |x_i| g_ii - interference on the support, largest interference off it, and their atoms: (trial, 2)."""
    patterns = tiled_patterns(dictionary, "magnitude", np.float64)
    extremes, where = np.empty((len(codes.row_size), 2)), np.empty((len(codes.row_size), 2), np.int64)
    worst_case.worst_of_codes(
        room_of(dictionary, codes.starts, np.dtype(np.float64)),
        patterns.pattern,
        codes.atom,
        codes.value,
        _own(dictionary, codes),
        codes.starts,
        patterns.layout,
        dictionary.n_filters,
        extremes,
        where,
    )
    return extremes, where


def _joined(parts: list[tuple], batch: tuple[int, ...]) -> list[NDArray]:
    """Put the blocks' arrays together, the signs first and then one value a trial."""
    signs, *others = (np.concatenate(column) for column in zip(*parts, strict=True))
    return [signs, *[column.reshape(batch) for column in others]]


def _checked_codes(codes: RaggedCodes) -> None:
    if codes.row_size.size == 0:
        raise UserError("there are no codes to attack: give at least one.")


def worst_signs_for_threshold(
    dictionary: ConvolutionalDictionary,
    codes: RaggedCodes,
    threshold: ArrayLike,
    *,
    threads: int | None = None,
) -> ThresholdAttack:
    """
    Signs that bring one-step thresholding at a fixed threshold nearest to failure.

    Exact for the recovery of support and signs: they break iff any signs do.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer.
    codes : RaggedCodes
        Supports and magnitudes, batch axes (...); their signs do not count.
    threshold : float or array_like, shape (...)
        beta >= 0 of the rule |c| > beta.
    threads : int, optional
        At most that many at once.

    Returns
    -------
    ThresholdAttack
        Signs, the atom attacked (the lowest among equals), its margin, and whether they break recovery.

    Raises
    ------
    UserError
        When shapes do not fit or a threshold is negative.
    """
    _checked_codes(codes)
    thresholds = np.asarray(threshold, dtype=np.float64)
    if thresholds.shape not in ((), codes.batch_shape) or not np.all(thresholds >= 0):
        raise UserError(f"threshold = {threshold} is not allowed: give one that is not negative, or one a trial.")
    thresholds = np.array(np.broadcast_to(thresholds, codes.batch_shape)).ravel()
    gram, positions = _gram_and_positions(dictionary)
    peaks = filter_coherence(dictionary)

    def work(first: int, last: int) -> tuple:
        block = _part(codes, first, last)
        extremes, where = _worst_cases(dictionary, block)
        found, signs = np.empty((last - first, 4)), np.empty(len(block.atom), np.int8)
        worst_case.attack_threshold(
            gram,
            peaks,
            positions,
            block.atom,
            block.value,
            block.starts,
            thresholds[first:last],
            extremes,
            where,
            found,
        )
        target = found[:, 0].astype(np.int64)
        worst_case.signs_against(gram, positions, block.atom, block.starts, target, signs)
        return signs, target, found[:, 1], found[:, 2] != 0, found[:, 3] != 0

    return ThresholdAttack(*_joined(over_blocks(codes.row_size.size, work, threads), codes.batch_shape))


def worst_signs_of_atom(
    dictionary: ConvolutionalDictionary, codes: RaggedCodes, atom: ArrayLike, *, threads: int | None = None
) -> NDArray:
    """
    Signs of the largest interference at one atom.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer.
    codes : RaggedCodes
        Supports and magnitudes, batch axes (...); their signs do not count.
    atom : int or array_like of int, shape (...)
        The atom, in C order of (filter, *position). If it is active its own sign is +1 and the others
        pull it down; if not, they push it up.
    threads : int, optional
        At most that many at once.

    Returns
    -------
    ndarray of int8, shape (non-zero,)
        One sign a non-zero of the codes.

    Raises
    ------
    UserError
        When an atom does not exist or the shapes do not fit.
    """
    _checked_codes(codes)
    targets = np.asarray(atom)
    if targets.shape not in ((), codes.batch_shape) or np.any(targets < 0) or np.any(targets >= dictionary.n_atoms):
        raise UserError(f"atom = {atom} is not allowed: give one of 0..{dictionary.n_atoms - 1}, or one a trial.")
    targets = np.broadcast_to(targets, codes.batch_shape).ravel().astype(np.int64)
    gram, positions = _gram_and_positions(dictionary)

    def work(first: int, last: int) -> tuple:
        block = _part(codes, first, last)
        signs = np.empty(len(block.atom), np.int8)
        worst_case.signs_against(gram, positions, block.atom, block.starts, targets[first:last], signs)
        return (signs,)

    return _joined(over_blocks(codes.row_size.size, work, threads), codes.batch_shape)[0]


def worst_signs_for_top_k(
    dictionary: ConvolutionalDictionary, codes: RaggedCodes, *, threads: int | None = None
) -> TopKAttack:
    """
    Signs that bring top-k, with the true support size, nearest to failure.

    Exact for the recovery of support and signs, sign_i c_i > |c_j| for every active i and inactive j.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer.
    codes : RaggedCodes
        Supports and magnitudes, batch axes (...); their signs do not count.
    threads : int, optional
        At most that many at once.

    Returns
    -------
    TopKAttack
        Signs, the pair attacked, its margin, and whether they break recovery.

    Raises
    ------
    UserError
        When the codes do not fit.
    """
    _checked_codes(codes)
    gram, positions = _gram_and_positions(dictionary)

    def work(first: int, last: int) -> tuple:
        block = _part(codes, first, last)
        starts, own, n_trials = block.starts, _own(dictionary, block), last - first
        bound = interference_bound(dictionary, block, threads=1).reshape(n_trials, dictionary.n_atoms)
        extremes, where = np.empty((n_trials, 2)), np.empty((n_trials, 2), np.int64)
        worst_case.separate(bound, block.atom, own, starts, extremes, where)
        signs = np.ones(len(block.atom), np.int8)
        pairs = np.full((last - first, 2), -1, dtype=np.int64)
        margin = np.full(last - first, np.inf)
        for trial in range(last - first):
            span = slice(starts[trial], starts[trial + 1])
            if np.any(where[trial] < 0):
                continue
            margin[trial] = -worst_case.worst_pair(
                gram,
                positions,
                block.atom[span],
                block.value[span],
                own[span],
                bound[trial],
                where[trial, 1],
                signs[span],
                pairs[trial],
            )
        return signs, pairs[:, 0], pairs[:, 1], margin, margin <= 0

    return TopKAttack(*_joined(over_blocks(codes.row_size.size, work, threads), codes.batch_shape))


def separate_worst_cases(
    dictionary: ConvolutionalDictionary, codes: RaggedCodes, *, threads: int | None = None
) -> Separation:
    """
    Worst case of the active atoms and of the inactive ones, as if each had signs of its own.

    The cheaper test: separation suffices for recovery by some threshold and by top-k, whatever the
    signs; it is not necessary for top-k, where one choice of signs must hurt both atoms of a pair.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer.
    codes : RaggedCodes
        Supports and magnitudes, batch axes (...); their signs do not count.
    threads : int, optional
        At most that many at once.

    Returns
    -------
    Separation
        The two extremes, and whether they are separated.

    Raises
    ------
    UserError
        When the codes do not fit.
    """
    _checked_codes(codes)

    def work(first: int, last: int) -> tuple:
        block = _part(codes, first, last)
        extremes, _ = _worst_cases(dictionary, block)
        return np.empty(0, np.int8), extremes[:, 0], extremes[:, 1]

    return Separation(*_joined(over_blocks(codes.row_size.size, work, threads), codes.batch_shape)[1:])
