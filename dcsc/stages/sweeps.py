"""Between dictionaries and signals: look for the transitions with few trials, and choose the cells worth drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dcsc import ragged, seeds, statistics
from dcsc.dataset import codes_from_dataset
from dcsc.stages.pursuits import run_pursuits
from dcsc.stages.signals import depth_of, sample_signals

REPLICATES = 2
"""Dictionaries that the coarse sweep looks at, a block of trials each: enough to find the cells, not to measure."""

LEVELS = (0.97, 0.03)
"""Recovery rates between which cells are added."""


def refine_sweep(settings: Mapping[str, Any], dictionaries: xr.DataTree) -> xr.Dataset:
    """
    Find where recovery falls, and spread further cells over it.

    A variant is drawn at its own cells alone: the coarse ones up to the second at which no pursuit
    recovers anything, and those spread evenly (in the logarithm) over each of its transitions. The
    coarse trials have streams of their own, so that the choice of the cells depends on no trial that is
    counted later.

    Parameters
    ----------
    settings : mapping
        Those of `sample_signals`, with `pursuits`, `refine` (cells to add to a transition), and
        `adversarial` (variants in which signs must be recovered too).
    dictionaries : DataTree
        Of the dictionaries stage.

    Returns
    -------
    Dataset
        After the schema of the sweeps stage.
    """
    few = dictionaries.map_over_datasets(lambda group: group.isel(replicate=slice(REPLICATES)) if group else group)
    coarse = sorted(settings["active"])
    pursuits = settings["pursuits"]
    found, wanted = {}, {}
    for variant in settings["variants"]:
        ran = {name: options for name, options in pursuits.items() if variant in (options["variants"] or [variant])}
        counts = _fall(settings, few, variant, coarse, ran)
        seen = coarse[: len(next(iter(counts.values()), coarse))]
        found[variant] = (seen, counts)
        wanted[variant] = set(seen)
        trials = seeds.BLOCK * few["layer_1"].sizes["replicate"]
        for recovered in counts.values():
            wanted[variant] |= _between(seen, recovered, trials, settings["refine"])
    active = sorted(set().union(*wanted.values()))
    drawn = [[number in wanted[variant] for number in active] for variant in wanted]
    looked = [[number in found[variant][0] for number in active] for variant in wanted]
    shape = (len(pursuits), len(wanted), len(active))
    recovered, trials = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, (seen, counts) in enumerate(found.values()):
        columns = np.searchsorted(active, seen)
        for index, name in enumerate(pursuits):
            if name in counts:
                recovered[index, row, columns] = counts[name]
                trials[index, row, columns] = seeds.BLOCK * few["layer_1"].sizes["replicate"]
    dims = ("pursuit", "variant", "active")
    return xr.Dataset(
        {
            "drawn": (dims[1:], np.array(drawn)),
            "coarse": (dims[1:], np.array(looked)),
            "recovered": (dims, recovered),
            "trials": (dims, trials),
        },
        coords={"pursuit": list(pursuits), "variant": list(wanted), "active": active},
    )


def _fall(
    settings: Mapping[str, Any],
    dictionaries: xr.DataTree,
    variant: str,
    coarse: Sequence[int],
    pursuits: Mapping[str, Any],
) -> dict[str, NDArray]:
    """Recovered paths of every pursuit, cell by cell until nothing is recovered any more."""
    counts: list[list[int]] = []
    for number in coarse:
        cell = {
            **settings,
            "experiment": f"{settings['experiment']}, coarse",
            "active": [number],
            "variants": {variant: settings["variants"][variant]},
            "blocks": [0, 1],
            "trials": seeds.BLOCK,
        }
        drawn = sample_signals(cell, dictionaries)
        signals = xr.DataTree.from_dict(drawn)
        recovered = run_pursuits({"pursuits": pursuits, "errors": False}, signals, dictionaries)
        counts.append(
            [
                _recovered(signals, xr.DataTree.from_dict(recovered), name, variant in settings["adversarial"])
                for name in pursuits
            ]
        )
        if len(counts) > 1 and not any(counts[-1]) and not any(counts[-2]):
            break
    return {name: np.array([count[index] for count in counts]) for index, name in enumerate(pursuits)}


def _recovered(signals: xr.DataTree, pursuits: xr.DataTree, name: str, with_signs: bool) -> int:
    """Count the trials whose whole path was recovered."""
    exact = True
    for layer in range(1, depth_of(signals) + 1):
        compared = ragged.compare(
            codes_from_dataset(signals[f"layer_{layer}"]), codes_from_dataset(pursuits[f"{name}/layer_{layer}"])
        )
        exact &= (compared.misses == 0) & (compared.false_alarms == 0)
        if with_signs:
            exact &= compared.wrong_signs == 0
    return int(np.count_nonzero(exact))


def _between(active: Sequence[int], recovered: NDArray, trials: int, count: int) -> set[int]:
    """Spread cells evenly over the fall of one curve; none when it does not fall within the cells."""
    high, low = (
        statistics.transition_point(active, recovered, np.full(len(active), trials), level)[0] for level in LEVELS
    )
    if recovered[0] < LEVELS[1] * trials or recovered[-1] > LEVELS[0] * trials:
        return set()
    return {int(number) for number in np.rint(np.geomspace(high, low, count))}
