"""What the active atoms add to the correlation of another atom: its worst case and its variance over random signs."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.dictionary import ConvolutionalDictionary
from dcsc.errors import UserError
from dcsc.ragged import RaggedCodes

# Time of one entry of a scattered stripe over that of one multiplication in a matrix product, as measured.
_SCATTER_COST = 100


def dense_codes(codes: ArrayLike | RaggedCodes, dictionary: ConvolutionalDictionary) -> NDArray:
    """
    Expand codes of a dictionary to floating-point arrays and check their shape.

    Parameters
    ----------
    codes : array_like of shape (..., filter, *position), or RaggedCodes
        The codes.
    dictionary : ConvolutionalDictionary
        Whose atoms they weigh.

    Returns
    -------
    ndarray of float64, shape (..., filter, *position)
        The codes.

    Raises
    ------
    UserError
        When the shape does not fit or a value is not finite.
    """
    dense = codes.to_dense() if isinstance(codes, RaggedCodes) else np.asarray(codes)
    shape = dictionary.code_shape
    if dense.ndim < len(shape) or dense.shape[-len(shape) :] != shape:
        raise UserError(f"codes of shape {dense.shape} do not fit: the last axes must be {shape}.")
    dense = dense.astype(np.float64, copy=False)
    if not np.isfinite(dense).all():
        raise UserError("the codes hold values that are not finite: remove NaN and infinity.")
    return dense


def interference_bound(dictionary: ConvolutionalDictionary, codes: ArrayLike) -> NDArray:
    """
    Largest interference that each atom can receive over all signs of a code.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    codes : array_like, shape (..., filter, *position)
        Codes; only their magnitudes count.

    Returns
    -------
    ndarray, shape (..., filter, *position)
        sum over j != i of |x_j| |g_ij| for atom i, exactly 0 where no active atom reaches
        (docs/theory.md, "Interference").
    """
    return _gram_action(dictionary, np.abs(dense_codes(codes, dictionary)), 1)


def interference_variance(dictionary: ConvolutionalDictionary, codes: ArrayLike) -> NDArray:
    """
    Variance of the interference that each atom receives when the signs of a code are Rademacher.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    codes : array_like, shape (..., filter, *position)
        Codes; only their magnitudes count.

    Returns
    -------
    ndarray, shape (..., filter, *position)
        v_i = sum over j != i of x_j^2 g_ij^2 (docs/theory.md, "Interference").
    """
    return _gram_action(dictionary, dense_codes(codes, dictionary) ** 2, 2)


def _gram_action(dictionary: ConvolutionalDictionary, values: NDArray, power: int) -> NDArray:
    """Sum over j != i of values_j |g_ij|^power, for non-negative values, of shape (..., filter, *position)."""
    kernel = np.abs(dictionary.gram().astype(np.float64)) ** power
    kernel[(np.arange(dictionary.n_filters),) * 2 + tuple(n - 1 for n in dictionary.overlap)] = 0.0
    batch = values.shape[: values.ndim - len(dictionary.code_shape)]
    flat = values.reshape(-1, *dictionary.code_shape)
    dense_cost = flat.size * dictionary.stripe_size
    sparse_cost = np.count_nonzero(flat) * dictionary.stripe_size * _SCATTER_COST
    act = _scatter if sparse_cost < dense_cost else _shift
    return act(dictionary, kernel, flat).reshape(*batch, *dictionary.code_shape)


def _shift(dictionary: ConvolutionalDictionary, kernel: NDArray, values: NDArray) -> NDArray:
    """One matrix product a lag, for codes with many non-zeros."""
    summed = np.zeros((len(values), dictionary.n_filters, math.prod(dictionary.positions)))
    axes = tuple(range(2, values.ndim))
    for index in product(*[range(2 * n - 1) for n in dictionary.overlap]):
        lag = [i - n + 1 for i, n in zip(index, dictionary.overlap, strict=True)]
        there = np.roll(values, [-d for d in lag], axis=axes).reshape(summed.shape)
        summed += kernel[(slice(None), slice(None), *index)] @ there
    return summed.reshape(values.shape)


def _scatter(dictionary: ConvolutionalDictionary, kernel: NDArray, values: NDArray) -> NDArray:
    """One stripe an active atom, for codes with few non-zeros."""
    filters = np.arange(dictionary.n_filters).reshape(1, -1, *[1] * dictionary.rank)
    lags = [np.arange(1 - n, n) for n in dictionary.overlap]
    summed = np.empty_like(values)
    for row, code in enumerate(values):
        active, *position = np.nonzero(code)
        index = filters
        for axis, (place, lag, count) in enumerate(zip(position, lags, dictionary.positions, strict=True)):
            shape = [1] * (2 + dictionary.rank)
            shape[0], shape[2 + axis] = len(place), len(lag)
            index = index * count + ((place[:, None] - lag) % count).reshape(shape)
        stripes = (
            code[(active, *position)].reshape(-1, *[1] * (1 + dictionary.rank)) * np.moveaxis(kernel, 1, 0)[active]
        )
        summed[row] = np.bincount(
            np.broadcast_to(index, stripes.shape).ravel(), stripes.ravel(), minlength=code.size
        ).reshape(code.shape)
    return summed
