"""Filters made from the wavelets of PyWavelets."""

from __future__ import annotations

import numpy as np

from dcsc.dictionary import ConvolutionalDictionary
from dcsc.errors import UserError
from dcsc.families.registry import register
from dcsc.families.sizes import at_least, one_dimensional


@register("meyer")
def meyer(
    grid: tuple[int, ...], rng: np.random.Generator, *, taps: int = 29, stride: int = 6
) -> ConvolutionalDictionary:
    """
    Cut one filter from the discrete Meyer wavelet, as layer 1 of [PRE17] section 8.

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
    at_least(taps, 1, "taps")
    wavelet = np.array(pywt.Wavelet("dmey").dec_hi)
    centre = int(np.argmax(np.abs(wavelet)))
    longest = 2 * min(centre, len(wavelet) - 1 - centre) + 1
    if taps > longest:
        raise UserError(f"taps {taps} is not allowed for the family 'meyer': give at most {longest}.")
    start = centre - taps // 2
    return ConvolutionalDictionary(wavelet[None, None, start : start + taps], stride, grid, normalize=True)
