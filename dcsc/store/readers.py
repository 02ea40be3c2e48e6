"""Readers of datasets for stages and figures: cascades, codes, signs and noise."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.ragged import RaggedCodes
from dcsc.store.dataset import codes_from_dataset
from dcsc.store.schemas import BATCH


def cascade_of(dictionaries: xr.DataTree, replicate: int) -> Cascade:
    """
    Rebuild one replicate of a cascade from its dataset, bit for bit.

    Parameters
    ----------
    dictionaries : DataTree
        Of the dictionaries stage.
    replicate : int
        Which draw.

    Returns
    -------
    Cascade
        Without signs.
    """
    built = []
    for group in _layers(dictionaries):
        layer = group.to_dataset().isel(replicate=replicate)
        stride, grid = (tuple(int(n) for n in layer[name].to_numpy()) for name in ("stride", "grid"))
        integers = layer["integer_filters"].to_numpy() if "integer_filters" in layer else None
        built.append(ConvolutionalDictionary(layer["filters"].to_numpy(), stride, grid, integer_filters=integers))
    return Cascade(built)


def cascades_of(dictionaries: xr.DataTree) -> list[Cascade]:
    """
    Rebuild every replicate of a cascade; each keeps what is prepared of its filters, hence is built once in a job.

    Parameters
    ----------
    dictionaries : DataTree
        Of the dictionaries stage.

    Returns
    -------
    list of Cascade
        Without signs.
    """
    return [cascade_of(dictionaries, replicate) for replicate in range(dictionaries["layer_1"].sizes["replicate"])]


def _layers(tree: xr.DataTree) -> list[xr.DataTree]:
    return [tree.children[f"layer_{layer}"] for layer in range(1, depth_of(tree) + 1)]


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
    return sum(name.startswith("layer_") for name in signals.children)


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
        With batch axes (variant, active, trial).
    """
    return codes_from_dataset(signals.children[f"layer_{layer}"], replicate)


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


def layer_signs_of_replicate(signals: xr.DataTree, replicate: int) -> list[NDArray] | None:
    """
    Read the signs T^(l) of D-CSC-R.

    Parameters
    ----------
    signals : DataTree
        Of the signals stage.
    replicate : int
        Which draw of the dictionary.

    Returns
    -------
    list of ndarray of int8, each of shape (variant, active, trial, filter, *position), or None
        None in the plain model.
    """
    if "layer_signs" not in signals["layer_1"]:
        return None
    layers = []
    for group in _layers(signals):
        signs = group["layer_signs"].isel(replicate=replicate).to_numpy()
        layers.append(signs.reshape(*signs.shape[:-1], *(int(n) for n in group["code_shape"])))
    return layers


def noise_of_replicate(signals: xr.DataTree, replicate: int) -> NDArray | None:
    """
    Read the noise of the signals.

    Parameters
    ----------
    signals : DataTree
        Of the signals stage.
    replicate : int
        Which draw of the dictionary.

    Returns
    -------
    ndarray, shape (variant, active, trial, channel, *space), or None
        None without noise.
    """
    return signals["noise"]["noise"].isel(replicate=replicate).to_numpy() if "noise" in signals.children else None
