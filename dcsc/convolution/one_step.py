"""
One step of recovery, from sparse codes to what thresholding makes of their correlations.

The one place that chooses between the sparse path, which sums rows of the Gram kernel, and the dense
one, which forms the signal and correlates it. The choice is made trial by trial, from the number of its
non-zeros and the sizes of the dictionary alone (`dcsc.convolution.costs`), so that no trial's bits depend on others.
The two agree to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.convolution import costs, dense_path, layouts, sparse_path
from dcsc.convolution.filter_bank import FilterBank
from dcsc.convolution.sparse_path import Margins
from dcsc.errors import UserError, nearest
from dcsc.kernels import dense
from dcsc.parallel import over_spans
from dcsc.ragged import RaggedCodes, take
from dcsc.seeds import BLOCK

PATHS = ("auto", "sparse", "dense")
Path = Literal["auto", "sparse", "dense"]


def densest_sparse(dictionary: FilterBank, dtype: np.dtype | type, noisy: bool = False) -> int:
    """
    Find the number of non-zeros up to which the sparse path is the cheaper one.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    dtype : dtype
        float32 or float64.
    noisy : bool
        Whether noise is to be correlated as well: a dense convolution that the dense path has anyway.

    Returns
    -------
    int
        At most the number of atoms; -1 when even an empty code is cheaper on the dense path.
    """
    if dictionary.rank > layouts.AXES:
        return -1
    size = np.dtype(dtype).itemsize
    convolution = dense_path.correlation_cost(dictionary, dtype)
    n_rows = math.prod(2 * overlap - 1 for overlap in dictionary.overlap[:-1])
    one_row = costs.gather(dictionary.stripe_size, n_rows, size)
    one_atom = costs.scatter((dictionary.n_channels, *dictionary.taps), size)
    if noisy:
        return 0 if one_row < one_atom else -1
    if one_row <= one_atom:
        return dictionary.n_atoms
    return min(dictionary.n_atoms, int(convolution / (one_row - one_atom)))


def _takes_sparse(dictionary: FilterBank, codes: RaggedCodes, dtype: np.dtype, noisy: bool, path: str) -> NDArray:
    """Which trials take the sparse path."""
    if path not in PATHS:
        raise UserError(f"path {path!r} is unknown: {nearest(path, PATHS)}")
    sizes = codes.row_size.ravel()
    if path != "auto":
        return np.full(sizes.shape, path == "sparse")
    return sizes <= densest_sparse(dictionary, dtype, noisy)


def _checked(dictionary: FilterBank, codes: RaggedCodes, noise: ArrayLike | None) -> tuple[np.dtype, NDArray | None]:
    """The working type, and the noise as (trial, channel, *space)."""
    if tuple(codes.code_shape) != dictionary.code_shape:
        raise UserError(f"codes of shape {tuple(codes.code_shape)} do not fit: they must be {dictionary.code_shape}.")
    values = codes.value if codes.value.dtype.kind == "f" else codes.value.astype(dictionary.dtype)
    dtype = dense_path.working_type(dictionary, values)
    if noise is None:
        return dtype, None
    noise = np.asarray(noise)
    shape = (*codes.batch_shape, *dictionary.signal_shape)
    if noise.shape != shape:
        raise UserError(f"noise of shape {noise.shape} does not fit the codes: it must be {shape}.")
    return dtype, noise.astype(dtype, copy=False).reshape(codes.row_size.size, *dictionary.signal_shape)


def _signals(dictionary: FilterBank, codes: RaggedCodes, noise: NDArray | None, dtype: np.dtype) -> NDArray:
    """Signals of a few codes, on the thread that asks."""
    if dictionary.rank > layouts.AXES:
        signals = dense_path.synthesize(dictionary, codes.to_dense().astype(dtype), threads=1)
    else:
        signals = sparse_path.synthesize_codes(dictionary, codes.with_values(codes.value.astype(dtype)), threads=1)
    if noise is not None:
        signals += noise
    return signals


def _over_dense_blocks(
    dictionary: FilterBank,
    codes: RaggedCodes,
    noise: NDArray | None,
    dtype: np.dtype,
    threads: int | None,
    work: Callable[..., None],
) -> None:
    """Give each block of trials to `work`, as its first and last trial, its codes and its convolution."""
    by_fft = dense_path.takes_fft(dictionary, dtype)
    seconds = dense_path.correlation_cost(dictionary, dtype)
    n_trials = codes.row_size.size
    size = min(
        BLOCK, dense_path.span_size(n_trials, math.prod(dictionary.signal_shape) * dtype.itemsize, seconds, threads)
    )

    def block(first: int, last: int) -> None:
        here = codes.rows(slice(first, last))
        signals = _signals(dictionary, here, None if noise is None else noise[first:last], dtype)
        if by_fft:
            values = dense_path.correlate(dictionary, signals, threads=1).reshape(last - first, -1)
            padded = np.empty((0, 0), dtype)
        else:
            values = np.empty((1, dictionary.n_atoms), dtype)
            padded = dense_path.padded_signals(dictionary, signals)
        work(first, last, here, values, padded, dense_path.convolution(dictionary, dtype))

    over_spans(n_trials, size, block, threads)


def margins(
    dictionary: FilterBank,
    codes: RaggedCodes,
    noise: ArrayLike | None = None,
    *,
    one_sided: bool = False,
    path: Path = "auto",
    threads: int | None = None,
) -> Margins:
    """
    Extremes of the correlations on and off the support, A^T (A x + e), by the cheaper path.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    codes : RaggedCodes
        The true codes, batch axes (...).
    noise : array_like, shape (..., channel, *space), optional
        e.
    one_sided : bool
        Let largest_off be the largest c_i, for ReLU, and not the largest |c_i|.
    path : {'auto', 'sparse', 'dense'}
        Which path to take.
    threads : int, optional
        At most that many at once.

    Returns
    -------
    Margins
        As from `dcsc.convolution.sparse_path.margins`.

    Raises
    ------
    UserError
        When shapes, types or options do not fit.
    """
    dtype, noise = _checked(dictionary, codes, noise)
    sparse = _takes_sparse(dictionary, codes, dtype, noise is not None, path)
    found = np.empty((codes.row_size.size, 3), dtype)
    for rows, of in _parts(sparse):
        part = codes if of is None else take(codes, rows)
        part, part_noise = part.reshape((len(rows),)), noise if of is None or noise is None else noise[rows]
        if sparse[rows[0]]:
            addition = None if noise is None else dense_path.correlate(dictionary, part_noise, threads=threads)
            found[rows] = np.stack(
                sparse_path.margins(dictionary, part, addition, one_sided=one_sided, threads=threads), axis=-1
            )
        else:
            found[rows] = _dense_margins(dictionary, part, part_noise, dtype, one_sided, threads)
    return Margins(*(found[:, column].reshape(codes.batch_shape) for column in range(3)))


def _parts(sparse: NDArray) -> list[tuple[NDArray, bool | None]]:
    """Rows of either path; the second entry is None when there is only one path."""
    if not len(sparse):
        return []
    if sparse.all() or not sparse.any():
        return [(np.arange(len(sparse)), None)]
    return [(np.flatnonzero(sparse), True), (np.flatnonzero(~sparse), False)]


def _dense_margins(
    dictionary: FilterBank,
    codes: RaggedCodes,
    noise: NDArray | None,
    dtype: np.dtype,
    one_sided: bool,
    threads: int | None,
) -> NDArray:
    found = np.empty((codes.row_size.size, 3), dtype)

    def work(first: int, last: int, here: RaggedCodes, values: NDArray, padded: NDArray, convolution: tuple) -> None:
        signs = here.value.astype(dtype)
        atoms = here.atom.astype(np.int32)  # a copy, because kernels are compiled anew for read-only arrays
        dense.trial_margins(values, padded, convolution, atoms, signs, here.starts, one_sided, found[first:last])

    _over_dense_blocks(dictionary, codes, noise, dtype, threads, work)
    return found


def recovered_supports(
    dictionary: FilterBank,
    codes: RaggedCodes,
    noise: ArrayLike | None = None,
    *,
    rule: Literal["hard", "soft", "relu", "top-k"] = "hard",
    threshold: ArrayLike | None = None,
    k: ArrayLike | None = None,
    path: Path = "auto",
    threads: int | None = None,
) -> RaggedCodes:
    """
    Threshold the correlations A^T (A x + e) once, keeping only what survives, by the cheaper path.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    codes : RaggedCodes
        The true codes, batch axes (...).
    noise : array_like, shape (..., channel, *space), optional
        e.
    rule : {'hard', 'soft', 'relu', 'top-k'}
        The non-linearity; ReLU is one-sided.
    threshold : array_like, shape () or (...), optional
        beta >= 0, a number or one a trial, for every rule but top-k.
    k : array_like of int, shape () or (...), optional
        For top-k, a number or one a trial; among equal magnitudes the lower atom index wins.
    path : {'auto', 'sparse', 'dense'}
        Which path to take.
    threads : int, optional
        At most that many at once.

    Returns
    -------
    RaggedCodes
        The thresholded correlations; no entry is 0.

    Raises
    ------
    UserError
        When shapes, types or options do not fit.
    """
    dtype, noise = _checked(dictionary, codes, noise)
    sparse = _takes_sparse(dictionary, codes, dtype, noise is not None, path)
    thresholds, sizes = sparse_path.thresholds_and_sizes(rule, threshold, k, codes.batch_shape, dictionary.n_atoms)
    parts = []
    for rows, of in _parts(sparse):
        part = codes if of is None else take(codes, rows)
        part, part_noise = part.reshape((len(rows),)), noise if of is None or noise is None else noise[rows]
        if sparse[rows[0]]:
            addition = None if noise is None else dense_path.correlate(dictionary, part_noise, threads=threads)
            options = {"k": sizes[rows]} if rule == "top-k" else {"threshold": thresholds[rows]}
            found = sparse_path.recovered_supports(
                dictionary, part, rule=rule, addition=addition, threads=threads, **options
            )
        else:
            found = _dense_supports(
                dictionary, part, part_noise, rule, thresholds[rows].astype(dtype), sizes[rows], dtype, threads
            )
        parts.append((rows, found))
    return _in_order(parts, codes, dtype)


def _in_order(parts: list[tuple[NDArray, RaggedCodes]], codes: RaggedCodes, dtype: np.dtype) -> RaggedCodes:
    """Put the codes of both paths back into the order of the batch."""
    if not parts:
        nothing = np.empty(0, dtype=np.int32), np.empty(0, dtype)
        return RaggedCodes(np.zeros(codes.batch_shape, dtype=np.int64), *nothing, codes.code_shape)
    if len(parts) == 1:
        return parts[0][1].reshape(codes.batch_shape)
    rows = np.concatenate([rows for rows, _ in parts])
    joined = RaggedCodes(
        np.concatenate([found.row_size for _, found in parts]),
        np.concatenate([found.atom for _, found in parts]),
        np.concatenate([found.value for _, found in parts]),
        codes.code_shape,
    )
    return take(joined, np.argsort(rows)).reshape(codes.batch_shape)


def _dense_supports(
    dictionary: FilterBank,
    codes: RaggedCodes,
    noise: NDArray | None,
    rule: str,
    thresholds: NDArray,
    sizes: NDArray,
    dtype: np.dtype,
    threads: int | None,
) -> RaggedCodes:
    row_size = np.zeros(codes.row_size.size, dtype=np.int64)
    blocks: dict[int, tuple[NDArray, NDArray]] = {}

    def work(first: int, last: int, here: RaggedCodes, values: NDArray, padded: NDArray, convolution: tuple) -> None:
        work_values, found = np.empty(dictionary.n_atoms, dtype), np.empty(dictionary.n_atoms + 1, dtype=np.int64)
        room = int(max(sizes[first:last].sum(), 2 * len(here.atom) + 1024))
        while True:
            out_atom, out_value = np.empty(room, dtype=np.int32), np.empty(room, dtype)
            needed = dense.trial_supports(
                values,
                padded,
                convolution,
                sparse_path.RULES[rule],
                thresholds[first:last],
                np.nextafter(thresholds[first:last], np.inf, dtype=dtype),
                sizes[first:last],
                work_values,
                found,
                out_atom,
                out_value,
                row_size[first:last],
            )
            if needed <= room:
                blocks[first] = out_atom[:needed].copy(), out_value[:needed].copy()
                return
            room = int(needed)  # a threshold far too low: make the room it needs and repeat

    _over_dense_blocks(dictionary, codes, noise, dtype, threads, work)
    in_order = [blocks[first] for first in sorted(blocks)]
    atoms, values = (np.concatenate(column) for column in zip(*in_order, strict=True))
    return RaggedCodes(row_size, atoms, values, codes.code_shape)
