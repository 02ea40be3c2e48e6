"""The experiment on networks: planted codes in all layers of one, as a dataset."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from tqdm import tqdm

from dcsc.arrays import LARGEST, open_arrays
from dcsc.certification.network import ConvolutionLayer, Network
from dcsc.certification.onnx_layers import read_onnx
from dcsc.certification.onnx_values import values_of
from dcsc.certification.planted import (
    FILTERS,
    SIGNS,
    SUPPORTS,
    THRESHOLDS,
    PlantedLayer,
    PlantedSettings,
    measure,
    runs_alone,
)
from dcsc.errors import UserError, nearest, shown


def planted_in(
    weights: str | Path,
    signals: str | Path,
    settings: PlantedSettings,
    *,
    activations: Sequence[str],
    layers: Sequence[str] | None = None,
    largest: int = LARGEST,
) -> xr.Dataset:
    """
    Plant codes in the layers of a network.

    Parameters
    ----------
    weights : str or Path
        An ONNX file.
    signals : str or Path
        A file of arrays (trial, ...), by the inputs of the graph.
    settings : PlantedSettings
        How.
    activations : sequence of str
        Looked at are dense layers of more than one position that one of these follows.
    layers : sequence of str, optional
        In place of these, the layers to look at.
    largest : int
        Bytes that the file, and the codes of a segment, may take.

    Returns
    -------
    xarray.Dataset
        After `schemas.PLANTED`, layers in the order of the graph.

    Raises
    ------
    UserError
        When a file cannot be read, the two do not fit, or there is no such layer.
    """
    if Path(weights).suffix != ".onnx":
        raise UserError(f"the network {weights} is no ONNX file: export it, docs/certify.md has the line that does.")
    network = read_onnx(weights, largest=largest)
    chosen = _chosen(network, activations, layers)
    segments = [
        n for n, segment in enumerate(network.segments) if any(network.layers[i].name in chosen for i in segment)
    ]
    file = open_arrays(signals, largest)
    given = {name: np.asarray(file.read(name)) for name in file.arrays}
    values = values_of(weights, given, list(dict.fromkeys(network.inputs[n] for n in segments)), largest)
    found: list[PlantedLayer] = []
    for number in tqdm(segments, unit="segment", disable=None, leave=False, file=sys.stderr):
        segment = network.segment(number)
        # A segment is run as far as it is asked for.
        last = max(i for i, layer in enumerate(segment.layers) if layer.name in chosen)
        segment = Network(segment.name, segment.layers[: last + 1], (tuple(range(last + 1)),), (), ())
        for run in runs_alone(segment, _batch(segment.layers[0], values[network.inputs[number]]), largest):
            if run.layer.name in chosen and (layers is not None or math.prod(run.positions) > 1):
                found.append(measure(run, settings))
    if not found:
        raise UserError(f"no layer of {weights} has more than one position on these signals: give larger ones.")
    order = {layer.name: place for place, layer in enumerate(network.layers)}
    return as_dataset(sorted(found, key=lambda of: order[of.layer.name]), settings)


def _chosen(network: Network, activations: Sequence[str], layers: Sequence[str] | None) -> set[str]:
    known = [layer.name for layer in network.layers]
    for name in layers or ():
        if name not in known:
            raise UserError(f"the network {network.name} has no layer {shown(name)}: {nearest(name, known)}")
    if layers is not None:
        return set(layers)
    chosen = {layer.name for layer in network.layers if layer.groups == 1 and layer.activation in activations}
    if not chosen:
        seen = sorted({layer.activation for layer in network.layers})
        raise UserError(
            f"no dense layer of {network.name} has one of the activations {list(activations)}: it has {seen}."
        )
    return chosen


def _batch(layer: ConvolutionLayer, values: NDArray) -> NDArray:
    if values.ndim != layer.rank + 2 or values.shape[1] != layer.n_channels:
        raise UserError(
            f"what layer {layer.name!r} acts on has shape {values.shape}, not (trial, {layer.n_channels} channels, "
            f"then {layer.rank} axes): name other layers."
        )
    return values


def as_dataset(found: Sequence[PlantedLayer], settings: PlantedSettings) -> xr.Dataset:
    """
    Put the layers of a network in one dataset.

    Parameters
    ----------
    found : sequence of PlantedLayer
        In order.
    settings : PlantedSettings
        Those by which they were measured.

    Returns
    -------
    xarray.Dataset
        After `schemas.PLANTED`.
    """

    def stacked(name: str) -> NDArray:
        return np.stack([np.asarray(getattr(of, name)) for of in found])

    def sizes(name: str) -> NDArray:
        return np.array(["x".join(map(str, getattr(of.layer, name))) for of in found], dtype=object)

    by_filters, by_trial = ("layer", "filters"), ("layer", "trial")
    variables = {
        "activation": ("layer", np.array([of.layer.activation for of in found], dtype=object)),
        "n_filters": ("layer", np.array([len(of.layer.weight) for of in found])),
        "n_channels": ("layer", np.array([of.layer.n_channels for of in found])),
        "taps": ("layer", sizes("taps")),
        "stride": ("layer", sizes("stride")),
        "n_atoms": ("layer", stacked("n_atoms")),
        "mutual_coherence": (by_filters, stacked("coherence")),
        "welch_bound": ("layer", stacked("welch_bound").astype(np.float64)),
        "active": (by_trial, stacked("active")),
        "stripe_sparsity": (("layer", "support", "share", "trial"), stacked("stripe_sparsity")),
        "f1": ((*by_filters, "support", "signs", "threshold", "magnitudes", "share", "trial"), stacked("f1")),
        "unexplained": (by_trial, stacked("unexplained")),
        "unexplained_at_best": ((*by_filters, "trial"), stacked("unexplained_at_best")),
    }
    names = {"filters": FILTERS, "support": SUPPORTS, "signs": SIGNS, "threshold": THRESHOLDS}
    names["magnitudes"] = settings.magnitudes
    coordinates = {name: np.array(of, dtype=object) for name, of in names.items()}
    coordinates["layer"] = np.array([of.layer.name for of in found], dtype=object)
    return xr.Dataset(variables, coords={**coordinates, "share": np.array(settings.shares)})
