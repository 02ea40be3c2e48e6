"""Filters and Gram kernels as the compiled loops read them, made once for each bank."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dcsc.convolution.filter_bank import FilterBank
from dcsc.errors import UserError
from dcsc.kernels.tiles import ROW_BYTES, VECTOR_BYTES

AXES = 3
"""Spatial axes of the kernels; lower ranks are padded with axes of length 1."""

CACHE_LINE = 64
"""Bytes at whose multiples the patterns of the inner loop begin."""


class Patterns(NamedTuple):
    """
    What the non-zeros of a code add, in the layout of `dcsc.kernels.scatter`.

    Parameters
    ----------
    pattern : ndarray, shape (filter, lead, a0, a1, a2)
        What a non-zero of each filter adds.
    layout : ndarray of int64, shape (4, 3)
        Positions, steps, first offsets and entries a grid point, an axis each.
    target_shape : tuple of int
        Shape (lead, g0, g1, g2) of what they are added to.
    """

    pattern: NDArray
    layout: NDArray
    target_shape: tuple[int, ...]


_patterns: weakref.WeakKeyDictionary[FilterBank, dict] = weakref.WeakKeyDictionary()
_patterns_lock = threading.Lock()


def _prepared(dictionary: FilterBank, key: tuple, make: Callable[[], Patterns]) -> Patterns:
    """Make a dictionary's patterns once."""
    with _patterns_lock:
        known = _patterns.setdefault(dictionary, {})
    if key not in known:
        known[key] = make()
    return known[key]


def room_of(dictionary: FilterBank, starts: NDArray, dtype: np.dtype) -> tuple[NDArray, ...]:
    """What `gather` writes over for each code: its target, with room for two tiles more, and its lists."""
    longest = int(np.diff(starts).max(initial=0))
    listed = 3 * longest * math.prod(2 * overlap - 1 for overlap in dictionary.overlap[:-1])
    n_rows = math.prod(dictionary.positions[:-1])
    order, inner = np.empty((2, longest), dtype=np.int64)
    firsts, inner_firsts = np.empty((2, n_rows + 2), dtype=np.int64)
    begins, offsets = np.empty((2, listed), dtype=np.int64)
    return (
        np.empty(dictionary.n_atoms + 2 * (ROW_BYTES // dtype.itemsize), dtype),
        np.empty(dictionary.positions[-1] + 1, dtype=np.int64),
        order,
        np.empty((3, longest), dtype=np.int64),
        firsts,
        begins,
        offsets,
        np.empty(listed, dtype),
        np.arange(listed),
        inner,
        inner_firsts,
    )


def _at_cache_line(shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
    """Zeros that begin at a cache line: a vector across two lines costs two reads."""
    size = math.prod(shape) * dtype.itemsize
    room = np.zeros(size + CACHE_LINE, np.uint8)
    begin = -room.ctypes.data % CACHE_LINE
    return room[begin : begin + size].view(dtype).reshape(shape)


def _padded(numbers: tuple[int, ...], filler: int) -> tuple[int, ...]:
    return (filler,) * (AXES - len(numbers)) + tuple(numbers)


def _check_rank(dictionary: FilterBank) -> None:
    if dictionary.rank > AXES:
        raise UserError(f"the sparse path takes up to {AXES} spatial axes, not {dictionary.rank}: use the dense path.")


def gram_patterns(
    dictionary: FilterBank,
    kind: Literal["signed", "others", "magnitude", "square"],
    dtype: np.dtype | type,
) -> Patterns:
    """
    Rows of the Gram kernel as patterns, all filters of a position together.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    kind : {'signed', 'others', 'magnitude', 'square'}
        g_ij itself, or g_ij, |g_ij| or g_ij^2 of the other atoms, with 0 for an atom and itself.
    dtype : dtype
        Floating-point type.

    Returns
    -------
    Patterns
        The target has shape (1, p0, p1, p2 * filter).

    Raises
    ------
    UserError
        When the dictionary has more than three spatial axes.
    """
    _check_rank(dictionary)

    def make() -> Patterns:
        n_filters = dictionary.n_filters
        lags = _padded(tuple(2 * overlap - 1 for overlap in dictionary.overlap), 1)
        gram = dictionary.gram().astype(dtype).reshape(n_filters, n_filters, *lags)
        if kind != "signed":
            gram[(np.arange(n_filters), np.arange(n_filters), *[n // 2 for n in lags])] = 0
            gram = {"others": lambda g: g, "magnitude": np.abs, "square": np.square}[kind](gram)
        together = np.ascontiguousarray(np.moveaxis(gram, 1, -1)).reshape(n_filters, 1, *lags[:2], -1)
        positions = _padded(dictionary.positions, 1)
        back = [-(n // 2) for n in lags]
        layout = np.array([positions, [1] * AXES, back, [1, 1, n_filters]], dtype=np.int64)
        return Patterns(together, layout, (1, *positions[:2], positions[2] * n_filters))

    return _prepared(dictionary, ("gram", kind, np.dtype(dtype)), make)


def tiled_patterns(
    dictionary: FilterBank,
    kind: Literal["signed", "others", "magnitude", "square"],
    dtype: np.dtype | type,
) -> Patterns:
    """
    Rows of the Gram kernel as `dcsc.kernels.gather` reads them.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    kind : {'signed', 'others', 'magnitude', 'square'}
        As for `gram_patterns`.
    dtype : dtype
        Floating-point type.

    Returns
    -------
    Patterns
        Those of `gram_patterns` with a tile of zeros at both ends of the last axis.
    """

    def make() -> Patterns:
        rows = gram_patterns(dictionary, kind, dtype)
        lanes = ROW_BYTES // rows.pattern.itemsize
        pattern = _at_cache_line((*rows.pattern.shape[:-1], rows.pattern.shape[-1] + 2 * lanes), rows.pattern.dtype)
        pattern[..., lanes:-lanes] = rows.pattern
        return rows._replace(pattern=pattern)

    return _prepared(dictionary, ("tiled", kind, np.dtype(dtype)), make)


def filter_patterns(
    dictionary: FilterBank,
    kind: Literal["signed", "magnitude", "integer", "writes"],
    dtype: np.dtype | type,
) -> Patterns:
    """
    The filters as patterns, for sparse synthesis.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    kind : {'signed', 'magnitude', 'integer', 'writes'}
        The filters, their magnitudes, the integer filters, or 1 where a filter is not 0.
    dtype : dtype
        Type of the pattern.

    Returns
    -------
    Patterns
        The target has shape (channel, g0, g1, g2).

    Raises
    ------
    UserError
        When the dictionary has more than three spatial axes, or no integer filters.
    """
    _check_rank(dictionary)
    if kind == "integer" and dictionary.integer_filters is None:
        raise UserError("this dictionary has no integer filters: make it with from_integers.")

    def make() -> Patterns:
        filters = dictionary.integer_filters if kind == "integer" else dictionary.filters
        filters = np.abs(filters) if kind == "magnitude" else filters != 0 if kind == "writes" else filters
        shape = (dictionary.n_filters, dictionary.n_channels, *_padded(dictionary.taps, 1))
        grid = _padded(dictionary.grid, 1)
        layout = np.array(
            [_padded(dictionary.positions, 1), _padded(dictionary.stride, 1), [0] * AXES, [1] * AXES], dtype=np.int64
        )
        return Patterns(np.ascontiguousarray(filters, dtype).reshape(shape), layout, (dictionary.n_channels, *grid))

    return _prepared(dictionary, ("filters", kind, np.dtype(dtype)), make)


def run_patterns(dictionary: FilterBank, dtype: np.dtype | type) -> tuple[Patterns, int, int]:
    """
    The filters as `dcsc.kernels.scatter.add_code_by_runs` takes them.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    dtype : dtype
        Floating-point type.

    Returns
    -------
    patterns : Patterns
        Those of `filter_patterns`, the last axis filled up to whole vectors.
    reach : int
        Entries of that axis that are used.
    room : int
        Entries that the kernel writes over.
    """

    def make() -> Patterns:
        filters = filter_patterns(dictionary, "signed", dtype)
        lanes = VECTOR_BYTES // filters.pattern.itemsize
        width = -(-dictionary.taps[-1] // lanes) * lanes
        pattern = _at_cache_line((*filters.pattern.shape[:-1], width), filters.pattern.dtype)
        pattern[..., : dictionary.taps[-1]] = filters.pattern
        return filters._replace(pattern=pattern)

    patterns = _prepared(dictionary, ("runs", np.dtype(dtype)), make)
    rows = math.prod(patterns.target_shape[:-1])
    return patterns, dictionary.taps[-1], rows * (patterns.target_shape[-1] + patterns.pattern.shape[-1])
