"""Fourth stage: compare what was recovered with the truth, trial by trial, and with what was guaranteed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dcsc import guarantees, seeds, sparsity
from dcsc.dataset import codes_from_dataset
from dcsc.model import Cascade
from dcsc.ragged import RaggedCodes
from dcsc.stages.dictionaries import cascade_of
from dcsc.stages.signals import batch_coordinates, codes_of_replicate, depth_of

_BATCH_OF_REPLICATE = ("variant", "active", "trial")


def measure_recovery(
    settings: Mapping[str, Any], pursuits: xr.DataTree, signals: xr.DataTree, dictionaries: xr.DataTree
) -> xr.Dataset:
    """
    Measure recovery, sparsity and guarantees of every trial.

    Parameters
    ----------
    settings : mapping
        `pursuits` (parameters by name), `errors` (whether values were kept), `bounds` (`delta` and the
        number of `trials` for which instance guarantees are computed) and `variants` (how each is drawn).
    pursuits, signals, dictionaries : DataTree
        Of the stages before.

    Returns
    -------
    Dataset
        After the schema of the metrics stage.
    """
    depth = depth_of(signals)
    replicates = []
    for replicate in range(signals["layer_1"].sizes["replicate"]):
        cascade = cascade_of(dictionaries, replicate)
        truth = [codes_of_replicate(signals, layer, replicate) for layer in range(1, depth + 1)]
        found = {
            name: [
                (
                    _replicate_of(pursuits[f"{name}/layer_{layer}"], replicate),
                    pursuits[f"{name}/layer_{layer}"]["threshold"].isel(replicate=replicate).to_numpy(),
                )
                for layer in range(1, depth + 1)
            ]
            for name in settings["pursuits"]
        }
        measured = _measure_replicate(cascade, truth, found, settings)
        bounds = _instance_bounds(cascade, truth, settings, signals["layer_1"]["trial"].to_numpy())
        replicates.append(measured.assign({name: (_BATCH_OF_REPLICATE, values) for name, values in bounds.items()}))
    whole = xr.concat(replicates, "replicate")
    whole = whole.assign_coords(batch_coordinates(signals)).assign_coords(
        pursuit=list(settings["pursuits"]), layer=np.arange(1, depth + 1)
    )
    order = [dim for dim in ("pursuit", "layer", "replicate", *_BATCH_OF_REPLICATE) if dim in whole.dims]
    return whole.transpose(*order)


def _replicate_of(group: xr.DataTree, replicate: int) -> RaggedCodes:
    return codes_from_dataset(group)[replicate]


def _measure_replicate(
    cascade: Cascade,
    truth: list[RaggedCodes],
    found: Mapping[str, list[tuple[RaggedCodes, NDArray]]],
    settings: Mapping[str, Any],
) -> xr.Dataset:
    batch = truth[0].batch_shape
    blocks = []
    total = truth[0].row_size.size
    for start in range(0, total, seeds.BLOCK):
        rows = slice(start, min(start + seeds.BLOCK, total))
        codes = [code.rows(rows).to_dense() for code in truth]
        measured = _of_signals(cascade, codes)
        per_pursuit = []
        for name, layers in found.items():
            recovered = [code.rows(rows).to_dense() for code, _ in layers]
            thresholds = [threshold.ravel()[rows] for _, threshold in layers]
            per_pursuit.append(
                _of_pursuit(cascade, codes, recovered, thresholds, settings["pursuits"][name], settings["errors"])
            )
        measured |= {
            key: (("pursuit", *dims), np.stack([p[key][1] for p in per_pursuit]))
            for key, (dims, _) in per_pursuit[0].items()
        }
        blocks.append(xr.Dataset(measured))
    joined = xr.concat(blocks, "row") if len(blocks) > 1 else blocks[0]
    unfolded = {}
    for name, variable in joined.data_vars.items():
        values = np.moveaxis(variable.to_numpy(), variable.dims.index("row"), -1)
        dims = tuple(dim for dim in variable.dims if dim != "row")
        unfolded[name] = ((*dims, *_BATCH_OF_REPLICATE), values.reshape(*values.shape[:-1], *batch))
    return xr.Dataset(unfolded)


def _instance_bounds(
    cascade: Cascade, truth: list[RaggedCodes], settings: Mapping[str, Any], trials: NDArray
) -> dict[str, NDArray]:
    """Guarantees that look at the supports, for the first trials of every cell; NaN elsewhere."""
    bounds = {
        name: np.full(truth[0].batch_shape, np.nan) for name in ("instance_covered", "certified", "failure_bound")
    }
    chosen = int(np.count_nonzero(trials < settings["bounds"]["trials"]))
    if not chosen:
        return bounds
    for index, draw in enumerate(settings["variants"].values()):
        method = "optimised" if cascade.depth == 1 else "split"
        model = "rademacher" if cascade.depth == 1 or draw["layer_signs"] else "deepest"
        for cell in range(truth[0].batch_shape[1]):
            codes = [code[index][cell].rows(slice(0, chosen)).to_dense() for code in truth]
            place = (index, cell, slice(0, chosen))
            bounds["instance_covered"][place] = guarantees.uniform(cascade, codes, form="instance").holds
            if "worst-case" in str(draw["signs"]):
                continue  # statistical guarantees speak of random signs
            found = guarantees.statistical(
                cascade, codes, delta=settings["bounds"]["delta"], signs=model, method=method
            )
            bounds["certified"][place] = found.certified
            bounds["failure_bound"][place] = found.probability
    return bounds


def _of_signals(cascade: Cascade, codes: list[NDArray]) -> dict[str, tuple[tuple[str, ...], NDArray]]:
    """What concerns the true codes alone, an array (layer, row) each."""
    guarantee = guarantees.uniform(cascade, codes)
    rank = cascade.rank
    layers = list(enumerate(zip(codes, cascade.dictionaries, strict=True), start=1))
    measures = {
        "stripe_sparsity": [sparsity.stripe_norm(code, dictionary) for _, (code, dictionary) in layers],
        "patch_sparsity": [sparsity.patch_norm(code, cascade.next_dictionary(n), rank) for n, (code, _) in layers],
        "contrast": [sparsity.contrast(code, rank) for code in codes],
        "uniform_guarantee": [layer.holds for layer in guarantee.layers],
        "magnitude": [sparsity.patch_l2(code, cascade.next_dictionary(n), rank) for n, (code, _) in layers],
    }
    return {name: (("layer", "row"), np.stack(values)) for name, values in measures.items()}


def _of_pursuit(
    cascade: Cascade,
    codes: list[NDArray],
    recovered: list[NDArray],
    thresholds: list[NDArray],
    options: Mapping[str, Any],
    errors: bool,
) -> dict[str, tuple[tuple[str, ...], NDArray]]:
    """What concerns one pursuit, an array (layer, row) each; the guarantee is that of the thresholds it used."""
    axes = tuple(range(-cascade.rank - 1, 0))
    misses = [((code != 0) & (other == 0)).sum(axis=axes) for code, other in zip(codes, recovered, strict=True)]
    alarms = [((code == 0) & (other != 0)).sum(axis=axes) for code, other in zip(codes, recovered, strict=True)]
    exact = [(miss == 0) & (alarm == 0) for miss, alarm in zip(misses, alarms, strict=True)]
    per_layer = {
        "support_recovered": exact,
        "misses": misses,
        "false_alarms": alarms,
        "threshold": thresholds,
    }
    known_size = options["rule"] == "top-k"
    guarantee = guarantees.uniform(
        cascade,
        codes,
        rule=options["rule"] if options["rule"] in ("soft", "relu") else "hard",
        threshold="midpoint" if known_size else thresholds,
    )
    per_layer["covered"] = [layer.holds for layer in guarantee.layers]
    if errors:
        per_layer["error"] = [
            sparsity.patch_l2(other - code, cascade.next_dictionary(layer), cascade.rank)
            for layer, (code, other) in enumerate(zip(codes, recovered, strict=True), start=1)
        ]
        per_layer["error_bound"] = [
            np.where(np.isfinite(layer.error_bound), layer.error_bound, np.nan) for layer in guarantee.layers
        ]
    measured = {name: (("layer", "row"), np.stack(values)) for name, values in per_layer.items()}
    signs = [(np.sign(code) == np.sign(other)).all(axis=axes) for code, other in zip(codes, recovered, strict=True)]
    return measured | {
        "path_recovered": (("row",), np.logical_and.reduce(exact)),
        "signs_recovered": (("row",), np.logical_and.reduce(signs)),
    }
