"""
The dense path: batches of convolutions in cache-sized chunks, with the threshold applied on the way.

A strided dictionary is a correlation with stride 1 of polyphase components, (channel * phase, *position),
so one kernel serves every stride and rank, and synthesis as well. It is compiled with its sums in
registers and reaches the speed of a matrix product without unfolding; very long filters go through
Fourier transforms, and codes with few non-zeros through `dcsc.kernels.scatter`. Every trial is computed
alone and in one order, so its result is bitwise the same for all batches and threads.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import check_finite
from dcsc.convolution import costs, layouts
from dcsc.convolution.arguments import RULES, output, working_type
from dcsc.convolution.filter_bank import FilterBank
from dcsc.errors import UserError, nearest
from dcsc.kernels import dense
from dcsc.kernels.arguments import Convolution, read_only
from dcsc.kernels.tiles import ROW_BYTES, ROWS, TILE_BYTES
from dcsc.parallel import cores, over_spans
from dcsc.seeds import BLOCK

METHODS = ("auto", "direct", "fft")
SPAN_BYTES = 2**20
"""Size of the sources of a chunk of trials, so that they stay in the second-level cache."""

Method = Literal["auto", "direct", "fft"]


class Plan(NamedTuple):
    """
    A correlation with stride 1, and what it costs.

    Parameters
    ----------
    convolution : Convolution
        The filters and positions as the kernels take them.
    kernel : ndarray, shape (filter, component, *lag)
        The filters as they were.
    before : bool
        Whether the periodic padding is before the source, for synthesis, or after it.
    positions : tuple of int
        Positions an axis.
    """

    convolution: Convolution
    kernel: NDArray
    before: bool
    positions: tuple[int, ...]

    @property
    def n_filters(self) -> int:
        """Outputs a position."""
        return self.kernel.shape[0]

    @property
    def n_components(self) -> int:
        """Sources a position."""
        return self.kernel.shape[1]

    @property
    def reach(self) -> tuple[int, ...]:
        """Padding an axis."""
        return tuple(n - 1 for n in self.kernel.shape[2:])

    @property
    def lanes(self) -> int:
        """Entries of a row of a tile."""
        return (TILE_BYTES if self.n_filters > 1 else ROW_BYTES) // self.kernel.itemsize

    @property
    def padded_shape(self) -> tuple[int, ...]:
        """Shape (component, *position) of the padded source."""
        return (self.n_components, *[n + more for n, more in zip(self.positions, self.reach, strict=True)])

    @property
    def direct_cost(self) -> float:
        """Estimated seconds of a trial by tiles."""
        width = self.n_filters if self.convolution.in_lanes else self.convolution.run
        filled = width / (-(-width // self.lanes) * self.lanes)
        terms = len(self.convolution.offsets) / filled
        return costs.direct(self.n_filters, terms, math.prod(self.positions), self.kernel.itemsize)

    @property
    def fft_cost(self) -> float:
        """Estimated seconds of a trial by Fourier transforms."""
        return costs.fft(self.n_filters, self.n_components, math.prod(self.positions), self.kernel.itemsize)


def _plan(dictionary: FilterBank, task: Literal["correlate", "synthesize"], dtype: np.dtype | type) -> Plan:
    """Make the plan of a dictionary once."""

    def make() -> Plan:
        kernel = np.moveaxis(dictionary.filter_blocks.astype(dtype), -1, 1)  # (filter, component, *lag)
        if task == "synthesize":
            kernel = np.flip(kernel.swapaxes(0, 1), axis=tuple(range(2, kernel.ndim)))
        return _make_plan(np.ascontiguousarray(kernel), dictionary.positions, task == "synthesize")

    return dictionary.prepared((task, np.dtype(dtype)), make)


def _make_plan(kernel: NDArray, positions: tuple[int, ...], before: bool) -> Plan:
    n_filters, n_components, *lags = kernel.shape
    lanes = (TILE_BYTES if n_filters > 1 else ROW_BYTES) // kernel.itemsize
    padded = [n + lag - 1 for n, lag in zip(positions, lags, strict=True)]
    strides = [math.prod(padded[axis + 1 :]) for axis in range(len(padded))]
    terms = kernel.reshape(n_filters, -1)
    used = np.flatnonzero(terms.any(axis=0))  # filters shorter than whole strides, or with zeros in common
    component, *lag = np.unravel_index(used, (n_components, *lags))
    offsets = component * math.prod(padded) + sum(index * step for index, step in zip(lag, strides, strict=True))
    rows = np.zeros(1, dtype=np.int64)
    for n, step in zip(positions[:-1], strides[:-1], strict=True):
        rows = (rows[:, None] + np.arange(n) * step).ravel()
    run = positions[-1]
    share = [n / (-(-n // width) * width) for n, width in ((run, lanes), (n_filters, ROWS), (n_filters, lanes))]
    in_lanes = n_filters > 1 and share[2] * run / (-(-run // ROWS) * ROWS) > share[0] * share[1]
    width = lanes if in_lanes else ROWS if n_filters > 1 else 1
    filled = np.zeros((-(-n_filters // width) * width, len(used)), kernel.dtype)
    filled[:n_filters] = terms[:, used]
    if in_lanes:
        weights, weight_offsets = filled.T, np.arange(len(used)) * len(filled)
    else:
        weights, weight_offsets = filled.reshape(-1, width, len(used)).swapaxes(1, 2), np.arange(len(used)) * width
    packed = np.ascontiguousarray(weights).ravel()
    convolution = Convolution(packed, weight_offsets, offsets.astype(np.int64), rows, run, bool(in_lanes))
    return Plan(convolution, kernel, before, positions)


def span_size(n_trials: int, trial_bytes: int, seconds: float, threads: int | None) -> int:
    """
    Choose the trials of a chunk: few enough for the cache and all cores, many enough to be worth a call.

    Parameters
    ----------
    n_trials : int
        Trials in all.
    trial_bytes : int
        Size of what a trial reads again and again.
    seconds : float
        Estimated time of a trial.
    threads : int, optional
        Largest number of threads used; by default the number of cores this process may use.

    Returns
    -------
    int
        At most a block.
    """
    fitting = max(1, SPAN_BYTES // max(1, trial_bytes))
    if n_trials * seconds > 5e-4:
        fitting = min(fitting, -(-n_trials // (threads or cores())))
    else:  # too little work for threads
        fitting = max(fitting, n_trials)
    return min(fitting, BLOCK)


def padded_sources(plan: Plan, sources: NDArray) -> NDArray:
    """
    Pad components periodically, as the kernels read them.

    Parameters
    ----------
    plan : Plan
        What they are for.
    sources : ndarray, shape (trial, ..., *position)
        The components, whatever the axes that make them up.

    Returns
    -------
    ndarray, shape (trial, entry)
        Long enough for the last tile to read on.
    """
    size = math.prod(plan.padded_shape)
    memory = np.zeros((len(sources), size + max(plan.lanes, ROWS)), plan.kernel.dtype)
    rank = len(plan.positions)
    inner = sources.shape[1 : sources.ndim - rank]
    padded = memory[:, :size].reshape(len(sources), *inner, *plan.padded_shape[1:], copy=False)
    starts = plan.reach if plan.before else (0,) * rank
    inside: tuple[Any, ...] = (..., *[slice(s, s + n) for s, n in zip(starts, plan.positions, strict=True)])
    padded[inside] = sources
    for axis, (n, more) in enumerate(zip(plan.positions, plan.reach, strict=True)):
        after: tuple[Any, ...] = (slice(None),) * (rank - 1 - axis)
        here, there = (slice(0, more), slice(n, n + more))
        if not plan.before:
            here, there = there, here
        padded[(..., here, *after)] = padded[(..., there, *after)]
    return memory


def phases_of(dictionary: FilterBank, signals: NDArray) -> NDArray:
    """
    View signals as polyphase components.

    Parameters
    ----------
    dictionary : FilterBank
        Whose stride separates the phases.
    signals : ndarray, shape (trial, channel, *space)
        The signals.

    Returns
    -------
    ndarray, shape (trial, channel, *phase, *position)
        A view.
    """
    pairs = [n for pair in zip(dictionary.positions, dictionary.stride, strict=True) for n in pair]
    split = signals.reshape(len(signals), dictionary.n_channels, *pairs)
    axes = range(dictionary.rank)
    return split.transpose(0, 1, *[3 + 2 * axis for axis in axes], *[2 + 2 * axis for axis in axes])


def _rule_of(
    rule: str | None, threshold: ArrayLike | None, batch: tuple[int, ...], dtype: np.dtype
) -> tuple[int, NDArray]:
    """Number of a rule and its threshold, one per trial."""
    if rule is None:
        return dense.KEEP, np.zeros(1, dtype)
    allowed = set(RULES) - {"top-k"}
    if rule not in allowed:
        raise UserError(f"rule {rule!r} cannot be applied on the way: {nearest(rule, allowed)}")
    if threshold is None:
        raise UserError(f"rule {rule!r} needs a threshold: a number, or one per trial.")
    try:
        thresholds = np.array(np.broadcast_to(np.asarray(threshold, dtype), batch))
    except ValueError:
        raise UserError(f"threshold of shape {np.shape(threshold)} does not fit batch shape {batch}.") from None
    return RULES[rule], thresholds.reshape(-1)


def _by_fft(plan: Plan, method: str) -> bool:
    if method not in METHODS:
        raise UserError(f"method {method!r} is unknown: {nearest(method, METHODS)}")
    return method == "fft" or (method == "auto" and plan.fft_cost < plan.direct_cost)


def takes_fft(dictionary: FilterBank, dtype: np.dtype | type) -> bool:
    """
    Say whether `correlate` chooses Fourier transforms.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    bool
        Whether they are the cheaper way.
    """
    return _by_fft(_plan(dictionary, "correlate", dtype), "auto")


def correlation_cost(dictionary: FilterBank, dtype: np.dtype | type) -> float:
    """
    Estimate the correlation of one signal by the cheaper method.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    float, in seconds
        On one core.
    """
    plan = _plan(dictionary, "correlate", dtype)
    return min(plan.direct_cost, plan.fft_cost)


def convolution(dictionary: FilterBank, dtype: np.dtype | type) -> Convolution:
    """
    Give what the kernels need of a dictionary to correlate padded signals.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    Convolution
        Kept by the dictionary.
    """
    return _plan(dictionary, "correlate", dtype).convolution


def padded_signals(dictionary: FilterBank, signals: NDArray) -> NDArray:
    """
    Pad signals periodically as `convolution` reads them.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    signals : ndarray, shape (trial, channel, *space)
        In one of the working types.

    Returns
    -------
    ndarray, shape (trial, entry)
        Polyphase components.
    """
    return padded_sources(_plan(dictionary, "correlate", signals.dtype), phases_of(dictionary, signals))


def correlate(
    dictionary: FilterBank,
    signals: NDArray,
    *,
    rule: Literal["hard", "soft", "relu"] | None = None,
    threshold: ArrayLike | None = None,
    out: NDArray | None = None,
    method: Method = "auto",
    threads: int | None = None,
) -> NDArray:
    """
    Correlate signals with every atom, A^T y, and threshold the result while it is in the cache.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    signals : ndarray, shape (..., channel, *space)
        The signals, of a shape that fits.
    rule : {'hard', 'soft', 'relu'}, optional
        The non-linearity, as in `dcsc.pursuit`; none by default.
    threshold : array_like, shape () or (...), optional
        beta of the rule, a number or one per trial.
    out : ndarray, shape (..., filter, *position), optional
        Where to write.
    method : {'auto', 'direct', 'fft'}
        Direct sums, Fourier transforms, or the cheaper of the two for these sizes.
    threads : int, optional
        Largest number of threads used; by default the number of cores that this process may use.

    Returns
    -------
    ndarray, shape (..., filter, *position)
        Correlations, thresholded where a rule is given.

    Raises
    ------
    UserError
        When types or options do not fit.
    """
    batch = signals.shape[: signals.ndim - dictionary.rank - 1]
    dtype = working_type(dictionary, signals)
    number, thresholds = _rule_of(rule, threshold, batch, dtype)
    out = output(out, (*batch, *dictionary.code_shape), dtype)
    n_trials = math.prod(batch)
    flat_out = out.reshape(n_trials, dictionary.n_atoms)
    components = phases_of(dictionary, signals.reshape(n_trials, *dictionary.signal_shape))
    plan = _plan(dictionary, "correlate", dtype)
    act = _correlate_fft if _by_fft(plan, method) else _correlate_direct
    act(plan, components, flat_out, number, thresholds, threads)
    return out


def _correlate_direct(
    plan: Plan, components: NDArray, out: NDArray, rule: int, thresholds: NDArray, threads: int | None
) -> None:
    size = span_size(len(out), math.prod(plan.padded_shape) * out.itemsize, plan.direct_cost, threads)

    def work(first: int, last: int) -> None:
        padded = padded_sources(plan, components[first:last])
        of_trials = thresholds if len(thresholds) == 1 else thresholds[first:last]
        dense.correlate_trials(out[first:last], padded, plan.convolution, rule, of_trials)

    over_spans(len(out), size, work, threads)


def _correlate_fft(
    plan: Plan, components: NDArray, out: NDArray, rule: int, thresholds: NDArray, threads: int | None
) -> None:
    """Correlate each trial by transforms of its own, so that its result does not depend on the batch."""
    import scipy.fft

    axes = tuple(range(1, len(plan.positions) + 1))
    spectra = np.conj(scipy.fft.rfftn(plan.kernel, s=plan.positions, axes=tuple(axis + 1 for axis in axes)))
    shift = plan.reach if plan.before else (0,) * len(axes)

    def work(first: int, last: int) -> None:
        for trial in range(first, last):
            source = components[trial].reshape(plan.n_components, *plan.positions).astype(out.dtype, copy=False)
            spectrum = scipy.fft.rfftn(source, axes=axes)
            if plan.n_components == 1:
                product = spectra[:, 0] * spectrum
            else:
                product = np.einsum("fc...,c...->f...", spectra, spectrum)
            found = scipy.fft.irfftn(product, s=plan.positions, axes=axes, overwrite_x=True)
            found = np.roll(found, shift, axes) if any(shift) else found
            out[trial] = found.ravel()
            if rule != dense.KEEP:
                dense.apply_rule(out[trial], rule, thresholds[min(trial, len(thresholds) - 1)])

    over_spans(len(out), span_size(len(out), 1, plan.fft_cost, threads), work, threads)


def synthesize(
    dictionary: FilterBank,
    codes: NDArray,
    *,
    out: NDArray | None = None,
    method: Method = "auto",
    threads: int | None = None,
) -> NDArray:
    """
    Synthesize signals from dense codes, A x.

    Parameters
    ----------
    dictionary : FilterBank
        The dictionary.
    codes : ndarray, shape (..., filter, *position)
        The codes, of a shape that fits; integers with integer filters stay integers.
    out : ndarray, shape (..., channel, *space), optional
        Where to write.
    method : {'auto', 'direct', 'fft'}
        Transforms are used only when asked for: they turn the zeros of a signal into rounding errors.
    threads : int, optional
        Largest number of threads used; by default the number of cores that this process may use.

    Returns
    -------
    ndarray, shape (..., channel, *space)
        The signals; a code with few non-zeros goes atom by atom, the others by direct sums.

    Raises
    ------
    UserError
        When types or options do not fit, or codes are not finite, which is seen on the way.
    """
    batch = codes.shape[: codes.ndim - dictionary.rank - 1]
    exact = codes.dtype.kind in "iu" and dictionary.integer_filters is not None
    dtype = np.dtype(np.int64) if exact else working_type(dictionary, codes)
    out = output(out, (*batch, *dictionary.signal_shape), dtype)
    n_trials = math.prod(batch)
    flat_out = out.reshape(n_trials, *dictionary.signal_shape)
    flat = codes.reshape(n_trials, dictionary.n_atoms)
    if exact:
        _synthesize_integers(dictionary, flat, flat_out, threads)
        return out
    plan = _plan(dictionary, "synthesize", dtype)
    if method != "auto" and _by_fft(plan, method):
        found = np.empty((n_trials, plan.n_filters * math.prod(plan.positions)), dtype)
        sources = flat.reshape(n_trials, *dictionary.code_shape)
        check_finite(sources, "codes")
        _correlate_fft(plan, sources, found, dense.KEEP, np.zeros(1, dtype), threads)
        _join_phases(dictionary, found, flat_out)
    else:
        _by_fft(plan, method)
        _synthesize_chunks(dictionary, flat, flat_out, plan, threads)
    return out


def _join_phases(dictionary: FilterBank, phases: NDArray, out: NDArray) -> None:
    """Write components (trial, channel * phase * position) into signals (trial, channel, *space)."""
    components = phases_of(dictionary, out)
    components[...] = phases.reshape(components.shape)


def _synthesize_integers(dictionary: FilterBank, codes: NDArray, out: NDArray, threads: int | None) -> None:
    """Atom by atom whatever the density, since only a loop over integers is exact."""
    if dictionary.rank > layouts.AXES:
        raise UserError(f"integer codes take up to {layouts.AXES} spatial axes: give floating-point codes.")
    patterns = layouts.filter_patterns(dictionary, "integer", np.int64)

    def work(first: int, last: int) -> None:
        here = np.array(codes[first:last], dtype=np.int64, order="C")
        atoms = np.empty(dictionary.n_atoms + dense.SPARE_PLACES, np.int32)
        values = np.empty(dictionary.n_atoms, np.int64)
        targets = out[first:last].reshape(last - first, *patterns.target_shape)
        dense.scatter_integers(targets, patterns, here, atoms, values)

    over_spans(len(out), span_size(len(out), 1, costs.SCAN * dictionary.n_atoms, threads), work, threads)


def _synthesize_chunks(dictionary: FilterBank, codes: NDArray, out: NDArray, plan: Plan, threads: int | None) -> None:
    """Atom by atom where a code's non-zeros are few, else in tiles."""
    scattered = dictionary.rank <= layouts.AXES
    if scattered:
        pattern, runs = layouts.filter_runs(dictionary, out.dtype)
        filled = -(-runs.reach // runs.lanes) * runs.lanes
        one_atom = costs.scatter((runs.n_lead, *runs.taps, filled), out.itemsize)
        most = min(int(plan.direct_cost / one_atom), dictionary.n_atoms)
    seconds = costs.SCAN * dictionary.n_atoms + plan.direct_cost / 8
    fitting = span_size(len(out), dictionary.n_atoms * out.itemsize, seconds, threads)
    # A code is read once to be scattered, but again and again to be correlated.
    size = span_size(len(out), out[0].nbytes, seconds, threads) if scattered and len(out) else fitting

    def work(first: int, last: int) -> None:
        here = np.ascontiguousarray(codes[first:last])
        left = np.ones(last - first, dtype=np.bool_)
        if scattered:
            targets = out[first:last].reshape(last - first, runs.n_rows, runs.period)
            scratch = layouts.run_scratch(runs, out.dtype)
            if not dense.scatter_trials(targets, scratch, pattern, runs, read_only(here), most, left):
                check_finite(here, "codes")
        rows = np.flatnonzero(left)
        for start in range(0, len(rows), fitting):
            some = rows[start : start + fitting]
            sources = here[some].reshape(len(some), *dictionary.code_shape)
            check_finite(sources, "codes")
            padded = padded_sources(plan, sources)
            phases = np.empty((len(some), plan.n_filters * math.prod(plan.positions)), out.dtype)
            dense.correlate_trials(phases, padded, plan.convolution, dense.KEEP, np.zeros(1, out.dtype))
            joined = np.empty((len(some), *dictionary.signal_shape), out.dtype)
            _join_phases(dictionary, phases, joined)
            out[first + some] = joined

    over_spans(len(out), size, work, threads)
