"""How alike atoms are: mutual coherence, Babel functions and the Welch bound, from the Gram kernel."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.errors import UserError
from dcsc.model.dictionary import ConvolutionalDictionary


def off_diagonal(dictionary: ConvolutionalDictionary) -> NDArray:
    """
    Magnitudes of an atom's inner products with every other atom that it can overlap.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.

    Returns
    -------
    ndarray, shape (filter, stripe_size - 1)
        |g_ij| for atom i of each filter; positions are alike on a periodic grid.
    """
    magnitudes = np.abs(dictionary.gram()).reshape(dictionary.n_filters, -1)
    lags = math.prod(2 * overlap - 1 for overlap in dictionary.overlap)
    zero_lag = lags // 2
    others = np.ones(magnitudes.shape, dtype=bool)
    others[np.arange(dictionary.n_filters), np.arange(dictionary.n_filters) * lags + zero_lag] = False
    return magnitudes[others].reshape(dictionary.n_filters, -1)


def filter_coherence(dictionary: ConvolutionalDictionary) -> NDArray:
    """
    Largest inner product of atoms of each pair of filters.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.

    Returns
    -------
    ndarray of float64, shape (filter, filter)
        max |g_ij| over different atoms i and j of the two filters, whose own maximum is the mutual coherence.
    """

    def make() -> NDArray:
        magnitudes = np.abs(dictionary.gram().astype(np.float64)).reshape(*[dictionary.n_filters] * 2, -1)
        np.einsum("iil->il", magnitudes)[:, magnitudes.shape[-1] // 2] = 0  # an atom and itself
        return magnitudes.max(axis=-1)

    return dictionary.prepared("filter coherence", make)


def mutual_coherence(dictionary: ConvolutionalDictionary) -> float:
    """
    Largest inner product of two different atoms, mu = max |g_ij| over i != j.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
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


def _largest_sums(dictionary: ConvolutionalDictionary, power: int) -> NDArray:
    """Largest over the atoms of the sum of the k largest |g_ij|^power, for every k; kept, as guarantees ask often."""

    def make() -> NDArray:
        descending = -np.sort(-(off_diagonal(dictionary).astype(np.float64) ** power), axis=1)
        sums = np.concatenate([np.zeros((len(descending), 1)), np.cumsum(descending, axis=1)], axis=1).max(axis=0)
        return sums if len(sums) > 1 else np.zeros(2)

    return dictionary.prepared(("largest sums", power), make)


def _of_atoms(sums: NDArray, k: ArrayLike) -> NDArray:
    """The sums for numbers of atoms, which stay those of all atoms beyond their number."""
    counts = np.asarray(k)
    if np.any(counts < 0) or np.any(counts != np.floor(counts)):
        raise UserError(f"k = {k} is not allowed: give a whole number of atoms, 0 or more.")
    return sums[np.minimum(counts.astype(np.int64), len(sums) - 1)]


def babel(dictionary: ConvolutionalDictionary, k: ArrayLike) -> NDArray | float:
    """
    Babel function, mu_1(k) = max_i of the sum of the k largest |g_ij|, j != i.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    k : int or array_like of int
        Numbers of other atoms; beyond the stripe the function stays constant.

    Returns
    -------
    float or ndarray of the shape of k
        mu_1(k) <= k mu.

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


def babel2(dictionary: ConvolutionalDictionary, k: ArrayLike) -> NDArray | float:
    """
    2-Babel function, mu_2(k) = max_i of the l2 norm of the k largest |g_ij|, j != i ([SV07]).

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    k : int or array_like of int
        Numbers of other atoms; beyond the stripe the function stays constant.

    Returns
    -------
    float or ndarray of the shape of k
        mu_2(k) <= sqrt(k) mu.

    Raises
    ------
    UserError
        When k is negative or fractional.
    """
    sums = np.sqrt(_of_atoms(_largest_sums(dictionary, 2), k))
    return sums if np.ndim(k) else float(sums)


def welch_bound(dictionary: ConvolutionalDictionary) -> float:
    """
    Lower bound on the mutual coherence of any dictionary of the same sizes.

    The squared norms of the Gram rows, averaged over the atoms, are at least the
    redundancy rho of the atoms over the grid points that they reach, and at most
    1 + (overlapping atoms - 1) mu^2 (docs/theory.md, "Welch bound"; our derivation).

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary; only its sizes count.

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
    return math.sqrt((redundancy - 1) / (dictionary.stripe_size - 1))
