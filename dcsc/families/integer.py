"""Sparse integer filters of tiny coherence, for cascades whose synthesis is exact ([PRE17] section 8)."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from dcsc.errors import UserError
from dcsc.families.registry import register
from dcsc.families.sizes import Grid, at_least, one_dimensional, shape_of
from dcsc.model.dictionary import ConvolutionalDictionary

EXAMPLE = (0, 0, 3, -8, 0, 0, -8, 7, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 2, 0)
"""A filter with the properties that [PRE17] section 8 states; the paper does not print its own."""

_CANDIDATES = 2**14
_ROUNDS = 200


@register("integer")
def integer(
    grid: Grid,
    rng: Generator,
    *,
    search: bool = False,
    taps: int = 20,
    n_nonzeros: int = 7,
    squared_norm: int = 231,
    largest: int = 8,
    stride: int = 6,
) -> ConvolutionalDictionary:
    """
    Build one sparse integer filter of coherence 1 / squared_norm, as layers >= 2 of [PRE17] section 8.

    When to take it: for the noisy experiments of [PRE17] section 8, or for deep layers whose products stay
    exact.

    Parameters
    ----------
    grid : tuple of int, in grid points
        The periodic grid, one axis.
    rng : numpy.random.Generator
        Draws the candidates of the search; unused without it.
    search : bool
        Search a filter of the given sizes instead of taking the known example of the default sizes.
    taps : int
        Size of the filter.
    n_nonzeros : int
        Number of non-zero taps.
    squared_norm : int
        Sum of squares of the integers.
    largest : int
        Bound on their magnitude.
    stride : int, in grid points
        Distance between neighbouring positions. At its multiples the autocorrelation is 0 or +-1, and not 0 at all
        of them.

    Returns
    -------
    ConvolutionalDictionary
        With `integer_filters`, so that a cascade synthesizes integer codes exactly.

    Raises
    ------
    UserError
        When the grid has more than one axis, the sizes differ from the example's
        without a search, or the search finds nothing.
    """
    one_dimensional(grid, "integer")
    shape_of(grid, taps)
    at_least(1, n_nonzeros=n_nonzeros, squared_norm=squared_norm, largest=largest, stride=stride)
    if not search and (taps, n_nonzeros, squared_norm, largest, stride) != (20, 7, 231, 8, 6):
        raise UserError("these sizes are not those of the known integer filter: pass search=True, or leave them out.")
    values = np.array(EXAMPLE)
    if search:
        values = _search(rng, taps, n_nonzeros, squared_norm, largest, stride)
    return ConvolutionalDictionary.from_integers(values[None, None], stride, grid)


def _search(
    rng: np.random.Generator, taps: int, n_nonzeros: int, squared_norm: int, largest: int, stride: int
) -> NDArray:
    """Draw filters until one has the wanted sum of squares and autocorrelation."""
    if n_nonzeros > taps:
        raise UserError(f"n_nonzeros {n_nonzeros} is not allowed with {taps} taps: give at most {taps}.")
    for _ in range(_ROUNDS):
        magnitudes = rng.integers(1, largest, (_CANDIDATES, n_nonzeros), endpoint=True)
        signs = 2 * rng.integers(0, 2, magnitudes.shape) - 1
        supports = np.argsort(rng.random((_CANDIDATES, taps)), axis=1)[:, :n_nonzeros]
        fits = (magnitudes**2).sum(axis=1) == squared_norm
        filters = np.zeros((int(fits.sum()), taps), dtype=np.int64)
        np.put_along_axis(filters, supports[fits], (magnitudes * signs)[fits], axis=1)
        worst = np.zeros(len(filters), dtype=np.int64)
        for lag in range(stride, taps, stride):
            worst = np.maximum(worst, np.abs((filters[:, lag:] * filters[:, :-lag]).sum(axis=1)))
        fitting = np.flatnonzero(worst == 1)
        if fitting.size:
            return filters[fitting[0]]
    raise UserError(
        f"no integer filter of {taps} taps with {n_nonzeros} non-zeros up to {largest} and squared norm "
        f"{squared_norm} was found: change these sizes or the seed."
    )
