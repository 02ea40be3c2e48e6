"""Checks of the arguments of the dense and the sparse path: types, output arrays, thresholds, and shapes of codes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import check_finite, check_kind, real_numbers
from dcsc.convolution.filter_bank import FilterBank
from dcsc.errors import UserError, nearest
from dcsc.kernels import selection
from dcsc.kernels.arguments import Codes, Rule
from dcsc.ragged import RaggedCodes, kernel_codes

RULES = {"hard": selection.HARD, "soft": selection.SOFT, "relu": selection.RELU, "top-k": selection.TOP_K}


def working_type(dictionary: FilterBank, array: NDArray) -> np.dtype:
    """
    Choose the floating-point type of a product.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    array : ndarray, any shape
        Real codes or signals.

    Returns
    -------
    dtype
        float32 when both fit in it, else float64.

    Raises
    ------
    UserError
        When the array does not hold real numbers.
    """
    check_kind(array.dtype, "arrays")
    return np.dtype(np.float32 if np.result_type(dictionary.dtype, array.dtype) == np.float32 else np.float64)


def type_of_lists(dictionary: FilterBank, lists: RaggedCodes) -> np.dtype:
    """
    Choose the floating-point type of a product with sparse codes or signals.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    lists : RaggedCodes
        Of real numbers; integers take the type of the dictionary.

    Returns
    -------
    dtype
        As from `working_type`.

    Raises
    ------
    UserError
        When a value is not finite.
    """
    check_finite(lists.value, "codes")
    return working_type(dictionary, dictionary.filters if lists.value.dtype.kind in "iu" else lists.value)


def checked_type(dictionary: FilterBank, codes: RaggedCodes) -> np.dtype:
    """
    Check that codes fit a dictionary, and choose the type of their products.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    codes : RaggedCodes
        Of real numbers; integers take the type of the dictionary.

    Returns
    -------
    dtype
        As from `working_type`.

    Raises
    ------
    UserError
        When the shape or the type does not fit.
    """
    if tuple(codes.code_shape) != dictionary.code_shape:
        raise UserError(f"codes of shape {tuple(codes.code_shape)} do not fit: they must be {dictionary.code_shape}.")
    return type_of_lists(dictionary, codes)


def checked_codes(dictionary: FilterBank, codes: RaggedCodes) -> Codes:
    """
    Check that codes fit a dictionary, and give them as kernels take them that only read.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    codes : RaggedCodes
        Of real numbers.

    Returns
    -------
    Codes
        In the type of their products.

    Raises
    ------
    UserError
        When the shape or the type does not fit.
    """
    return kernel_codes(codes, checked_type(dictionary, codes))


def output(out: NDArray | None, shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
    """
    Check the array that a result is written to, or make one.

    Parameters
    ----------
    out : ndarray of the given shape, or None
        The array that the caller gave; None makes a new one.
    shape : tuple of int
        The shape that it must have.
    dtype : dtype
        The type that it must have.

    Returns
    -------
    ndarray of the given shape
        The C-contiguous array to write to.

    Raises
    ------
    UserError
        When what was given does not fit.
    """
    if out is None:
        return np.empty(shape, dtype)
    if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous or not out.flags.writeable:
        raise UserError(f"out is not a writable contiguous array of shape {shape} and type {dtype}: make it so.")
    return out


def thresholds_by_filter(threshold: ArrayLike, batch: tuple[int, ...], n_filters: int) -> NDArray:
    """
    Spread the thresholds of a layer over the trials and filters.

    Parameters
    ----------
    threshold : array_like, shape (), (filter,) or (..., filter)
        beta; the last axis is always that of the filters, and may be of length 1. NaN where none was used.
    batch : tuple of int
        The batch axes.
    n_filters : int
        Filters of the layer.

    Returns
    -------
    ndarray of float64, shape (..., filter)
        One number per trial and filter.

    Raises
    ------
    UserError
        When the shape does not fit, or something is no number.
    """
    given = real_numbers(threshold, "threshold", missing=True).astype(np.float64)
    shape = (*batch, n_filters)
    try:
        return np.broadcast_to(given, shape)
    except ValueError:
        raise UserError(
            f"thresholds by filter of shape {given.shape} do not fit {n_filters} filters and batch axes {batch}: "
            f"give a number, {(n_filters,)} or {shape}."
        ) from None


def rule_of(
    rule: str, threshold: ArrayLike | None, k: ArrayLike | None, batch: tuple[int, ...], n_atoms: int, dtype: np.dtype
) -> Rule:
    """
    Check what a rule is given, and spread it over the trials.

    Parameters
    ----------
    rule : {'hard', 'soft', 'relu', 'top-k'}
        The non-linearity.
    threshold : array_like, shape () or (...), or None
        beta >= 0, for every rule but top-k.
    k : array_like of int, shape () or (...), or None
        Support sizes, for top-k.
    batch : tuple of int
        The batch axes.
    n_atoms : int
        The largest size.
    dtype : dtype
        Type of the correlations.

    Returns
    -------
    Rule
        What it does not use is 0.

    Raises
    ------
    UserError
        When the rule is unknown, or lacks what it needs, or that is not allowed.
    """
    if rule not in RULES:
        raise UserError(f"rule {rule!r} is unknown: {nearest(rule, RULES)}")
    given, name = (k, "k") if rule == "top-k" else (threshold, "threshold")
    if given is None:
        raise UserError(f"rule {rule!r} needs {name}: a number, or one per trial.")
    is_size = rule == "top-k"
    numbers = real_numbers(given, name, batch, low=0, high=n_atoms if is_size else math.inf, whole=is_size).ravel()
    sizes, thresholds = np.zeros(math.prod(batch), np.int64), np.zeros(math.prod(batch), dtype)
    if is_size:
        sizes = numbers.astype(np.int64)
    else:
        thresholds = numbers.astype(dtype)
    return Rule(RULES[rule], thresholds, np.nextafter(thresholds, dtype.type(np.inf)), sizes)
