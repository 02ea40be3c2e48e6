"""The interference of active atoms with another atom: its worst case over signs and its variance for random signs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.convolution import layouts, sparse_path
from dcsc.convolution.filter_bank import listed_codes
from dcsc.kernels import failure, interference, scatter
from dcsc.kernels.arguments import Sums
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.parallel import over_blocks
from dcsc.ragged import RaggedCodes, kernel_codes, kernel_magnitudes, reduce_codes, take


def interference_bound(dictionary: ConvolutionalDictionary, codes: ArrayLike | RaggedCodes) -> NDArray:
    """
    Largest interference that each atom can receive over all signs of a code.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    codes : array_like of shape (..., filter, *position), or RaggedCodes
        Codes; only their magnitudes count.

    Returns
    -------
    ndarray, shape (..., filter, *position)
        sum over j != i of |x_j| |g_ij| for atom i, exactly 0 where no active atom reaches
        (docs/theory.md, "Interference").
    """
    return sparse_path.interference_bound(dictionary, listed_codes(codes, dictionary))


def interference_variance(dictionary: ConvolutionalDictionary, codes: ArrayLike | RaggedCodes) -> NDArray:
    """
    Variance of the interference that each atom receives when the signs of a code are Rademacher.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    codes : array_like of shape (..., filter, *position), or RaggedCodes
        Codes; only their magnitudes count.

    Returns
    -------
    ndarray, shape (..., filter, *position)
        v_i = sum over j != i of x_j^2 g_ij^2 (docs/theory.md, "Interference").
    """
    return sparse_path.interference_variance(dictionary, listed_codes(codes, dictionary))


@dataclass(frozen=True, eq=False)
class LayerInterference:
    """
    The interference of one layer on the supports, and its extremes elsewhere, for a batch of codes.

    Parameters
    ----------
    codes : RaggedCodes
        The codes, batch shape (code,).
    locked : ndarray, shape (non-zero,)
        d_i, the part of the interference whose sign is that of x_i; 0 where the signs are independent.
    variance : ndarray, shape (non-zero,)
        v_i, sum of squares of the rest.
    bound : ndarray, shape (non-zero,)
        Sum of magnitudes of the rest, its largest value.
    off_bound : ndarray, shape (code,)
        Largest bound off the support.
    off_level : ndarray, shape (code,)
        Largest min(sqrt((v_i + sigma^2) growth), bound_i + sqrt(sigma^2 growth)) off the support.
    largest_variance : ndarray, shape (code,)
        Largest v_i, on the support or off it.
    """

    codes: RaggedCodes
    locked: NDArray
    variance: NDArray
    bound: NDArray
    off_bound: NDArray
    off_level: NDArray
    largest_variance: NDArray

    def take(self, rows: NDArray) -> LayerInterference:
        """
        Choose codes.

        Parameters
        ----------
        rows : ndarray of int, shape (row,)
            Which.

        Returns
        -------
        LayerInterference
            Theirs.
        """
        codes = take(self.codes, rows)
        entries = np.repeat(self.codes.starts[rows] - codes.starts[:-1], codes.row_size) + np.arange(len(codes.atom))
        return LayerInterference(
            codes, self.locked[entries], self.variance[entries], self.bound[entries],
            self.off_bound[rows], self.off_level[rows], self.largest_variance[rows],
        )  # fmt: skip


def layer_interference(
    dictionary: ConvolutionalDictionary, codes: RaggedCodes, *, growth: float = 0.0, noise_variance: float = 0.0
) -> LayerInterference:
    """
    Describe the interference when the signs of the layer's own code are Rademacher (D-CSC-R).

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer's dictionary.
    codes : RaggedCodes
        The codes, batch shape (code,); only their magnitudes count.
    growth : float
        Square of a level over the variance; 0 where levels and variances off the support are not needed.
    noise_variance : float
        sigma^2 of Gaussian noise on the input.

    Returns
    -------
    LayerInterference
        With v_i = sum over j != i of x_j^2 g_ij^2 (docs/theory.md, "Interference").
    """
    return _over_codes(dictionary, codes, growth, noise_variance, None)[0]


def layer_failure(
    dictionary: ConvolutionalDictionary,
    codes: RaggedCodes,
    eps: NDArray,
    guard: NDArray,
    *,
    growth: float = 0.0,
    noise_variance: float = 0.0,
    threshold: NDArray | None = None,
    gaussian: bool = False,
) -> tuple[LayerInterference, NDArray, NDArray]:
    """
    Bound the failure of a layer when the signs of its own code are Rademacher, at the best threshold or a given one.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer's dictionary.
    codes : RaggedCodes
        The codes, batch shape (code,); only their magnitudes count.
    eps, guard : ndarray, shape (code,)
        Bound on the input error, and margin against rounding.
    growth, noise_variance
        As for `layer_interference`.
    threshold : ndarray, shape (code,), optional
        Thresholds fixed beforehand; NaN, and by default, the one that makes the bound smallest.
    gaussian : bool
        Bound the failure there by the Gaussian tail, with bounds that may be too large by a share of 1e-6; the best
        threshold is still that for Hoeffding's.

    Returns
    -------
    interference : LayerInterference
        As from `layer_interference`.
    threshold, probability : ndarray, shape (code,)
        As from `dcsc.guarantees.tails.best_threshold`, or at given thresholds, at the cost of a pass over the codes.
    """
    given = np.full(np.shape(eps), np.nan) if threshold is None else np.array(threshold, dtype=np.float64)
    return _over_codes(dictionary, codes, growth, noise_variance, (np.array(eps), np.array(guard), given), gaussian)


def _over_codes(
    dictionary: ConvolutionalDictionary,
    codes: RaggedCodes,
    growth: float,
    noise_variance: float,
    error: tuple[NDArray, NDArray, NDArray] | None,
    gaussian: bool = False,
) -> tuple[LayerInterference, NDArray, NDArray]:
    """Interference, and the best thresholds too for given bounds on the input error."""
    patterns = layouts.tiled_patterns(dictionary, "magnitude", np.float64)
    listed, n_codes = kernel_magnitudes(codes), codes.row_size.size
    bound, variance = np.empty((2, len(listed.atom)))
    extremes, worst_atom = np.empty((n_codes, 3)), np.empty(n_codes, np.int64)
    threshold, probability = np.empty((2, n_codes))

    def work(first: int, last: int) -> None:
        part, here = listed.part(first, last), slice(first, last)
        common = (
            layouts.scratch_of(dictionary, part.starts), patterns, part, float(growth), float(noise_variance),
            Sums(bound, variance), extremes[here],
        )  # fmt: skip
        if error is None:
            interference.layer_interference(*common, worst_atom[here])
        else:
            of_codes = (values[here] for values in error)
            failure.layer_failure(*common, *of_codes, gaussian, threshold[here], probability[here])

    over_blocks(n_codes, work)
    largest = np.maximum(extremes[:, 1], reduce_codes(np.maximum, variance, codes, 0.0))
    described = LayerInterference(codes, np.zeros(len(bound)), variance, bound, extremes[:, 0], extremes[:, 2], largest)
    return described, threshold, probability


@dataclass(frozen=True, eq=False)
class Interference:
    """
    The interference of one layer as a Rademacher sum at every atom, for a batch of codes.

    Parameters
    ----------
    active : ndarray of bool, shape (code, atom)
        The supports.
    magnitude : ndarray, shape (code, atom)
        |x_i|.
    locked : ndarray, shape (code, atom)
        d_i, the part of the interference whose sign is that of x_i; 0 where the signs are independent.
    variance : ndarray, shape (code, atom)
        v_i, sum of squares of the rest.
    bound : ndarray, shape (code, atom)
        Sum of magnitudes of the rest, its largest value.
    """

    active: NDArray
    magnitude: NDArray
    locked: NDArray
    variance: NDArray
    bound: NDArray

    def of_layer(self, codes: RaggedCodes, growth: float, noise_variance: float = 0.0) -> LayerInterference:
        """
        Keep what concerns the supports, and the extremes elsewhere.

        Parameters
        ----------
        codes : RaggedCodes
            The codes, batch shape (code,).
        growth, noise_variance : float
            As for `layer_interference`.

        Returns
        -------
        LayerInterference
            Of the same layer.
        """
        level = rare_level(self.variance, self.bound, growth, noise_variance)
        off_bound, off_level = (np.where(self.active, 0.0, values).max(axis=1) for values in (self.bound, level))
        rows = np.repeat(np.arange(len(codes.row_size)), codes.row_size)
        locked, variance, bound = (values[rows, codes.atom] for values in (self.locked, self.variance, self.bound))
        return LayerInterference(codes, locked, variance, bound, off_bound, off_level, self.variance.max(axis=1))


def rare_level(variance: NDArray, bound: NDArray, growth: float, noise_variance: float) -> NDArray:
    """
    Compute the level that the interference, together with the noise, rarely exceeds.

    Parameters
    ----------
    variance, bound : ndarray, shape (...)
        v_i and the largest value of the Rademacher sums.
    growth : float
        Square of the level over the variance.
    noise_variance : float
        sigma^2 of Gaussian noise on the input.

    Returns
    -------
    ndarray, shape (...)
        min(sqrt((v_i + sigma^2) growth), bound_i + sqrt(sigma^2 growth)).
    """
    return np.minimum(np.sqrt((variance + noise_variance) * growth), bound + math.sqrt(noise_variance * growth))


def rademacher_interference(dictionary: ConvolutionalDictionary, codes: ArrayLike | RaggedCodes) -> Interference:
    """
    Describe the interference at every atom when the signs of the layer's own code are Rademacher (D-CSC-R).

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer's dictionary.
    codes : array_like of shape (code, filter, *position), or RaggedCodes
        The codes; only their magnitudes count.

    Returns
    -------
    Interference
        With v_i = sum over j != i of x_j^2 g_ij^2 (docs/theory.md, "Interference").
    """
    listed = listed_codes(codes, dictionary)
    flat = (listed.row_size.size, dictionary.n_atoms)
    magnitude = np.abs(listed.to_dense()).reshape(flat)
    return Interference(
        magnitude > 0,
        magnitude,
        np.zeros(flat),
        interference_variance(dictionary, listed).reshape(flat),
        interference_bound(dictionary, listed).reshape(flat),
    )


def largest_write_counts(dictionary: ConvolutionalDictionary, codes: RaggedCodes) -> NDArray:
    """
    Count the active atoms that write to one entry of what codes synthesize, at most.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary; entries of its filters that are exactly 0 do not write.
    codes : RaggedCodes
        The codes.

    Returns
    -------
    ndarray of int64, shape (...)
        1 where no two active atoms of a code write to one entry, 0 for a code without non-zeros.
    """
    patterns = layouts.filter_patterns(dictionary, "writes", np.int64)
    listed = kernel_codes(codes.with_values(np.ones(len(codes.atom))), np.int64)
    counts = np.empty(codes.row_size.size, np.int64)

    def work(first: int, last: int) -> None:
        target = np.empty(patterns.target_shape, np.int64)
        scatter.fullest_entries(counts[first:last], target, patterns, listed.part(first, last))

    over_blocks(len(counts), work)
    return counts.reshape(codes.batch_shape)


def support_gram(dictionary: ConvolutionalDictionary, code: NDArray) -> NDArray:
    """
    Inner products of the active atoms of one code.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    code : ndarray, shape (filter, *position)
        One code.

    Returns
    -------
    ndarray, shape (non-zero, non-zero)
        G_SS, atoms in C order of (filter, *position).
    """
    atoms = np.flatnonzero(code)
    return inner_products(dictionary, atoms, atoms)


def inner_products(dictionary: ConvolutionalDictionary, rows: NDArray, columns: NDArray) -> NDArray:
    """
    Inner products of some atoms with others.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    rows, columns : ndarray of int, shape (row,) and (column,)
        Atoms, in C order of (filter, *position).

    Returns
    -------
    ndarray of float64, shape (row, column)
        Their entries of the Gram matrix.
    """
    here, there = (np.unravel_index(atoms, dictionary.code_shape) for atoms in (rows, columns))
    index, near = [here[0][:, None], there[0][None, :]], np.ones((len(rows), len(columns)), dtype=bool)
    axes = zip(here[1:], there[1:], dictionary.overlap, dictionary.positions, strict=True)
    for place, other, overlap, count in axes:
        lag = (other[None, :] - place[:, None] + overlap - 1) % count
        near &= lag < 2 * overlap - 1
        index.append(np.minimum(lag, 2 * overlap - 2))
    return np.where(near, dictionary.gram().astype(np.float64, copy=False)[tuple(index)], 0.0)
