"""Filters with independent random entries."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from dcsc.errors import UserError
from dcsc.families.registry import register
from dcsc.families.sizes import Grid, PerAxis, at_least, shape_of
from dcsc.model.dictionary import ConvolutionalDictionary


@register("gaussian")
def gaussian(
    grid: Grid, rng: Generator, *, n_filters: int, taps: PerAxis, stride: PerAxis = 1, n_channels: int = 1
) -> ConvolutionalDictionary:
    """
    Draw filters with independent normal entries, uniform on the sphere.

    When to take it: as a neutral first choice. The coherence is that of random vectors: more taps make it lower.

    Parameters
    ----------
    grid : tuple of int, in grid points
        The periodic grid, of any rank.
    rng : numpy.random.Generator
        Draws the entries.
    n_filters, n_channels : int
        Numbers of filters and channels.
    taps : int or tuple of int
        Taps along every or each axis.
    stride : int or tuple of int, in grid points
        Distance between neighbouring positions.

    Returns
    -------
    ConvolutionalDictionary
        With unit-norm filters.

    Raises
    ------
    UserError
        When a size is not allowed or does not fit the grid.
    """
    filters = rng.standard_normal(shape_of(grid, taps, n_filters, n_channels))
    return ConvolutionalDictionary(filters, stride, grid, normalize=True)


@register("rademacher")
def rademacher(
    grid: Grid, rng: Generator, *, n_filters: int, taps: PerAxis, stride: PerAxis = 1, n_channels: int = 1
) -> ConvolutionalDictionary:
    """
    Draw filters with independent entries of one magnitude and random sign.

    When to take it: for random filters with taps of equal magnitude, and integer filters. The coherence can have few
    values only.

    Parameters
    ----------
    grid, rng, n_filters, taps, stride, n_channels
        As for `gaussian`.

    Returns
    -------
    ConvolutionalDictionary
        With `integer_filters` of +-1, so that a cascade synthesizes integer codes exactly.

    Raises
    ------
    UserError
        When a size is not allowed or does not fit the grid.
    """
    signs = random_signs(rng, shape_of(grid, taps, n_filters, n_channels))
    return ConvolutionalDictionary.from_integers(signs, stride, grid)


@register("sparse-random")
def sparse_random(
    grid: Grid,
    rng: Generator,
    *,
    n_filters: int,
    taps: PerAxis,
    n_nonzeros: int,
    stride: PerAxis = 1,
    n_channels: int = 1,
    values: Literal["rademacher", "gaussian"] = "rademacher",
) -> ConvolutionalDictionary:
    """
    Draw filters with a given number of non-zeros at uniformly random places.

    When to take it: for the inner layers of a cascade: few non-zeros per filter keep the codes above sparse.

    With the same seed, a draw of more filters or non-zeros contains the draw of fewer.

    Parameters
    ----------
    grid, rng, n_filters, taps, stride, n_channels
        As for `gaussian`; a stream spawned from rng draws the values.
    n_nonzeros : int
        Non-zeros of each filter, over all its channels and taps.
    values : {"rademacher", "gaussian"}
        Distribution of the non-zeros: random signs, or normal.

    Returns
    -------
    ConvolutionalDictionary
        With `integer_filters` of 0 and +-1 when the values are random signs.

    Raises
    ------
    UserError
        When a size is not allowed or does not fit the grid.
    """
    shape = shape_of(grid, taps, n_filters, n_channels)
    entries = math.prod(shape[1:])
    at_least(1, n_nonzeros=n_nonzeros)
    if n_nonzeros > entries:
        raise UserError(
            f"n_nonzeros {n_nonzeros} is not allowed for filters of {entries} entries: give at most {entries}."
        )
    places = np.argsort(rng.random((n_filters, entries)), axis=1)[:, :n_nonzeros]
    exact = values == "rademacher"
    (rng,) = rng.spawn(1)
    # One for every place, so that the value of a place is the same whatever else is drawn.
    drawn = random_signs(rng, (n_filters, entries)) if exact else rng.standard_normal((n_filters, entries))
    filters = np.zeros_like(drawn)
    np.put_along_axis(filters, places, np.take_along_axis(drawn, places, axis=1), axis=1)
    if exact:
        return ConvolutionalDictionary.from_integers(filters.reshape(shape), stride, grid)
    return ConvolutionalDictionary(filters.reshape(shape), stride, grid, normalize=True)


def random_signs(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray:
    """
    Draw independent random signs.

    Parameters
    ----------
    rng : numpy.random.Generator
        The generator.
    shape : tuple of int
        Shape of the result.

    Returns
    -------
    ndarray of int, of that shape
        Entries -1 and 1, equally likely.
    """
    return 2 * rng.integers(0, 2, shape) - 1
