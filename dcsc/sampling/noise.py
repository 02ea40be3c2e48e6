"""White noise on signals, and its level in decibels."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import common_batch, real_array, real_numbers
from dcsc.errors import UserError
from dcsc.model.dictionary import ConvolutionalDictionary


def gaussian_noise(rng: Generator, dictionary: ConvolutionalDictionary, trials: int, *, sigma: float = 1.0) -> NDArray:
    """
    Draw white Gaussian noise on the signals of a layer.

    Parameters
    ----------
    rng : numpy.random.Generator
        The stream of this block.
    dictionary : ConvolutionalDictionary
        The first layer, whose signals it is added to.
    trials : int
        How many to draw.
    sigma : float
        Standard deviation of an entry.

    Returns
    -------
    ndarray, shape (trials, channel, *space)
        The noise.

    Raises
    ------
    UserError
        When sigma is negative.
    """
    if not sigma >= 0:
        raise UserError(f"sigma = {sigma} is not allowed: give a standard deviation, 0 or more.")
    return sigma * rng.standard_normal((trials, *dictionary.signal_shape))


def snr(signals: ArrayLike, noise: ArrayLike, rank: int) -> NDArray | float:
    """
    Signal-to-noise ratio of the powers, 10 log10(sum |signal|^2 / sum |noise|^2).

    Parameters
    ----------
    signals, noise : array_like, shape (..., channel, *space)
        What is compared, one ratio per member of the batch.
    rank : int
        Number of spatial axes.

    Returns
    -------
    float or ndarray, shape (...), in dB
        The ratio; infinity when the noise is 0, NaN when the signal is 0 as well.

    Raises
    ------
    UserError
        When they are not finite real numbers of shapes that fit.
    """
    axes = tuple(range(-rank - 1, 0))
    arrays = _signals_and_noise(signals, noise, rank)
    power, noise_power = ((array**2).sum(axis=axes) for array in arrays)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 10 * np.log10(power / noise_power)
    return ratio if np.ndim(ratio) else float(ratio)


def _signals_and_noise(signals: ArrayLike, noise: ArrayLike, rank: int) -> list[NDArray]:
    """Both in float64; their batch axes fit, and they have the axes of a signal."""
    arrays = [real_array(given, what) for given, what in ((signals, "signals"), (noise, "noise"))]
    for array in arrays:
        if array.ndim < rank + 1 or array.shape[-rank - 1 :] != arrays[0].shape[-rank - 1 :]:
            raise UserError(
                f"signals of shape {arrays[0].shape} and noise of shape {arrays[1].shape} do not fit: give both "
                f"(..., channel, *space), with {rank} axes of space."
            )
    common_batch("signals and noise", *[array.shape[: -rank - 1] for array in arrays])
    return [array.astype(np.float64, copy=False) for array in arrays]


def scale_to_snr(signals: ArrayLike, noise: ArrayLike, decibels: ArrayLike, rank: int) -> NDArray:
    """
    Scale noise to a signal-to-noise ratio; an amplitude is scaled by 10^(-dB/20).

    Parameters
    ----------
    signals, noise : array_like, shape (..., channel, *space)
        The signals, and noise of any level.
    decibels : float or array_like, shape (...), in dB
        The ratio of the powers.
    rank : int
        Number of spatial axes.

    Returns
    -------
    ndarray, shape (..., channel, *space)
        The noise, each member of the batch scaled on its own.

    Raises
    ------
    UserError
        When the noise of a trial is zero, so that no factor gives the ratio, or an array is not as it must be.
    """
    noise = _signals_and_noise(signals, noise, rank)[1]
    present = np.asarray(snr(signals, noise, rank))
    if not np.all(np.isfinite(present)):
        raise UserError("a signal or its noise is zero, so that no factor gives the ratio: leave such trials out.")
    factor = 10.0 ** ((present - real_numbers(decibels, "decibels", present.shape, finite=True)) / 20)
    return noise * np.reshape(factor, (*np.shape(factor), *[1] * (rank + 1)))
