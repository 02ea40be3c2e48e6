"""Failure bounds of draws, whose cost is measured: sharper tails beside Hoeffding's, and basis pursuit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dcsc import ConvolutionalDictionary, families, guarantees, sampling
from dcsc.guarantees import sharp_tails


def lapped(grid: int) -> ConvolutionalDictionary:
    """128 lapped filters of 256 taps, perturbed, of a coherence at which 64 non-zeros are about what is certified."""
    rng = np.random.default_rng(1)
    return families.create("perturbed", (grid,), rng, base="lapped", n_filters=128, perturbation=0.3)


def failure_bounds(grid: int, trials: int) -> dict[str, Callable[[], Any]]:
    """
    Bound the failure of thresholding with every tail, and of basis pursuit, one code of 64 non-zeros in 1024 entries.

    Parameters
    ----------
    grid : int
        Entries of a signal.
    trials : int
        Codes.

    Returns
    -------
    dict of str to callable
        By name.
    """
    dictionary, nothing = lapped(grid), np.zeros(trials)
    support = {"name": "uniform", "size": grid // 16}
    codes = sampling.sample_codes(np.random.default_rng(3), dictionary, trials, support=support)

    def bound(tail: str) -> Callable[[], Any]:
        return lambda: sharp_tails.best_failure(dictionary, codes, nothing, nothing, tail=tail)

    def of_drawn_atoms() -> None:
        drawn = sharp_tails.DrawnAtoms.of(np.random.default_rng(4), trials)
        sharp_tails.best_failure(dictionary, codes, nothing, nothing, drawn=drawn)

    basis_pursuit = {"basis pursuit, exact tails": lambda: guarantees.support_certificates(dictionary, codes)}
    bounds = {f"{tail} tails": bound(tail) for tail in guarantees.TAILS}
    return bounds | {"exact tails of drawn atoms": of_drawn_atoms} | basis_pursuit
