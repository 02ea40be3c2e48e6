"""
The sparse path of a noiseless trial: A^T A x at the cost of non-zeros times stripe, no signal formed.

The dense path, ``dictionary.correlate(dictionary.synthesize(x))``, costs two convolutions and agrees to
rounding. Noise enters as one addition, A^T e. Trials run in blocks of `dcsc.seeds.BLOCK` on threads;
each trial is computed alone and in one order, so its result is bitwise the same for all threads and batches.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import real_array
from dcsc.convolution.arguments import checked_codes, checked_type, output, rule_of
from dcsc.convolution.filter_bank import FilterBank
from dcsc.convolution.layouts import as_blocks, filter_runs, input_patterns, run_scratch, scratch_of, tiled_patterns
from dcsc.errors import UserError
from dcsc.kernels import gather, scatter, selection
from dcsc.kernels.arguments import Codes, Entries, Patterns, Rule, read_only
from dcsc.parallel import over_blocks
from dcsc.ragged import RaggedCodes, from_lists, kernel_codes, kernel_magnitudes, write_lists


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


def _spread(
    dictionary: FilterBank,
    batch: tuple[int, ...],
    listed: Codes,
    patterns: Patterns,
    out: NDArray | None,
    threads: int | None,
) -> NDArray:
    """Sum the Gram rows of every code into (..., filter, *position)."""
    dtype = listed.value.dtype
    out = output(out, (*batch, *dictionary.code_shape), dtype)
    flat = out.reshape(len(listed.starts) - 1, dictionary.n_filters, math.prod(dictionary.positions))

    def work(first: int, last: int) -> None:
        part = listed.part(first, last)
        gather.gather_codes_by_filter(flat[first:last], scratch_of(dictionary, part.starts, dtype), patterns, part)

    over_blocks(len(flat), work, threads)
    return out


def correlate_codes(
    dictionary: FilterBank, codes: RaggedCodes, out: NDArray | None = None, *, threads: int | None = None
) -> NDArray:
    """
    Correlations of the signals of sparse codes with every atom, A^T A x.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    codes : RaggedCodes
        Codes of this dictionary, batch axes (...).
    out : ndarray, shape (..., filter, *position), optional
        Where to write.
    threads : int, optional
        Largest number of threads used; by default the number of cores that this process may use.

    Returns
    -------
    ndarray, shape (..., filter, *position)
        In the type of the dense path, which it equals up to rounding.

    Raises
    ------
    UserError
        When shapes or types do not fit.
    """
    listed = checked_codes(dictionary, codes)
    patterns = tiled_patterns(dictionary, "signed", listed.value.dtype)
    return _spread(dictionary, codes.batch_shape, listed, patterns, out, threads)


def synthesize_codes(
    dictionary: FilterBank, codes: RaggedCodes, out: NDArray | None = None, *, threads: int | None = None
) -> NDArray:
    """
    Signals of sparse codes, A x, at the cost of non-zeros times taps.

    Parameters
    ----------
    dictionary, codes, threads
        As for `correlate_codes`.
    out : ndarray, shape (..., channel, *space), optional
        Where to write.

    Returns
    -------
    ndarray, shape (..., channel, *space)
        In the type of the dense path, which it equals up to rounding.

    Raises
    ------
    UserError
        When shapes or types do not fit.
    """
    listed = checked_codes(dictionary, codes)
    dtype = listed.value.dtype
    pattern, runs = filter_runs(dictionary, dtype)
    out = output(out, (*codes.batch_shape, *dictionary.signal_shape), dtype)
    flat = out.reshape(codes.row_size.size, runs.n_rows, runs.period)

    def work(first: int, last: int) -> None:
        part = listed.part(first, last)
        scatter.add_codes_by_runs(flat[first:last], run_scratch(runs, dtype), pattern, runs, part)

    over_blocks(len(flat), work, threads)
    return out


def correlate_with_others(dictionary: FilterBank, codes: RaggedCodes, *, threads: int | None = None) -> NDArray:
    """
    Correlations of the signals of sparse codes with every atom, without what the atom itself adds.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    codes : RaggedCodes
        Codes of this dictionary, batch axes (...).
    threads : int, optional
        Largest number of threads used.

    Returns
    -------
    ndarray of float64, shape (..., filter, *position)
        sum over j != i of x_j g_ij for atom i.

    Raises
    ------
    UserError
        When shapes or types do not fit.
    """
    checked_type(dictionary, codes)
    patterns = tiled_patterns(dictionary, "others", np.float64)
    return _spread(dictionary, codes.batch_shape, kernel_codes(codes), patterns, None, threads)


def interference_bound(dictionary: FilterBank, codes: RaggedCodes, *, threads: int | None = None) -> NDArray:
    """
    Largest interference that any signs can cause, sum over j != i of |x_j| |g_ij|.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    codes : RaggedCodes
        Codes of this dictionary, batch axes (...); their signs do not count.
    threads : int, optional
        Largest number of threads used; by default the number of cores that this process may use.

    Returns
    -------
    ndarray of float64, shape (..., filter, *position)
        One bound per atom i, active or not.

    Raises
    ------
    UserError
        When shapes or types do not fit.
    """
    checked_type(dictionary, codes)
    patterns = tiled_patterns(dictionary, "magnitude", np.float64)
    return _spread(dictionary, codes.batch_shape, kernel_magnitudes(codes), patterns, None, threads)


def interference_variance(dictionary: FilterBank, codes: RaggedCodes, *, threads: int | None = None) -> NDArray:
    """
    Variance of the interference under Rademacher signs, v_i = sum over j != i of x_j^2 g_ij^2.

    Parameters
    ----------
    dictionary, codes, threads
        As for `interference_bound`.

    Returns
    -------
    ndarray of float64, shape (..., filter, *position)
        One variance an atom i, active or not.

    Raises
    ------
    UserError
        When shapes or types do not fit.
    """
    checked_type(dictionary, codes)
    listed, patterns = kernel_codes(codes), tiled_patterns(dictionary, "square", np.float64)
    squares = listed._replace(value=listed.value**2)
    return _spread(dictionary, codes.batch_shape, squares, patterns, None, threads)


def _additions(dictionary: FilterBank, codes: RaggedCodes, addition: ArrayLike | None, dtype: np.dtype) -> NDArray:
    """The addition as (trial, filter, position); a single empty one when there is none."""
    if addition is None:
        return read_only(np.empty((1, 0, 0), dtype))
    shape = (*codes.batch_shape, *dictionary.code_shape)
    addition = real_array(addition, "additions").astype(dtype, copy=False)
    if addition.shape != shape:
        raise UserError(f"addition of shape {addition.shape} does not fit the codes: it must be {shape}.")
    shape = (codes.row_size.size, dictionary.n_filters, math.prod(dictionary.positions))
    return read_only(np.ascontiguousarray(addition).reshape(shape))


def _of_trials(values: NDArray, first: int, last: int) -> NDArray:
    return values if values.size == 0 else values[first:last]


def margins(
    dictionary: FilterBank,
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
    dictionary : FilterBank
        The dictionary.
    codes : RaggedCodes
        The true codes, batch axes (...).
    addition : array_like, shape (..., filter, *position), optional
        Added to the correlations, A^T e.
    one_sided : bool
        Let largest_off be the largest c_i, for ReLU, and not the largest |c_i|.
    threads : int, optional
        Largest number of threads used; by default the number of cores that this process may use.

    Returns
    -------
    Margins
        smallest_on, largest_off and smallest_signed, each of shape (...).

    Raises
    ------
    UserError
        When shapes or types do not fit.
    """
    listed = checked_codes(dictionary, codes)
    dtype = listed.value.dtype
    added = _additions(dictionary, codes, addition, dtype)
    patterns = tiled_patterns(dictionary, "signed", dtype)
    extremes = np.empty((codes.row_size.size, 3), dtype)

    def work(first: int, last: int) -> None:
        part, added_here = listed.part(first, last), _of_trials(added, first, last)
        scratch = scratch_of(dictionary, part.starts, dtype)
        selection.code_margins(scratch, patterns, part, added_here, one_sided, extremes[first:last])

    over_blocks(len(extremes), work, threads)
    return Margins(*extremes.T.reshape(3, *codes.batch_shape))


def recovered_supports(
    dictionary: FilterBank,
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
    dictionary : FilterBank
        The dictionary.
    codes : RaggedCodes
        The true codes, batch axes (...).
    rule, threshold, k
        As for `dcsc.convolution.one_step.recovered_supports`.
    addition : array_like, shape (..., filter, *position), optional
        Added to the correlations, A^T e.
    threads : int, optional
        Largest number of threads used; by default the number of cores that this process may use.

    Returns
    -------
    RaggedCodes
        The thresholded correlations; no entry is 0.

    Raises
    ------
    UserError
        When shapes, types or parameters do not fit.
    """
    listed, batch = checked_codes(dictionary, codes), codes.batch_shape
    dtype = listed.value.dtype
    added = _additions(dictionary, codes, addition, dtype)
    given = rule_of(rule, threshold, k, batch, dictionary.n_atoms, dtype)
    return _thresholded(dictionary, listed, batch, tiled_patterns(dictionary, "signed", dtype), added, given, threads)


def thresholded_signals(
    dictionary: FilterBank, signals: RaggedCodes, given: Rule, *, threads: int | None = None
) -> RaggedCodes:
    """
    Threshold the correlations of sparse signals once, keeping only what survives.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    signals : RaggedCodes
        Signals of shape (channel, *space), such as codes of the layer above, batch axes (...).
    given : Rule
        The non-linearity of all trials, from `dcsc.convolution.arguments.rule_of`.
    threads : int, optional
        Largest number of threads used; by default the number of cores that this process may use.

    Returns
    -------
    RaggedCodes
        The thresholded correlations; no entry is 0.
    """
    dtype, batch = given.thresholds.dtype, signals.batch_shape
    listed = kernel_codes(as_blocks(dictionary, signals), dtype)
    added = _additions(dictionary, signals, None, dtype)
    return _thresholded(dictionary, listed, batch, input_patterns(dictionary, dtype), added, given, threads)


def _thresholded(
    dictionary: FilterBank,
    listed: Codes,
    batch: tuple[int, ...],
    patterns: Patterns,
    added: NDArray,
    given: Rule,
    threads: int | None,
) -> RaggedCodes:
    """Threshold sums of patterns."""
    dtype, starts = listed.value.dtype, listed.starts

    def work(first: int, last: int) -> Entries:
        part, rule_here = listed.part(first, last), given.of_trials(slice(first, last))
        scratch, values = scratch_of(dictionary, part.starts, dtype), np.empty(dictionary.n_atoms, dtype)
        above, ordered = np.empty((2, dictionary.n_atoms + 1), dtype=np.int64)
        per_filter = np.empty(dictionary.n_filters, dtype=np.int64)
        added_here = _of_trials(added, first, last)
        return write_lists(
            int(max(rule_here.sizes.sum(), 2 * (starts[last] - starts[first]) + 1024)),
            np.zeros(last - first, np.int64),
            dtype,
            lambda out: selection.code_supports(
                scratch, values, above, ordered, per_filter, patterns, part, added_here, rule_here, out
            ),
        )

    return from_lists(over_blocks(len(starts) - 1, work, threads), batch, dictionary.code_shape, dtype)
