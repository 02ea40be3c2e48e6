"""The second layer of the aligned cascade, in which the signs of the inner code decide whether recovery succeeds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.random import Generator

from dcsc.errors import UserError
from dcsc.families.registry import register
from dcsc.families.sizes import Grid
from dcsc.model.dictionary import ConvolutionalDictionary

COLUMNS = (0, 1, 2, 4, 8, 16, 32, 64, 3, 12, 48, 127)
"""Of the Hadamard matrix of size 128: 0, a basis of all indices, and four more, so that 12 > sqrt(128) > 10."""


@register("aligned")
def aligned(
    grid: Grid,
    rng: Generator,
    *,
    size: int = 128,
    columns: tuple[int, ...] = COLUMNS,
    target: int = 5,
    n_channels: int | None = None,
) -> ConvolutionalDictionary:
    """
    Build one filter whose code makes Hadamard vectors add up on a Dirac of the layer above, "hadamard-dirac".

    When to take it: to see how much fixed signs can matter: with this cascade recovery always fails in the plain
    model, and nearly always succeeds with random signs. It needs a layer "hadamard-dirac" above it.

    Its entries are H[target, b] / sqrt(k) at the k columns b of the Hadamard half, 0 elsewhere. With these
    signs the k active vectors meet in the Dirac `target` with k / sqrt(size) times the magnitude x of an
    entry, which is more than x: every threshold and top-k fail at the first layer. With Rademacher signs
    (D-CSC-R) a Dirac receives that much for 2 size of the 2**k sign patterns only, and otherwise at most
    (k - 2) / sqrt(size) times x, which is less (docs/theory.md, "Aligned cascade").

    Parameters
    ----------
    grid : tuple of int, in grid points
        The blocks of the layer above, of any rank.
    rng : numpy.random.Generator
        Unused: the family is deterministic.
    size : int
        n, a power of 2: entries of a block of the layer above.
    columns : tuple of int
        k different columns, k > sqrt(size) > k - 2; they contain 0, so that no two rows of H
        are antipodal on them, and span all indices, so that no two are equal.
    target : int
        The Dirac that receives the sum, a row of H.
    n_channels : int, optional
        Filters of the layer above, 2 size if given.

    Returns
    -------
    ConvolutionalDictionary
        One filter of one tap, with `integer_filters` of 0 and +-1.

    Raises
    ------
    UserError
        When a parameter is not allowed.
    """
    if size < 2 or size & (size - 1):
        raise UserError(f"size {size} is not allowed: give a power of 2.")
    if n_channels not in (None, 2 * size):
        raise UserError(
            f"size {size} does not fit {n_channels} channels: put this layer under a 'hadamard-dirac' "
            f"layer with blocks of {size} entries."
        )
    for name, index in (("target", target), *(("columns", column) for column in columns)):
        if not 0 <= index < size:
            raise UserError(f"{name} {index} is not allowed: give an index from 0 to {size - 1}.")
    k = len(columns)
    if len(set(columns)) < k or 0 not in columns or 2 ** _rank(columns) < size:
        raise UserError(
            f"columns {columns} are not allowed: give different ones, among them 0, that span all {size} indices."
        )
    if not max(k - 2, 0) ** 2 < size < k**2:
        raise UserError(
            f"{k} columns are not allowed with size {size}: their number k must have k > sqrt(size) > k - 2."
        )
    filters = np.zeros((1, 2 * size, *[1] * len(grid)), dtype=np.int64)
    for column in columns:
        filters[0, size + column] = (-1) ** (target & column).bit_count()
    return ConvolutionalDictionary.from_integers(filters, 1, grid)


def _rank(indices: Iterable[int]) -> int:
    """Rank over the field of two elements of numbers as vectors of their bits."""
    basis: list[int] = []
    for index in indices:
        for vector in basis:
            index = min(index, index ^ vector)
        if index:
            basis.append(index)
    return len(basis)
