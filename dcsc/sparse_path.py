"""
The sparse path of a noiseless trial: A^T A x at the cost of non-zeros times stripe, no signal formed.

The dense path, ``dictionary.correlate(dictionary.synthesize(x))``, costs two convolutions and agrees to
rounding. Noise enters as one addition, A^T e. Trials run in blocks of `dcsc.seeds.BLOCK` on threads;
each trial is computed alone and in one order, so its bits depend neither on the threads nor on the batch.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.dictionary import ConvolutionalDictionary
from dcsc.errors import UserError, nearest
from dcsc.kernels import gather, scatter, selection
from dcsc.kernels.tiles import ROW_BYTES, VECTOR_BYTES
from dcsc.parallel import over_blocks
from dcsc.ragged import RaggedCodes

AXES = 3
"""Spatial axes of the kernels; lower ranks are padded with axes of length 1."""

CACHE_LINE = 64
"""Bytes at whose multiples the patterns of the inner loop begin."""

RULES = {"hard": selection.HARD, "soft": selection.SOFT, "relu": selection.RELU, "top-k": selection.TOP_K}


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


class Margins(NamedTuple):
    """
    How far a trial is from failing under one-step thresholding.

    Parameters
    ----------
    smallest_on : ndarray, shape (...)
        Smallest on-support |c_i|; infinity for an empty support.
    largest_off : ndarray, shape (...)
        Largest off-support |c_i|, or largest c_i when one-sided; 0, or minus infinity, for a full support.
    smallest_signed : ndarray, shape (...)
        Smallest on-support sign_i c_i, negative when a sign is wrong; infinity for an empty support.
    """

    smallest_on: NDArray
    largest_off: NDArray
    smallest_signed: NDArray


_patterns: weakref.WeakKeyDictionary[ConvolutionalDictionary, dict] = weakref.WeakKeyDictionary()
_patterns_lock = threading.Lock()
_Made = TypeVar("_Made")


def _prepared(dictionary: ConvolutionalDictionary, key: tuple, make: Callable[[], _Made]) -> _Made:
    """Make a dictionary's patterns once."""
    with _patterns_lock:
        known = _patterns.setdefault(dictionary, {})
    if key not in known:
        known[key] = make()
    return known[key]


def room_of(dictionary: ConvolutionalDictionary, starts: NDArray, dtype: np.dtype) -> tuple[NDArray, ...]:
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


def padded(numbers: tuple[int, ...], filler: int) -> tuple[int, ...]:
    """
    Pad a number for each spatial axis to the axes of the kernels.

    Parameters
    ----------
    numbers : tuple of int
        One an axis.
    filler : int
        For the axes that are missing, the first ones.

    Returns
    -------
    tuple of int
        `AXES` numbers.
    """
    return (filler,) * (AXES - len(numbers)) + tuple(numbers)


def padded_gram(dictionary: ConvolutionalDictionary, dtype: np.dtype | type | None = None) -> NDArray:
    """
    Give the Gram kernel with the axes of the kernels.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    dtype : dtype, optional
        Type to compute it in; by default that of the filters.

    Returns
    -------
    ndarray, shape (filter, filter, l0, l1, l2)
        As `dictionary.gram`, an axis of lags of length 1 for every spatial axis that is missing.
    """
    gram = dictionary.gram(dtype)
    return gram.reshape(*gram.shape[:2], *padded(gram.shape[2:], 1))


def _check_rank(dictionary: ConvolutionalDictionary) -> None:
    if dictionary.rank > AXES:
        raise UserError(f"the sparse path takes up to {AXES} spatial axes, not {dictionary.rank}: use the dense path.")


def gram_patterns(
    dictionary: ConvolutionalDictionary,
    kind: Literal["signed", "others", "magnitude", "square"],
    dtype: np.dtype | type,
) -> Patterns:
    """
    Rows of the Gram kernel as patterns, all filters of a position together.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
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
        gram = padded_gram(dictionary).astype(dtype)
        lags = gram.shape[2:]
        if kind != "signed":
            gram[(np.arange(n_filters), np.arange(n_filters), *[n // 2 for n in lags])] = 0
            gram = {"others": lambda g: g, "magnitude": np.abs, "square": np.square}[kind](gram)
        together = np.ascontiguousarray(np.moveaxis(gram, 1, -1)).reshape(n_filters, 1, *lags[:2], -1)
        positions = padded(dictionary.positions, 1)
        back = [-(n // 2) for n in lags]
        layout = np.array([positions, [1] * AXES, back, [1, 1, n_filters]], dtype=np.int64)
        return Patterns(together, layout, (1, *positions[:2], positions[2] * n_filters))

    return _prepared(dictionary, ("gram", kind, np.dtype(dtype)), make)


def tiled_patterns(
    dictionary: ConvolutionalDictionary,
    kind: Literal["signed", "others", "magnitude", "square"],
    dtype: np.dtype | type,
) -> Patterns:
    """
    Rows of the Gram kernel as `dcsc.kernels.gather` reads them.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
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
    dictionary: ConvolutionalDictionary,
    kind: Literal["signed", "magnitude", "integer", "writes"],
    dtype: np.dtype | type,
) -> Patterns:
    """
    The filters as patterns, for sparse synthesis.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
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
        shape = (dictionary.n_filters, dictionary.n_channels, *padded(dictionary.taps, 1))
        grid = padded(dictionary.grid, 1)
        layout = np.array(
            [padded(dictionary.positions, 1), padded(dictionary.stride, 1), [0] * AXES, [1] * AXES], dtype=np.int64
        )
        return Patterns(np.ascontiguousarray(filters, dtype).reshape(shape), layout, (dictionary.n_channels, *grid))

    return _prepared(dictionary, ("filters", kind, np.dtype(dtype)), make)


class Taps(NamedTuple):
    """
    The taps of filters that are not 0, for synthesis from sparse filters.

    Parameters
    ----------
    start : ndarray of int64, shape (filter + 1,)
        Where the taps of each filter begin, and where the last ones end.
    index : ndarray of int64, shape (tap, 4)
        Channel and three coordinates.
    value : ndarray, shape (tap,)
        Their values.
    geometry : ndarray of int64, shape (3, 3)
        Positions of a code, steps and grid, an axis each.
    """

    start: NDArray
    index: NDArray
    value: NDArray
    geometry: NDArray


def filter_taps(dictionary: ConvolutionalDictionary, kind: Literal["signed", "integer"], dtype: np.dtype) -> Taps:
    """
    List the taps of the filters that are not 0.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
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
        of_filter, *index = np.nonzero(patterns.pattern)
        start = np.searchsorted(of_filter, np.arange(dictionary.n_filters + 1)).astype(np.int64)
        geometry = np.stack([*patterns.layout[:2], np.array(padded(dictionary.grid, 1), dtype=np.int64)])
        index = np.ascontiguousarray(np.stack(index, axis=1), dtype=np.int64)
        return Taps(start, index, patterns.pattern[np.nonzero(patterns.pattern)], geometry)

    return _prepared(dictionary, ("taps", kind, np.dtype(dtype)), make)


def run_patterns(dictionary: ConvolutionalDictionary, dtype: np.dtype | type) -> tuple[Patterns, int, int]:
    """
    The filters as `dcsc.kernels.scatter.add_code_by_runs` takes them.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
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


def _checked(dictionary: ConvolutionalDictionary, codes: RaggedCodes) -> None:
    if tuple(codes.code_shape) != dictionary.code_shape:
        raise UserError(f"codes of shape {tuple(codes.code_shape)} do not fit: they must be {dictionary.code_shape}.")


def _working_type(dictionary: ConvolutionalDictionary, codes: RaggedCodes) -> np.dtype:
    """Type of the dense path's result."""
    if codes.value.dtype.kind not in "fiu":
        raise UserError(f"codes of type {codes.value.dtype} have no correlations: give real numbers.")
    return np.result_type(dictionary.dtype, codes.value.dtype if codes.value.dtype.kind == "f" else dictionary.dtype)


def _output(out: NDArray | None, shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
    if out is None:
        return np.empty(shape, dtype)
    if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous:
        raise UserError(f"out is not a contiguous array of shape {shape} and type {dtype}: make it so.")
    return out


def _spread(
    dictionary: ConvolutionalDictionary,
    codes: RaggedCodes,
    values: NDArray,
    patterns: Patterns,
    out: NDArray | None,
    threads: int | None,
) -> NDArray:
    """Sum the Gram rows of every code into (..., filter, *position)."""
    out = _output(out, (*codes.batch_shape, *dictionary.code_shape), values.dtype)
    atoms, starts, n_filters = codes.atom.astype(np.int32), codes.starts, dictionary.n_filters
    flat = out.reshape(codes.row_size.size, n_filters, math.prod(dictionary.positions))

    def work(first: int, last: int) -> None:
        gather.gather_codes_by_filter(
            flat[first:last],
            room_of(dictionary, starts[first : last + 1], values.dtype),
            patterns.pattern,
            atoms,
            values,
            starts[first : last + 1],
            patterns.layout,
            n_filters,
        )

    over_blocks(codes.row_size.size, work, threads)
    return out


def correlate_codes(
    dictionary: ConvolutionalDictionary, codes: RaggedCodes, out: NDArray | None = None, *, threads: int | None = None
) -> NDArray:
    """
    Correlations of the signals of sparse codes with every atom, A^T A x.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    codes : RaggedCodes
        Codes of this dictionary, batch axes (...).
    out : ndarray, shape (..., filter, *position), optional
        Where to write.
    threads : int, optional
        At most that many at once.

    Returns
    -------
    ndarray, shape (..., filter, *position)
        In the type of the dense path, which it equals up to rounding.

    Raises
    ------
    UserError
        When shapes or types do not fit.
    """
    _checked(dictionary, codes)
    dtype = _working_type(dictionary, codes)
    return _spread(
        dictionary, codes, codes.value.astype(dtype), tiled_patterns(dictionary, "signed", dtype), out, threads
    )


def synthesize_codes(
    dictionary: ConvolutionalDictionary, codes: RaggedCodes, out: NDArray | None = None, *, threads: int | None = None
) -> NDArray:
    """
    Signals of sparse codes, A x, at the cost of non-zeros times taps.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    codes : RaggedCodes
        Codes of this dictionary, batch axes (...).
    out : ndarray, shape (..., channel, *space), optional
        Where to write.
    threads : int, optional
        At most that many at once.

    Returns
    -------
    ndarray, shape (..., channel, *space)
        In the type of the dense path, which it equals up to rounding.

    Raises
    ------
    UserError
        When shapes or types do not fit.
    """
    _checked(dictionary, codes)
    dtype = _working_type(dictionary, codes)
    patterns, reach, room = run_patterns(dictionary, dtype)
    out = _output(out, (*codes.batch_shape, *dictionary.signal_shape), dtype)
    flat = out.reshape(codes.row_size.size, *patterns.target_shape)
    atoms, values, starts = codes.atom.astype(np.int32), codes.value.astype(dtype), codes.starts

    def work(first: int, last: int) -> None:
        scatter.add_codes_by_runs(
            flat[first:last],
            np.empty(room, dtype),
            patterns.pattern,
            reach,
            atoms,
            values,
            starts[first : last + 1],
            patterns.layout,
        )

    over_blocks(codes.row_size.size, work, threads)
    return out


def interference_bound(
    dictionary: ConvolutionalDictionary, codes: RaggedCodes, *, threads: int | None = None
) -> NDArray:
    """
    Largest interference that any signs can cause, sum over j != i of |x_j| |g_ij|.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    codes : RaggedCodes
        Codes of this dictionary, batch axes (...); their signs do not count.
    threads : int, optional
        At most that many at once.

    Returns
    -------
    ndarray of float64, shape (..., filter, *position)
        One bound an atom i, active or not.

    Raises
    ------
    UserError
        When shapes or types do not fit.
    """
    _checked(dictionary, codes)
    _working_type(dictionary, codes)
    patterns = tiled_patterns(dictionary, "magnitude", np.float64)
    return _spread(dictionary, codes, np.abs(codes.value.astype(np.float64)), patterns, None, threads)


def interference_variance(
    dictionary: ConvolutionalDictionary, codes: RaggedCodes, *, threads: int | None = None
) -> NDArray:
    """
    Variance of the interference under Rademacher signs, v_i = sum over j != i of x_j^2 g_ij^2.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    codes : RaggedCodes
        Codes of this dictionary, batch axes (...); their signs do not count.
    threads : int, optional
        At most that many at once.

    Returns
    -------
    ndarray of float64, shape (..., filter, *position)
        One variance an atom i, active or not.

    Raises
    ------
    UserError
        When shapes or types do not fit.
    """
    _checked(dictionary, codes)
    _working_type(dictionary, codes)
    patterns = tiled_patterns(dictionary, "square", np.float64)
    return _spread(dictionary, codes, codes.value.astype(np.float64) ** 2, patterns, None, threads)


def _additions(
    dictionary: ConvolutionalDictionary, codes: RaggedCodes, addition: ArrayLike | None, dtype: np.dtype
) -> NDArray:
    """The addition as (trial, filter, position); a single empty one when there is none."""
    if addition is None:
        return _read_only(np.empty((1, 0, 0), dtype))
    shape = (*codes.batch_shape, *dictionary.code_shape)
    addition = np.asarray(addition, dtype)
    if addition.shape != shape:
        raise UserError(f"addition of shape {addition.shape} does not fit the codes: it must be {shape}.")
    shape = (codes.row_size.size, dictionary.n_filters, math.prod(dictionary.positions))
    return _read_only(np.ascontiguousarray(addition).reshape(shape))


def _read_only(array: NDArray) -> NDArray:
    """Show an array as read-only: kernels are compiled anew for the other kind."""
    view = array.view()
    view.flags.writeable = False
    return view


def _of_trials(values: NDArray, first: int, last: int) -> NDArray:
    return values if values.size == 0 else values[first:last]


def margins(
    dictionary: ConvolutionalDictionary,
    codes: RaggedCodes,
    addition: ArrayLike | None = None,
    *,
    one_sided: bool = False,
    threads: int | None = None,
) -> Margins:
    """
    Extremes of the correlations on and off the support, without keeping the correlations.

    A threshold beta recovers the support if largest_off <= beta < smallest_on, the signs too if
    beta < smallest_signed; top-k does both if smallest_signed > largest_off.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    codes : RaggedCodes
        The true codes, batch axes (...).
    addition : array_like, shape (..., filter, *position), optional
        Added to the correlations, A^T e.
    one_sided : bool
        Let largest_off be the largest c_i, for ReLU, and not the largest |c_i|.
    threads : int, optional
        At most that many at once.

    Returns
    -------
    Margins
        smallest_on, largest_off and smallest_signed, each of shape (...).

    Raises
    ------
    UserError
        When shapes or types do not fit.
    """
    _checked(dictionary, codes)
    dtype = _working_type(dictionary, codes)
    added = _additions(dictionary, codes, addition, dtype)
    patterns = tiled_patterns(dictionary, "signed", dtype)
    atoms, values, starts = codes.atom.astype(np.int32), codes.value.astype(dtype), codes.starts
    found = np.empty((codes.row_size.size, 3), dtype)

    def work(first: int, last: int) -> None:
        selection.code_margins(
            room_of(dictionary, starts[first : last + 1], dtype),
            patterns.pattern,
            atoms,
            values,
            starts[first : last + 1],
            patterns.layout,
            dictionary.n_filters,
            _of_trials(added, first, last),
            one_sided,
            found[first:last],
        )

    over_blocks(codes.row_size.size, work, threads)
    return Margins(*(found[:, column].reshape(codes.batch_shape) for column in range(3)))


def recovered_supports(
    dictionary: ConvolutionalDictionary,
    codes: RaggedCodes,
    *,
    rule: Literal["hard", "soft", "relu", "top-k"] = "hard",
    threshold: ArrayLike | None = None,
    k: ArrayLike | None = None,
    addition: ArrayLike | None = None,
    threads: int | None = None,
) -> RaggedCodes:
    """
    Threshold the correlations of sparse codes once, keeping only what survives.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    codes : RaggedCodes
        The true codes, batch axes (...).
    rule : {'hard', 'soft', 'relu', 'top-k'}
        The non-linearity; ReLU is one-sided.
    threshold : array_like, shape (...), optional
        beta >= 0, a number or one a trial, for every rule but top-k.
    k : array_like of int, shape (...), optional
        For top-k, a number or one a trial; among equal magnitudes the lower atom index wins.
    addition : array_like, shape (..., filter, *position), optional
        Added to the correlations, A^T e.
    threads : int, optional
        At most that many at once.

    Returns
    -------
    RaggedCodes
        The thresholded correlations; no entry is 0.

    Raises
    ------
    UserError
        When shapes, types or parameters do not fit.
    """
    _checked(dictionary, codes)
    dtype = _working_type(dictionary, codes)
    added = _additions(dictionary, codes, addition, dtype)
    n_trials, batch = codes.row_size.size, codes.batch_shape
    thresholds, sizes = thresholds_and_sizes(rule, threshold, k, batch, dictionary.n_atoms)
    thresholds = thresholds.astype(dtype)
    lowest = np.nextafter(thresholds, dtype.type(np.inf))
    patterns = tiled_patterns(dictionary, "signed", dtype)
    atoms, values, starts = codes.atom.astype(np.int32), codes.value.astype(dtype), codes.starts
    row_size = np.zeros(n_trials, dtype=np.int64)

    def work(first: int, last: int) -> tuple[NDArray, NDArray]:
        room_to_sum = room_of(dictionary, starts[first : last + 1], dtype)
        work_values = np.empty(dictionary.n_atoms, dtype)
        found, ordered = np.empty((2, dictionary.n_atoms + 1), dtype=np.int64)
        per_filter = np.empty(dictionary.n_filters, dtype=np.int64)
        room = int(max(sizes[first:last].sum(), 2 * (starts[last] - starts[first]) + 1024))
        while True:
            out_atom, out_value = np.empty(room, dtype=np.int32), np.empty(room, dtype)
            needed = selection.code_supports(
                room_to_sum,
                work_values,
                found,
                ordered,
                per_filter,
                patterns.pattern,
                atoms,
                values,
                starts[first : last + 1],
                patterns.layout,
                _of_trials(added, first, last),
                RULES[rule],
                thresholds[first:last],
                lowest[first:last],
                sizes[first:last],
                out_atom,
                out_value,
                row_size[first:last],
            )
            if needed <= room:
                return out_atom[:needed].copy(), out_value[:needed].copy()
            room = int(needed)  # a threshold far too low: make the room it needs and repeat

    parts = over_blocks(n_trials, work, threads)
    found = np.concatenate([np.empty(0, np.int32), *[atom for atom, _ in parts]])
    kept = np.concatenate([np.empty(0, dtype), *[value for _, value in parts]])
    return RaggedCodes(row_size.reshape(batch), found, kept, dictionary.code_shape)


def thresholds_and_sizes(
    rule: str, threshold: ArrayLike | None, k: ArrayLike | None, batch: tuple[int, ...], n_atoms: int
) -> tuple[NDArray, NDArray]:
    """
    Check what a rule is given, and spread it over the trials.

    Parameters
    ----------
    rule : {'hard', 'soft', 'relu', 'top-k'}
        The non-linearity.
    threshold : array_like, shape () or (...), or None
        beta >= 0, for every rule but top-k.
    k : array_like of int, shape () or (...), or None
        Support sizes, for top-k.
    batch : tuple of int
        The batch axes.
    n_atoms : int
        The largest size.

    Returns
    -------
    thresholds, sizes : ndarray of float64 and of int64, shape (trial,)
        Those that the rule does not use are 0.

    Raises
    ------
    UserError
        When the rule is unknown, or lacks what it needs, or that is not allowed.
    """
    if rule not in RULES:
        raise UserError(f"rule {rule!r} is unknown: {nearest(rule, RULES)}")
    given, name = (k, "k") if rule == "top-k" else (threshold, "threshold")
    if given is None:
        raise UserError(f"rule {rule!r} needs {name}: a number, or one a trial.")
    numbers = np.asarray(given)
    try:
        numbers = np.broadcast_to(numbers, batch).ravel()
    except ValueError:
        raise UserError(f"{name} of shape {numbers.shape} does not fit codes of batch shape {batch}.") from None
    nothing = np.zeros(math.prod(batch), dtype=np.int64)
    if rule == "top-k":
        if np.any(numbers < 0) or np.any(numbers > n_atoms) or np.any(numbers != np.floor(numbers)):
            raise UserError(f"k = {k} is not allowed: give whole numbers from 0 to {n_atoms}.")
        return nothing.astype(np.float64), numbers.astype(np.int64)
    if not np.all(numbers >= 0):
        raise UserError(f"threshold = {threshold} is not allowed: give numbers that are not negative.")
    return numbers.astype(np.float64), nothing
