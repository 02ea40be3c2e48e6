"""Closed forms and constants of the statistical guarantees: variances, least squares, Gaussian noise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.convolution.filter_bank import listed_codes
from dcsc.convolution.layouts import padded, padded_gram
from dcsc.guarantees.interference import support_gram
from dcsc.guarantees.tails import of_variance
from dcsc.kernels import independence
from dcsc.kernels.independence import INJECTIVE
from dcsc.model.coherence import babel2, mutual_coherence
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.sparsity import extreme_magnitudes, stripe_norm
from dcsc.parallel import over_blocks
from dcsc.ragged import RaggedCodes, kernel_codes, take


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
    dictionary: ConvolutionalDictionary,
    codes: RaggedCodes,
    eps: NDArray,
    form: str,
    noise_variance: float,
    threshold: NDArray | None = None,
    *,
    tail: str = "exact",
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
    threshold : ndarray, shape (...), optional
        beta; by default X_min/2, which is the best.
    tail : {"hoeffding", "gaussian", "chernoff", "exact"}
        The bound on the tails; as a closed form has variances alone, the last two are the Gaussian one.

    Returns
    -------
    threshold, probability : ndarray, shape (...)
        beta and min(1, 2 M exp(-m^2 / (2 v))) with m = (min(beta, X_min - beta) - eps)_+, or with a sharper tail
        (docs/theory.md, "One layer", "The ladder").
    """
    variance = closed_variance(dictionary, codes, form) + noise_variance
    x_min = extreme_magnitudes(codes, dictionary.rank)[0]
    empty = eps + 1.0 + 40 * math.sqrt(noise_variance)
    beta = np.where(np.isfinite(x_min), x_min / 2, empty) if threshold is None else threshold
    margin = np.maximum(np.minimum(beta, x_min - beta) - eps, 0.0)
    reached = of_variance(margin / np.sqrt(np.where(variance > 0, variance, 1.0)), tail)
    probability = np.minimum(1.0, 2 * dictionary.n_atoms * reached)
    exact = np.where(margin > 0, 0.0, 1.0)
    return beta, np.where(variance > 0, probability, exact)


def independent_atoms(dictionary: ConvolutionalDictionary, codes: RaggedCodes, rows: ArrayLike) -> NDArray:
    """
    Tell whether the active atoms of some codes are certainly independent.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer's dictionary.
    codes : RaggedCodes, batch shape (code,)
        Only their supports count.
    rows : array_like of int, shape (row,)
        Which codes.

    Returns
    -------
    ndarray of bool, shape (row,)
        Whether the smallest eigenvalue of G_SS is above `INJECTIVE` (1 + |S|), far above the rounding error of what is
        computed: by Gershgorin's circles where these say so, else by a Cholesky factorisation of G_SS less that much.
    """
    rows = np.asarray(rows, dtype=np.int64)
    chosen = kernel_codes(take(codes.reshape((codes.row_size.size,)), rows), np.dtype(np.float64))
    gram, positions = padded_gram(dictionary, np.float64), padded(dictionary.positions)
    found = np.empty(len(rows), dtype=bool)

    def work(first: int, last: int) -> None:
        part = chosen.part(first, last)
        independence.independent_supports(part, positions, gram, _tolerance(dictionary), found[first:last])

    over_blocks(len(rows), work)
    return found


def _tolerance(dictionary: ConvolutionalDictionary) -> float:
    """What the smallest eigenvalue of a Gram matrix must exceed, over 1 + its size."""
    return max(INJECTIVE, 4 * float(np.finfo(dictionary.dtype).eps))


def _gram_of_row(dictionary: ConvolutionalDictionary, codes: RaggedCodes, row: int) -> NDArray:
    return support_gram(dictionary, codes.rows(slice(row, row + 1)).to_dense()[0])


def _smallest_singular_value(dictionary: ConvolutionalDictionary, gram: NDArray) -> float:
    if not len(gram):
        return math.inf
    smallest = float(np.linalg.eigvalsh(gram)[0])
    return math.sqrt(smallest) if smallest > _tolerance(dictionary) * (1 + len(gram)) else 0.0


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
        Of the active atoms; infinity without non-zeros, 0 when they may be dependent.
    """
    listed = listed_codes(codes, dictionary)
    gains, smallest = np.zeros((2, len(listed.row_size)))
    for row in range(len(gains)):
        gram = _gram_of_row(dictionary, listed, row)
        smallest[row] = _smallest_singular_value(dictionary, gram)
        if len(gram):
            gains[row] = _inverse_norm(gram) if smallest[row] > 0 else np.inf
    return gains, smallest


def _inverse_norm(gram: NDArray) -> float:
    """Bound |G^{-1}|_{inf -> inf} by a computed inverse and what it leaves: |H| / (1 - |1 - G H|)."""
    inverse = np.linalg.inv(gram)
    left = float(np.abs(np.eye(len(gram)) - gram @ inverse).sum(axis=1).max())
    return float(np.abs(inverse).sum(axis=1).max()) / (1 - left) if left < 1 else math.inf


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
