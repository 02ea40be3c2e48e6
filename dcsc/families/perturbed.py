"""Random perturbations of another family of filters, to vary the coherence continuously."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator

from dcsc.families import registry
from dcsc.families.sizes import Grid, at_least
from dcsc.model.dictionary import ConvolutionalDictionary


@registry.register("perturbed")
def perturbed(
    grid: Grid, rng: Generator, *, base: str, perturbation: float, **base_parameters: Any
) -> ConvolutionalDictionary:
    """
    Perturb the filters f of another family to normalise(f + perturbation * g), g Gaussian.

    When to take it: for a sweep over coherence in which nothing else changes; the perturbation is the axis.

    The same seed gives the same base and the same g at every perturbation, so that a sweep varies the
    perturbation alone. g does not depend on what the base draws.

    Parameters
    ----------
    grid : tuple of int, in grid points
        The periodic grid, of any rank of the base.
    rng : numpy.random.Generator
        Draws the base; a stream spawned from it draws g with entries N(0, 1 / entries of a filter).
    base : str
        Another family.
    perturbation : float
        Size of the perturbation relative to the unit norm of the filters, 0 or more.
    **base_parameters : dict
        Parameters of the base.

    Returns
    -------
    ConvolutionalDictionary
        With the sizes and stride of the base; at perturbation 0 the base itself.

    Raises
    ------
    UserError
        When the perturbation is negative or the base does not allow its parameters.
    """
    at_least(0, perturbation=perturbation)
    (directions,) = rng.spawn(1)
    dictionary = registry.create(base, grid, rng, **base_parameters)
    if perturbation == 0:
        return dictionary
    entries = dictionary.filters[0].size
    direction = directions.standard_normal(dictionary.filters.shape) / np.sqrt(entries)
    return ConvolutionalDictionary(
        dictionary.filters + perturbation * direction, dictionary.stride, dictionary.grid, normalize=True
    )
