"""The sweep stage, between dictionaries and signals: locate the transitions with few trials, and choose the cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from dcsc import ragged, seeds, statistics
from dcsc.model.cascade import Cascade
from dcsc.ragged import RaggedCodes
from dcsc.stages.pursuits import Observation, RecoveredLayer, pursue
from dcsc.stages.settings import PursuitRun, Sweep
from dcsc.stages.signals import draw_cell, trials_of
from dcsc.store.readers import cascades_of

REPLICATES = 4
"""Dictionaries that the coarse sweep looks at, a block of trials each: enough to find the cells, not to measure."""

LEVELS = (0.97, 0.03)
"""Recovery rates between which cells are added."""

NARROWING, ROUNDS = 4, 5
"""Cells in a fall that are looked at, and how often, before the final ones are placed: listed ones may be far apart."""


APART = 0.03
"""Smallest relative distance of the cells beyond the ends of a fall."""


def refine_sweep(settings: Mapping[str, Any], dictionaries: xr.DataTree) -> xr.Dataset:
    """
    Find where recovery falls, and spread further cells over it.

    A variant is drawn at its own cells alone: the coarse ones up to the second at which no pursuit
    recovers anything, and those spread evenly (in the logarithm) over each fall, which further coarse trials
    narrow first. These have streams of their own, so that the choice of the cells depends on no trial that
    is counted later.

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
    few = cascades_of(dictionaries)[:REPLICATES]
    chosen = Sweep.from_json(settings)
    coarse, pursuits = sorted(chosen.draws.active), chosen.pursuits
    trials = seeds.BLOCK * len(few)
    found, wanted = {}, {}
    for variant in chosen.draws.variants:
        ran = {name: options for name, options in pursuits.items() if options.runs_on(variant)}
        counts = _fall(chosen, few, variant, coarse, ran)
        wanted[variant] = set(counts)
        for name, options in ran.items():  # one by one, so that a further pursuit moves no cell of another
            curve = {number: count[name] for number, count in counts.items() if number in coarse}
            for _ in range(ROUNDS):
                within = sorted(_between(curve, trials, NARROWING) - curve.keys())
                for number, count in _fall(chosen, few, variant, within, {name: options}, stop=False).items():
                    curve[number] = count[name]
                    counts.setdefault(number, {})[name] = count[name]
            wanted[variant] |= _between(curve, trials, chosen.refine, beyond=1)
        found[variant] = counts
    active = sorted(set().union(*wanted.values()))
    drawn = [[number in wanted[variant] for number in active] for variant in wanted]
    looked = [[number in found[variant] for number in active] for variant in wanted]
    recovered, drawn_trials = np.zeros((2, len(pursuits), len(wanted), len(active)), np.int64)
    for row, counts in enumerate(found.values()):
        for column, number in enumerate(active):
            for name, successes in counts.get(number, {}).items():
                place = list(pursuits).index(name), row, column
                recovered[place], drawn_trials[place] = successes, trials
    dims = ("pursuit", "variant", "active")
    return xr.Dataset(
        {
            "drawn": (dims[1:], np.array(drawn)),
            "coarse": (dims[1:], np.array(looked)),
            "recovered": (dims, recovered),
            "trials": (dims, drawn_trials),
        },
        coords={"pursuit": list(pursuits), "variant": list(wanted), "active": active},
    )


def _fall(
    settings: Sweep,
    cascades: Sequence[Cascade],
    variant: str,
    coarse: Sequence[int],
    pursuits: Mapping[str, PursuitRun],
    stop: bool = True,
) -> dict[int, dict[str, int]]:
    """Recovered paths of every pursuit, cell by cell, until nothing is recovered any more if it may stop."""
    counts: dict[int, dict[str, int]] = {}
    nothing = 0
    for number in coarse:
        cell = replace(settings.draws, active=[number], variants={variant: settings.draws.variants[variant]})
        counts[number] = dict.fromkeys(pursuits, 0)
        for replicate, cascade in enumerate(cascades):
            drawn = draw_cell(cell, cascade, replicate, variant, number, len(trials_of(cell)))
            observed = Observation(cascade, drawn.codes, drawn.signs, drawn.noise)
            for name, options in pursuits.items():
                recovered = pursue(observed, options)
                counts[number][name] += _recovered(drawn.codes, recovered, variant in settings.adversarial)
        nothing = 0 if any(counts[number].values()) else nothing + 1
        if stop and nothing == 2:
            break
    return counts


def _recovered(codes: Sequence[RaggedCodes], found: Sequence[RecoveredLayer], with_signs: bool) -> int:
    """Count the trials whose whole path was recovered."""
    exact = np.ones(codes[0].batch_shape, dtype=bool)
    for code, layer in zip(codes, found, strict=True):
        compared = ragged.compare(code, layer.codes)
        exact &= (compared.misses == 0) & (compared.false_alarms == 0)
        if with_signs:
            exact &= compared.wrong_signs == 0
    return int(np.count_nonzero(exact))


def _between(curve: Mapping[int, int], trials: int, count: int, beyond: int = 0) -> set[int]:
    """
    Spread cells evenly over the fall of one curve; none when it does not fall within the cells.

    Some lie beyond either end, at the same distance but at least `APART` away: dictionaries that were not looked at
    fall a little elsewhere, and a level such as 99 % lies above a steep fall.
    """
    active = sorted(curve)
    recovered = np.array([curve[number] for number in active])
    high, low = (
        statistics.transition_point(active, recovered, np.full(len(active), trials), level)[0] for level in LEVELS
    )
    if recovered[0] < LEVELS[1] * trials or recovered[-1] > LEVELS[0] * trials:
        return set()
    step = (low / high) ** (1 / max(count - 1, 1))
    wider = max(step, 1 + APART)
    outside = [end * wider ** (side * far) for end, side in ((high, -1), (low, 1)) for far in range(1, beyond + 1)]
    cells = np.array([*np.geomspace(high, low, count), *outside])
    return {int(number) for number in np.rint(np.clip(cells, active[0], active[-1]))}
