"""The cases: what is compared, and by how much this library should be ahead."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.certificates import failure_bounds
from benchmarks.harness import interleaved, ratio
from benchmarks.peers import Fourier, Torch, TorchCascade
from dcsc import Cascade, ConvolutionalDictionary, RaggedCodes, families, guarantees, parallel, pursuit, sampling
from dcsc.convolution import dense_path, one_step, sparse_path
from dcsc.model import sparsity
from dcsc.model.layers import layers_of
from dcsc.sampling import adversary

N, FILTERS = 1024, 32
CORES = parallel.cores()
CLOCKS: dict[str, tuple[Callable[[], float], int | None]] = {
    "one core": (time.thread_time, 1),
    "all cores": (time.perf_counter, None),
}


@dataclass(frozen=True)
class Work:
    """
    What a trial takes at least.

    Parameters
    ----------
    kind : {"operations", "bytes"}
        Multiplications and additions, or what is read and written.
    amount : float
        How many.
    dtype : str
        Of the numbers.
    """

    kind: str
    amount: float
    dtype: str


def gaussian(taps: int | tuple[int, ...], dtype: type, grid: tuple[int, ...] = (N,)) -> ConvolutionalDictionary:
    """Random filters of unit norm, stride 1."""
    shape = (FILTERS, 1, *np.atleast_1d(taps))
    filters = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    return ConvolutionalDictionary(filters, 1, grid, normalize=True)


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
    work: dict[str, Work] | None = None,
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
        A call of ours, the peer that it is compared with, or the start of the names of peers (the fastest of
        them counts), and the ratio that is aimed at.
    work : dict of str to Work, optional
        What a trial takes at least, by our call.

    Yields
    ------
    dict
        A row of the results, one a comparison.
    """
    for clock_name, (clock, threads) in CLOCKS.items():
        torch.set_num_threads(threads or CORES)
        os.environ[parallel.ENVIRONMENT_VARIABLE] = str(threads or CORES)  # for calls that take no number of threads
        timings = interleaved(make(threads), clock)
        for ours, prefix, target in against:
            peers = [name for name in timings if name == prefix] or [
                name for name in timings if name.startswith(prefix)
            ]
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
                "work": asdict(work[ours]) if work and ours in work else None,
            }


def analysis(taps: int | tuple[int, ...], dtype: type, grid: tuple[int, ...] = (N,)) -> Iterator[dict[str, Any]]:
    """Dense analysis and ReLU, a batch of 256 signals, or of as many images as have so many points."""
    dictionary, beta = gaussian(taps, dtype, grid), 0.1
    trials = 256 * N // math.prod(grid)
    signals = np.random.default_rng(3).standard_normal((trials, 1, *grid)).astype(dtype)
    out = np.empty((trials, *dictionary.code_shape), dtype)
    convolution = f"torch conv{len(grid)}d"

    def make(threads: int | None) -> dict[str, Callable[[], Any]]:
        calls = {
            "dcsc": lambda: dense_path.correlate(
                dictionary, signals, rule="relu", threshold=beta, out=out, threads=threads
            ),
            "scipy.fft": lambda: Fourier(dictionary.filters, grid, threads or -1).analyse(signals, out, beta),
        }
        for chunk in (1, 4, 16):
            calls[f"{convolution}, chunks of {chunk}"] = lambda chunk=chunk: Torch(dictionary.filters, chunk).analyse(
                signals, out, beta
            )
        return calls

    title = f"analysis + ReLU, {' x '.join(map(str, np.atleast_1d(taps)))} taps, {np.dtype(dtype).name}"
    title += "" if len(grid) == 1 else f", {' x '.join(map(str, grid))} points"
    work = Work("operations", 2.0 * dictionary.filters[0].size * dictionary.n_atoms, np.dtype(dtype).name)
    yield from compare(title, trials, make, [("dcsc", "torch", 1.0)], {"dcsc": work})


def synthesis(density: float, dtype: type) -> Iterator[dict[str, Any]]:
    """Signals from codes."""
    dictionary, trials = gaussian(32, dtype), 1024
    codes, ragged = sparse_batch(dictionary, density, trials)
    out = np.empty((trials, *dictionary.signal_shape), dtype)

    def make(threads: int | None) -> dict[str, Callable[[], Any]]:
        calls = {
            "dcsc, codes as arrays": lambda: dictionary.synthesize(codes, out=out, threads=threads),
            "dcsc, codes as lists": lambda: sparse_path.synthesize_codes(dictionary, ragged, out, threads=threads),
            "reading the arrays once": lambda: np.dot(codes.ravel(), codes.ravel()),
        }
        for chunk in (1, 4, 16):
            calls[f"torch conv_transpose1d, chunks of {chunk}"] = lambda chunk=chunk: Torch(
                dictionary.filters, chunk
            ).synthesize(codes, out)
        return calls

    target = 8.0 if density <= 0.02 else 1.0
    title = f"synthesis, density {density:g}, {np.dtype(dtype).name}"
    arrays = "dcsc, codes as arrays"
    against = [("dcsc, codes as lists", "torch", target), (arrays, "torch", target), (arrays, "reading", None)]
    name, n_active = np.dtype(dtype).name, ragged.atom.size / trials
    work = {
        "dcsc, codes as lists": Work("operations", 2.0 * n_active * dictionary.filters[0].size, name),
        arrays: Work("bytes", codes.nbytes / trials, name),
    }
    yield from compare(title, trials, make, against, work)


def operations_of_rows(dictionary: ConvolutionalDictionary, ragged: RaggedCodes) -> float:
    """Multiplications and additions that the rows of the Gram kernel of its non-zeros take, a trial."""
    taps = dictionary.filters.shape[-1]
    return 2.0 * ragged.atom.size / ragged.row_size.size * dictionary.n_filters * (2 * taps - 1) / dictionary.stride[0]


def trial(density: float, dtype: type) -> Iterator[dict[str, Any]]:
    """A noiseless trial of one layer: correlate everywhere and compare with the support."""
    dictionary, trials = gaussian(32, dtype), 128
    codes, ragged = sparse_batch(dictionary, density, trials)
    signals = np.empty((trials, *dictionary.signal_shape), dtype)
    correlations = np.empty(codes.shape, dtype)

    def make(threads: int | None) -> dict[str, Callable[[], Any]]:
        calls = {
            "dcsc": lambda: one_step.margins(dictionary, ragged, threads=threads),
            "dense path": lambda: one_step.margins(dictionary, ragged, path="dense", threads=threads),
            "sparse path": lambda: one_step.margins(dictionary, ragged, path="sparse", threads=threads),
        }
        for chunk in (1, 4, 16):
            calls[f"torch conv_transpose1d + conv1d, chunks of {chunk}"] = lambda chunk=chunk: Torch(
                dictionary.filters, chunk
            ).trial(codes, signals, correlations)
        return calls

    title = f"noiseless trial, density {density:g}, {np.dtype(dtype).name}"
    target = {0.002: 12.0, 0.02: 3.0}.get(density) if dtype == np.float64 else None
    # Rows of the Gram kernel, or synthesis and analysis, whichever are fewer operations.
    dense = 4.0 * dictionary.n_atoms * dictionary.filters.shape[-1]
    work = Work("operations", min(operations_of_rows(dictionary, ragged), dense), np.dtype(dtype).name)
    against = [("dcsc", "torch", target), ("dcsc", "dense path", 1.0)]
    yield from compare(title, trials, make, against, {"dcsc": work})


def drawing(density: float) -> Iterator[dict[str, Any]]:
    """Seeding and sampling, against the trial that is made of it."""
    dictionary, trials = gaussian(32, np.float64), 256
    _, ragged = sparse_batch(dictionary, density, trials)
    support = {"name": "uniform", "size": round(density * dictionary.n_atoms)}

    def draw(rng: np.random.Generator, n: int) -> RaggedCodes:
        return sampling.sample_codes(rng, dictionary, n, support=support)

    def make(threads: int | None) -> dict[str, Callable[[], Any]]:
        return {
            "seeding and drawing": lambda: sampling.draw_blocks(0, trials, draw, threads=threads),
            "noiseless trial": lambda: one_step.margins(dictionary, ragged, threads=threads),
        }

    yield from compare(f"drawing, density {density:g}", trials, make, [("seeding and drawing", "noiseless trial", 1.0)])


def measures(density: float) -> Iterator[dict[str, Any]]:
    """Measures, guarantees and worst cases of codes, against one batched pass of the dense path."""
    dictionary, trials = gaussian(32, np.float64), 64
    codes, ragged = sparse_batch(dictionary, density, trials)
    model, out = Cascade([dictionary]), np.empty(codes.shape)
    aim = 1 / 3
    aims: dict[str, float | None] = dict.fromkeys(("stripe counts", "interference bound", "interference variance"), aim)
    aims["statistical, instance, hoeffding tails"] = aim
    aims |= {"adversary at threshold 0.5": aim, "adversary of top-k, sufficient": aim}
    aims["adversary of top-k, exact over pairs"] = None

    def make(threads: int | None) -> dict[str, Callable[[], Any]]:
        return {
            "one batched pass": lambda: dictionary.correlate(
                dictionary.synthesize(codes, threads=threads), out=out, threads=threads
            ),
            "stripe counts": lambda: sparsity.stripe_counts(codes, dictionary),
            "interference bound": lambda: sparse_path.interference_bound(dictionary, ragged, threads=threads),
            "interference variance": lambda: sparse_path.interference_variance(dictionary, ragged, threads=threads),
            "statistical, instance, hoeffding tails": lambda: guarantees.statistical(
                model, [ragged], method="optimised", tail="hoeffding"
            ),
            "adversary at threshold 0.5": lambda: adversary.worst_signs_for_threshold(
                dictionary, ragged, 0.5, threads=threads
            ),
            "adversary of top-k, sufficient": lambda: adversary.separate_worst_cases(
                dictionary, ragged, threads=threads
            ),
            "adversary of top-k, exact over pairs": lambda: adversary.worst_signs_for_top_k(
                dictionary, ragged, threads=threads
            ),
        }

    against = [(name, "one batched pass", target) for name, target in aims.items()]
    rows = Work("operations", operations_of_rows(dictionary, ragged), "float64")
    by_rows = ("interference bound", "interference variance", "adversary at threshold 0.5")
    work = {"stripe counts": Work("bytes", codes.nbytes / trials, "float64"), **dict.fromkeys(by_rows, rows)}
    yield from compare(f"measures, density {density:g}", trials, make, against, work)


def cascade(depth: int) -> Iterator[dict[str, Any]]:
    """A trial through the layers of the experiment `depth`, noiseless, at a deepest density of 0.004."""
    rng, trials = np.random.default_rng(1), 128
    model = deep_model(rng, depth)
    last = model.dictionaries[-1]
    support = {"name": "uniform", "size": max(1, round(0.004 * last.n_atoms))}
    deepest = sampling.sample_codes(rng, last, trials, support=support)
    # Half the magnitude of every layer: four non-zeros of a filter of unit norm halve it.
    dense, thresholds = deepest.to_dense(), [0.5**number for number in range(depth, 0, -1)]

    def make(threads: int | None) -> dict[str, Callable[[], Any]]:
        def on_lists() -> None:
            codes, _ = layers_of(model.dictionaries, deepest)
            pursuit.threshold_codes(model, codes[0], threshold=thresholds, threads=threads)

        filters, strides = zip(*((layer.filters, *layer.stride) for layer in model.dictionaries), strict=True)
        calls: dict[str, Callable[[], Any]] = {"dcsc": on_lists}
        for chunk in (1, 4, 16):
            peer = TorchCascade(filters, strides, chunk)
            calls[f"torch, chunks of {chunk}"] = lambda peer=peer: peer.trial(dense, thresholds)
        return calls

    # A non-zero meets the non-zero taps of its filter on the way down, and those of its channel on the way up.
    codes, _ = layers_of(model.dictionaries, deepest)
    amount = operations_of_rows(model.dictionaries[0], codes[0])
    for layer, above, below in zip(model.dictionaries[1:], codes[:-1], codes[1:], strict=True):
        met = np.count_nonzero(layer.filters) / trials
        amount += 2 * met * (below.atom.size / layer.n_filters + above.atom.size / (layer.n_channels * layer.stride[0]))
    work = {"dcsc": Work("operations", amount, "float64")}
    yield from compare(f"trial through {depth} layers, float64", trials, make, [("dcsc", "torch", 10.0)], work)


def deep_model(rng: np.random.Generator, depth: int) -> Cascade:
    """A perturbed lapped dictionary with 64 filters, and sparse ones of low coherence below it."""
    dictionaries = [families.create("perturbed", (8192,), rng, base="lapped", n_filters=64, perturbation=0.45)]
    sparse = {"n_filters": 64, "n_channels": 64, "taps": 16, "stride": 2, "n_nonzeros": 4}
    while len(dictionaries) < depth:
        dictionaries.append(families.create("low-coherence-sparse", dictionaries[-1].positions, rng, **sparse))
    return Cascade(dictionaries)


def certificates() -> Iterator[dict[str, Any]]:
    """Failure bounds of draws with 64 non-zeros: what sharper tails cost, and basis pursuit."""
    trials = 16
    calls = failure_bounds(N, trials)
    against = [
        ("exact tails", "hoeffding tails", 1 / 20),
        ("exact tails of drawn atoms", "exact tails", None),
        ("basis pursuit, exact tails", "exact tails", None),
    ]
    yield from compare("certificates, 64 non-zeros", trials, lambda threads: calls, against)


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
        every = (0.002, 0.01, 0.02, 0.1) if dtype == np.float64 else (0.002, 0.02)
        for density in (0.002,) if quick else every:
            yield from trial(density, dtype)
        for taps in (32,) if quick else (32, 256):
            yield from analysis(taps, dtype)
        yield from analysis((8, 8), dtype, (64, 64))
        for density in (0.002,) if quick else (0.002, 0.02, 0.3):
            yield from synthesis(density, dtype)
    for density in (0.002,) if quick else (0.002, 0.02):
        yield from drawing(density)
        yield from measures(density)
    yield from certificates()
    for depth in (3, 4):
        yield from cascade(depth)
