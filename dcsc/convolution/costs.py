"""
Estimated times of the ways to compute a convolution, by which the fastest one is chosen.

The numbers are seconds on one core of the machine of docs/benchmarks.md. Only their ratios matter: a
wrong choice costs time, but the result stays right. They are constants, not measured on each machine,
because the choice determines the rounding of a result.
"""

from __future__ import annotations

import math

MULTIPLICATION = {4: 2.4e-11, 8: 4.4e-11}
"""A multiplication and addition of the dense kernels, by bytes of an entry."""
SINGLE_ROW = 2.2
"""How much slower they are where the result has a single row."""
FFT_ENTRY = {4: 0.9e-9, 8: 1.6e-9}
"""One entry of a transform, for each doubling of its length."""
FFT_PRODUCT = {4: 1.5e-9, 8: 3.0e-9}
"""A complex multiplication and addition, for each entry of a spectrum."""
RUN_ENTRY = {4: 1.0e-10, 8: 2.0e-10}
"""Adding one entry of a pattern to an array in the cache."""
RUN_START = 2.0e-9
"""Starting on a contiguous run of a pattern."""
NONZERO = 5.0e-9
"""Reading a non-zero and finding its place."""
GATHER_ENTRY = {4: 0.58e-10, 8: 1.03e-10}
"""One entry of a stripe, summed in registers."""
LISTING = 6.0e-9
"""Listing a non-zero for one row of the positions that it reaches."""
SCAN = 1.5e-10
"""Looking at an entry of an array."""


def direct(n_rows: int, n_terms: float, n_places: int, itemsize: int) -> float:
    """
    Estimate a correlation by tiles.

    Parameters
    ----------
    n_rows, n_places : int
        Outputs a position (filters), and positions.
    n_terms : float
        Terms of each sum, those that fill up tiles included.
    itemsize : int, in bytes
        Size of an entry.

    Returns
    -------
    float, in seconds
        For one trial on one core.
    """
    return n_rows * n_terms * n_places * MULTIPLICATION[itemsize] * (SINGLE_ROW if n_rows == 1 else 1)


def fft(n_rows: int, n_components: int, n_places: int, itemsize: int) -> float:
    """
    Estimate a correlation by Fourier transforms.

    Parameters
    ----------
    n_rows, n_components, n_places : int
        Transforms back, transforms forth, and the length of each.
    itemsize : int, in bytes
        Size of an entry.

    Returns
    -------
    float, in seconds
        For one trial on one core.
    """
    transforms = (n_rows + n_components) * n_places * max(1.0, math.log2(n_places)) * FFT_ENTRY[itemsize] / 4
    return transforms + n_rows * n_components * n_places / 2 * FFT_PRODUCT[itemsize] + 2e-5


def scatter(pattern_shape: tuple[int, ...], itemsize: int) -> float:
    """
    Estimate what one non-zero of a sparse code costs.

    Parameters
    ----------
    pattern_shape : tuple of int
        Shape of what it adds; the last axis is contiguous.
    itemsize : int, in bytes
        Size of an entry.

    Returns
    -------
    float, in seconds
        On one core.
    """
    return NONZERO + math.prod(pattern_shape[:-1]) * (RUN_START + pattern_shape[-1] * RUN_ENTRY[itemsize])


def gather(stripe_size: int, n_rows: int, itemsize: int) -> float:
    """
    Estimate what one non-zero adds to the correlations of a sparse code.

    Parameters
    ----------
    stripe_size, n_rows : int
        Atoms that it reaches, and rows along the last axis in which they lie.
    itemsize : int, in bytes
        Size of an entry.

    Returns
    -------
    float, in seconds
        On one core.
    """
    return NONZERO + n_rows * LISTING + stripe_size * GATHER_ENTRY[itemsize]
