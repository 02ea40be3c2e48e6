"""
One step of recovery, from sparse codes to what thresholding makes of their correlations.

The one place that chooses between the sparse path, which sums rows of the Gram kernel, and the dense
one, which forms the signal and correlates it. The choice is made trial by trial, from the number of its
non-zeros and the sizes of the dictionary alone (`dcsc.convolution.costs`), so that no trial's bits depend on others.
The two agree to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.convolution import costs, dense_path, layouts, sparse_path
from dcsc.convolution.arguments import checked_type, rule_of, thresholds_by_filter
from dcsc.convolution.filter_bank import FilterBank
from dcsc.convolution.sparse_path import Margins
from dcsc.errors import UserError, nearest
from dcsc.kernels import dense
from dcsc.kernels.arguments import Convolution, Entries, Rule
from dcsc.parallel import over_spans
from dcsc.ragged import RaggedCodes, concatenate, from_lists, kernel_codes, places_by_filter, take, write_lists

T = TypeVar("T")

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


def _noise_of(dictionary: FilterBank, codes: RaggedCodes, noise: ArrayLike | None, dtype: np.dtype) -> NDArray | None:
    """The noise as (trial, channel, *space)."""
    if noise is None:
        return None
    noise = np.asarray(noise)
    shape = (*codes.batch_shape, *dictionary.signal_shape)
    if noise.shape != shape:
        raise UserError(f"noise of shape {noise.shape} does not fit the codes: it must be {shape}.")
    return noise.astype(dtype, copy=False).reshape(codes.row_size.size, *dictionary.signal_shape)


def _parts(
    dictionary: FilterBank,
    codes: RaggedCodes,
    noise: NDArray | None,
    sparse: NDArray,
    threads: int | None,
) -> Iterator[tuple[NDArray, RaggedCodes, NDArray | None, bool]]:
    """Rows of either path, their codes, and the noise, which the sparse path takes as correlations."""
    flat = codes.reshape((len(sparse),))
    for is_sparse in (True, False):
        rows = np.flatnonzero(sparse == is_sparse)
        if len(rows):
            is_all = len(rows) == len(sparse)
            part_noise = noise if noise is None or is_all else noise[rows]
            if is_sparse and part_noise is not None:
                part_noise = dense_path.correlate(dictionary, part_noise, threads=threads)
            yield rows, flat if is_all else take(flat, rows), part_noise, is_sparse


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
    work: Callable[[int, int, RaggedCodes, tuple[NDArray, NDArray, Convolution]], T],
) -> list[T]:
    """Give each block of trials to `work`: its first and last trial, its codes, and correlations or what makes them."""
    by_fft = dense_path.takes_fft(dictionary, dtype)
    seconds = dense_path.correlation_cost(dictionary, dtype)
    n_trials, signal_bytes = codes.row_size.size, math.prod(dictionary.signal_shape) * dtype.itemsize
    size = dense_path.span_size(n_trials, signal_bytes, seconds, threads)

    def block(first: int, last: int) -> T:
        here = codes.rows(slice(first, last))
        signals = _signals(dictionary, here, None if noise is None else noise[first:last], dtype)
        if by_fft:
            values = dense_path.correlate(dictionary, signals, threads=1).reshape(last - first, -1)
            padded = np.empty((0, 0), dtype)
        else:
            values = np.empty((1, dictionary.n_atoms), dtype)
            padded = dense_path.padded_signals(dictionary, signals)
        return work(first, last, here, (values, padded, dense_path.convolution(dictionary, dtype)))

    return over_spans(n_trials, size, block, threads)


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
    dtype = checked_type(dictionary, codes)
    flat_noise = _noise_of(dictionary, codes, noise, dtype)
    sparse = _takes_sparse(dictionary, codes, dtype, noise is not None, path)
    extremes = np.empty((codes.row_size.size, 3), dtype)
    for rows, part, part_noise, is_sparse in _parts(dictionary, codes, flat_noise, sparse, threads):
        if is_sparse:
            of_part = sparse_path.margins(dictionary, part, part_noise, one_sided=one_sided, threads=threads)
            extremes[rows] = np.stack(of_part, axis=-1)
        else:
            extremes[rows] = _dense_margins(dictionary, part, part_noise, dtype, one_sided, threads)
    return Margins(*extremes.T.reshape(3, *codes.batch_shape))


def _dense_margins(
    dictionary: FilterBank,
    codes: RaggedCodes,
    noise: NDArray | None,
    dtype: np.dtype,
    one_sided: bool,
    threads: int | None,
) -> NDArray:
    extremes = np.empty((codes.row_size.size, 3), dtype)

    def work(first: int, last: int, here: RaggedCodes, source: tuple[NDArray, NDArray, Convolution]) -> None:
        dense.trial_margins(*source, kernel_codes(here, dtype), one_sided, extremes[first:last])

    _over_dense_blocks(dictionary, codes, noise, dtype, threads, work)
    return extremes


def recovered_supports(
    dictionary: FilterBank,
    codes: RaggedCodes,
    noise: ArrayLike | None = None,
    *,
    rule: Literal["hard", "soft", "relu", "top-k"] = "hard",
    threshold: ArrayLike | None = None,
    k: ArrayLike | None = None,
    by_filter: bool = False,
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
    by_filter : bool
        Whether the last axis of the threshold is that of the filters: shape (), (filter,) or (..., filter).
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
    dtype = checked_type(dictionary, codes)
    if by_filter:
        return _supports_by_filter(dictionary, codes, noise, rule, threshold, dtype, path, threads)
    flat_noise = _noise_of(dictionary, codes, noise, dtype)
    sparse = _takes_sparse(dictionary, codes, dtype, noise is not None, path)
    given = rule_of(rule, threshold, k, codes.batch_shape, dictionary.n_atoms, dtype)
    order, parts = [np.empty(0, np.int64)], [codes.rows(slice(0, 0)).with_values(np.empty(0, dtype))]
    for rows, part, part_noise, is_sparse in _parts(dictionary, codes, flat_noise, sparse, threads):
        if is_sparse:
            options = {"k": given.sizes[rows]} if rule == "top-k" else {"threshold": given.thresholds[rows]}
            recovered = sparse_path.recovered_supports(
                dictionary, part, rule=rule, addition=part_noise, threads=threads, **options
            )
        else:
            of_rows = Rule(given.number, *(numbers[rows] for numbers in given[1:]))
            recovered = _dense_supports(dictionary, part, part_noise, of_rows, dtype, threads)
        order.append(rows)
        parts.append(recovered)
    return take(concatenate(parts), np.argsort(np.concatenate(order))).reshape(codes.batch_shape)


def _supports_by_filter(
    dictionary: FilterBank,
    codes: RaggedCodes,
    noise: ArrayLike | None,
    rule: str,
    threshold: ArrayLike | None,
    dtype: np.dtype,
    path: Path,
    threads: int | None,
) -> RaggedCodes:
    """What exceeds the lowest threshold of a trial holds what exceeds those of the filters."""
    if rule not in ("hard", "soft", "relu") or threshold is None:
        raise UserError(f"rule {rule!r} takes no thresholds by filter: give them to hard, soft or relu.")
    betas = thresholds_by_filter(threshold, codes.batch_shape, dictionary.n_filters).astype(dtype)
    found = recovered_supports(
        dictionary, codes, noise, rule="hard", threshold=betas.min(axis=-1), path=path, threads=threads
    )
    beta, values = betas.reshape(-1)[places_by_filter(found)], found.value
    kept = (values if rule == "relu" else np.abs(values)) > beta
    if rule != "hard":
        values = np.where(values > 0, values - beta, values + beta)
    rows = np.repeat(np.arange(found.row_size.size), found.row_size.ravel())
    sizes = np.bincount(rows[kept], minlength=found.row_size.size).reshape(codes.batch_shape)
    return RaggedCodes(sizes, found.atom[kept], values[kept], found.code_shape)


def _dense_supports(
    dictionary: FilterBank,
    codes: RaggedCodes,
    noise: NDArray | None,
    rule: Rule,
    dtype: np.dtype,
    threads: int | None,
) -> RaggedCodes:
    def work(first: int, last: int, here: RaggedCodes, source: tuple[NDArray, NDArray, Convolution]) -> Entries:
        values, above = np.empty(dictionary.n_atoms, dtype), np.empty(dictionary.n_atoms + 1, dtype=np.int64)
        rule_here = rule.of_trials(slice(first, last))
        return write_lists(
            int(max(rule_here.sizes.sum(), 2 * len(here.atom) + 1024)),
            np.zeros(last - first, np.int64),
            dtype,
            lambda out: dense.trial_supports(*source, rule_here, values, above, out),
        )

    parts = _over_dense_blocks(dictionary, codes, noise, dtype, threads, work)
    return from_lists(parts, codes.batch_shape, codes.code_shape, dtype)
