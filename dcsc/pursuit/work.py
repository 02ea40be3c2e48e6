"""
The work of a pursuit in operations, counted and not timed, so that it is the same in every run.

The unit is one multiplication and addition of nominal algorithms: direct convolutions, least squares by a band
factorisation, products with dense matrices where a pursuit keeps them. The library itself needs fewer, by transforms,
sparse arithmetic and sets of active atoms. The numbers serve to compare pursuits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.pursuit.holistic import ITERATIONS

REFINEMENTS = 3
"""Of a least squares fit, see `dcsc.pursuit.least_squares.fit`."""

EIGENVECTORS = 4
"""Multiples of n^3 that the eigenvectors of an n x n matrix take."""


def one_pass(dictionary: ConvolutionalDictionary) -> int:
    """
    Count an application of a dictionary, or of its adjoint, to a dense array.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer.

    Returns
    -------
    int
        Multiplications and additions: atoms times entries of an atom.
    """
    return dictionary.n_atoms * math.prod(dictionary.filters.shape[1:])


def multiply_adds(
    options: Mapping[str, Any],
    dictionaries: Sequence[ConvolutionalDictionary],
    iterations: NDArray,
    active: NDArray,
    stripe: NDArray,
) -> NDArray:
    """
    Count what a pursuit computed for each signal, over all layers.

    Parameters
    ----------
    options : mapping
        `method`, `parameters` and, of layered thresholding, `debias`, as in the configuration.
    dictionaries : sequence of ConvolutionalDictionary
        A^(1), ..., A^(L).
    iterations : ndarray of int, shape (layer, ...)
        As the pursuit counts them.
    active : ndarray of int, shape (layer, ...)
        Active atoms of the codes that the pursuit gave.
    stripe : ndarray of int, shape (layer, ...)
        Stripe-sparsity of the codes, which stands for the number of active atoms that one active atom meets.

    Returns
    -------
    ndarray, shape (...)
        NaN for pursuits whose iterations do not tell: those of a plug-in, and basis pursuit on a growing set.
    """
    method, parameters = options["method"], options["parameters"]
    layers = list(zip(dictionaries, iterations.astype(float), active.astype(float), stripe.astype(float), strict=True))
    nothing = np.zeros(iterations.shape[1:])
    fits = sum((_least_squares(layer, size, width) for layer, _, size, width in layers), nothing)
    passes = sum((one_pass(layer) * np.ones_like(count) for layer, count, *_ in layers), nothing)
    twice_an_iteration = sum((2 * one_pass(layer) * count for layer, count, *_ in layers), nothing)
    if method == "layered-thresholding":
        return passes + (fits if options["debias"] else 0)
    if method == "oracle-least-squares":
        return fits
    if method == "layered-basis-pursuit" and parameters.get("solver") == "proximal-gradient":
        return passes + twice_an_iteration + (fits if parameters.get("debias") else 0)
    if method in ("multilayer-ista", "multilayer-fista"):
        return twice_an_iteration
    if method == "projection-pursuit":
        return twice_an_iteration + active[-1] ** 2.0 * math.prod(dictionaries[0].signal_shape)
    if method == "layered-matching-pursuit":
        # A new atom, made orthogonal to those it meets, changes the correlations of the stripes of all of these.
        return passes + sum((count * width * layer.stripe_size for layer, count, _, width in layers), nothing)
    if method == "holistic-pursuit":
        n_atoms = dictionaries[-1].n_atoms
        round_ = 2 * EIGENVECTORS * n_atoms**3 + 2 * ITERATIONS * n_atoms**2
        return iterations[-1] * float(round_)
    return np.full(iterations.shape[1:], np.nan)


def _least_squares(dictionary: ConvolutionalDictionary, size: NDArray, width: NDArray) -> NDArray:
    """Factorise a band as wide as the stripes are full, and refine."""
    width = np.minimum(width, size)
    entries = math.prod(dictionary.filters.shape[1:])
    return size * width * (entries + width) + REFINEMENTS * 2 * size * (entries + width)
