"""Noise on signals: Gaussian, bounded in every patch, and the worst of a bound; and its level in decibels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.convolution.sparse_path import correlate_codes
from dcsc.errors import UserError
from dcsc.model import sparsity
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.ragged import RaggedCodes


def gaussian_noise(
    rng: np.random.Generator, dictionary: ConvolutionalDictionary, trials: int, *, sigma: float = 1.0
) -> NDArray:
    """
    White Gaussian noise.

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


def bounded_noise(
    rng: np.random.Generator, dictionary: ConvolutionalDictionary, trials: int, *, bound: float
) -> NDArray:
    """
    Gaussian directions scaled so that the largest patch meets a bound, ||E||^P_{2,inf} = bound.

    Parameters
    ----------
    rng : numpy.random.Generator
        The stream of this block.
    dictionary : ConvolutionalDictionary
        The first layer, whose atoms see the patches.
    trials : int
        How many to draw.
    bound : float
        The l2 norm of the largest patch.

    Returns
    -------
    ndarray, shape (trials, channel, *space)
        The noise.

    Raises
    ------
    UserError
        When the bound is negative.
    """
    if not bound >= 0:
        raise UserError(f"bound = {bound} is not allowed: give a norm, 0 or more.")
    noise = rng.standard_normal((trials, *dictionary.signal_shape))
    norms = np.asarray(sparsity.patch_l2(noise, dictionary))
    return noise * (bound / norms).reshape(-1, *[1] * (noise.ndim - 1))


def adversarial_noise(
    dictionary: ConvolutionalDictionary, codes: RaggedCodes, threshold: ArrayLike, *, bound: float
) -> NDArray:
    """
    Noise of a given patch norm, in one patch, that hurts a threshold most.

    Along an atom d_i it moves c_i by the whole bound, which no noise of that patch norm exceeds
    (Cauchy-Schwarz); it attacks the atom with the smallest margin, so that it breaks the recovery
    of support and signs iff any noise within the bound does, up to equality.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The first layer.
    codes : RaggedCodes
        The true codes, signs included, batch axes (...).
    threshold : float or array_like, shape (...)
        beta of the rule |c| > beta.
    bound : float
        The l2 norm of the patch.

    Returns
    -------
    ndarray, shape (..., channel, *space)
        The noise, zero outside one patch of each signal.

    Raises
    ------
    UserError
        When the bound is negative or the shapes do not fit.
    """
    if not bound >= 0:
        raise UserError(f"bound = {bound} is not allowed: give a norm, 0 or more.")
    n_trials = codes.row_size.size
    correlations = correlate_codes(dictionary, codes).reshape(n_trials, dictionary.n_atoms)
    beta = np.broadcast_to(np.asarray(threshold, dtype=np.float64), codes.batch_shape).reshape(-1, 1)
    trials = np.repeat(np.arange(n_trials), codes.row_size.ravel())
    signs = np.zeros(correlations.shape)
    signs[trials, codes.atom] = np.sign(codes.value)
    margins = np.where(signs != 0, signs * correlations - beta, beta - np.abs(correlations))
    target = margins.argmin(axis=1)
    each = np.arange(n_trials)
    outward = np.where(correlations[each, target] >= 0, 1.0, -1.0)
    direction = np.where(signs[each, target] != 0, -signs[each, target], outward)
    attack = np.zeros((n_trials, dictionary.n_atoms))
    attack[each, target] = bound * direction
    return dictionary.synthesize(attack.reshape(*codes.batch_shape, *dictionary.code_shape))


def snr(signals: ArrayLike, noise: ArrayLike, rank: int) -> NDArray | float:
    """
    Signal-to-noise ratio of the powers, 10 log10(sum |signal|^2 / sum |noise|^2).

    Parameters
    ----------
    signals, noise : array_like, shape (..., channel, *space)
        What is compared, one ratio a member of the batch.
    rank : int
        Number of spatial axes.

    Returns
    -------
    float or ndarray, shape (...), in dB
        Infinity without noise.
    """
    axes = tuple(range(-rank - 1, 0))
    power, noise_power = ((np.asarray(array, dtype=np.float64) ** 2).sum(axis=axes) for array in (signals, noise))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 10 * np.log10(power / noise_power)
    return ratio if np.ndim(ratio) else float(ratio)


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
        When the noise of a trial is zero, so that no factor gives the ratio.
    """
    noise = np.asarray(noise, dtype=np.float64)
    present = np.asarray(snr(signals, noise, rank))
    if not np.all(np.isfinite(present)):
        raise UserError("a signal or its noise is zero, so that no factor gives the ratio: leave such trials out.")
    factor = 10.0 ** ((present - np.asarray(decibels)) / 20)
    return noise * np.reshape(factor, (*np.shape(factor), *[1] * (rank + 1)))
