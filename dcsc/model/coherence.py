"""
Coherence of a dictionary: mutual coherence, Babel functions and the Welch bound, from the Gram kernel.

The Gram kernel of a large filter bank is not kept in memory: its rows are computed a few at a time, in float64
(`dcsc.convolution.gram`).
"""

from __future__ import annotations

import math
import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import real_numbers
from dcsc.convolution.gram import GramRows, Span, is_streamed
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.grouped import GroupedDictionary, grouped_blocks
from dcsc.parallel import over_trials

Atoms = ConvolutionalDictionary | GroupedDictionary


def off_diagonal(dictionary: ConvolutionalDictionary) -> NDArray:
    """
    Magnitudes of the inner products of one atom of each filter with all other atoms that it can overlap.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.

    Returns
    -------
    ndarray, shape (filter, stripe_size - 1)
        |g_ij| for one atom i of each filter; on a periodic grid they are the same at every position.
    """
    magnitudes = np.abs(dictionary.gram()).reshape(dictionary.n_filters, -1)
    lags = math.prod(2 * overlap - 1 for overlap in dictionary.overlap)
    zero_lag = lags // 2
    others = np.ones(magnitudes.shape, dtype=bool)
    others[np.arange(dictionary.n_filters), np.arange(dictionary.n_filters) * lags + zero_lag] = False
    return magnitudes[others].reshape(dictionary.n_filters, -1)


def filter_coherence(dictionary: ConvolutionalDictionary) -> NDArray:
    """
    Largest magnitude of the inner products of different atoms, for each pair of filters.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.

    Returns
    -------
    ndarray of float64, shape (filter, filter)
        max |g_ij| over different atoms i and j of the two filters. The largest entry is the mutual coherence.
    """

    def make() -> NDArray:
        if is_streamed(dictionary.filter_blocks[None]):
            return _streamed_peaks(GramRows.of(dictionary.filter_blocks[None]))
        magnitudes = np.abs(dictionary.gram().astype(np.float64)).reshape(*[dictionary.n_filters] * 2, -1)
        np.einsum("iil->il", magnitudes)[:, magnitudes.shape[-1] // 2] = 0  # an atom and itself
        return magnitudes.max(axis=-1)

    return dictionary.prepared("filter coherence", make)


def mutual_coherence(dictionary: Atoms) -> float:
    """
    Mutual coherence: the largest magnitude of the inner product of two different atoms, mu = max |g_ij| over i != j.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary or GroupedDictionary
        The dictionary.

    Returns
    -------
    float
        mu in [0, 1]; 0 for an orthonormal system.

    Examples
    --------
    >>> import dcsc
    >>> round(dcsc.mutual_coherence(dcsc.families.create("hadamard-dirac", grid=64, taps=16)), 6)
    0.25
    """
    return float(_largest_sums(dictionary, 1)[1])


def _largest_sums(dictionary: Atoms, power: int) -> NDArray:
    """Largest over the atoms of the sum of the k largest |g_ij|^power, for every k; kept, as guarantees ask often."""
    blocks = grouped_blocks(dictionary)
    if isinstance(dictionary, GroupedDictionary) or is_streamed(blocks):
        return dictionary.prepared("streamed sums", lambda: _streamed_sums(GramRows.of(blocks)))[power - 1]
    return dictionary.prepared(("largest sums", power), lambda: _sums_at_once(dictionary, power))


def _sums_at_once(dictionary: ConvolutionalDictionary, power: int) -> NDArray:
    descending = -np.sort(-(off_diagonal(dictionary).astype(np.float64) ** power), axis=1)
    sums = np.concatenate([np.zeros((len(descending), 1)), np.cumsum(descending, axis=1)], axis=1).max(axis=0)
    return sums if len(sums) > 1 else np.zeros(2)


def _magnitudes(rows: GramRows, span: Span) -> NDArray:
    """Magnitudes of some rows of the Gram kernel, 0 for an atom and itself: (group, row, lag, filter)."""
    made = rows(span)
    magnitudes = np.abs(made, out=made).reshape(*made.shape[:2], -1, made.shape[-1])
    own = np.arange(magnitudes.shape[1])
    magnitudes[:, own, magnitudes.shape[2] // 2, span[1].start + own] = 0
    return magnitudes


def _streamed_sums(rows: GramRows) -> tuple[NDArray, NDArray]:
    """The largest sums of magnitudes and of their squares, of all numbers of atoms, with a few rows at a time."""
    spans, lock = list(rows.spans()), threading.Lock()
    stripe = rows.blocks.shape[1] * math.prod(2 * n - 1 for n in rows.overlap)
    largest = np.zeros((2, max(stripe, 2)))

    def work(index: int) -> None:
        magnitudes = _magnitudes(rows, spans[index])
        ascending = magnitudes.reshape(-1, stripe)
        ascending.sort(axis=1)  # the 0 of an atom and itself comes last from the large end, where it adds nothing
        others = ascending[:, :0:-1]
        for power, total in enumerate(largest, start=1):
            sums = np.cumsum(others if power == 1 else np.square(others), axis=1).max(axis=0)
            with lock:
                np.maximum(total[1:stripe], sums, out=total[1:stripe])

    over_trials(len(spans), work)
    return largest[0], largest[1]


class Coherent(NamedTuple):
    """
    The pair of atoms with the largest inner product, and the largest coherence of each kind of pairs.

    Parameters
    ----------
    first, second : int
        Filters of the most coherent atoms (first, p) and (second, p + lag).
    lag : tuple of int
        Distance of the second atom from the first, in positions, one number per axis.
    inner : float
        Their inner product, with its sign; 0 if no two atoms overlap.
    same_position, own_shift, across : float
        Largest |g_ij| of filters at the same position, of a filter and itself shifted, of different filters shifted.
    """

    first: int
    second: int
    lag: tuple[int, ...]
    inner: float
    same_position: float
    own_shift: float
    across: float


def most_coherent(dictionary: Atoms) -> Coherent:
    """
    Find the pair of atoms with the largest inner product, and the largest coherence of each kind of pairs.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary or GroupedDictionary
        The dictionary; a few rows of its Gram kernel are held at a time.

    Returns
    -------
    Coherent
        The atoms and their inner product. The largest of `same_position`, `own_shift` and `across` is the mutual
        coherence.
    """
    rows = GramRows.of(grouped_blocks(dictionary))
    spans = list(rows.spans())

    def work(index: int) -> Coherent:
        return _most_coherent(rows, spans[index])

    parts = over_trials(len(spans), work)
    best = max(parts, key=lambda part: abs(part.inner))
    kinds = np.max([part[4:] for part in parts], axis=0)
    return best._replace(same_position=float(kinds[0]), own_shift=float(kinds[1]), across=float(kinds[2]))


def _most_coherent(rows: GramRows, span: Span) -> Coherent:
    """The same among some rows."""
    made = rows(span)
    lags, n_filters = made.shape[2:-1], made.shape[-1]
    flat = made.reshape(*made.shape[:2], -1, n_filters)
    own, middle = np.arange(flat.shape[1]), flat.shape[2] // 2
    flat[:, own, middle, span[1].start + own] = 0  # an atom and itself
    magnitudes = np.abs(flat)
    group, row, lag, second = np.unravel_index(int(magnitudes.argmax()), magnitudes.shape)
    first_filter = int(span[0].start + group) * n_filters
    shift = tuple(int(n) - size // 2 for n, size in zip(np.unravel_index(lag, lags), lags, strict=True))
    same = magnitudes[:, :, middle].max()
    magnitudes[:, :, middle] = 0
    shifted = magnitudes[:, own, :, span[1].start + own].max()
    magnitudes[:, own, :, span[1].start + own] = 0
    return Coherent(
        first_filter + int(span[1].start + row), first_filter + int(second), shift,
        float(flat[group, row, lag, second]), float(same), float(shifted), float(magnitudes.max()),
    )  # fmt: skip


def _streamed_peaks(rows: GramRows) -> NDArray:
    """The largest magnitude of each pair of filters of one group, with a few rows at a time."""
    spans = list(rows.spans())
    parts = over_trials(len(spans), lambda index: _magnitudes(rows, spans[index])[0].max(axis=1))
    return np.concatenate(parts)


def _of_atoms(sums: NDArray, k: ArrayLike) -> NDArray:
    """The sums for numbers of atoms, which stay those of all atoms beyond their number."""
    counts = real_numbers(k, "k", low=0, whole=True)
    return sums[np.minimum(counts.astype(np.int64), len(sums) - 1)]


def babel(dictionary: Atoms, k: ArrayLike) -> NDArray | float:
    """
    Babel function, mu_1(k) = max_i of the sum of the k largest |g_ij|, j != i.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary or GroupedDictionary
        The dictionary.
    k : int or array_like of int
        Numbers of other atoms; beyond the number of atoms in a stripe the function is constant.

    Returns
    -------
    float or ndarray of the shape of k
        mu_1(k), at most k mu.

    Raises
    ------
    UserError
        When k is negative or fractional.

    Examples
    --------
    >>> import dcsc
    >>> dcsc.babel(dcsc.families.create("hadamard-dirac", grid=64, taps=16), [0, 1, 2, 4]).round(6)
    array([0.  , 0.25, 0.5 , 1.  ])
    """
    sums = _of_atoms(_largest_sums(dictionary, 1), k)
    return sums if np.ndim(k) else float(sums)


def babel2(dictionary: Atoms, k: ArrayLike) -> NDArray | float:
    """
    2-Babel function, mu_2(k) = max_i of the l2 norm of the k largest |g_ij|, j != i ([SV07]).

    Parameters
    ----------
    dictionary : ConvolutionalDictionary or GroupedDictionary
        The dictionary.
    k : int or array_like of int
        Numbers of other atoms; beyond the number of atoms in a stripe the function is constant.

    Returns
    -------
    float or ndarray of the shape of k
        mu_2(k), at most sqrt(k) mu.

    Raises
    ------
    UserError
        When k is negative or fractional.
    """
    sums = np.sqrt(_of_atoms(_largest_sums(dictionary, 2), k))
    return sums if np.ndim(k) else float(sums)


def welch_bound(dictionary: Atoms) -> float:
    """
    Welch bound: a lower bound on the mutual coherence of every dictionary of the same sizes.

    The squared norms of the Gram rows, averaged over the atoms, are at least the
    redundancy rho of the atoms over the grid points that they reach, and at most
    1 + (overlapping atoms - 1) mu^2 (docs/theory.md, "Welch bound"; our derivation).

    Parameters
    ----------
    dictionary : ConvolutionalDictionary or GroupedDictionary
        The dictionary; only its sizes count, those of a group where there are groups.

    Returns
    -------
    float
        sqrt((rho - 1) / (overlapping atoms - 1)), or 0 when rho <= 1.

    Examples
    --------
    >>> import dcsc
    >>> dictionary = dcsc.families.create("gaussian", grid=64, seed=0, n_filters=4, taps=8, stride=2)
    >>> dcsc.welch_bound(dictionary) < dcsc.mutual_coherence(dictionary)
    True
    >>> dcsc.welch_bound(dcsc.families.create("lapped", grid=64, n_filters=4))
    0.0
    """
    reached = math.prod(min(step, taps) for step, taps in zip(dictionary.stride, dictionary.taps, strict=True))
    redundancy = dictionary.n_filters / (dictionary.n_channels * reached)
    if redundancy <= 1:
        return 0.0
    groups = dictionary.n_groups if isinstance(dictionary, GroupedDictionary) else 1
    return math.sqrt((redundancy - 1) / (dictionary.stripe_size // groups - 1))
