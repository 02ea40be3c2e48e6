"""Closed forms and constants of the statistical guarantees: variances, least squares, Gaussian noise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.coherence import babel2, mutual_coherence
from dcsc.dictionary import ConvolutionalDictionary
from dcsc.guarantees.interference import listed_codes, support_gram
from dcsc.ragged import RaggedCodes
from dcsc.sparsity import extreme_magnitudes, stripe_norm

INJECTIVE = 1e-8
"""Smallest singular value from which a sub-dictionary counts as injective."""


def closed_variance(dictionary: ConvolutionalDictionary, codes: RaggedCodes, form: str) -> NDArray:
    """
    Bound the variance of the interference at any atom by sparsity and coherence.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer's dictionary.
    codes : RaggedCodes
        Its codes, batch shape (...).
    form : {"coherence", "babel2"}
        By mu^2 k or by mu_2(k)^2.

    Returns
    -------
    ndarray, shape (...)
        X_max^2 times that (docs/theory.md, "One layer").
    """
    k = np.asarray(stripe_norm(codes, dictionary))
    x_max = extreme_magnitudes(codes, dictionary.rank)[1]
    spread = mutual_coherence(dictionary) ** 2 * k if form == "coherence" else babel2(dictionary, k) ** 2
    return spread * x_max**2


def closed_form(
    dictionary: ConvolutionalDictionary, codes: RaggedCodes, eps: NDArray, form: str, noise_variance: float
) -> tuple[NDArray, NDArray]:
    """
    Bound the failure of a layer by sparsity and coherence.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer's dictionary.
    codes : RaggedCodes
        Its codes, batch shape (...).
    eps : ndarray, shape (...)
        Bound on the input error, valid before the signs are drawn.
    form : {"coherence", "babel2"}
        What bounds the variance v.
    noise_variance : float
        sigma^2 of Gaussian noise on the input, added to v.

    Returns
    -------
    threshold, probability : ndarray, shape (...)
        X_min/2 and min(1, 2 M exp(-(X_min - 2 eps)_+^2 / (8 v))) (docs/theory.md, "One layer").
    """
    variance = closed_variance(dictionary, codes, form) + noise_variance
    x_min = extreme_magnitudes(codes, dictionary.rank)[0]
    margin = np.maximum(x_min - 2 * eps, 0.0)
    exponent = -(margin**2) / (8 * np.where(variance > 0, variance, 1.0))
    probability = np.minimum(1.0, 2 * dictionary.n_atoms * np.exp(exponent))
    exact = np.where(margin > 0, 0.0, 1.0)
    empty = eps + 1.0 + 40 * math.sqrt(noise_variance)
    return np.where(np.isfinite(x_min), x_min / 2, empty), np.where(variance > 0, probability, exact)


def least_squares_gain(dictionary: ConvolutionalDictionary, codes: ArrayLike | RaggedCodes) -> tuple[NDArray, NDArray]:
    """
    How much least squares on the true supports can amplify an input error, and whether it is unique.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer's dictionary.
    codes : array_like of shape (code, filter, *position), or RaggedCodes
        Only their supports count.

    Returns
    -------
    gain : ndarray, shape (code,)
        |G_SS^{-1}|_{inf -> inf}, at most 1 / (1 - mu_1(k - 1)); infinity when not injective, 0 without non-zeros.
    smallest_singular : ndarray, shape (code,)
        Of the active atoms; infinity without non-zeros.
    """
    listed = listed_codes(codes, dictionary)
    gains, smallest = np.zeros(len(listed.row_size)), np.full(len(listed.row_size), np.inf)
    for row in range(len(gains)):
        gram = support_gram(dictionary, listed.rows(slice(row, row + 1)).to_dense()[0])
        if not len(gram):
            continue
        smallest[row] = math.sqrt(max(0.0, np.linalg.eigvalsh(gram)[0]))
        injective = smallest[row] > INJECTIVE
        gains[row] = np.abs(np.linalg.inv(gram)).sum(axis=1).max() if injective else np.inf
    return gains, smallest


def gaussian_noise_bound(dictionary: ConvolutionalDictionary, deviation: float, failure: float) -> float:
    """
    Patch norm that white Gaussian noise exceeds with at most a given probability.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        Of layer 1, whose atoms see the patches.
    deviation : float
        sigma, standard deviation of an entry of the noise.
    failure : float
        P(||E||^P_{2,inf} > bound), at most.

    Returns
    -------
    float
        sigma times the root of the chi-square quantile at failure over the number of patches
        (docs/theory.md, "Gaussian noise"); for `noise` and `noise_failure` of `statistical`.
    """
    from scipy.stats import chi2

    entries = dictionary.n_channels * math.prod(dictionary.taps)
    return deviation * math.sqrt(chi2.isf(failure / math.prod(dictionary.positions), entries))
