"""Second stage: draw the deepest codes of every cell and derive the codes of the layers above."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from dcsc import ragged, seeds, sparse_path
from dcsc.dataset import BATCH, codes_from_dataset, codes_to_dataset
from dcsc.dictionary import ConvolutionalDictionary
from dcsc.ragged import RaggedCodes
from dcsc.stages.dictionaries import cascade_of


def sample_signals(settings: Mapping[str, Any], dictionaries: xr.DataTree) -> dict[str, xr.Dataset]:
    """
    Draw the codes of one chunk of trials, for every replicate, kind of signs and number of active atoms.

    Parameters
    ----------
    settings : mapping
        `seed`, `experiment`, `cascade` (name of the member), `signals` (as in the
        configuration) and `blocks` (first and last + 1).
    dictionaries : DataTree
        Of the dictionaries stage.

    Returns
    -------
    dict of str to Dataset
        One group a layer, after the schema of the signals stage.
    """
    options = settings["signals"]
    trials = np.arange(settings["blocks"][0] * seeds.BLOCK, min(settings["blocks"][1] * seeds.BLOCK, options["trials"]))
    n_replicates = dictionaries["layer_1"].sizes["replicate"]
    parts: list[list[RaggedCodes]] = [[] for _ in dictionaries.children]
    for replicate in range(n_replicates):
        cascade = cascade_of(dictionaries, replicate)
        deepest = [
            [_draw_block(settings, replicate, active, block, cascade.dictionaries[-1]) for active in options["active"]]
            for block in range(*settings["blocks"])
        ]
        for index, _ in enumerate(options["signs"]):
            for cell, _ in enumerate(options["active"]):
                code = ragged.concatenate([block[cell][index] for block in deepest]).rows(slice(0, len(trials)))
                parts[-1].append(code)
                for layer, above in _layers_above(cascade, code):
                    parts[layer - 1].append(above)
    shape = (n_replicates, len(options["signs"]), len(options["active"]), len(trials))
    coordinates = dict(zip(BATCH, (np.arange(n_replicates), options["signs"], options["active"], trials), strict=True))
    return {
        f"/layer_{layer}": codes_to_dataset(ragged.concatenate(codes).reshape(shape)).assign_coords(coordinates)
        for layer, codes in enumerate(parts, start=1)
    }


def _layers_above(cascade: Any, deepest: RaggedCodes) -> list[tuple[int, RaggedCodes]]:
    """Codes of the layers above the deepest; the signal itself is not needed, and never formed."""
    if cascade.depth == 1:
        return []
    integers = deepest.with_values(deepest.value.astype(np.int64))
    exact = np.array_equal(integers.value, deepest.value)
    inner = type(cascade)(cascade.dictionaries[1:])
    layers = inner.synthesize((integers if exact else deepest).to_dense())[:-1]
    shapes = [dictionary.code_shape for dictionary in cascade.dictionaries]
    return [(layer, RaggedCodes.from_dense(code, shapes[layer - 1])) for layer, code in enumerate(layers, start=1)]


def _draw_block(
    settings: Mapping[str, Any], replicate: int, active: int, block: int, dictionary: ConvolutionalDictionary
) -> list[RaggedCodes]:
    """One block of trials of one cell, a version for each kind of signs, all on the same supports."""
    options = settings["signals"]
    key = {
        "experiment": settings["experiment"],
        "cascade": settings["cascade"],
        "replicate": replicate,
        "active": active,
        "block": block,
    }
    streams = {name: seeds.stream(settings["seed"], purpose=name, **key) for name in ("support", "magnitudes", "signs")}
    keys = streams["support"].random((seeds.BLOCK, dictionary.n_atoms))
    atoms = np.sort(np.argpartition(keys, active - 1, axis=1)[:, :active], axis=1).astype(np.int32)
    positive = RaggedCodes(
        np.full(seeds.BLOCK, active, dtype=np.int64), atoms.ravel(), np.ones(atoms.size), dictionary.code_shape
    )
    drawn = []
    for kind in options["signs"]:
        if kind == "rademacher":
            signs = streams["signs"].choice([-1.0, 1.0], len(positive.atom))
        elif kind == "positive":
            signs = np.ones(len(positive.atom))
        else:
            signs = _worst_signs(dictionary, positive)
        drawn.append(positive.with_values(positive.value * signs))
    return drawn


def _worst_signs(dictionary: ConvolutionalDictionary, codes: RaggedCodes) -> np.ndarray:
    bound = sparse_path.interference_bound(dictionary, codes).reshape(len(codes.row_size), -1)
    dense = codes.to_dense().reshape(bound.shape)
    slack = np.where(dense != 0, dense - bound, 1 - bound)
    matrix = dictionary.to_sparse()
    signs = []
    for row, worst in enumerate(slack.argmin(axis=1)):
        active = np.flatnonzero(dense[row])
        g = (matrix[:, active].T @ matrix[:, [worst]]).toarray()[:, 0]
        sign = np.where(g >= 0, 1.0, -1.0)
        signs.append(np.where(active == worst, -1.0, sign))
    return np.concatenate(signs)


def threshold_of(codes: RaggedCodes) -> np.ndarray:
    """
    Give the threshold that the worst-case signs aim at, X_min / 2.

    Parameters
    ----------
    codes : RaggedCodes
        Without empty codes.

    Returns
    -------
    ndarray, shape (...)
        One threshold a code.
    """
    return np.minimum.reduceat(np.abs(codes.value), codes.starts[:-1]).reshape(codes.batch_shape) / 2


def depth_of(signals: xr.DataTree) -> int:
    """
    Count the layers of a dataset of codes.

    Parameters
    ----------
    signals : DataTree
        Of the signals stage.

    Returns
    -------
    int
        L.
    """
    return len(signals.children)


def codes_of_replicate(signals: xr.DataTree, layer: int, replicate: int) -> RaggedCodes:
    """
    Read the codes of one layer and dictionary replicate.

    Parameters
    ----------
    signals : DataTree
        Of the signals stage.
    layer : int
        1..L.
    replicate : int
        Which draw of the dictionary.

    Returns
    -------
    RaggedCodes
        With batch axes (signs, active, trial).
    """
    return codes_from_dataset(signals[f"layer_{layer}"])[replicate]


def batch_coordinates(signals: xr.DataTree) -> dict[str, np.ndarray]:
    """
    Read the coordinates of the sweep axes.

    Parameters
    ----------
    signals : DataTree
        Of the signals stage.

    Returns
    -------
    dict of str to ndarray
        For each of replicate, signs, active and trial.
    """
    return {name: signals["layer_1"].coords[name].to_numpy() for name in BATCH}
