"""Lapped orthonormal filters, for which the Gram matrix is the identity."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from dcsc.families.products import across_channels, per_channel_and_axis, separable
from dcsc.families.registry import register
from dcsc.families.sizes import Grid, shape_of
from dcsc.model.dictionary import ConvolutionalDictionary


@register("lapped")
def lapped(grid: Grid, rng: Generator, *, n_filters: int, n_channels: int = 1) -> ConvolutionalDictionary:
    """
    Build lapped orthonormal cosine filters with a sine window (MDCT); the Gram matrix is the identity.

    When to take it: for coherence 0, where every code is recovered, and as the base of "perturbed" in a sweep over
    coherence.

    Along each axis there are b filters of 2 b taps at stride b; in 2-D their products. With
    several channels, each product is combined with every vector of an orthonormal cosine
    basis of the channels, so that the result is an orthonormal basis.

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
    bands = per_channel_and_axis(n_filters, n_channels, len(grid))
    shape_of(grid, 2 * bands, n_filters, n_channels)
    tap = np.arange(2 * bands) + 0.5
    window = np.sin(np.pi / (2 * bands) * tap)
    frequency = np.arange(bands)[:, None] + 0.5
    one_axis = np.sqrt(2 / bands) * window * np.cos(np.pi / bands * (tap + bands / 2) * frequency)
    filters = across_channels(separable([one_axis] * len(grid)), n_channels)
    return ConvolutionalDictionary(filters, bands, grid, normalize=True)
