"""How time and memory grow with the grid, filters, taps, non-zeros, depth and cores, with the fitted exponents."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.certificates import failure_bounds
from benchmarks.harness import interleaved
from dcsc import Cascade, ConvolutionalDictionary, RaggedCodes, parallel
from dcsc.convolution import dense_path, one_step

REPEATS = 7
Call = tuple[Callable[[], Any], int]
"""A call, and the trials that it computes: enough that starting it does not count."""


def dictionary_of(n: int, n_filters: int, taps: int, channels: int = 1) -> ConvolutionalDictionary:
    """Random filters of unit norm, stride 1."""
    filters = np.random.default_rng(1).standard_normal((n_filters, channels, taps))
    return ConvolutionalDictionary(filters, 1, (n,), normalize=True)


def random_codes(dictionary: ConvolutionalDictionary, n_active: int, trials: int, seed: int = 2) -> RaggedCodes:
    """One active atom in each of n_active equal parts of the atoms, signs +-1."""
    rng = np.random.default_rng(seed)
    edges = np.linspace(0, dictionary.n_atoms, n_active + 1).astype(np.int64)
    atoms = rng.integers(edges[:-1], edges[1:], (trials, n_active)).astype(np.int32)
    signs = rng.choice([-1.0, 1.0], atoms.size)
    return RaggedCodes(np.full(trials, n_active), atoms.ravel(), signs, dictionary.code_shape)


def _trial(n: int, n_filters: int, taps: int, n_active: int, path: str) -> Call:
    dictionary, trials = dictionary_of(n, n_filters, taps), max(1, 2**16 // n_active)
    codes = random_codes(dictionary, n_active, min(trials, 512))
    return lambda: one_step.margins(dictionary, codes, path=path, threads=1), len(codes.row_size)


def _pass(n: int, n_filters: int, taps: int, method: str) -> Call:
    dictionary, trials = dictionary_of(n, n_filters, taps), max(1, 2**22 // (n * n_filters))
    signals = np.random.default_rng(3).standard_normal((trials, *dictionary.signal_shape))
    out = np.empty((trials, *dictionary.code_shape))
    return lambda: dense_path.correlate(dictionary, signals, out=out, method=method, threads=1), trials


def _cascade(depth: int) -> Call:
    # Signals have as many channels as the layers have filters, so that no layer is cheaper than the others.
    model = Cascade([dictionary_of(512, 8, 8, 8) for _ in range(depth)])
    deepest = np.random.default_rng(4).standard_normal((8, *model.dictionaries[-1].code_shape))
    return lambda: model.synthesize(deepest), len(deepest)


def _bound(n: int, name: str) -> Call:
    call, trials = failure_bounds(n, 4)[name], 4

    def on_one_core() -> None:
        with mock.patch.dict(os.environ, {parallel.ENVIRONMENT_VARIABLE: "1"}):
            call()

    return on_one_core, trials


def _cores(threads: int) -> Callable[[], Any]:
    dictionary = dictionary_of(1024, 32, 32)
    codes = random_codes(dictionary, 64, 512)
    return lambda: one_step.margins(dictionary, codes, threads=threads)


CURVES: dict[str, tuple[str, list[int], Callable[[int], Call], float | None]] = {
    "grid, dense path": ("grid points", [2**k for k in range(10, 21, 2)], lambda n: _pass(n, 8, 32, "direct"), 1.0),
    "grid, sparse path, density fixed": (
        "grid points",
        [2**k for k in range(10, 21, 2)],
        lambda n: _trial(n, 8, 32, n // 64, "sparse"),
        1.0,
    ),
    "filters, dense path": ("filters", [8, 16, 32, 64, 128], lambda m: _pass(4096, m, 32, "direct"), None),
    "taps, direct": ("taps", [16, 32, 64, 128, 256], lambda t: _pass(4096, 16, t, "direct"), None),
    "taps, cheaper method": ("taps", [16, 32, 64, 128, 256, 512, 1024], lambda t: _pass(4096, 16, t, "auto"), None),
    "non-zeros, sparse path": (
        "non-zeros",
        [2**k for k in range(8, 14)],
        lambda k: _trial(4096, 32, 32, k, "sparse"),
        1.0,
    ),
    "exact tails of thresholding, density fixed": (
        "grid points",
        [2**k for k in range(12, 17)],
        lambda n: _bound(n, "exact tails"),
        1.0,
    ),
    "basis pursuit with exact tails, density fixed": (
        "grid points",
        [2**k for k in range(13, 18)],  # of shorter periods, what an atom makes of others fills the whole
        lambda n: _bound(n, "basis pursuit, exact tails"),
        1.0,
    ),
    "depth, synthesis of all layers": ("layers", [1, 2, 3, 4, 6, 8], _cascade, None),
}


def curves() -> list[dict[str, Any]]:
    """
    Time every curve on one core.

    Returns
    -------
    list of dict
        Sizes, seconds a trial, peak bytes allocated by a call, and the exponent of a straight line in logarithms.
    """
    found = []
    for title, (axis, sizes, make, expected) in CURVES.items():
        made = {str(size): make(size) for size in sizes}
        calls = {size: call for size, (call, _) in made.items()}
        timings = interleaved(calls, time.thread_time, REPEATS)
        rounds = np.array([timings[size].seconds / trials for size, (_, trials) in made.items()])
        seconds = np.median(rounds, axis=1).tolist()
        found.append(
            {
                "curve": title,
                "axis": axis,
                "sizes": sizes,
                "seconds": seconds,
                "bytes": [_peak(call) for call in calls.values()],
                "trials": [trials for _, trials in made.values()],
                "exponent": _exponent(sizes, rounds),
                "expected": expected,
            }
        )
    return found


def _exponent(sizes: list[int], rounds: np.ndarray) -> dict[str, float]:
    """Slope of a straight line through the logarithms of each round: its median and quartiles."""
    slopes = np.polyfit(np.log(sizes), np.log(rounds), 1)[0]
    low, median, high = np.percentile(slopes, [25, 50, 75])
    return {"median": float(median), "low": float(low), "high": float(high)}


def _peak(call: Callable[[], Any]) -> int:
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def cores() -> dict[str, Any]:
    """
    Time 512 trials on one thread, and on each power of 2 up to all cores, in turn.

    Returns
    -------
    dict
        As a curve, in time on the clock.
    """
    most = parallel.cores()
    threads = sorted({*(2**k for k in range(most.bit_length())), most})
    calls = {str(n): _cores(n) for n in threads}
    timings = interleaved(calls, time.perf_counter)
    rounds = np.array([timings[str(n)].seconds / 512 for n in threads])
    return {
        "curve": "cores, noiseless trials, time on the clock",
        "axis": "threads",
        "sizes": threads,
        "seconds": np.median(rounds, axis=1).tolist(),
        "bytes": [_peak(call) for call in calls.values()],
        "trials": [512 for _ in threads],
        "exponent": _exponent(threads, rounds) if len(threads) > 1 else None,
        "expected": None,
    }


MILLION = """
import resource, sys, time
import numpy as np
from benchmarks.scaling import dictionary_of, random_codes
from dcsc.convolution import one_step as recovery
dictionary, trials, chunk = dictionary_of(1024, 32, 32), int(sys.argv[1]), 4096
recovered, done, start = 0, 0, time.perf_counter()
while done < trials:
    codes = random_codes(dictionary, 64, min(chunk, trials - done), seed=done)
    margins = recovery.margins(dictionary, codes)
    recovered += int((margins.smallest_signed > margins.largest_off).sum())
    done += len(codes.row_size)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, recovered)
"""


def million(trials: int) -> dict[str, Any]:
    """
    Stream trials through a process of its own, and read its peak memory.

    Parameters
    ----------
    trials : int
        How many.

    Returns
    -------
    dict
        Trials, wall time, peak resident bytes.
    """
    command = [sys.executable, "-c", MILLION, str(trials)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, peak, _ = done.stdout.split()
    return {"trials": trials, "seconds": float(seconds), "bytes": int(float(peak))}
