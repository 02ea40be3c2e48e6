"""The density of each layer of a cascade as a function of the number of active atoms of the deepest layer."""

from __future__ import annotations

import functools
import json

from dcsc import seeds
from dcsc.errors import UserError
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.layers import layers_of
from dcsc.sampling.registry import named
from dcsc.sampling.values import sample_codes

Layers = tuple[ConvolutionalDictionary, ...]

NEAR = 1.5
"""How far, as a ratio, the density of one active deepest atom may lie above one that is asked for."""


@functools.lru_cache(maxsize=4096)
def mean_density(layers: Layers, layer: int, active: int, support: str) -> float:
    """
    Estimate the share of active atoms of a layer.

    Parameters
    ----------
    layers : tuple of ConvolutionalDictionary
        A^(1), ..., A^(L).
    layer : int
        1..L.
    active : int
        Active atoms of the deepest layer.
    support : str
        JSON of the name of a sampler of supports, or of a mapping of `name` and parameters.

    Returns
    -------
    float
        Mean over one block of draws with a stream of their own; values are random, so that nothing cancels by rule.

    Raises
    ------
    UserError
        When there is no support of that size.
    """
    name, parameters = named(json.loads(support))
    rng = seeds.stream(0, purpose="density of a layer", active=active)
    law = {"name": name, "size": active, **parameters}
    deepest = sample_codes(rng, layers[-1], seeds.BLOCK, support=law, magnitudes="uniform")
    codes, _ = layers_of(layers, deepest)
    return float(codes[layer - 1].row_size.mean() / layers[layer - 1].n_atoms)


@functools.lru_cache(maxsize=1024)
def active_for(layers: Layers, layer: int, density: float, support: str) -> int:
    """
    Find the number of active deepest atoms that gives a layer a density.

    Parameters
    ----------
    layers, layer, support
        As for `mean_density`.
    density : float
        Share of its atoms that are active.

    Returns
    -------
    int
        The number whose mean density is nearest, as a ratio.

    Raises
    ------
    UserError
        When one deepest atom gives more, or all of them give less.
    """
    least = mean_density(layers, layer, 1, support)
    if density * NEAR < least:
        raise UserError(
            f"{density:g} of layer {layer} is not reached: a single deepest atom activates {least:.2g} of its atoms, "
            "raise it."
        )
    low, high = 1, layers[-1].n_atoms + 1  # beyond the last number every density is too large
    while high - low > 1:
        middle = (low + high) // 2
        if _above(layers, layer, middle, support, density):
            high = middle
        else:
            low = middle
    below = mean_density(layers, layer, low, support)
    if high > layers[-1].n_atoms or _above(layers, layer, high, support, float("inf")):
        if below * NEAR < density:
            raise UserError(
                f"{density:g} of layer {layer} is not reached: {low} deepest atoms, the most that this support takes, "
                f"activate {below:.2g} of its atoms, lower it."
            )
        return low
    above = mean_density(layers, layer, high, support)
    return low if density**2 < below * above else high


def _above(layers: Layers, layer: int, active: int, support: str, density: float) -> bool:
    """Whether a number of atoms gives more than a density, or is more than a support takes."""
    try:
        return mean_density(layers, layer, active, support) > density
    except UserError:
        return True
