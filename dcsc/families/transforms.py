"""Filters of classical transforms: cosine, Gabor and Hadamard."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.random import Generator

from dcsc.errors import UserError
from dcsc.families.products import across_channels, cosines, per_channel_and_axis, separable
from dcsc.families.registry import register
from dcsc.families.sizes import Grid, PerAxis, at_least, shape_of
from dcsc.model.dictionary import ConvolutionalDictionary


@register("dct")
def dct(
    grid: Grid,
    rng: Generator,
    *,
    taps: PerAxis,
    n_filters: int | None = None,
    stride: PerAxis | None = None,
    n_channels: int = 1,
) -> ConvolutionalDictionary:
    """
    Build discrete cosine filters; in several dimensions and channels, products of them.

    When to take it: for smooth local frequencies, as in image coding. With a stride equal to the taps it is an
    orthonormal basis; a smaller stride makes it coherent.

    Parameters
    ----------
    grid : tuple of int, in grid points
        The periodic grid, of any rank.
    rng : numpy.random.Generator
        Unused: the family is deterministic.
    taps : int or tuple of int
        Taps along every or each axis.
    n_filters : int, optional
        n_channels * b ** rank for b frequencies per axis: the b lowest ones up to the
        number of taps, the overcomplete DCT beyond. By default the full basis.
    stride : int or tuple of int, in grid points, optional
        By default the taps: with the full basis that is an orthonormal block transform.
    n_channels : int
        Number of channels; the filters are spread over them by an orthonormal cosine basis.

    Returns
    -------
    ConvolutionalDictionary
        With unit-norm filters.

    Raises
    ------
    UserError
        When a size is not allowed or does not fit the grid.
    """
    taps = shape_of(grid, taps, n_channels=n_channels)[2:]
    shape_of(grid, taps, n_channels * math.prod(taps) if n_filters is None else n_filters, n_channels)
    frequencies = taps if n_filters is None else (per_channel_and_axis(n_filters, n_channels, len(grid)),) * len(grid)
    filters = separable([cosines(number, size) for number, size in zip(frequencies, taps, strict=True)])
    return ConvolutionalDictionary(
        across_channels(filters, n_channels), taps if stride is None else stride, grid, normalize=True
    )


@register("gabor")
def gabor(
    grid: Grid,
    rng: Generator,
    *,
    n_filters: int,
    taps: PerAxis,
    stride: PerAxis = 1,
    n_orientations: int = 4,
    width: float = 1 / 6,
    n_channels: int = 1,
) -> ConvolutionalDictionary:
    """
    Build Gabor filters: cosines and sines under a Gaussian window.

    When to take it: for filters like those of the first layer of a trained network. Their coherences differ much, so
    that a threshold for each filter is better than a common one.

    F frequencies (j + 1/2) / (2 F) cycles a grid point, j < F, each as a cosine and a
    sine about the centre; in 2-D each also at n_orientations angles over half a turn.

    Parameters
    ----------
    grid, rng, taps, n_channels
        As for `dct`, on one or two axes and with 2 taps or more.
    n_filters : int
        2 * F * n_channels in 1-D, 2 * F * n_orientations * n_channels in 2-D.
    stride : int or tuple of int, in grid points
        Distance between neighbouring positions.
    n_orientations : int
        Number of orientations; used in 2-D only.
    width : float
        Standard deviation of the window relative to the taps.

    Returns
    -------
    ConvolutionalDictionary
        With unit-norm filters.

    Raises
    ------
    UserError
        When a size is not allowed or does not fit the grid.
    """
    rank = len(grid)
    if rank > 2:
        raise UserError(f"the family 'gabor' has one or two axes, but grid {grid} has {rank}: give one or two numbers.")
    taps = shape_of(grid, taps, n_filters, n_channels)[2:]
    at_least(2, taps=min(taps))
    at_least(1, n_orientations=n_orientations)
    if width <= 0:
        raise UserError(f"width {width} is not allowed: give a positive share of the taps.")
    together = 2 * n_channels * (n_orientations if rank == 2 else 1)
    if n_filters % together:
        raise UserError(f"n_filters {n_filters} is not allowed for these Gabor filters: give a multiple of {together}.")
    n_frequencies = n_filters // together
    axes = np.meshgrid(*[np.arange(size) - (size - 1) / 2 for size in taps], indexing="ij")
    window = np.exp(-sum((axis / (width * size)) ** 2 for axis, size in zip(axes, taps, strict=True)) / 2)
    angles = np.pi * np.arange(n_orientations) / n_orientations if rank == 2 else [0.0]
    filters = []
    for frequency, angle in product((np.arange(n_frequencies) + 0.5) / (2 * n_frequencies), angles):
        along = axes[0] if rank == 1 else axes[0] * np.cos(angle) + axes[1] * np.sin(angle)
        filters += [window * wave(2 * np.pi * frequency * along) for wave in (np.cos, np.sin)]
    return ConvolutionalDictionary(across_channels(np.array(filters), n_channels), stride, grid, normalize=True)


@register("hadamard-dirac")
def hadamard_dirac(grid: Grid, rng: Generator, *, taps: PerAxis, n_channels: int = 1) -> ConvolutionalDictionary:
    """
    Build the union of the Dirac and the Hadamard basis on blocks, [I, H / sqrt(n)].

    When to take it: for a coherence that is known exactly, and as the layer above "aligned".

    H is Sylvester's matrix, H[a, b] = (-1)^popcount(a & b); n counts the entries of a
    block over channels and taps. The mutual coherence is 1 / sqrt(n).

    Parameters
    ----------
    grid : tuple of int, in grid points
        The periodic grid, of any rank.
    rng : numpy.random.Generator
        Unused: the family is deterministic.
    taps : int or tuple of int
        Taps along every or each axis; the stride is the same.
    n_channels : int
        Number of channels; n must be a power of 2.

    Returns
    -------
    ConvolutionalDictionary
        2 n filters, Diracs first; with `integer_filters` when n is a power of 4.

    Raises
    ------
    UserError
        When n is not a power of 2 or the taps do not fit the grid.
    """
    shape = shape_of(grid, taps, n_channels=n_channels)[1:]
    n = math.prod(shape)
    if n & (n - 1):
        raise UserError(
            f"{n_channels} channels of {shape[1:]} taps make blocks of {n} entries: make them a power of 2."
        )
    shape_of(grid, taps, 2 * n, n_channels)
    hadamard = np.ones((1, 1), dtype=np.int64)
    while len(hadamard) < n:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    root = math.isqrt(n)
    if root**2 == n:
        # Both halves are then integers over the one norm sqrt(n).
        filters = np.concatenate([root * np.eye(n, dtype=np.int64), hadamard])
        return ConvolutionalDictionary.from_integers(filters.reshape(2 * n, *shape), shape[1:], grid)
    filters = np.concatenate([np.eye(n), hadamard / math.sqrt(n)])
    return ConvolutionalDictionary(filters.reshape(2 * n, *shape), shape[1:], grid)
