"""Local measures of codes and errors: stripes, patches, contrast ([PRE17] section 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.dictionary import ConvolutionalDictionary


def window_sums(values: NDArray, start: int, length: int, step: int, axis: int) -> NDArray:
    """
    Sum a periodic array over windows along one axis.

    Parameters
    ----------
    values : ndarray
        What is summed.
    start : int
        Offset of the first window's first entry; negative reaches back over the boundary.
    length : int
        Entries in a window, at most one period is counted.
    step : int
        Distance of neighbouring windows.
    axis : int
        The axis.

    Returns
    -------
    ndarray
        One sum a window, ``values.shape[axis] // step`` of them along the axis.
    """
    period = values.shape[axis]
    length = min(length, period)
    first = (start + step * np.arange(period // step)) % period
    if length * len(first) <= 8 * period or values.dtype.kind == "f":
        windows = (first[:, None] + np.arange(length)) % period
        return np.take(values, windows, axis=axis).sum(axis=axis + 1 if axis >= 0 else axis)
    # Integers may be differenced without rounding, at a cost that does not grow with the window.
    extended = np.concatenate([values, values], axis=axis)
    total = np.cumsum(extended, axis=axis)
    total = np.concatenate([np.zeros_like(np.take(total, [0], axis=axis)), total], axis=axis)
    return np.take(total, first + length, axis=axis) - np.take(total, first, axis=axis)


def _active_per_position(code: ArrayLike, rank: int) -> NDArray:
    return np.count_nonzero(np.asarray(code), axis=-rank - 1).astype(np.int64)


def stripe_counts(code: ArrayLike, dictionary: ConvolutionalDictionary) -> NDArray:
    """
    Count the non-zeros in the stripe of every position.

    Parameters
    ----------
    code : array_like, shape (..., filter, *position)
        Codes of this dictionary.
    dictionary : ConvolutionalDictionary
        The dictionary, whose overlap sets the size of a stripe.

    Returns
    -------
    ndarray of int, shape (..., *position)
        Non-zeros among all atoms that overlap the atoms at that position.
    """
    counts = _active_per_position(code, dictionary.rank)
    for axis, overlap in enumerate(dictionary.overlap, start=-dictionary.rank):
        counts = window_sums(counts, 1 - overlap, 2 * overlap - 1, 1, axis + counts.ndim)
    return counts


def stripe_norm(code: ArrayLike, dictionary: ConvolutionalDictionary) -> NDArray | int:
    """
    Largest number of non-zeros in a stripe, ||X||^S_{0,inf} ([PRE17] section 3).

    Parameters
    ----------
    code : array_like, shape (..., filter, *position)
        Codes of this dictionary.
    dictionary : ConvolutionalDictionary
        The dictionary.

    Returns
    -------
    int or ndarray of int, shape (...)
        The stripe-sparsity, one a code of the batch.
    """
    counts = stripe_counts(code, dictionary)
    largest = counts.max(axis=tuple(range(-dictionary.rank, 0)))
    return largest if largest.ndim else int(largest)


def patch_sums(values: NDArray, next_dictionary: ConvolutionalDictionary) -> NDArray:
    """
    Sum over the patches that the atoms of a dictionary see.

    Parameters
    ----------
    values : ndarray, shape (..., channel, *space)
        What is summed, on the grid of the dictionary's signals.
    next_dictionary : ConvolutionalDictionary
        The dictionary whose declared taps and stride make the patches.

    Returns
    -------
    ndarray, shape (..., *position)
        One sum a position of the dictionary.
    """
    rank = next_dictionary.rank
    sums = values.sum(axis=-rank - 1)
    for axis, (taps, step) in enumerate(zip(next_dictionary.taps, next_dictionary.stride, strict=True), start=-rank):
        sums = window_sums(sums, 0, taps, step, axis + sums.ndim)
    return sums


def _largest_patch(values: NDArray, next_dictionary: ConvolutionalDictionary | None, rank: int | None) -> NDArray:
    if next_dictionary is None:
        rank = values.ndim - 1 if rank is None else rank
        return values.sum(axis=-rank - 1).max(axis=tuple(range(-rank, 0)))
    return patch_sums(values, next_dictionary).max(axis=tuple(range(-next_dictionary.rank, 0)))


def patch_norm(
    code: ArrayLike, next_dictionary: ConvolutionalDictionary | None, rank: int | None = None
) -> NDArray | int:
    """
    Largest number of non-zeros in a patch, ||X||^P_{0,inf} ([PRE17] section 4).

    Parameters
    ----------
    code : array_like, shape (..., filter, *position)
        Codes of one layer.
    next_dictionary : ConvolutionalDictionary or None
        The dictionary of the layer below the code, one atom of which sees one patch;
        None at the deepest layer, where a patch is one position, all filters.
    rank : int, optional
        Number of spatial axes when next_dictionary is None; by default the code has no batch axes.

    Returns
    -------
    int or ndarray of int, shape (...)
        One count a code of the batch.
    """
    active = (np.asarray(code) != 0).astype(np.int64)
    largest = _largest_patch(active, next_dictionary, rank)
    return largest if largest.ndim else int(largest)


def patch_l2(
    error: ArrayLike, next_dictionary: ConvolutionalDictionary | None, rank: int | None = None
) -> NDArray | float:
    """
    Largest l2 norm of a patch, ||E||^P_{2,inf} ([PRE17] section 4).

    Parameters
    ----------
    error : array_like, shape (..., channel, *space)
        Signals, or codes of one layer.
    next_dictionary : ConvolutionalDictionary or None
        The dictionary that sees these patches; None at the deepest layer.
    rank : int, optional
        Number of spatial axes when next_dictionary is None; by default the error has no batch axes.

    Returns
    -------
    float or ndarray, shape (...)
        One norm a member of the batch.
    """
    largest = np.sqrt(_largest_patch(np.asarray(error, dtype=np.float64) ** 2, next_dictionary, rank))
    return largest if largest.ndim else float(largest)


def extreme_magnitudes(code: ArrayLike, rank: int) -> tuple[NDArray, NDArray]:
    """
    Smallest and largest non-zero magnitude of each code, X_min and X_max.

    Parameters
    ----------
    code : array_like, shape (..., filter, *position)
        Codes.
    rank : int
        Number of spatial axes.

    Returns
    -------
    smallest, largest : ndarray, shape (...)
        Infinity and 0 for a code without non-zeros, so that nothing asked of it fails.
    """
    magnitudes = np.abs(np.asarray(code, dtype=np.float64))
    axes = tuple(range(-rank - 1, 0))
    smallest = np.where(magnitudes > 0, magnitudes, np.inf).min(axis=axes)
    return smallest, magnitudes.max(axis=axes)


def contrast(code: ArrayLike, rank: int) -> NDArray | float:
    """
    Contrast r = X_min / X_max of each code.

    Parameters
    ----------
    code : array_like, shape (..., filter, *position)
        Codes.
    rank : int
        Number of spatial axes.

    Returns
    -------
    float or ndarray, shape (...)
        In (0, 1]; 1 for a code without non-zeros.
    """
    smallest, largest = extreme_magnitudes(code, rank)
    ratio = np.where(largest > 0, smallest / np.where(largest > 0, largest, 1.0), 1.0)
    return ratio if ratio.ndim else float(ratio)
