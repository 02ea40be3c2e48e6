"""Batched random instances and brute-force references for the tests of the guarantees."""

from __future__ import annotations

import math

import numpy as np

from dcsc import ConvolutionalDictionary
from tests.strategies import dense_matrix


def dense_gram(dictionary):
    """Absolute inner products of all atoms, with zeros on the diagonal."""
    matrix = dense_matrix(dictionary)
    gram = matrix.T @ matrix
    np.fill_diagonal(gram, 0.0)
    return gram


def random_codes(rng, shape, sizes, contrasts):
    """Codes with the given numbers of non-zeros, random signs, and magnitudes from contrast to 1."""
    codes = np.zeros((len(sizes), math.prod(shape)))
    for row, (size, contrast) in enumerate(zip(sizes, contrasts, strict=True)):
        atoms = rng.choice(codes.shape[1], size, replace=False)
        magnitudes = rng.uniform(contrast, 1.0, size)
        if size:
            magnitudes[0], magnitudes[-1] = contrast, 1.0
        codes[row, atoms] = magnitudes * rng.choice([-1.0, 1.0], size)
    return codes.reshape(-1, *shape)


def nearly_orthogonal(rng, n_filters, n_channels, taps, stride, grid, perturbation):
    """Orthonormal blocks placed side by side, moved by Gaussian perturbations, and zero beyond the block."""
    reached = [min(s, t) for s, t in zip(stride, taps, strict=True)]
    size = n_channels * math.prod(reached)
    basis = np.linalg.qr(rng.standard_normal((size, size)))[0][:n_filters]
    filters = np.zeros((n_filters, n_channels, *taps))
    filters[(slice(None), slice(None), *map(slice, reached))] = basis.reshape(n_filters, n_channels, *reached)
    filters += perturbation * rng.standard_normal(filters.shape) / math.sqrt(n_channels * math.prod(taps))
    return ConvolutionalDictionary(filters, stride, grid, normalize=True)
