"""Random dictionaries, codes and cascades for property tests, and brute-force references made by loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import strategies as st

from dcsc import Cascade, ConvolutionalDictionary


@st.composite
def dictionaries(draw, ranks=(1, 2), dtypes=(np.float64,), max_taps=5, max_filters=3, max_channels=2, n_channels=None):
    rank = draw(st.sampled_from(ranks))
    taps, stride, grid = [], [], []
    for _ in range(rank):
        tap = draw(st.integers(1, max_taps if rank == 1 else min(max_taps, 4)))
        step = draw(st.integers(1, 3))
        positions = draw(st.integers(2 * math.ceil(tap / step) - 1, 2 * math.ceil(tap / step) + 2))
        taps.append(tap)
        stride.append(step)
        grid.append(positions * step)
    shape = (draw(st.integers(1, max_filters)), n_channels or draw(st.integers(1, max_channels)), *taps)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from(dtypes))
    return ConvolutionalDictionary(rng.standard_normal(shape).astype(dtype), stride, grid, normalize=True)


def dense_matrix(dictionary):
    """The dictionary as a dense matrix, one tap at a time."""
    matrix = np.zeros((math.prod(dictionary.signal_shape), dictionary.n_atoms))
    columns = itertools.product(range(dictionary.n_filters), *map(range, dictionary.positions))
    for column, (i, *position) in enumerate(columns):
        for channel in range(dictionary.n_channels):
            for tap in itertools.product(*map(range, dictionary.taps)):
                point = [
                    (p * step + t) % n
                    for p, step, t, n in zip(position, dictionary.stride, tap, dictionary.grid, strict=True)
                ]
                row = np.ravel_multi_index((channel, *point), dictionary.signal_shape)
                matrix[row, column] += dictionary.filters[(i, channel, *tap)]
    return matrix


@st.composite
def cascades(draw, max_depth=3, **options):
    """Cascades of up to max_depth layers that fit one another, made from the signal inwards."""
    layers = [draw(dictionaries(**options))]
    for _ in range(draw(st.integers(1, max_depth)) - 1):
        above = layers[-1]
        taps, stride = [], []
        for positions in above.positions:
            step = draw(st.sampled_from([s for s in (1, 2, 3) if positions % s == 0]))
            longest = (positions // step + 1) // 2 * step
            taps.append(draw(st.integers(1, min(longest, 5))))
            stride.append(step)
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        shape = (draw(st.integers(1, 3)), above.n_filters, *taps)
        layers.append(ConvolutionalDictionary(rng.standard_normal(shape), stride, above.positions, normalize=True))
    return Cascade(layers)


def sparse_codes(rng, shape, density=0.2, batch=()):
    """Gaussian codes with a share of non-zeros."""
    return rng.standard_normal((*batch, *shape)) * (rng.random((*batch, *shape)) < density)
