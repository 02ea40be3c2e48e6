"""Filters of several axes and channels made as products of 1-D ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dcsc.errors import UserError
from dcsc.families.sizes import at_least


def cosines(n_vectors: int, size: int) -> NDArray:
    """
    Sample cosines of increasing frequency, from 0 upwards (DCT-II).

    Parameters
    ----------
    n_vectors : int
        Number of vectors; up to `size` they are orthonormal, more of them sample the
        frequencies more finely, as in the overcomplete DCT.
    size : int
        Number of entries of each.

    Returns
    -------
    ndarray, shape (vector, entry)
        Unit-norm rows.
    """
    frequencies = np.arange(n_vectors)[:, None] / max(n_vectors, size)
    vectors = np.cos(np.pi * frequencies * (np.arange(size) + 0.5))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def separable(factors: Sequence[NDArray]) -> NDArray:
    """
    Multiply 1-D filters of every axis, in all combinations.

    Parameters
    ----------
    factors : sequence of ndarray, shape (filter, tap)
        The filters of each axis.

    Returns
    -------
    ndarray, shape (product of the numbers of filters, *tap)
        In C order of the filters of the axes.
    """
    product, *others = factors
    for factor in others:
        grown = np.multiply.outer(product, factor)
        # The filter axis of the new factor moves next to the filter axis before it.
        product = np.moveaxis(grown, -2, 1).reshape(-1, *product.shape[1:], factor.shape[1])
    return product


def across_channels(filters: NDArray, n_channels: int) -> NDArray:
    """
    Spread one-channel filters over channels by every vector of an orthonormal cosine basis.

    Parameters
    ----------
    filters : ndarray, shape (filter, *tap)
        Filters of one channel.
    n_channels : int
        Number of channels; inner products of filters that share a vector stay, others are 0.

    Returns
    -------
    ndarray, shape (n_channels * filter, n_channels, *tap)
        The filters with the first vector, then with the second, and so on.
    """
    spread = np.multiply.outer(cosines(n_channels, n_channels), filters)
    return np.swapaxes(spread, 1, 2).reshape(-1, n_channels, *filters.shape[1:])


def per_channel_and_axis(n_filters: int, n_channels: int, rank: int) -> int:
    """
    Find the number of 1-D filters whose products over the axes and channels are n_filters.

    Parameters
    ----------
    n_filters : int
        The wanted total, n_channels * b ** rank.
    n_channels : int
        Number of channels.
    rank : int
        Number of spatial axes.

    Returns
    -------
    int
        b, the number of filters per axis.

    Raises
    ------
    UserError
        When n_filters is not of that form.
    """
    at_least(1, n_filters=n_filters, n_channels=n_channels)
    try:
        each = round((n_filters / n_channels) ** (1 / rank))
    except OverflowError:  # beyond any float, hence beyond any memory
        each = 0
    if n_channels * each**rank != n_filters:
        power = "a whole number" if rank == 1 else f"the power {rank} of a whole number"
        raise UserError(
            f"n_filters {n_filters} is not allowed with {n_channels} channels on {rank} axes: "
            f"give {n_channels} times {power}."
        )
    return each
