"""Second stage: draw the deepest codes of every cell and derive the codes of the layers above."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from dcsc import ragged, sampling, seeds
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
                for layer, part in enumerate(sampling.layers_of(cascade.dictionaries, code)[0]):
                    parts[layer].append(part)
    shape = (n_replicates, len(options["signs"]), len(options["active"]), len(trials))
    coordinates = dict(zip(BATCH, (np.arange(n_replicates), options["signs"], options["active"], trials), strict=True))
    return {
        f"/layer_{layer}": codes_to_dataset(ragged.concatenate(codes).reshape(shape)).assign_coords(coordinates)
        for layer, codes in enumerate(parts, start=1)
    }


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
    name, parameters = sampling.named(options["support"])
    support = sampling.draw_supports(name, streams["support"], dictionary, seeds.BLOCK, size=active, **parameters)
    name, parameters = sampling.named(options["magnitudes"])
    magnitudes = sampling.draw_magnitudes(name, streams["magnitudes"], len(support.atom), **parameters)
    positive = support.with_values(magnitudes)
    drawn = []
    for kind in options["signs"]:
        # The adversary aims at the threshold that the statistical guarantees prescribe.
        aim = {"threshold": smallest_magnitudes(positive) / 2} if kind == "worst-case" else {}
        signs = sampling.draw_signs(kind, streams["signs"], dictionary, positive, **aim)
        drawn.append(positive.with_values(magnitudes * signs))
    return drawn


def smallest_magnitudes(codes: RaggedCodes) -> np.ndarray:
    """
    Find the smallest magnitude of each code, X_min.

    Parameters
    ----------
    codes : RaggedCodes
        Without empty codes.

    Returns
    -------
    ndarray, shape (...)
        One magnitude a code.
    """
    return np.minimum.reduceat(np.abs(codes.value), codes.starts[:-1]).reshape(codes.batch_shape)


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
