"""Lapped orthonormal filters, for which the Gram matrix is the identity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dcsc.dictionary import ConvolutionalDictionary
from dcsc.errors import UserError
from dcsc.families.registry import register
from dcsc.families.sizes import at_least, root


def cosine_basis(size: int) -> NDArray:
    """
    Write the orthonormal discrete cosine basis (DCT-II).

    Parameters
    ----------
    size : int
        Number of vectors and of entries of each.

    Returns
    -------
    ndarray, shape (vector, entry)
        Orthonormal rows, by increasing frequency.
    """
    entry = np.arange(size)
    basis = np.sqrt(2 / size) * np.cos(np.pi / size * (entry + 0.5) * entry[:, None])
    basis[0] /= np.sqrt(2)
    return basis


def separable(one_axis: NDArray, rank: int) -> NDArray:
    """
    Multiply 1-D filters along every axis, in all combinations.

    Parameters
    ----------
    one_axis : ndarray, shape (filter, tap)
        The filters of one axis.
    rank : int
        Number of spatial axes.

    Returns
    -------
    ndarray, shape (filter ** rank, *tap)
        In C order of the filters of the axes.
    """
    product = one_axis
    for axes in range(1, rank):
        grown = np.multiply.outer(product, one_axis)
        # The filter axis of the new factor moves next to the filter axes before it.
        product = np.moveaxis(grown, 1 + axes, 1).reshape(-1, *product.shape[1:], one_axis.shape[1])
    return product


@register("lapped")
def lapped(
    grid: tuple[int, ...], rng: np.random.Generator, *, n_filters: int, n_channels: int = 1
) -> ConvolutionalDictionary:
    """
    Build lapped orthonormal cosine filters with a sine window (MDCT); the Gram matrix is the identity.

    Along each axis, b filters of 2 b taps at stride b; in 2-D their products. With
    channels, each product is carried by every vector of an orthonormal cosine basis of
    the channels, so that the whole stays an orthonormal basis.

    Parameters
    ----------
    grid : tuple of int, in grid points
        The periodic grid, of any rank; at least 3 b along each axis.
    rng : numpy.random.Generator
        Unused: the family is deterministic.
    n_filters : int
        Number of filters, n_channels * b ** rank for a whole b.
    n_channels : int
        Number of channels.

    Returns
    -------
    ConvolutionalDictionary
        An orthonormal basis of the signals.

    Raises
    ------
    UserError
        When n_filters is not of that form, or the grid does not fit.
    """
    rank = len(grid)
    at_least(n_filters, 1, "n_filters")
    at_least(n_channels, 1, "n_channels")
    bands = root(n_filters // n_channels, rank) if n_filters % n_channels == 0 else None
    if bands is None:
        raise UserError(
            f"n_filters {n_filters} is not allowed for lapped filters with {n_channels} channels and {rank} axes: "
            f"give {n_channels} times {'a whole number' if rank == 1 else f'the power {rank} of a whole number'}."
        )
    tap = np.arange(2 * bands) + 0.5
    window = np.sin(np.pi / (2 * bands) * tap)
    frequency = np.arange(bands)[:, None] + 0.5
    one_axis = np.sqrt(2 / bands) * window * np.cos(np.pi / bands * (tap + bands / 2) * frequency)
    filters = np.multiply.outer(cosine_basis(n_channels), separable(one_axis, rank))
    filters = np.swapaxes(filters, 1, 2).reshape(n_filters, n_channels, *[2 * bands] * rank)
    return ConvolutionalDictionary(filters, bands, grid, normalize=True)
