"""
The dictionary in the frequency domain of its positions, where A^T A is block-diagonal.

Shifting a code by one position shifts the signal by one stride, so that signals cut into blocks of
stride points (and channels) are filtered by an ordinary periodic convolution over the positions.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dcsc.convolution.filter_bank import FilterBank


def dictionary_spectrum(dictionary: FilterBank) -> NDArray:
    """
    Transform the dictionary over the frequencies of its own positions.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.

    Returns
    -------
    ndarray of complex128, shape (channel * prod(stride), filter, *frequency)
        One matrix a frequency of `numpy.fft.rfftn` over the positions, from codes to blocks of signals.
    """
    blocks = np.ascontiguousarray(np.moveaxis(dictionary.filter_blocks.astype(np.float64), -1, 0))
    return np.fft.rfftn(blocks, s=dictionary.positions, axes=range(2, 2 + dictionary.rank))


def gram_spectrum(dictionary: FilterBank) -> NDArray:
    """
    Transform A^T A over the frequencies of the positions.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.

    Returns
    -------
    ndarray of complex128, shape (filter, filter, *frequency)
        One Hermitian matrix a frequency.
    """
    forward = dictionary_spectrum(dictionary)
    return np.einsum("ci...,cj...->ij...", forward.conj(), forward)


def lipschitz_constant(dictionary: FilterBank) -> float:
    """
    Largest eigenvalue of A^T A, the Lipschitz constant of the gradient of |y - A x|^2 / 2.

    Exact up to rounding: A^T A is block-circulant over the positions, so that its eigenvalues are those
    of one small matrix a frequency. Signs T^(l) leave it unchanged.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.

    Returns
    -------
    float
        |A|^2, at least 1 for unit-norm atoms.
    """
    forward = dictionary_spectrum(dictionary)
    per_frequency = np.moveaxis(forward.reshape(*forward.shape[:2], -1), -1, 0)
    if per_frequency.shape[1] > per_frequency.shape[2]:
        per_frequency = per_frequency.conj().swapaxes(1, 2)
    return float(np.linalg.eigvalsh(per_frequency @ per_frequency.conj().swapaxes(1, 2))[:, -1].max())


class SpectralGram:
    """
    A^T A acting on codes, by whichever factorisation costs less.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    dtype : dtype
        float32 or float64.
    """

    def __init__(self, dictionary: FilterBank, dtype: np.dtype) -> None:
        self._positions = dictionary.positions
        self._axes = tuple(range(-dictionary.rank, 0))
        self._complex = np.result_type(dtype, np.complex64)
        block = dictionary.n_channels * math.prod(dictionary.stride)
        self._is_product = dictionary.n_filters <= 2 * block
        spectrum = gram_spectrum(dictionary) if self._is_product else dictionary_spectrum(dictionary)
        self._spectrum = spectrum.astype(self._complex)

    def __call__(self, codes: NDArray) -> NDArray:
        """
        Apply A^T A.

        Parameters
        ----------
        codes : ndarray, shape (trial, filter, *position)
            The codes.

        Returns
        -------
        ndarray, shape (trial, filter, *position)
            Each code's is computed on its own, so it is bitwise the same in every batch.
        """
        import scipy.fft

        transformed = scipy.fft.rfftn(codes, s=self._positions, axes=self._axes)
        if self._is_product:
            product = np.einsum("ij...,bj...->bi...", self._spectrum, transformed)
        else:
            blocks = np.einsum("cj...,bj...->bc...", self._spectrum, transformed)
            product = np.einsum("cj...,bc...->bj...", self._spectrum.conj(), blocks)
        return scipy.fft.irfftn(product, s=self._positions, axes=self._axes)
