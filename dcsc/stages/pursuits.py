"""Third stage: run every pursuit of an experiment on the same signals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from dcsc import pursuit, ragged, seeds, sparse_path
from dcsc.dataset import BATCH, codes_to_dataset
from dcsc.model import Cascade
from dcsc.pursuit import thresholding
from dcsc.ragged import RaggedCodes
from dcsc.stages.dictionaries import cascade_of
from dcsc.stages.signals import batch_coordinates, codes_of_replicate, depth_of


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
        thresholds: list[list[np.ndarray]] = [[] for _ in range(depth)]
        for replicate in range(signals["layer_1"].sizes["replicate"]):
            cascade = cascade_of(dictionaries, replicate)
            codes = [codes_of_replicate(signals, layer, replicate) for layer in range(1, depth + 1)]
            for layer, (code, threshold) in enumerate(zip(*_pursue(cascade, codes, options), strict=True)):
                found[layer].append(code)
                thresholds[layer].append(threshold)
        for layer in range(depth):
            whole = ragged.concatenate(found[layer]).reshape((len(found[layer]), *found[layer][0].batch_shape))
            dataset = codes_to_dataset(whole if settings["errors"] else whole.with_values(np.sign(whole.value)))
            dataset["threshold"] = (BATCH, np.stack(thresholds[layer]))
            groups[f"/{name}/layer_{layer + 1}"] = dataset.assign_coords(batch_coordinates(signals))
    return groups


def _pursue(
    cascade: Cascade, codes: list[RaggedCodes], options: Mapping[str, Any]
) -> tuple[list[RaggedCodes], list[np.ndarray]]:
    """Choose the cheap way where the signal need not be formed, else the pursuit itself, block by block."""
    parameters = {name: value for name, value in options.items() if name != "method"}
    method = options["method"]
    sparse = method == "layered-thresholding" and cascade.depth == 1 and parameters["threshold"] != "oracle"
    if sparse and not parameters["debias"]:
        found, thresholds = _one_sparse_step(cascade, codes[0], parameters)
    else:
        found, thresholds = _dense(cascade, codes, pursuit.get(method), parameters)
    if parameters["rule"] == "top-k":  # it has none
        thresholds = [np.full_like(threshold, np.nan) for threshold in thresholds]
    return found, thresholds


def _one_sparse_step(
    cascade: Cascade, code: RaggedCodes, parameters: Mapping[str, Any]
) -> tuple[list[RaggedCodes], list[np.ndarray]]:
    dictionary = cascade.dictionaries[0]
    if parameters["rule"] == "top-k":
        found = sparse_path.recovered_supports(dictionary, code, rule="top-k", k=code.row_size)
        return [found], [np.zeros(code.batch_shape)]
    threshold = parameters["threshold"]
    if isinstance(threshold, str):
        threshold = thresholding.derived_thresholds(threshold, cascade, [code], parameters["rule"])
    threshold = threshold[0] if isinstance(threshold, list) else threshold
    threshold = np.array(np.broadcast_to(np.asarray(threshold, dtype=np.float64), code.batch_shape))
    found = sparse_path.recovered_supports(dictionary, code, rule=parameters["rule"], threshold=threshold)
    return [found], [threshold]


def _dense(
    cascade: Cascade, codes: list[RaggedCodes], method: pursuit.Pursuit, parameters: Mapping[str, Any]
) -> tuple[list[RaggedCodes], list[np.ndarray]]:
    batch = codes[0].batch_shape
    total = codes[0].row_size.size
    found: list[list[RaggedCodes]] = [[] for _ in codes]
    thresholds: list[list[np.ndarray]] = [[] for _ in codes]
    for start in range(0, total, seeds.BLOCK):
        rows = slice(start, min(start + seeds.BLOCK, total))
        reference = [code.rows(rows).to_dense() for code in codes]
        result = method(cascade, cascade.synthesize_layer(1, reference[0]), reference=reference, **parameters)
        for layer, (code, threshold) in enumerate(zip(result.codes, result.thresholds, strict=True)):
            found[layer].append(RaggedCodes.from_dense(code, codes[layer].code_shape))
            thresholds[layer].append(threshold)
    return (
        [ragged.concatenate(parts).reshape(batch) for parts in found],
        [np.concatenate(parts).reshape(batch) for parts in thresholds],
    )
