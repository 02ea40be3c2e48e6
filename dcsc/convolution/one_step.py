"""
One step of recovery, from sparse codes or sparse signals to what thresholding makes of their correlations.

The one place that chooses between the sparse path, which sums rows of the Gram kernel, or of the filters, and the dense
one, which forms the signal and correlates it. The choice is made trial by trial, from the number of its
non-zeros and the sizes of the dictionary alone (`dcsc.convolution.costs`), so that no trial's bits depend on others.
The two agree to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import real_array, real_numbers
from dcsc.convolution import costs, dense_path, layouts, sparse_path
from dcsc.convolution.arguments import checked_type, rule_of, thresholds_by_filter, type_of_lists
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
SignalsOf = Callable[[int, int, RaggedCodes], NDArray]
"""Takes the first trial of a block, the one after its last, and their codes; gives (trial, channel, *space)."""


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


def densest_sparse_signal(dictionary: FilterBank, dtype: np.dtype | type) -> int:
    """
    Find the number of entries of a signal up to which it is cheaper to add up what each adds to the correlations.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    int
        -1 when the sparse path is not there.
    """
    if dictionary.rank > layouts.AXES:
        return -1
    reached = dictionary.n_filters * math.prod(dictionary.overlap)
    one_entry = costs.gather(reached, math.prod(dictionary.overlap[:-1]), np.dtype(dtype).itemsize)
    return int(dense_path.correlation_cost(dictionary, dtype) / one_entry)


def _takes_sparse(codes: RaggedCodes, densest: int, path: str) -> NDArray:
    """Which trials take the sparse path, given the number of non-zeros up to which it is the cheaper one."""
    if path not in PATHS:
        raise UserError(f"path {path!r} is unknown: {nearest(path, PATHS)}")
    sizes = codes.row_size.ravel()
    return sizes <= densest if path == "auto" else np.full(sizes.shape, path == "sparse")


def _noise_of(dictionary: FilterBank, codes: RaggedCodes, noise: ArrayLike | None, dtype: np.dtype) -> NDArray | None:
    """The noise as (trial, channel, *space)."""
    if noise is None:
        return None
    noise = real_array(noise, "noise")
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


def _signals_of(dictionary: FilterBank, noise: NDArray | None, dtype: np.dtype) -> SignalsOf:
    """Form the signals of a few codes, on the thread that asks, and add their noise."""

    def form(first: int, last: int, codes: RaggedCodes) -> NDArray:
        if dictionary.rank > layouts.AXES:
            signals = dense_path.synthesize(dictionary, codes.to_dense().astype(dtype), threads=1)
        else:
            signals = sparse_path.synthesize_codes(dictionary, codes.with_values(codes.value.astype(dtype)), threads=1)
        if noise is not None:
            signals += noise[first:last]
        return signals

    return form


def _over_dense_blocks(
    dictionary: FilterBank,
    codes: RaggedCodes,
    signals_of: SignalsOf,
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
        signals = signals_of(first, last, here)
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
        Largest number of threads used; by default the number of cores that this process may use.

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
    sparse = _takes_sparse(codes, densest_sparse(dictionary, dtype, noise is not None), path)
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

    _over_dense_blocks(dictionary, codes, _signals_of(dictionary, noise, dtype), dtype, threads, work)
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
        beta >= 0, a number or one per trial, for every rule but top-k.
    k : array_like of int, shape () or (...), optional
        For top-k, a number or one per trial; among equal magnitudes the lower atom index wins.
    by_filter : bool
        Whether the last axis of the threshold is that of the filters: shape (), (filter,) or (..., filter).
    path : {'auto', 'sparse', 'dense'}
        Which path to take.
    threads : int, optional
        Largest number of threads used; by default the number of cores that this process may use.

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
        exceeding = partial(recovered_supports, dictionary, codes, noise, path=path, threads=threads)
        return _by_filter(dictionary, exceeding, codes.batch_shape, rule, threshold, dtype)
    flat_noise = _noise_of(dictionary, codes, noise, dtype)
    sparse = _takes_sparse(codes, densest_sparse(dictionary, dtype, noise is not None), path)
    given = rule_of(rule, threshold, k, codes.batch_shape, dictionary.n_atoms, dtype)
    found = []
    for rows, part, part_noise, is_sparse in _parts(dictionary, codes, flat_noise, sparse, threads):
        of_rows = given.of_trials(rows)
        if is_sparse:
            options = {"k": of_rows.sizes} if rule == "top-k" else {"threshold": of_rows.thresholds}
            recovered = sparse_path.recovered_supports(
                dictionary, part, rule=rule, addition=part_noise, threads=threads, **options
            )
        else:
            signals_of = _signals_of(dictionary, part_noise, dtype)
            recovered = _dense_supports(dictionary, part, signals_of, of_rows, dtype, threads)
        found.append((rows, recovered))
    return _in_order(found, codes.batch_shape, dictionary.code_shape, dtype)


def thresholded_signals(
    dictionary: FilterBank,
    signals: RaggedCodes,
    *,
    rule: Literal["hard", "soft", "relu", "top-k"] = "hard",
    threshold: ArrayLike | None = None,
    k: ArrayLike | None = None,
    by_filter: bool = False,
    path: Path = "auto",
    threads: int | None = None,
) -> RaggedCodes:
    """
    Threshold the correlations A^T v of sparse signals once, keeping only what survives, by the cheaper path.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    signals : RaggedCodes
        v, of shape (channel, *space), batch axes (...): what was found of the layer above.
    rule, threshold, k, by_filter, path, threads
        As for `recovered_supports`.

    Returns
    -------
    RaggedCodes
        The thresholded correlations; no entry is 0.

    Raises
    ------
    UserError
        When shapes, types or options do not fit.
    """
    if tuple(signals.code_shape) != dictionary.signal_shape:
        raise UserError(
            f"sparse signals of shape {tuple(signals.code_shape)} do not fit: they must be {dictionary.signal_shape}."
        )
    dtype = type_of_lists(dictionary, signals)
    if by_filter:
        exceeding = partial(thresholded_signals, dictionary, signals, path=path, threads=threads)
        return _by_filter(dictionary, exceeding, signals.batch_shape, rule, threshold, dtype)
    sparse = _takes_sparse(signals, densest_sparse_signal(dictionary, dtype), path)
    given = rule_of(rule, threshold, k, signals.batch_shape, dictionary.n_atoms, dtype)
    flat, found = signals.reshape((len(sparse),)), []
    for is_sparse in (True, False):
        rows = np.flatnonzero(sparse == is_sparse)
        if not len(rows):
            continue
        part, of_rows = take(flat, rows), given.of_trials(rows)
        if is_sparse:
            recovered = sparse_path.thresholded_signals(dictionary, part, of_rows, threads=threads)
        else:
            recovered = _dense_supports(
                dictionary, part, lambda first, last, here: here.to_dense().astype(dtype), of_rows, dtype, threads
            )
        found.append((rows, recovered))
    return _in_order(found, signals.batch_shape, dictionary.code_shape, dtype)


def _in_order(
    found: list[tuple[NDArray, RaggedCodes]], batch: tuple[int, ...], code_shape: tuple[int, ...], dtype: np.dtype
) -> RaggedCodes:
    """Put what was found of some rows each in the order of the batch."""
    if len(found) == 1:  # of all rows
        return found[0][1].reshape(batch)
    nothing = RaggedCodes(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, dtype), code_shape)
    rows = np.concatenate([np.empty(0, np.int64), *(rows for rows, _ in found)])
    return take(concatenate([nothing, *(codes for _, codes in found)]), np.argsort(rows)).reshape(batch)


def _by_filter(
    dictionary: FilterBank,
    exceeding: Callable[..., RaggedCodes],
    batch: tuple[int, ...],
    rule: str,
    threshold: ArrayLike | None,
    dtype: np.dtype,
) -> RaggedCodes:
    """Threshold by filter, from what exceeds a threshold of each trial: the lowest holds what exceeds all others."""
    if rule not in ("hard", "soft", "relu") or threshold is None:
        raise UserError(f"rule {rule!r} takes no thresholds by filter: give them to hard, soft or relu.")
    betas = thresholds_by_filter(real_numbers(threshold, "threshold", low=0), batch, dictionary.n_filters).astype(dtype)
    found = exceeding(threshold=betas.min(axis=-1))
    beta, values = betas.reshape(-1)[places_by_filter(found)], found.value
    kept = (values if rule == "relu" else np.abs(values)) > beta
    if rule != "hard":
        values = np.where(values > 0, values - beta, values + beta)
    rows = np.repeat(np.arange(found.row_size.size), found.row_size.ravel())
    sizes = np.bincount(rows[kept], minlength=found.row_size.size).reshape(batch)
    return RaggedCodes(sizes, found.atom[kept], values[kept], found.code_shape)


def _dense_supports(
    dictionary: FilterBank,
    codes: RaggedCodes,
    signals_of: SignalsOf,
    rule: Rule,
    dtype: np.dtype,
    threads: int | None,
) -> RaggedCodes:
    """Threshold the correlations of signals that are formed block by block."""

    def work(first: int, last: int, here: RaggedCodes, source: tuple[NDArray, NDArray, Convolution]) -> Entries:
        values, above = np.empty(dictionary.n_atoms, dtype), np.empty(dictionary.n_atoms + 1, dtype=np.int64)
        rule_here = rule.of_trials(slice(first, last))
        return write_lists(
            int(max(rule_here.sizes.sum(), 2 * len(here.atom) + 1024)),
            np.zeros(last - first, np.int64),
            dtype,
            lambda out: dense.trial_supports(*source, rule_here, values, above, out),
        )

    parts = _over_dense_blocks(dictionary, codes, signals_of, dtype, threads, work)
    return from_lists(parts, codes.batch_shape, dictionary.code_shape, dtype)
