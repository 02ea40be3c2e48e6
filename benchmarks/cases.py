"""The cases: what is compared, and by how much this library should be ahead."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.harness import interleaved, ratio
from benchmarks.peers import Fourier, Torch
from dcsc import ConvolutionalDictionary, RaggedCodes, adversary, dense_path, parallel, recovery, sparse_path, sparsity

N, FILTERS = 1024, 32
CLOCKS: dict[str, tuple[Callable[[], float], int | None]] = {
    "one core": (time.thread_time, 1),
    "all cores": (time.perf_counter, None),
}


def gaussian(taps: int, dtype: type, n: int = N, n_filters: int = FILTERS) -> ConvolutionalDictionary:
    """Random filters of unit norm, stride 1."""
    filters = np.random.default_rng(1).standard_normal((n_filters, 1, taps)).astype(dtype)
    return ConvolutionalDictionary(filters, 1, (n,), normalize=True)


def sparse_batch(dictionary: ConvolutionalDictionary, density: float, trials: int) -> tuple[np.ndarray, RaggedCodes]:
    """Codes with entries +-1 of a density, as arrays and as lists."""
    rng = np.random.default_rng(2)
    shape = (trials, *dictionary.code_shape)
    codes = (rng.choice([-1.0, 1.0], shape) * (rng.random(shape) < density)).astype(dictionary.dtype)
    return codes, RaggedCodes.from_dense(codes, dictionary.code_shape)


def compare(
    title: str,
    trials: int,
    make: Callable[[int | None], dict[str, Callable[[], Any]]],
    against: list[tuple[str, str, float | None]],
) -> Iterator[dict[str, Any]]:
    """
    Time one case by both clocks.

    Parameters
    ----------
    title : str
        What it is.
    trials : int
        Trials a call, to give times a trial.
    make : callable
        Takes the number of threads, gives the calls by name.
    against : list of (str, str, float or None)
        A call of ours, the peers it is compared with by the start of their names (the fastest of them
        counts), and the ratio that is aimed at.

    Yields
    ------
    dict
        A row of the results, one a comparison.
    """
    for clock_name, (clock, threads) in CLOCKS.items():
        torch.set_num_threads(threads or parallel.cores())
        timings = interleaved(make(threads), clock)
        for ours, prefix, target in against:
            peers = [name for name in timings if name.startswith(prefix)]
            best = min(peers, key=lambda name: timings[name].median)
            yield {
                "case": title,
                "clock": clock_name,
                "ours": ours,
                "peer": best,
                "microseconds": timings[ours].median / trials * 1e6,
                "peer_microseconds": timings[best].median / trials * 1e6,
                "ratio": ratio(timings[best], timings[ours]),
                "target": target,
            }


def analysis(taps: int, dtype: type) -> Iterator[dict[str, Any]]:
    """Dense analysis and ReLU, a batch of 256."""
    dictionary, trials, beta = gaussian(taps, dtype), 256, 0.1
    signals = np.random.default_rng(3).standard_normal((trials, 1, N)).astype(dtype)
    out = np.empty((trials, *dictionary.code_shape), dtype)

    def make(threads: int | None) -> dict[str, Callable[[], Any]]:
        calls = {
            "dcsc": lambda: dense_path.correlate(
                dictionary, signals, rule="relu", threshold=beta, out=out, threads=threads
            ),
            "scipy.fft": lambda: Fourier(dictionary.filters, N, threads or -1).analyse(signals, out, beta),
        }
        for chunk in (1, 4, 16):
            calls[f"torch conv1d, chunks of {chunk}"] = lambda chunk=chunk: Torch(dictionary.filters, chunk).analyse(
                signals, out, beta
            )
        return calls

    title = f"analysis + ReLU, {taps} taps, {np.dtype(dtype).name}"
    yield from compare(title, trials, make, [("dcsc", "torch", 1.0)])


def synthesis(density: float, dtype: type) -> Iterator[dict[str, Any]]:
    """Signals from codes."""
    dictionary, trials = gaussian(32, dtype), 128
    codes, ragged = sparse_batch(dictionary, density, trials)
    out = np.empty((trials, *dictionary.signal_shape), dtype)

    def make(threads: int | None) -> dict[str, Callable[[], Any]]:
        calls = {
            "dcsc, codes as arrays": lambda: dictionary.synthesize(codes, out=out, threads=threads),
            "dcsc, codes as lists": lambda: sparse_path.synthesize_codes(dictionary, ragged, out, threads=threads),
        }
        for chunk in (1, 4, 16):
            calls[f"torch conv_transpose1d, chunks of {chunk}"] = lambda chunk=chunk: Torch(
                dictionary.filters, chunk
            ).synthesize(codes, out)
        return calls

    target = 8.0 if density <= 0.02 else 1.0
    title = f"synthesis, density {density:g}, {np.dtype(dtype).name}"
    against = [("dcsc, codes as lists", "torch", target), ("dcsc, codes as arrays", "torch", target)]
    yield from compare(title, trials, make, against)


def trial(density: float, dtype: type) -> Iterator[dict[str, Any]]:
    """A noiseless trial of one layer: correlate everywhere and compare with the support."""
    dictionary, trials = gaussian(32, dtype), 128
    codes, ragged = sparse_batch(dictionary, density, trials)
    signals = np.empty((trials, *dictionary.signal_shape), dtype)
    correlations = np.empty(codes.shape, dtype)

    def make(threads: int | None) -> dict[str, Callable[[], Any]]:
        calls = {
            "dcsc": lambda: recovery.margins(dictionary, ragged, threads=threads),
            "dense path": lambda: recovery.margins(dictionary, ragged, path="dense", threads=threads),
            "sparse path": lambda: recovery.margins(dictionary, ragged, path="sparse", threads=threads),
        }
        for chunk in (1, 4, 16):
            calls[f"torch conv_transpose1d + conv1d, chunks of {chunk}"] = lambda chunk=chunk: Torch(
                dictionary.filters, chunk
            ).trial(codes, signals, correlations)
        return calls

    title = f"noiseless trial, density {density:g}, {np.dtype(dtype).name}"
    target = {0.002: 12.0, 0.02: 3.0}.get(density) if dtype == np.float64 else None
    yield from compare(title, trials, make, [("dcsc", "torch", target), ("dcsc", "dense path", 1.0)])


def measures(density: float) -> Iterator[dict[str, Any]]:
    """Measures and worst cases of codes, against one batched pass of the dense path."""
    dictionary, trials = gaussian(32, np.float64), 64
    codes, ragged = sparse_batch(dictionary, density, trials)
    out = np.empty(codes.shape)

    def make(threads: int | None) -> dict[str, Callable[[], Any]]:
        return {
            "one batched pass": lambda: dictionary.correlate(
                dictionary.synthesize(codes, threads=threads), out=out, threads=threads
            ),
            "stripe counts": lambda: sparsity.stripe_counts(codes, dictionary),
            "interference bound": lambda: sparse_path.interference_bound(dictionary, ragged, threads=threads),
            "interference variance": lambda: sparse_path.interference_variance(dictionary, ragged, threads=threads),
            "adversary at a threshold": lambda: adversary.worst_signs_for_threshold(
                dictionary, ragged, 0.5, threads=threads
            ),
        }

    names = ("stripe counts", "interference bound", "interference variance", "adversary at a threshold")
    yield from compare(
        f"measures, density {density:g}", trials, make, [(name, "one batched pass", 1 / 3) for name in names]
    )


def everything(quick: bool = False) -> Iterator[dict[str, Any]]:
    """
    Run all cases.

    Parameters
    ----------
    quick : bool
        One case of each kind.

    Yields
    ------
    dict
        Rows of the results.
    """
    types = (np.float64,) if quick else (np.float64, np.float32)
    for dtype in types:
        every = (0.0005, 0.002, 0.005, 0.01, 0.02, 0.1) if dtype == np.float64 else (0.002, 0.02)
        for density in (0.002,) if quick else every:
            yield from trial(density, dtype)
        for taps in (32,) if quick else (32, 256):
            yield from analysis(taps, dtype)
        for density in (0.002,) if quick else (0.002, 0.02, 0.3):
            yield from synthesis(density, dtype)
    for density in (0.002,) if quick else (0.002, 0.02):
        yield from measures(density)
