"""
Interleaved timing in one process, so that a ratio compares calls that met the same machine.

Two clocks. CPU time of one thread: every library on one core, almost untouched by other processes.
Wall time of all cores: what a user waits for, honest only on an idle machine, so the load is recorded.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dcsc.parallel import over_spans

REPEATS = 9
SHORTEST = 0.01
"""Seconds that a timed call should last; shorter ones are repeated."""
PAUSE = 0.01
"""Seconds between two calls: threads of the one before may still wait for work and keep a core busy."""


@dataclass(frozen=True)
class Timing:
    """
    Times of one call.

    Parameters
    ----------
    seconds : ndarray, shape (repeat,)
        One an interleaved round.
    """

    seconds: np.ndarray

    @property
    def median(self) -> float:
        """Median, in seconds."""
        return float(np.median(self.seconds))


def interleaved(
    calls: Mapping[str, Callable[[], Any]], clock: Callable[[], float], repeats: int = REPEATS
) -> dict[str, Timing]:
    """
    Time calls in turn, round after round, after one untimed round.

    Parameters
    ----------
    calls : mapping of str to callable
        What is timed.
    clock : callable
        `time.perf_counter` or `time.thread_time`.
    repeats : int
        Rounds.

    Returns
    -------
    dict of str to Timing
        Of the same names.
    """
    loops = {}
    for name, call in calls.items():
        call()
        start = clock()
        call()
        loops[name] = max(1, int(SHORTEST / max(clock() - start, 1e-9)))
    found: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(repeats):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:  # each comes after every other
            call = calls[name]
            time.sleep(PAUSE)
            call()
            start = clock()
            for _ in range(loops[name]):
                call()
            found[name].append((clock() - start) / loops[name])
    return {name: Timing(np.array(seconds)) for name, seconds in found.items()}


def made_anew(
    makers: Mapping[str, Callable[[], Callable[[], Any]]], clock: Callable[[], float], repeats: int
) -> dict[str, Timing]:
    """
    Time calls in turn that are made anew, untimed, before each: solvers keep what they found.

    Parameters
    ----------
    makers : mapping of str to callable
        Each makes a call.
    clock : callable
        `time.perf_counter` or `time.thread_time`.
    repeats : int
        Rounds.

    Returns
    -------
    dict of str to Timing
        Of the same names.
    """
    found: dict[str, list[float]] = {name: [] for name in makers}
    for _ in range(repeats):
        for name, make in makers.items():
            call = make()
            time.sleep(PAUSE)
            start = clock()
            call()
            found[name].append(clock() - start)
    return {name: Timing(np.array(seconds)) for name, seconds in found.items()}


def ratio(peer: Timing, ours: Timing) -> dict[str, float]:
    """
    Compare two calls round by round.

    Parameters
    ----------
    peer, ours : Timing
        From the same `interleaved`.

    Returns
    -------
    dict
        Median and quartiles of peer / ours.
    """
    low, median, high = np.percentile(peer.seconds / ours.seconds, [25, 50, 75])
    return {"median": float(median), "low": float(low), "high": float(high)}


def machine(clocks: Mapping[str, tuple[Callable[[], float], int]]) -> dict[str, Any]:
    """
    Describe what the times depend on.

    Parameters
    ----------
    clocks : mapping of str to (callable, int)
        Clocks of the comparisons, and the cores that are used by each.

    Returns
    -------
    dict
        Processor, cores, versions, what so many cores reach at most, and the load at the start.
    """
    import numba
    import scipy

    versions = {module.__name__: module.__version__ for module in (np, scipy, numba)}
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
        "load": [round(value, 2) for value in os.getloadavg()],
        "peaks": {name: _peaks(clock, cores) for name, (clock, cores) in clocks.items()},
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [
            line.partition(":")[2].strip() for line in information.read_text().splitlines() if "model name" in line
        ]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def _peaks(clock: Callable[[], float], cores: int) -> dict[str, float]:
    """Billions of operations a second in products of matrices, by type, and of bytes in copies, one on each core."""
    found = {name: 2 * 768**3 / _seconds_of_products(name, clock, cores) for name in ("float64", "float32")}
    source, target = np.ones((2, cores, 2**25))
    seconds = _seconds_on_each(lambda core: np.copyto(target[core], source[core]), clock, cores)
    return {name: cores * amount / 1e9 for name, amount in {**found, "copy": 2 * source[0].nbytes / seconds}.items()}


def _seconds_of_products(dtype: str, clock: Callable[[], float], cores: int) -> float:
    factors = np.random.default_rng(0).standard_normal((cores, 768, 768)).astype(dtype)
    return _seconds_on_each(lambda core: factors[core] @ factors[core], clock, cores)


def _seconds_on_each(work: Callable[[int], Any], clock: Callable[[], float], cores: int) -> float:
    """The time in which every core does its own work, as large as that of the others."""
    call = {"peak": lambda: over_spans(cores, 1, lambda core, _: work(core), cores)}
    return interleaved(call, clock, 7)["peak"].median
