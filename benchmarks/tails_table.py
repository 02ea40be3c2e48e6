"""
Stripe-sparsities that each tail certifies, beside what thresholding recovers: `python -m benchmarks.tails_table`.

Prints the largest mean stripe-sparsity at which the mean bound over draws (uniform supports, unit magnitudes) is at
most 1 %, by linear interpolation of its logarithm between sizes of the support; the measured curve counts trials.
"""

from __future__ import annotations

import argparse

import numpy as np

from dcsc import RaggedCodes, families
from dcsc.convolution import sparse_path
from dcsc.guarantees.basis_pursuit_instance import support_certificates
from dcsc.guarantees.sharp_tails import TAILS, best_failure, failure_at
from dcsc.model.coherence import babel, mutual_coherence
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.sparsity import stripe_norm

LEVEL = 0.01


def lapped(perturbation: float) -> ConvolutionalDictionary:
    """128 lapped filters of 256 taps, perturbed."""
    rng = np.random.default_rng(1)
    return families.create("perturbed", (1024,), rng, base="lapped", n_filters=128, perturbation=perturbation)


def draw(dictionary: ConvolutionalDictionary, size: int, count: int, seed: int) -> RaggedCodes:
    """Uniform supports, random signs, unit magnitudes."""
    rng = np.random.default_rng([seed, size])
    atoms = np.concatenate([np.sort(rng.choice(dictionary.n_atoms, size, replace=False)) for _ in range(count)])
    signs = rng.choice([-1.0, 1.0], len(atoms))
    return RaggedCodes(np.full(count, size), atoms.astype(np.int32), signs, dictionary.code_shape)


def at_level(sparsities: list[float], rates: list[float]) -> str:
    """Where a rate reaches the level, or a sign that it lies outside."""
    logs = np.log(np.maximum(rates, 1e-12))
    above = np.flatnonzero(logs > np.log(LEVEL))
    if not len(above):
        return f"> {sparsities[-1]:.0f}"
    if above[0] == 0:
        return f"< {sparsities[0]:.0f}"
    pair = slice(above[0] - 1, above[0] + 1)
    return f"{np.interp(np.log(LEVEL), logs[pair], sparsities[pair]):.1f}"


def main() -> None:
    """Print one row a rule."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--perturbation", type=float, default=0.2)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 120, 140, 160, 180, 200, 220, 240, 270])
    parser.add_argument("--draws", type=int, default=24)
    parser.add_argument("--trials", type=int, default=4000)
    parser.add_argument("--basis-pursuit", action="store_true")
    options = parser.parse_args()
    dictionary = lapped(options.perturbation)
    rows: dict[str, list[float]] = {}
    sparsities = []
    for size in options.sizes:
        codes = draw(dictionary, size, options.draws, 1)
        eps, guard = np.zeros(options.draws), np.full(options.draws, 1e-13)
        sparsities.append(float(np.mean(stripe_norm(codes, dictionary))))
        if options.basis_pursuit:
            for tail in TAILS:
                found = support_certificates(dictionary, codes, tail=tail)
                rows.setdefault(f"basis pursuit, {tail}", []).append(float(found.probability.mean()))
            rows.setdefault("basis pursuit, all signs", []).append(float(np.mean(~found.holds)))
            k = stripe_norm(codes, dictionary)
            needed = babel(dictionary, k) + babel(dictionary, np.maximum(k - 1, 0))
            rows.setdefault("basis pursuit, Babel", []).append(float(np.mean(needed >= 1)))
        else:
            for tail in TAILS:
                bound = best_failure(dictionary, codes, eps, guard, tail=tail)[1]
                rows.setdefault(f"{tail}, best threshold", []).append(float(bound.mean()))
            bound = best_failure(dictionary, codes, eps, guard, by_filter=True)[1]
            rows.setdefault("exact, best by filter", []).append(float(bound.mean()))
            bound = failure_at(dictionary, codes, 0.5, eps, guard)
            rows.setdefault("exact at 1/2", []).append(float(bound.mean()))
            trials = draw(dictionary, size, options.trials, 2)
            margins = sparse_path.margins(dictionary, trials)
            failed = (margins.smallest_on <= 0.5) | (margins.largest_off >= 0.5)
            rows.setdefault("measured at 1/2", []).append(float(failed.mean()))
            failed = margins.smallest_on <= margins.largest_off
            rows.setdefault("measured, top-k", []).append(float(failed.mean()))
    print(f"mu = {mutual_coherence(dictionary):.4f}; stripe-sparsity:", *(f"{k:.1f}" for k in sparsities))
    for name, rates in rows.items():
        print(f"{name:28s} {at_level(sparsities, rates):>8s}   ", *(f"{rate:.2g}" for rate in rates))


if __name__ == "__main__":
    main()
