"""Warnings before a run about experiments that can show nothing, because some layer of a cascade is full."""

from __future__ import annotations

import json

from dcsc.errors import UserError
from dcsc.sampling import densities
from dcsc.stages import dictionaries
from dcsc.study.options.experiments import ExperimentOptions
from dcsc.study.options.study import Study

FULL = 0.9
"""Share of active atoms of a layer from which on there is nothing to see: no pursuit finds what is not sparse."""


def notes(study: Study) -> list[str]:
    """
    Tell of experiments in which a layer is full at half of the cells or more.

    Parameters
    ----------
    study : Study
        The configuration.

    Returns
    -------
    list of str
        A sentence for each such experiment.
    """
    told = (_note(name, options, study) for name, options in study.experiments.items())
    return [note for note in told if note]


def _note(name: str, options: ExperimentOptions, study: Study) -> str:
    signals = options.signals
    if signals is None or all(draw.windows_of or draw.codes for draw in signals.draws().values()):
        return ""
    support, found = json.dumps(signals.support, sort_keys=True), []
    members = [member for cascade in options.cascades for member in study.members_of(cascade).values()]
    for member in members:
        layers = dictionaries.trial_layers(member.model_dump(mode="json"))
        cells = sorted(signals.cells(layers))
        middle = cells[len(cells) // 2]
        for layer in range(1, max(len(layers), 2)):  # the numbers themselves tell of the deepest
            if _density(layers, layer, middle, support) >= FULL:
                share = _density(layers, layer, cells[0], support)
                found.append((member.name, layer, share, cells[0] if share >= FULL else middle))
                break
    if not found:
        return ""
    cascade, layer, share, first = found[0]
    where = "at every number of active atoms" if share >= FULL else f"from {first} active atoms on"
    more = f", as in {len(found) - 1} further cascades" if len(found) > 1 else ""
    return (
        f"experiments.{name}: layer {layer} of cascade {cascade!r} is full {where}, {FULL:.0%} of its atoms or more "
        f"are active{more}: nothing can be recovered there, give smaller numbers or densities."
    )


def _density(layers: densities.Layers, layer: int, active: int, support: str) -> float:
    if layer == len(layers):
        return active / layers[-1].n_atoms
    try:
        return densities.mean_density(layers, layer, active, support)
    except UserError:  # what the support does not take is said where it is drawn
        return 0.0
