"""
Time to an equal objective of the Lagrangian basis pursuit, against SPORCO.

Needs sporco beside the dependencies of dcsc. For each problem and each relative excess of the objective,
SPORCO is credited with its fastest setting; every setting's own clock starts after its constructor, and
settings that can run without computing statistics do so. Every solver uses all cores it may.

Usage: python benchmarks/pursuits_peers.py [1-D|2-D [share of lambda_max ...]]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

import dcsc
from dcsc.pursuit.lasso import StoppingRule, proximal_gradient, working_set
from dcsc.pursuit.spectrum import lipschitz_constant

EXCESSES = (1e-4, 1e-6)
MAX_ITERATIONS = 300


def problem(name: str) -> tuple[dcsc.ConvolutionalDictionary, NDArray]:
    """Random filters, signals of sparse codes and a little noise."""
    rng = np.random.default_rng(7)
    shape, grid, batch = ((32, 1, 32), (1024,), 16) if name == "1-D" else ((32, 1, 8, 8), (64, 64), 4)
    dictionary = dcsc.ConvolutionalDictionary(rng.standard_normal(shape), 1, grid, normalize=True)
    codes = rng.standard_normal((batch, *dictionary.code_shape)) * (rng.random((batch, *dictionary.code_shape)) < 0.01)
    signals = dictionary.synthesize(codes)
    return dictionary, signals + 0.05 * signals.std() * rng.standard_normal(signals.shape)


def objective(dictionary: dcsc.ConvolutionalDictionary, signals: NDArray, codes: NDArray, penalty: float) -> float:
    """Sum over the batch of xi |x|_1 + |y - A x|^2 / 2."""
    return float(penalty * np.abs(codes).sum() + ((signals - dictionary.synthesize(codes)) ** 2).sum() / 2)


def sporco_settings(
    dictionary: dcsc.ConvolutionalDictionary, signals: NDArray, penalty: float
) -> Iterator[tuple[str, Callable[[int, bool], object]]]:
    """Name and constructor (iterations, silent) of each setting; silent ones compute no statistics."""
    from sporco.admm import cbpdn as admm
    from sporco.pgm import cbpdn as pgm
    from sporco.pgm.momentum import MomentumGenLinear, MomentumNesterov
    from sporco.pgm.stepsize import StepSizePolicyBB

    filters = np.moveaxis(dictionary.filters[:, 0], 0, -1)
    stacked = np.moveaxis(signals[:, 0], 0, -1)
    rank = dictionary.rank
    common = {"RelStopTol": 0.0, "Verbose": False}

    def make_admm(rho: float, auto: bool) -> Callable[[int, bool], object]:
        def make(iterations: int, silent: bool) -> object:
            options = admm.ConvBPDN.Options(
                {
                    **common,
                    "MaxMainIter": iterations,
                    "rho": rho,
                    "AutoRho": {"Enabled": auto},
                    "RelaxParam": 1.8,
                    "FastSolve": silent and not auto,
                    "fEvalX": False,
                    "gEvalY": True,
                }
            )
            return admm.ConvBPDN(filters, stacked, penalty, options, dimK=1, dimN=rank)

        return make

    for factor in (1.0, 10.0, 50.0):
        yield f"ADMM, rho = {factor:g} lambda", make_admm(factor * penalty, False)
    yield "ADMM, automatic rho", make_admm(50 * penalty + 1, True)

    def make_pgm(momentum: object, step: object) -> Callable[[int, bool], object]:
        def make(iterations: int, silent: bool) -> object:
            # SPORCO's L refers to its unnormalised transform, whose gradient it scales alike.
            options = {**common, "MaxMainIter": iterations, "L": lipschitz_constant(dictionary), "Momentum": momentum}
            options |= {"FastSolve": silent} | ({} if step is None else {"StepSizePolicy": step})
            return pgm.ConvBPDN(filters, stacked, penalty, pgm.ConvBPDN.Options(options), dimK=1, dimN=rank)

        return make

    yield "PGM, Nesterov, exact L", make_pgm(MomentumNesterov(), None)
    yield "PGM, generalised linear momentum, exact L", make_pgm(MomentumGenLinear(), None)
    yield "PGM, Barzilai-Borwein", make_pgm(MomentumNesterov(), StepSizePolicyBB())


def best_of(times: int, work: Callable[[], object]) -> float:
    """Shortest of several runs, in seconds."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def time_own(dictionary: dcsc.ConvolutionalDictionary, signals: NDArray, penalty: float, least: float) -> dict:
    """Seconds of the working set to each excess; prints them, those to a certified excess, and FISTA's."""
    penalties = np.full(len(signals), penalty)
    taken = {}
    for excess in EXCESSES:
        for tolerance in (1e3 * excess, 1e2 * excess, 10 * excess, excess):  # the loosest rule that gets there
            rule = StoppingRule("gap", tolerance, 10**4)
            codes = working_set(dictionary, signals, penalties, rule).codes
            reached = objective(dictionary, signals, codes, penalty) / least - 1
            if reached <= excess:
                break
        taken[excess] = best_of(5, partial(working_set, dictionary, signals, penalties, rule))
        certain = StoppingRule("gap", excess, 10**4)
        certified = best_of(5, partial(working_set, dictionary, signals, penalties, certain))
        told = f"{1e3 * taken[excess]:.1f} ms at gap {tolerance:g}, reached {reached:.1e}"
        print(f"  working set to {excess:g}: {told}; certified in {1e3 * certified:.1f} ms")
    rule = StoppingRule("gap", 1e-4, 300)
    steps = proximal_gradient(dictionary, signals, penalties, rule).iterations.max()
    fista = best_of(1, partial(proximal_gradient, dictionary, signals, penalties, rule))
    print(f"  own FISTA to 1e-4: {1e3 * fista:.1f} ms, {steps} iterations (of at most 300)")
    return taken


def time_sporco(dictionary: dcsc.ConvolutionalDictionary, signals: NDArray, penalty: float, least: float) -> dict:
    """Seconds of SPORCO's fastest setting to each excess; prints those of all settings."""
    fastest = dict.fromkeys(EXCESSES, np.inf)
    for setting, make in sporco_settings(dictionary, signals, penalty):
        solver = make(MAX_ITERATIONS, False)
        solver.solve()
        values = np.array(solver.getitstat().ObjFun) / least - 1
        told = []
        for excess in EXCESSES:
            reached = np.flatnonzero(values <= excess)
            if len(reached):
                iterations = int(reached[0]) + 1
                taken = min(best_of(1, make(iterations, True).solve) for _ in range(2))
                fastest[excess] = min(fastest[excess], taken)
                told.append(f"{excess:g}: {1e3 * taken:.0f} ms, {iterations} iterations")
        print(f"  {setting}: {'; '.join(told) or 'not reached'}; least excess {values.min():.1e}", flush=True)
    return fastest


def main(names: list[str], shares: list[float]) -> None:
    """Print a table a problem."""
    for name in names:
        dictionary, signals = problem(name)
        largest = float(np.abs(dictionary.correlate(signals)).max())
        for share in shares:
            penalty = share * largest
            exact = working_set(dictionary, signals, np.full(len(signals), penalty), StoppingRule("gap", 1e-12, 1000))
            least = objective(dictionary, signals, exact.codes, penalty)
            active = np.count_nonzero(exact.codes) / len(signals)
            print(f"\n{name}, lambda = {share} lambda_max: {active:.0f} active, gap {exact.optimality.max():.1e}")
            ours = time_own(dictionary, signals, penalty, least)
            theirs = time_sporco(dictionary, signals, penalty, least)
            for excess in EXCESSES:
                print(f"  ratio at {excess:g}: {theirs[excess] / ours[excess]:.1f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:2] or ["1-D", "2-D"], [float(share) for share in sys.argv[2:]] or [0.1, 0.02])
