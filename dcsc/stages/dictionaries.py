"""First stage: draw the dictionaries of a cascade, all replicates of it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from dcsc import families, seeds
from dcsc.errors import UserError
from dcsc.families.registry import FAMILIES
from dcsc.model import coherence
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.store.schemas import spatial_names

EXPENSIVE = {"optimised": "gaussian"}
"""Families that take long to build, and the quick family of the same sizes that stands in to check them."""


def _layers(member: Mapping[str, Any], seed: int, replicate: int, quick: bool) -> list[ConvolutionalDictionary]:
    built: list[ConvolutionalDictionary] = []
    grid = tuple(member["grid"])
    for layer, options in enumerate(member["layers"], start=1):
        family, parameters = options["family"], dict(options["parameters"])
        rng = seeds.stream(seed, purpose="dictionary", **_key(member, layer), replicate=replicate)
        if built and built[-1].n_filters > 1 and _takes_channels(family, parameters):
            parameters.setdefault("n_channels", built[-1].n_filters)
        if quick and family in EXPENSIVE:
            family = EXPENSIVE[family]
            allowed = families.parameters(family)
            parameters = {name: value for name, value in parameters.items() if name in allowed}
        built.append(families.create(family, grid, rng, **parameters))
        grid = built[-1].positions
    return built


def _takes_channels(family: str, given: Mapping[str, Any]) -> bool:
    """Whether a family, or the base that it passes parameters on to, is told its channels; others bring their own."""
    if "n_channels" in families.parameters(family):
        return True
    base = given.get("base") if FAMILIES.passes_on(family) else None
    return isinstance(base, str) and base in families.names() and _takes_channels(base, {})


def _key(member: Mapping[str, Any], layer: int) -> dict[str, Any]:
    """
    What tells the random stream of a layer from others: what the configuration says of it, and not what varies.

    Neither the grid nor what follows from the layers before (channels, positions) enters, so that the members
    of a series are paired: each differs from the others in the varied parameter alone.
    """
    options, varied = member["layers"][layer - 1], member.get("varied")
    parameters = dict(options["parameters"])
    if varied and varied["layer"] == layer:
        parameters.pop(varied["parameter"], None)
    return {"family": options["family"], "parameters": parameters, "axes": len(member["grid"]), "layer": layer}


def trial_cascade(member: Mapping[str, Any]) -> Cascade:
    """
    Build one replicate of a cascade quickly, to see whether its layers fit.

    Parameters
    ----------
    member : mapping
        Its `grid`, `layers` (family and parameters) and `replicates`.

    Returns
    -------
    Cascade
        Of the right sizes; families that take long are replaced.

    Raises
    ------
    UserError
        When a family, a parameter or a size is wrong.
    """
    return Cascade(_layers(member, 0, 0, quick=True))


@functools.lru_cache(maxsize=1024)
def _trial_layers(member: str) -> tuple[ConvolutionalDictionary, ...]:
    return tuple(trial_cascade(json.loads(member)).dictionaries)


def trial_layers(member: Mapping[str, Any]) -> tuple[ConvolutionalDictionary, ...]:
    """
    Build the layers of one replicate quickly, once.

    Parameters
    ----------
    member : mapping
        Its `grid`, `layers` and `replicates`.

    Returns
    -------
    tuple of ConvolutionalDictionary
        Of the right sizes; families that take long are replaced.
    """
    return _trial_layers(json.dumps(member, sort_keys=True))


def draw_dictionaries(member: Mapping[str, Any], seed: int) -> dict[str, xr.Dataset]:
    """
    Draw every replicate of a cascade.

    Parameters
    ----------
    member : mapping
        Its `grid`, `layers` and `replicates`, and of a series what is `varied`: `parameter`, `value` and `layer`.
        The value does not enter the random streams, so that the members of a series are paired.
    seed : int
        Seed of the study.

    Returns
    -------
    dict of str to Dataset
        One group a layer, after the schema of the dictionaries stage.

    Raises
    ------
    UserError
        When the layers do not fit.
    """
    replicates = [Cascade(_layers(member, seed, number, quick=False)) for number in range(member["replicates"])]
    groups = {}
    for index in range(replicates[0].depth):
        layer = [replicate.dictionaries[index] for replicate in replicates]
        shapes = {(of.filters.shape, of.stride) for of in layer}
        if len(shapes) > 1:
            raise UserError(
                f"the family {member['layers'][index]['family']!r} of layer {index + 1} gave replicates of different "
                f"shapes and strides, {' and '.join(map(str, sorted(shapes)))}: make it give one shape."
            )
        first = layer[0]
        dims = ("replicate", "filter", "channel", *spatial_names("tap", first.rank))
        variables = {
            "filters": (dims, np.stack([dictionary.filters for dictionary in layer])),
            "stride": ("axis", np.asarray(first.stride)),
            "grid": ("axis", np.asarray(first.grid)),
            "mutual_coherence": ("replicate", [coherence.mutual_coherence(dictionary) for dictionary in layer]),
            "welch_bound": ((), coherence.welch_bound(first)),
        }
        integer = [dictionary.integer_filters for dictionary in layer if dictionary.integer_filters is not None]
        if len(integer) == len(layer):
            variables["integer_filters"] = (dims, np.stack(integer))
        groups[f"/layer_{index + 1}"] = xr.Dataset(variables)
    return groups
