"""Third stage: run every pursuit of an experiment on the same signals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dcsc import pursuit, ragged, recovery, seeds
from dcsc.dataset import BATCH, codes_to_dataset
from dcsc.model import Cascade
from dcsc.pursuit import thresholding
from dcsc.ragged import RaggedCodes
from dcsc.stages.dictionaries import cascade_of
from dcsc.stages.signals import (
    batch_coordinates,
    codes_of_replicate,
    depth_of,
    layer_signs_of_replicate,
    noise_of_replicate,
)


def run_pursuits(settings: Mapping[str, Any], signals: xr.DataTree, dictionaries: xr.DataTree) -> dict[str, xr.Dataset]:
    """
    Recover the codes of every layer with each pursuit.

    Parameters
    ----------
    settings : mapping
        `pursuits` (parameters by name) and `errors` (whether values are kept, not only signs).
    signals : DataTree
        Of the signals stage.
    dictionaries : DataTree
        Of the dictionaries stage.

    Returns
    -------
    dict of str to Dataset
        One group a pursuit and layer, after the schema of the pursuits stage.

    Raises
    ------
    UserError
        When a pursuit or one of its parameters is not allowed.
    """
    depth = depth_of(signals)
    groups = {}
    for name, options in settings["pursuits"].items():
        found: list[list[RaggedCodes]] = [[] for _ in range(depth)]
        thresholds: list[list[NDArray]] = [[] for _ in range(depth)]
        for replicate in range(signals["layer_1"].sizes["replicate"]):
            cascade = cascade_of(dictionaries, replicate)
            codes = [codes_of_replicate(signals, layer, replicate) for layer in range(1, depth + 1)]
            observed = _Observation(
                cascade, codes, layer_signs_of_replicate(signals, replicate), noise_of_replicate(signals, replicate)
            )
            for layer, (code, threshold) in enumerate(zip(*_pursue(observed, options), strict=True)):
                found[layer].append(code)
                thresholds[layer].append(threshold)
        for layer in range(depth):
            whole = ragged.concatenate(found[layer]).reshape((len(found[layer]), *found[layer][0].batch_shape))
            dataset = codes_to_dataset(whole if settings["errors"] else whole.with_values(np.sign(whole.value)))
            dataset["threshold"] = (BATCH, np.stack(thresholds[layer]))
            groups[f"/{name}/layer_{layer + 1}"] = dataset.assign_coords(batch_coordinates(signals))
    return groups


@dataclass(frozen=True, eq=False)
class _Observation:
    """The signals of one replicate: true codes, signs T and noise, batch axes (variant, active, trial)."""

    cascade: Cascade
    codes: list[RaggedCodes]
    layer_signs: list[NDArray] | None
    noise: NDArray | None


def _pursue(observed: _Observation, options: Mapping[str, Any]) -> tuple[list[RaggedCodes], list[NDArray]]:
    """Choose the cheap way where the signal need not be formed, else the pursuit itself, block by block."""
    parameters = {name: value for name, value in options.items() if name != "method"}
    one_step = (
        options["method"] == "layered-thresholding"
        and observed.cascade.depth == 1
        and observed.layer_signs is None  # they would change nothing of one layer
        and options["threshold"] != "oracle"
        and not options["debias"]
    )
    if one_step:
        found, thresholds = _one_step(observed, parameters)
    else:
        found, thresholds = _dense(observed, pursuit.get(options["method"]), parameters)
    if options["rule"] == "top-k":  # it has none
        thresholds = [np.full_like(threshold, np.nan) for threshold in thresholds]
    return found, thresholds


def _one_step(observed: _Observation, parameters: Mapping[str, Any]) -> tuple[list[RaggedCodes], list[NDArray]]:
    dictionary, code = observed.cascade.dictionaries[0], observed.codes[0]
    if parameters["rule"] == "top-k":
        threshold, choice = np.zeros(code.batch_shape), {"k": code.row_size}
    else:
        threshold = parameters["threshold"]
        if isinstance(threshold, str):
            threshold = thresholding.derived_thresholds(threshold, observed.cascade, [code], parameters["rule"])
        threshold = threshold[0] if isinstance(threshold, list) else threshold
        threshold = np.array(np.broadcast_to(np.asarray(threshold, dtype=np.float64), code.batch_shape))
        choice = {"threshold": threshold}
    # One thread: jobs run side by side.
    found = recovery.recovered_supports(dictionary, code, observed.noise, rule=parameters["rule"], threads=1, **choice)
    return [found], [threshold]


def _dense(
    observed: _Observation, method: pursuit.Pursuit, parameters: Mapping[str, Any]
) -> tuple[list[RaggedCodes], list[NDArray]]:
    batch = observed.codes[0].batch_shape
    total = observed.codes[0].row_size.size
    found: list[list[RaggedCodes]] = [[] for _ in observed.codes]
    thresholds: list[list[NDArray]] = [[] for _ in observed.codes]
    for start in range(0, total, seeds.BLOCK):
        rows = slice(start, min(start + seeds.BLOCK, total))
        reference = [code.rows(rows).to_dense() for code in observed.codes]
        cascade, signals = _signals(observed, rows, reference[0])
        result = method(cascade, signals, reference=reference, **parameters)
        for layer, (code, threshold) in enumerate(zip(result.codes, result.thresholds, strict=True)):
            found[layer].append(RaggedCodes.from_dense(code, observed.codes[layer].code_shape))
            thresholds[layer].append(threshold)
    return (
        [ragged.concatenate(parts).reshape(batch) for parts in found],
        [np.concatenate(parts).reshape(batch) for parts in thresholds],
    )


def _signals(observed: _Observation, rows: slice, first: NDArray) -> tuple[Cascade, NDArray]:
    """The model of some trials, and their signals with noise."""
    cascade = observed.cascade
    batch_axes = len(observed.codes[0].batch_shape)
    if observed.layer_signs is not None:
        flat = [signs.reshape(-1, *signs.shape[batch_axes:])[rows] for signs in observed.layer_signs]
        cascade = Cascade(cascade.dictionaries, flat)
    signals = cascade.synthesize_layer(1, first)
    if observed.noise is not None:
        signals = signals + observed.noise.reshape(-1, *observed.noise.shape[batch_axes:])[rows]
    return cascade, signals
