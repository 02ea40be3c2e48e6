"""Filters and Gram kernels as the compiled loops read them, made once for each bank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dcsc.convolution.filter_bank import FilterBank
from dcsc.errors import UserError
from dcsc.kernels.arguments import Patterns, Runs, Scratch, Taps, WindowLayout
from dcsc.kernels.tiles import ROW_BYTES, RUN_BYTES
from dcsc.ragged import RaggedCodes

AXES = 3
"""Spatial axes of the kernels; lower ranks are padded with axes of length 1."""

CACHE_LINE = 64
"""Bytes at whose multiples the patterns of the inner loop begin."""


def scratch_of(dictionary: FilterBank, starts: NDArray, dtype: np.dtype | type = np.float64) -> Scratch:
    """
    Make what `dcsc.kernels.gather` writes over for each code.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    starts : ndarray of int64, shape (code + 1,)
        Where the codes start that are to be gathered.
    dtype : dtype
        Type of their values.

    Returns
    -------
    Scratch
        Not to be shared by threads.
    """
    longest = int(np.diff(starts).max(initial=0))
    listed = 3 * longest * math.prod(2 * overlap - 1 for overlap in dictionary.overlap[:-1])
    order, inner = np.empty((2, longest), np.int64)
    firsts, inner_firsts = np.empty((2, math.prod(dictionary.positions[:-1]) + 2), np.int64)
    begins, offsets = np.empty((2, listed), np.int64)
    target = np.empty(dictionary.n_atoms + 2 * (ROW_BYTES // np.dtype(dtype).itemsize), dtype)
    counts = np.empty(dictionary.positions[-1] + 1, np.int64)
    weights, numbers = np.empty(listed, dtype), np.arange(listed)
    places = np.empty((3, longest), np.int64)
    return Scratch(target, counts, order, places, firsts, begins, offsets, weights, numbers, inner, inner_firsts)


def at_cache_line(shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
    """
    Make zeros that begin at a cache line: a vector across two lines costs two reads.

    Parameters
    ----------
    shape : tuple of int
        Of the array.
    dtype : dtype
        Its type.

    Returns
    -------
    ndarray
        Zeros.
    """
    size = math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + CACHE_LINE, np.uint8)
    begin = -memory.ctypes.data % CACHE_LINE
    return memory[begin : begin + size].view(dtype).reshape(shape)


def _between_tiles(rows: NDArray) -> NDArray:
    """Copy rows with a tile of zeros at both ends of the last axis."""
    lanes = ROW_BYTES // rows.itemsize
    pattern = at_cache_line((*rows.shape[:-1], rows.shape[-1] + 2 * lanes), rows.dtype)
    pattern[..., lanes:-lanes] = rows
    return pattern


def padded(numbers: Sequence[int]) -> NDArray:
    """
    Write numbers, one per spatial axis, for the axes of the kernels.

    Parameters
    ----------
    numbers : sequence of int
        At most `AXES`.

    Returns
    -------
    ndarray of int64, shape (3,)
        After ones for the axes that are not there.
    """
    return np.array([*[1] * (AXES - len(numbers)), *numbers], dtype=np.int64)


def padded_gram(dictionary: FilterBank, dtype: np.dtype | type | None = None) -> NDArray:
    """
    View the Gram kernel for the axes of the kernels.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    dtype : dtype, optional
        Type to compute it in; by default that of the filters.

    Returns
    -------
    ndarray, shape (filter, filter, l0, l1, l2)
        Read-only.
    """
    _check_rank(dictionary)
    gram = dictionary.gram(dtype)
    return gram.reshape(*gram.shape[:2], *padded(gram.shape[2:]))


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

    def make() -> Patterns:
        n_filters = dictionary.n_filters
        gram = padded_gram(dictionary).astype(dtype)
        lags = gram.shape[2:]
        if kind != "signed":
            gram[(np.arange(n_filters), np.arange(n_filters), *[n // 2 for n in lags])] = 0
            gram = np.abs(gram) if kind == "magnitude" else gram**2 if kind == "square" else gram
        together = np.ascontiguousarray(np.moveaxis(gram, 1, -1)).reshape(n_filters, 1, *lags[:2], -1)
        positions, back = padded(dictionary.positions), [-(n // 2) for n in lags]
        layout = np.array([positions, [1] * AXES, back, [1, 1, n_filters]], dtype=np.int64)
        return Patterns(together, layout, (1, *positions[:2].tolist(), int(positions[2]) * n_filters))

    return dictionary.prepared(("rows of the Gram kernel", kind, np.dtype(dtype)), make)


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
        return rows._replace(pattern=_between_tiles(rows.pattern))

    return dictionary.prepared(("tiled rows", kind, np.dtype(dtype)), make)


def input_patterns(dictionary: FilterBank, dtype: np.dtype | type) -> Patterns:
    """
    What an entry of a signal adds to its correlations, as `dcsc.kernels.gather` reads it.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    dtype : dtype
        Floating-point type.

    Returns
    -------
    Patterns
        As from `tiled_patterns`, with the places of an entry in a stride, for each channel, in place of the filters:
        those of `as_blocks`.

    Raises
    ------
    UserError
        When the dictionary has more than three spatial axes.
    """
    _check_rank(dictionary)

    def make() -> Patterns:
        blocks = dictionary.filter_blocks  # (filter, *overlap, channel and place in a stride)
        overlap, n_filters = padded(dictionary.overlap), dictionary.n_filters
        blocks = blocks.reshape(n_filters, *overlap, -1)[:, ::-1, ::-1, ::-1]  # a later entry is an earlier tap
        rows = np.moveaxis(blocks, (4, 0), (0, 4)).reshape(-1, 1, *overlap[:2], overlap[2] * n_filters)
        positions = padded(dictionary.positions)
        layout = np.array([positions, [1] * AXES, 1 - overlap, [1, 1, n_filters]], dtype=np.int64)
        return Patterns(
            _between_tiles(rows.astype(dtype)), layout, (1, *positions[:2].tolist(), int(positions[2]) * n_filters)
        )

    return dictionary.prepared(("rows of inputs", np.dtype(dtype)), make)


def as_blocks(dictionary: FilterBank, signals: RaggedCodes) -> RaggedCodes:
    """
    Number the entries of sparse signals by channel, place in a stride, and position.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    signals : RaggedCodes
        Signals of shape (channel, *space).

    Returns
    -------
    RaggedCodes
        The same entries in the same order, of shape (channel and place in a stride, *position).
    """
    channel, *points = np.unravel_index(signals.atom, dictionary.signal_shape)
    places = [channel, *(point % step for point, step in zip(points, dictionary.stride, strict=True))]
    source = np.ravel_multi_index(places, (dictionary.n_channels, *dictionary.stride))
    at = [point // step for point, step in zip(points, dictionary.stride, strict=True)]
    shape = (dictionary.n_channels * math.prod(dictionary.stride), *dictionary.positions)
    atom = np.ravel_multi_index([source, *at], shape).astype(np.int32)
    return RaggedCodes(signals.row_size, atom, signals.value, shape)


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
    filters = dictionary.integer_filters if kind == "integer" else dictionary.filters
    if filters is None:
        raise UserError("this dictionary has no integer filters: make it with from_integers.")

    def make() -> Patterns:
        values = np.abs(filters) if kind == "magnitude" else filters != 0 if kind == "writes" else filters
        shape = (dictionary.n_filters, dictionary.n_channels, *padded(dictionary.taps))
        layout = np.array([padded(dictionary.positions), padded(dictionary.stride), [0] * AXES, [1] * AXES])
        target_shape = (dictionary.n_channels, *padded(dictionary.grid).tolist())
        return Patterns(np.array(values, dtype, order="C").reshape(shape), layout, target_shape)

    return dictionary.prepared(("filters", kind, np.dtype(dtype)), make)


def filter_taps(dictionary: FilterBank, kind: Literal["signed", "integer"], dtype: np.dtype | type) -> Taps:
    """
    List the taps of the filters that are not 0.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    kind : {'signed', 'integer'}
        The filters, or the integer filters.
    dtype : dtype
        Type of the values.

    Returns
    -------
    Taps
        In C order of the filters.

    Raises
    ------
    UserError
        As `filter_patterns`.
    """
    patterns = filter_patterns(dictionary, kind, dtype)

    def make() -> Taps:
        places = np.nonzero(patterns.pattern)
        start = np.searchsorted(places[0], np.arange(dictionary.n_filters + 1)).astype(np.int64)
        geometry = np.stack([*patterns.layout[:2], padded(dictionary.grid)])
        place = np.stack(places[1:], axis=1).astype(np.int64)
        offset = np.ravel_multi_index(places[1:], patterns.target_shape)
        return Taps(start, place, patterns.pattern[places], offset, place[:, 1:].max(axis=0) + 1, geometry)

    return dictionary.prepared(("taps", kind, np.dtype(dtype)), make)


def runs_of(patterns: Patterns) -> tuple[NDArray, Runs]:
    """
    Lay out patterns as `dcsc.kernels.scatter.add_runs` takes them.

    Parameters
    ----------
    patterns : Patterns
        Patterns with one entry a grid point, from first offsets 0.

    Returns
    -------
    pattern : ndarray, shape (entry,)
        Their last axis with a vector of zeros before it, and as many behind it as whole vectors may reach, flat.
    runs : Runs
        Where they lie.
    """
    given, (n_lead, *points, period) = patterns.pattern, patterns.target_shape
    lanes = RUN_BYTES // given.itemsize
    *_, n0, n1, reach = given.shape
    n_vectors = -(-(reach + lanes - 1) // lanes)
    width = (n_vectors + 1) * lanes
    pattern = at_cache_line((*given.shape[:-1], width), given.dtype)
    pattern[..., lanes : lanes + reach] = given
    row = -(-period // lanes) * lanes + width
    positions, steps = (tuple(numbers) for numbers in patterns.layout[:2].tolist())
    runs = Runs(n_lead, positions, steps, tuple(points), (n0, n1), period, reach, width, row, lanes, n_vectors)
    return pattern.ravel(), runs


def run_scratch(runs: Runs, dtype: np.dtype) -> NDArray:
    """
    Make the array in which `dcsc.kernels.scatter.add_runs` adds up.

    Parameters
    ----------
    runs : Runs
        From `runs_of`.
    dtype : dtype
        Of the patterns.

    Returns
    -------
    ndarray, shape (entry,)
        Rows of zeros.
    """
    return at_cache_line((runs.n_rows * runs.row,), np.dtype(dtype))


def filter_runs(dictionary: FilterBank, dtype: np.dtype | type) -> tuple[NDArray, Runs]:
    """
    The filters as `dcsc.kernels.scatter.add_runs` takes them.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    dtype : dtype
        Floating-point type.

    Returns
    -------
    pattern : ndarray, shape (entry,)
        Those of `filter_patterns`, by `runs_of`.
    runs : Runs
        Where they lie.
    """
    return dictionary.prepared(("runs", np.dtype(dtype)), lambda: runs_of(filter_patterns(dictionary, "signed", dtype)))


def window_layout(dictionary: FilterBank) -> WindowLayout:
    """
    Lay out a dictionary for the compiled pursuits, once.

    Parameters
    ----------
    dictionary : FilterBank
        Of at most three spatial axes.

    Returns
    -------
    WindowLayout
        In float64.

    Raises
    ------
    UserError
        When the dictionary has more than three spatial axes.
    """

    def make() -> WindowLayout:
        patterns = filter_patterns(dictionary, "signed", np.float64)
        by_tap = np.array(dictionary.filters.reshape(dictionary.n_filters, -1).T, dtype=np.float64, order="C")
        gram = np.array(padded_gram(dictionary), dtype=np.float64, order="C")
        lags = gram.shape[2:]
        sizes = np.stack([padded(row) for row in (dictionary.positions, dictionary.stride, dictionary.taps, lags)])
        # Half an atom's reach: atoms of different cells interact little, so few are chosen in vain.
        return WindowLayout(patterns, by_tap, gram, sizes, (sizes[3] + 3) // 4)

    return dictionary.prepared("windows", make)


def from_kernel_atoms(atoms: NDArray, dictionary: FilterBank) -> NDArray:
    """
    Number atoms as codes do, given as the kernels number them, neighbouring positions together.

    Parameters
    ----------
    atoms : ndarray of int64
        position * n_filters + filter.
    dictionary : FilterBank
        The dictionary.

    Returns
    -------
    ndarray of int64
        Indices in C order of (filter, *position).
    """
    places, filters = np.divmod(atoms, dictionary.n_filters)
    return filters * math.prod(dictionary.positions) + places
