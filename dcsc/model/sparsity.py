"""Local measures of codes and errors: stripes, patches, contrast ([PRE17] section 3)."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import check_finite, real_array
from dcsc.convolution.layouts import AXES, padded
from dcsc.errors import UserError
from dcsc.kernels import local
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.parallel import over_spans
from dcsc.ragged import RaggedCodes, kernel_codes, reduce_by_filter, reduce_codes

SPAN = 1024
"""Codes that a kernel measures in one call, which takes as long as measuring some dozens of them."""


def window_sums(values: NDArray, start: int, length: int, step: int, axis: int) -> NDArray:
    """
    Sum a periodic array over windows along one axis.

    Parameters
    ----------
    values : ndarray, any shape
        What is summed.
    start : int
        Offset of the first window's first entry; negative reaches back over the boundary.
    length : int
        Entries in a window; a window longer than the period counts every entry once.
    step : int
        Distance of neighbouring windows.
    axis : int
        The axis.

    Returns
    -------
    ndarray
        One sum per window, ``values.shape[axis] // step`` of them along the axis.
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


def _is_listed(code: NDArray | RaggedCodes) -> TypeGuard[RaggedCodes]:
    """Whether codes are taken as the lists they are; those of more axes than the kernels have are expanded."""
    return isinstance(code, RaggedCodes) and len(code.code_shape) - 1 <= AXES


def _checked(
    code: ArrayLike | RaggedCodes, last: tuple[int, ...] | None, rank: int, what: str = "codes"
) -> NDArray | RaggedCodes:
    """Check what was given, once: its shape, or where none is known the number of its axes, and its values."""
    if isinstance(code, RaggedCodes):
        check_finite(code.value, what)
        found = tuple(code.code_shape)
        if (found != last) if last is not None else (len(found) != rank + 1):
            raise UserError(f"{what} of shape {found} do not fit: they must be {last or f'of {rank + 1} axes'}.")
        return code
    array = real_array(code, what, last or ())
    if array.ndim < rank + 1:
        raise UserError(f"{what} of shape {array.shape} do not fit: give (..., filter, *position), {rank + 1} axes.")
    return array


def _as_array(code: NDArray | RaggedCodes) -> NDArray:
    return code.to_dense() if isinstance(code, RaggedCodes) else code


def _fullest_stripes(codes: RaggedCodes, dictionary: ConvolutionalDictionary) -> NDArray:
    positions, overlap = padded(dictionary.positions), padded(dictionary.overlap)
    fullest, listed = np.empty(codes.row_size.size, np.int64), kernel_codes(codes)

    def work(first: int, last: int) -> None:
        scratch, line = np.empty(positions.prod(), np.int64), np.empty(positions.max(), np.int64)
        local.fullest_stripes(listed.part(first, last), positions, overlap, scratch, line, fullest[first:last])

    over_spans(len(fullest), SPAN, work)
    return fullest.reshape(codes.batch_shape)


def _largest_patches(codes: RaggedCodes, weights: NDArray, next_dictionary: ConvolutionalDictionary | None) -> NDArray:
    """Largest sum of weights, one per non-zero, in a patch of each code."""
    grid, step, taps = padded(codes.code_shape[1:]), padded(()), padded(())
    if next_dictionary is not None:
        step, taps = padded(next_dictionary.stride), padded(next_dictionary.taps)
    largest, listed = np.empty(codes.row_size.size), kernel_codes(codes.with_values(weights))

    def work(first: int, last: int) -> None:
        scratch = np.empty((grid // step).prod())
        local.largest_patches(listed.part(first, last), grid, step, taps, scratch, largest[first:last])

    over_spans(len(largest), SPAN, work)
    return largest.reshape(codes.batch_shape)


def _fullest_patches(codes: RaggedCodes, next_dictionary: ConvolutionalDictionary | None) -> NDArray:
    return _largest_patches(codes, np.ones(len(codes.atom)), next_dictionary).astype(np.int64)


def _stripe_counts(code: NDArray, dictionary: ConvolutionalDictionary) -> NDArray:
    counts = np.count_nonzero(code, axis=-dictionary.rank - 1).astype(np.int64)
    for axis, overlap in enumerate(dictionary.overlap, start=-dictionary.rank):
        counts = window_sums(counts, 1 - overlap, 2 * overlap - 1, 1, axis + counts.ndim)
    return counts


def stripe_counts(code: ArrayLike | RaggedCodes, dictionary: ConvolutionalDictionary) -> NDArray:
    """
    Count the non-zeros in the stripe of every position ([PRE17] section 3).

    Parameters
    ----------
    code : array_like of shape (..., filter, *position), or RaggedCodes
        Codes of this dictionary.
    dictionary : ConvolutionalDictionary
        The dictionary, whose overlap sets the size of a stripe.

    Returns
    -------
    ndarray of int, shape (..., *position)
        Non-zeros among all atoms that overlap the atoms at that position.

    Raises
    ------
    UserError
        When the codes are not finite real numbers of the dictionary's shape.
    """
    return _stripe_counts(_as_array(_checked(code, dictionary.code_shape, dictionary.rank)), dictionary)


def stripe_norm(code: ArrayLike | RaggedCodes, dictionary: ConvolutionalDictionary) -> NDArray | int:
    """
    Stripe-sparsity: the largest number of non-zeros in a stripe, ||X||^S_{0,inf} ([PRE17] section 3).

    Parameters
    ----------
    code : array_like of shape (..., filter, *position), or RaggedCodes
        Codes of this dictionary.
    dictionary : ConvolutionalDictionary
        The dictionary.

    Returns
    -------
    int or ndarray of int, shape (...)
        The stripe-sparsity, one per code of the batch.

    Raises
    ------
    UserError
        When the codes are not finite real numbers of the dictionary's shape.

    Examples
    --------
    >>> import dcsc
    >>> import numpy as np
    >>> dictionary = dcsc.families.create("lapped", grid=64, n_filters=4)
    >>> code = np.zeros(dictionary.code_shape)
    >>> code[0, 2] = code[3, 3] = code[1, 9] = 1.0
    >>> dcsc.stripe_norm(code, dictionary)
    2
    """
    checked = _checked(code, dictionary.code_shape, dictionary.rank)
    if _is_listed(checked):
        key = ("stripe", dictionary.positions, dictionary.overlap)
        largest = checked.measured(key, lambda: _fullest_stripes(checked, dictionary))
    else:
        counts = _stripe_counts(_as_array(checked), dictionary)
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
        One sum per position of the dictionary.
    """
    rank = next_dictionary.rank
    sums = values.sum(axis=-rank - 1)
    for axis, (taps, step) in enumerate(zip(next_dictionary.taps, next_dictionary.stride, strict=True), start=-rank):
        sums = window_sums(sums, 0, taps, step, axis + sums.ndim)
    return sums


def _checked_patches(
    code: ArrayLike | RaggedCodes,
    next_dictionary: ConvolutionalDictionary | None,
    rank: int | None,
    what: str,
) -> NDArray | RaggedCodes:
    if next_dictionary is not None:
        return _checked(code, next_dictionary.signal_shape, next_dictionary.rank, what)
    if isinstance(code, RaggedCodes):
        return _checked(code, None, len(code.code_shape) - 1, what)
    return _checked(code, None, 1 if rank is None else rank, what)


def _largest_patch(values: NDArray, next_dictionary: ConvolutionalDictionary | None, rank: int | None) -> NDArray:
    if next_dictionary is None:
        rank = values.ndim - 1 if rank is None else rank
        return values.sum(axis=-rank - 1).max(axis=tuple(range(-rank, 0)))
    return patch_sums(values, next_dictionary).max(axis=tuple(range(-next_dictionary.rank, 0)))


def patch_norm(
    code: ArrayLike | RaggedCodes, next_dictionary: ConvolutionalDictionary | None, rank: int | None = None
) -> NDArray | int:
    """
    Largest number of non-zeros in a patch, ||X||^P_{0,inf} ([PRE17] section 4).

    Parameters
    ----------
    code : array_like of shape (..., filter, *position), or RaggedCodes
        Codes of one layer, lists without explicit zeros.
    next_dictionary : ConvolutionalDictionary or None
        The dictionary of the layer below the code, one atom of which sees one patch;
        None at the deepest layer, where a patch is one position, all filters.
    rank : int, optional
        Number of spatial axes when next_dictionary is None; by default the code has no batch axes.

    Returns
    -------
    int or ndarray of int, shape (...)
        The largest count over the patches, one per code of the batch.

    Raises
    ------
    UserError
        When the codes are not finite real numbers, or of another shape.
    """
    checked = _checked_patches(code, next_dictionary, rank, "codes")
    if _is_listed(checked):
        key = ("patch", None if next_dictionary is None else (next_dictionary.stride, next_dictionary.taps))
        largest = checked.measured(key, lambda: _fullest_patches(checked, next_dictionary))
    else:
        active = (_as_array(checked) != 0).astype(np.int64)
        largest = _largest_patch(active, next_dictionary, rank)
    return largest if largest.ndim else int(largest)


def patch_l2(
    error: ArrayLike | RaggedCodes, next_dictionary: ConvolutionalDictionary | None, rank: int | None = None
) -> NDArray | float:
    """
    Largest l2 norm of a patch, ||E||^P_{2,inf} ([PRE17] section 4).

    Parameters
    ----------
    error : array_like of shape (..., channel, *space), or RaggedCodes
        Signals, or codes of one layer.
    next_dictionary : ConvolutionalDictionary or None
        The dictionary that sees these patches; None at the deepest layer.
    rank : int, optional
        Number of spatial axes when next_dictionary is None; by default the error has no batch axes.

    Returns
    -------
    float or ndarray, shape (...)
        The largest norm over the patches, one per member of the batch.

    Raises
    ------
    UserError
        When the errors are not finite real numbers, or of another shape.
    """
    checked = _checked_patches(error, next_dictionary, rank, "errors")
    if _is_listed(checked):
        largest = np.sqrt(_largest_patches(checked, checked.value.astype(np.float64) ** 2, next_dictionary))
    else:
        largest = np.sqrt(_largest_patch(_as_array(checked).astype(np.float64) ** 2, next_dictionary, rank))
    return largest if largest.ndim else float(largest)


def patch_l2_of_bounds(
    bounds: NDArray | RaggedCodes, next_dictionary: ConvolutionalDictionary | None, rank: int | None = None
) -> NDArray | float:
    """
    Largest l2 norm of a patch of bounds on an error, which may be infinite.

    Parameters
    ----------
    bounds : RaggedCodes, or ndarray of shape (..., filter, *position)
        A bound on the error of each entry, at least 0.
    next_dictionary, rank
        As for `patch_l2`.

    Returns
    -------
    float or ndarray, shape (...)
        One norm per member of the batch.
    """
    if _is_listed(bounds):
        largest = np.sqrt(_largest_patches(bounds, bounds.value.astype(np.float64) ** 2, next_dictionary))
    else:
        largest = np.sqrt(_largest_patch(_as_array(bounds).astype(np.float64) ** 2, next_dictionary, rank))
    return largest if largest.ndim else float(largest)


def extreme_magnitudes(code: ArrayLike | RaggedCodes, rank: int) -> tuple[NDArray, NDArray]:
    """
    Smallest and largest non-zero magnitude of each code, X_min and X_max.

    Parameters
    ----------
    code : array_like of shape (..., filter, *position), or RaggedCodes
        Codes, lists without explicit zeros.
    rank : int
        Number of spatial axes.

    Returns
    -------
    smallest, largest : ndarray, shape (...)
        X_min and X_max; infinity and 0 for a code without non-zeros, for which every condition on them then holds.

    Raises
    ------
    UserError
        When the codes are not finite real numbers, or have too few axes.
    """
    code = _checked(code, None, rank)
    if isinstance(code, RaggedCodes):
        smallest, largest = code.measured("extremes", lambda: np.stack(_extremes(code)))
        return smallest, largest
    magnitudes = np.abs(code.astype(np.float64))
    axes = tuple(range(-rank - 1, 0))
    smallest = np.where(magnitudes > 0, magnitudes, np.inf).min(axis=axes)
    return smallest, magnitudes.max(axis=axes)


def _extremes(codes: RaggedCodes) -> tuple[NDArray, NDArray]:
    magnitudes = np.abs(codes.value.astype(np.float64))
    return reduce_codes(np.minimum, magnitudes, codes, np.inf), reduce_codes(np.maximum, magnitudes, codes, 0.0)


def extremes_by_filter(codes: RaggedCodes) -> tuple[NDArray, NDArray]:
    """
    Smallest and largest non-zero magnitude of each filter of each code, X_min,f and X_max,f.

    Parameters
    ----------
    codes : RaggedCodes
        Without explicit zeros.

    Returns
    -------
    smallest, largest : ndarray, shape (..., filter)
        X_min,f and X_max,f; infinity and 0 for a filter without non-zeros.
    """
    check_finite(codes.value, "codes")
    magnitudes = np.abs(codes.value.astype(np.float64))
    smallest = reduce_by_filter(np.minimum, magnitudes, codes, np.inf)
    return smallest, reduce_by_filter(np.maximum, magnitudes, codes, 0.0)


def contrast(code: ArrayLike | RaggedCodes, rank: int) -> NDArray | float:
    """
    Contrast r = X_min / X_max of each code.

    Parameters
    ----------
    code : array_like of shape (..., filter, *position), or RaggedCodes
        Codes, lists without explicit zeros.
    rank : int
        Number of spatial axes.

    Returns
    -------
    float or ndarray, shape (...)
        r, in (0, 1]; 1 for a code without non-zeros.

    Raises
    ------
    UserError
        When the codes are not finite real numbers, or have too few axes.
    """
    smallest, largest = extreme_magnitudes(code, rank)
    ratio = np.where(largest > 0, smallest / np.where(largest > 0, largest, 1.0), 1.0)
    return ratio if ratio.ndim else float(ratio)
