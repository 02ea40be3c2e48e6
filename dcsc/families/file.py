"""Filters of the user's own, from a NumPy or safetensors file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from dcsc.arrays import open_arrays
from dcsc.errors import UserError
from dcsc.families.registry import register
from dcsc.families.sizes import Grid, PerAxis
from dcsc.model.dictionary import ConvolutionalDictionary


@register("file")
def file(
    grid: Grid, rng: Generator, *, path: str | Path, stride: PerAxis | None = None, normalize: bool = False
) -> ConvolutionalDictionary:
    """
    Read filters from a .npy file, or the arrays `filters` and, optionally, `stride` of a .npz or .safetensors file.

    When to take it: for filters of your own, or of a trained network.

    Parameters
    ----------
    grid : tuple of int, in grid points
        The periodic grid, with as many axes as the filters have tap axes.
    rng : numpy.random.Generator
        Unused: the family is deterministic.
    path : str or pathlib.Path
        The file; filters have the shape (filter, channel, *tap).
    stride : int or tuple of int, in grid points, optional
        By default the one of the file, or 1.
    normalize : bool
        Scale the filters to unit norm instead of demanding it.

    Returns
    -------
    ConvolutionalDictionary
        With `integer_filters` when the filters are integers of one norm.

    Raises
    ------
    UserError
        When the file can't be read or its filters are not allowed; it names the file.
    """
    filters, stored = _read(Path(path))
    if stride is not None and stored is not None and np.any(np.asarray(stride) != np.asarray(stored)):
        raise UserError(f"the file {path} states stride {stored}, not {stride}: leave out the parameter 'stride'.")
    if filters.ndim != 2 + len(grid):
        raise UserError(
            f"the file {path} holds filters of shape {filters.shape}, but grid {grid} has {len(grid)} axes: "
            "give (filter, channel, tap, ...) with one tap axis for each."
        )
    if stride is None:
        stride = 1 if stored is None else stored
    try:
        if _are_integers_of_one_norm(filters, normalize):
            return ConvolutionalDictionary.from_integers(filters, stride, grid)
        return ConvolutionalDictionary(filters, stride, grid, normalize=normalize)
    except UserError as error:
        raise UserError(f"the file {path} does not fit: {error}") from error


def _read(path: Path) -> tuple[NDArray, tuple[int, ...] | int | None]:
    """Read the filters and the stride, if the file states one."""
    opened = open_arrays(path)
    name = path.stem if path.suffix == ".npy" else "filters"
    if name not in opened.arrays:
        raise UserError(f"the file {path} holds {sorted(opened.arrays)} and no array 'filters': add it.")
    filters = opened.read(name)
    if "stride" not in opened.arrays:
        return filters, None
    stride = opened.read("stride")
    if stride.dtype.kind not in "iu" or stride.ndim > 1 or (stride < 1).any():
        raise UserError(f"the file {path} holds stride {stride.tolist()}: store one positive integer, or one per axis.")
    return filters, int(stride) if stride.ndim == 0 else tuple(stride.tolist())


def _are_integers_of_one_norm(filters: NDArray, normalize: bool) -> bool:
    if filters.dtype.kind not in "iu" or not filters.size:
        return False
    squares = (filters.astype(np.int64) ** 2).sum(axis=tuple(range(1, filters.ndim)))
    return bool((squares == squares[0]).all() and squares[0] > 0 and (normalize or squares[0] == 1))
