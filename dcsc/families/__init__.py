"""
Named families of filters, from which dictionaries are built, and the registry that users extend.

>>> import dcsc
>>> import dcsc.families
>>> import numpy as np
>>> dcsc.families.create("lapped", grid=(64,), n_filters=4)
ConvolutionalDictionary(4 filters, 1 channels, taps (8,), stride (4,), grid (64,), float64)

A family is a function of the grid, a random generator and keyword-only parameters.
One of your own, in a file named by `plugins` in the configuration or in a notebook:

>>> @dcsc.families.register("exponential")
... def exponential(grid, rng, *, rates: tuple[float, ...], taps: int):
...     filters = np.exp(-np.outer(rates, np.arange(taps)))
...     return dcsc.ConvolutionalDictionary(filters[:, None, :], 1, grid, normalize=True)
>>> dcsc.families.create("exponential", grid=(64,), rates=(0.5, 1.0), taps=8)
ConvolutionalDictionary(2 filters, 1 channels, taps (8,), stride (1,), grid (64,), float64)

The values in a configuration are checked against these annotations before anything is built.
A family that takes ``**base_parameters`` passes them on to the family that its
parameter ``base`` names, as "perturbed" does.
"""

from __future__ import annotations

# Importing a module registers its families; PyWavelets and scipy are imported when a family is built.
from dcsc.families import (  # noqa: F401
    aligned,
    file,
    integer,
    lapped,
    low_coherence,
    optimised,
    perturbed,
    randomised,
    transforms,
    wavelets,
)
from dcsc.families.registry import Parameter, check, create, files, names, parameters, register

__all__ = ["Parameter", "check", "create", "files", "names", "parameters", "register"]
