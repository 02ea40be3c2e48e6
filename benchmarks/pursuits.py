"""
The pursuits beside their peers: time to an equal objective, and whether the objectives agree.

SPORCO is credited with its fastest setting for each problem and each relative excess of the objective, and with the
fewest iterations that get there, we with the largest duality gap. The clock starts after SPORCO's constructors. Every
solver uses all cores that it can.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import dcsc
from benchmarks import pursuits_peers as peers
from benchmarks.harness import made_anew, ratio
from dcsc.parallel import cores
from dcsc.pursuit.greedy import orthogonal_matching_pursuit
from dcsc.pursuit.lasso import StoppingRule, working_set

EXCESSES = (1e-4, 1e-6)
"""Relative excesses of the objective over the least one that are reached."""
ROUNDS = 7
MOST_ITERATIONS = 500
PATIENCE = 1.2
"""A setting of SPORCO is given up once it took so much longer than the fastest."""
CONVERGED = 1000
"""Iterations after which SPORCO's objective no longer changes on the small problems."""

PROBLEMS: dict[str, tuple[tuple[int, ...], tuple[int, ...], int, float]] = {
    "1-D, 1024 points, 32 filters of 32 taps": ((32, 1, 32), (1024,), 16, 5.0),
    "2-D, 64 x 64 points, 32 filters of 8 x 8 taps": ((32, 1, 8, 8), (64, 64), 4, 1.0),
}
"""Shape of the filters, grid, signals, and the ratio that is aimed at."""
SHARES = (0.1, 0.02)
"""Penalties over the least one for which all codes are 0."""

SMALL: dict[str, tuple[tuple[int, ...], tuple[int, ...] | int, tuple[int, ...]]] = {
    "1-D": ((8, 1, 12), 1, (96,)),
    "1-D, 3 channels": ((8, 3, 9), 1, (64,)),
    "2-D": ((6, 1, 4, 4), 1, (16, 20)),
    "2-D, 2 channels": ((6, 2, 3, 4), 1, (12, 16)),
    "1-D, stride 3, 2 channels": ((12, 2, 10), 3, (90,)),
    "2-D, stride 2 x 3": ((10, 1, 4, 5), (2, 3), (16, 18)),
}
"""Shape of the filters, stride and grid of the problems on which objectives are compared."""


def problem(
    shape: tuple[int, ...], stride: tuple[int, ...] | int, grid: tuple[int, ...], trials: int
) -> tuple[dcsc.ConvolutionalDictionary, NDArray]:
    """Random filters, and signals of sparse codes and a little noise."""
    rng = np.random.default_rng(7)
    dictionary = dcsc.ConvolutionalDictionary(rng.standard_normal(shape), stride, grid, normalize=True)
    codes = rng.standard_normal((trials, *dictionary.code_shape))
    signals = dictionary.synthesize(codes * (rng.random(codes.shape) < 0.01))
    return dictionary, signals + 0.05 * signals.std() * rng.standard_normal(signals.shape)


def objective(dictionary: dcsc.ConvolutionalDictionary, signals: NDArray, codes: NDArray, penalty: float) -> float:
    """Sum over the signals of xi |x|_1 + |y - A x|^2 / 2."""
    return float(penalty * np.abs(codes).sum() + ((signals - dictionary.synthesize(codes)) ** 2).sum() / 2)


def _solved(dictionary: dcsc.ConvolutionalDictionary, signals: NDArray, penalty: float, gap: float) -> NDArray:
    return working_set(dictionary, signals, np.full(len(signals), penalty), StoppingRule("gap", gap, 10**4)).codes


def _loosest(solve: Callable[[float], NDArray], value: Callable[[NDArray], float], allowed: float) -> float:
    """The loosest of some tolerances with which a solver gets an objective that is allowed."""
    tolerances = np.geomspace(1e-1, 1e-12, 111)
    return next(tolerance for tolerance in tolerances if value(solve(tolerance)) <= allowed)


class _Watch:
    """Callback of a SPORCO solver: notes seconds and iterations when its objective comes within each excess."""

    def __init__(self, value: Callable[[NDArray], float], least: float, patience: float) -> None:
        self.value, self.least, self.patience = value, least, patience
        self.reached: dict[float, tuple[float, int]] = {}
        self.seconds, self.iterations, self.begun = 0.0, 0, time.perf_counter()

    def __call__(self, solver: Any) -> bool:
        """Tell whether to stop; what is computed here does not count."""
        self.seconds += time.perf_counter() - self.begun
        self.iterations += 1
        value = self.value(peers.sporco_codes(solver))
        for excess in EXCESSES:
            if excess not in self.reached and value <= self.least * (1 + excess):
                self.reached[excess] = self.seconds, self.iterations
        self.begun = time.perf_counter()
        return len(self.reached) == len(EXCESSES) or self.seconds > self.patience


def _fastest_settings(
    dictionary: dcsc.ConvolutionalDictionary, signals: NDArray, penalty: float, least: float
) -> dict[float, tuple[str, peers.Make, int]]:
    """The fastest setting of SPORCO to each excess, and the fewest iterations that get there."""
    best: dict[float, tuple[float, str, peers.Make, int]] = {}
    value = partial(objective, dictionary, signals, penalty=penalty)
    for name, make in peers.sporco_settings(dictionary, signals, penalty):
        fastest = max((best[excess][0] if excess in best else np.inf) for excess in EXCESSES)
        watch = _Watch(value, least, PATIENCE * fastest)
        make(MOST_ITERATIONS, watch).solve()
        for excess, (seconds, iterations) in watch.reached.items():
            if excess not in best or seconds < best[excess][0]:
                best[excess] = seconds, name, make, iterations
    return {excess: found[1:] for excess, found in best.items()}


def _row(
    case: str,
    trials: int,
    ours: str,
    peer: str,
    makers: dict[str, Callable[[], Callable[[], Any]]],
    target: float | None,
) -> dict[str, Any]:
    timings = made_anew(makers, time.perf_counter, ROUNDS)
    return {
        "case": case,
        "clock": "pursuits",
        "ours": ours,
        "peer": peer,
        "microseconds": timings[ours].median / trials * 1e6,
        "peer_microseconds": timings[peer].median / trials * 1e6,
        "ratio": ratio(timings[peer], timings[ours]),
        "target": target,
    }


def equal_objective(name: str, share: float) -> Iterator[dict[str, Any]]:
    """
    Time the Lagrangian basis pursuit against SPORCO, to each excess of the objective.

    Parameters
    ----------
    name : str
        One of `PROBLEMS`.
    share : float
        Penalty over the least one for which all codes are 0.

    Yields
    ------
    dict
        A row of the comparisons.
    """
    shape, grid, trials, target = PROBLEMS[name]
    dictionary, signals = problem(shape, 1, grid, trials)
    penalty = share * float(np.abs(dictionary.correlate(signals)).max())
    value = partial(objective, dictionary, signals, penalty=penalty)
    solve = partial(_solved, dictionary, signals, penalty)
    least = value(solve(1e-12))
    for excess, (setting, make, iterations) in _fastest_settings(dictionary, signals, penalty, least).items():
        tolerance = _loosest(solve, value, least * (1 + excess))
        ours, peer = f"working set, to a gap of {tolerance:.0e}", f"SPORCO, {setting}, {iterations} iterations"
        makers = {
            ours: lambda tolerance=tolerance: partial(solve, tolerance),
            peer: lambda make=make, iterations=iterations: make(iterations).solve,
        }
        title = f"basis pursuit, {name}, {share:g} lambda_max, to {excess:g}"
        yield _row(title, trials, ours, peer, makers, target)


def dense() -> Iterator[dict[str, Any]]:
    """
    Time basis pursuit and matching pursuit against scikit-learn, on a dictionary that is small enough for a matrix.

    Yields
    ------
    dict
        A row of the comparisons.
    """
    trials, size = 16, 16
    dictionary, signals = problem((8, 1, 16), 1, (256,), trials)
    matrix = peers.dense_matrix(dictionary)
    penalty = 0.1 * float(np.abs(dictionary.correlate(signals)).max())
    value = partial(objective, dictionary, signals, penalty=penalty)
    solve = partial(_solved, dictionary, signals, penalty)
    least = value(solve(1e-12))

    def descend(tolerance: float) -> NDArray:
        return peers.dense_lasso(matrix, signals, penalty, tolerance, dictionary.code_shape)

    for excess in EXCESSES:
        allowed = least * (1 + excess)
        found, theirs = _loosest(solve, value, allowed), _loosest(descend, value, allowed)
        makers = {
            "working set": lambda found=found: partial(solve, found),
            "scikit-learn Lasso": lambda theirs=theirs: partial(descend, theirs),
        }
        title = f"basis pursuit, 256 points, 8 filters of 16 taps, 0.1 lambda_max, to {excess:g}"
        yield _row(title, trials, "working set", "scikit-learn Lasso", makers, 1.0)
    sizes, norms = np.full(trials, size), np.zeros(trials)
    makers = {
        "matching pursuit": lambda: partial(orthogonal_matching_pursuit, dictionary, signals, sizes, norms),
        "scikit-learn orthogonal_mp": lambda: partial(peers.dense_matching_pursuit, matrix, signals, size),
    }
    title = f"matching pursuit, 256 points, 8 filters of 16 taps, {size} atoms"
    yield _row(title, trials, "matching pursuit", "scikit-learn orthogonal_mp", makers, 1.0)


def agreement() -> list[dict[str, Any]]:
    """
    Compare objectives, and the supports of matching pursuit, with those of the peers on small problems.

    Returns
    -------
    list of dict
        Problem, peer, and the peer's objective over ours, less 1. SPORCO has no strides.
    """
    rows = []
    for name, (shape, stride, grid) in SMALL.items():
        dictionary, signals = problem(shape, stride, grid, 4)
        penalty = 0.05 * float(np.abs(dictionary.correlate(signals)).max())
        value = partial(objective, dictionary, signals, penalty=penalty)
        ours = value(_solved(dictionary, signals, penalty, 1e-12))
        matrix = peers.dense_matrix(dictionary)
        found = {"scikit-learn Lasso": peers.dense_lasso(matrix, signals, penalty, 1e-13, dictionary.code_shape)}
        if set(dictionary.stride) == {1}:
            settings = dict(peers.sporco_settings(dictionary, signals, penalty))
            solver = settings["ADMM, rho = 10 lambda, float64"](CONVERGED)
            solver.solve()
            found["SPORCO ADMM"] = peers.sporco_codes(solver)
        for peer, codes in found.items():
            rows.append({"problem": name, "peer": peer, "difference": value(codes) / ours - 1})
    return rows


def everything(quick: bool = False) -> Iterator[dict[str, Any]]:
    """
    Run all comparisons.

    Parameters
    ----------
    quick : bool
        The small ones alone.

    Yields
    ------
    dict
        Rows of the comparisons.
    """
    with threadpool_limits(cores()):
        yield from dense()
    for name in () if quick else PROBLEMS:
        for share in SHARES:
            yield from equal_objective(name, share)
