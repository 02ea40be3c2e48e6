"""Filters made from the wavelets of PyWavelets."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from dcsc.errors import UserError
from dcsc.families.products import across_channels, separable
from dcsc.families.registry import register
from dcsc.families.sizes import Grid, PerAxis, at_least, one_dimensional, shape_of
from dcsc.model.dictionary import ConvolutionalDictionary

DEEPEST = 20
"""Levels of a packet tree; the taps of more would fit no grid."""


@register("meyer")
def meyer(grid: Grid, rng: Generator, *, taps: int = 29, stride: int = 6) -> ConvolutionalDictionary:
    """
    Build one filter from the centre of the discrete Meyer wavelet, as layer 1 of [PRE17] section 8.

    When to take it: for layer 1 of the experiments of [PRE17] section 8.

    Parameters
    ----------
    grid : tuple of int, in grid points
        The periodic grid, one axis.
    rng : numpy.random.Generator
        Unused: the family is deterministic.
    taps : int
        Taps kept around the largest-magnitude tap of the wavelet filter, at most 61.
    stride : int, in grid points
        Distance between neighbouring positions.

    Returns
    -------
    ConvolutionalDictionary
        One filter; with the default sizes its mutual coherence is 2.435e-4.

    Raises
    ------
    UserError
        When the grid has more than one axis or the taps are too many.
    """
    import pywt

    one_dimensional(grid, "meyer")
    at_least(1, taps=taps)
    wavelet = np.array(pywt.Wavelet("dmey").dec_hi)
    centre = int(np.argmax(np.abs(wavelet)))
    longest = 2 * min(centre, len(wavelet) - 1 - centre) + 1
    if taps > longest:
        raise UserError(f"taps {taps} is not allowed for the family 'meyer': give at most {longest}.")
    start = centre - taps // 2
    return ConvolutionalDictionary(wavelet[None, None, start : start + taps], stride, grid, normalize=True)


@register("daubechies")
def daubechies(
    grid: Grid, rng: Generator, *, order: int = 2, levels: int = 1, stride: PerAxis | None = None, n_channels: int = 1
) -> ConvolutionalDictionary:
    """
    Build Daubechies' wavelet packets; in several dimensions and channels, products of them.

    When to take it: for an orthonormal basis of wavelet packets. "perturbed" with it as the base gives coherent
    filters.

    Parameters
    ----------
    grid : tuple of int, in grid points
        The periodic grid, of any rank.
    rng : numpy.random.Generator
        Unused: the family is deterministic.
    order : int
        Vanishing moments of the wavelet, 1 (Haar) to 38.
    levels : int
        Depth J of the packet tree: 2 ** J filters of (2 ** J - 1) (2 order - 1) + 1 taps an axis.
    stride : int or tuple of int, in grid points, optional
        By default 2 ** J, an orthonormal basis; smaller ones are the redundant
        (undecimated) transform.
    n_channels : int
        Number of channels; the filters are spread over them by an orthonormal cosine basis.

    Returns
    -------
    ConvolutionalDictionary
        n_channels * 2 ** (J * rank) filters.

    Raises
    ------
    UserError
        When a parameter is not allowed or the taps do not fit the grid.
    """
    import pywt

    at_least(1, levels=levels, n_channels=n_channels)
    if not 1 <= order <= 38:
        raise UserError(f"order {order} is not allowed for Daubechies' wavelets: give 1 to 38.")
    if levels > DEEPEST:
        raise UserError(f"levels {levels} is not allowed: give 1 to {DEEPEST}.")
    taps = (2**levels - 1) * (2 * order - 1) + 1
    if taps > min(grid):
        raise UserError(f"levels {levels} of order {order} need {taps} taps, more than grid {grid} has: lower one.")
    shape_of(grid, taps, n_channels * 2 ** (levels * len(grid)), n_channels)
    wavelet = pywt.Wavelet(f"db{order}")
    pair = [np.array(wavelet.rec_lo), np.array(wavelet.rec_hi)]
    packets = [np.ones(1)]
    for level in range(levels):
        spread = np.zeros((2, (2 * order - 1) * 2**level + 1))
        spread[:, :: 2**level] = pair
        packets = [np.convolve(packet, branch) for packet in packets for branch in spread]
    filters = across_channels(separable([np.array(packets)] * len(grid)), n_channels)
    return ConvolutionalDictionary(filters, 2**levels if stride is None else stride, grid, normalize=True)
