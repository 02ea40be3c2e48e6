"""
Small cascades whose failure rates are exact: every choice of signs of every layer, in plain dense numpy.

Nothing here uses the library but to hand over filters; matrices, paths and pursuits are written out anew.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.special import ndtr

from dcsc import Cascade, ConvolutionalDictionary

LARGEST = 2**11
"""Choices of signs that are enumerated at most."""

ROUNDING = 1e-9
"""Entries below are cancellations; of the magnitudes used here none comes near."""


@dataclass(frozen=True, eq=False)
class Small:
    """Filters (filter, channel, tap), strides and grids of a cascade, from layer 1 to layer L."""

    filters: list[np.ndarray]
    strides: list[int]
    grids: list[int]

    @property
    def depth(self):
        return len(self.filters)

    @cached_property
    def matrices(self):
        """The dictionaries as dense matrices, columns in C order of (filter, position)."""
        return [dense(*layer) for layer in zip(self.filters, self.strides, self.grids, strict=True)]

    @cached_property
    def cascade(self):
        layers = zip(self.filters, self.strides, self.grids, strict=True)
        return Cascade([ConvolutionalDictionary(filters, stride, (grid,)) for filters, stride, grid in layers])

    def shaped(self, codes):
        """Codes of every layer as the library takes them."""
        return [code.reshape(len(code), len(filters), -1) for code, filters in zip(codes, self.filters, strict=True)]


def dense(filters, stride, grid):
    """Write out the columns of one convolutional dictionary, one tap at a time."""
    n_filters, n_channels, taps = filters.shape
    matrix = np.zeros((n_channels, grid, n_filters, grid // stride))
    for place, tap in itertools.product(range(grid // stride), range(taps)):
        matrix[:, (place * stride + tap) % grid, :, place] += filters[:, :, tap].T
    return matrix.reshape(n_channels * grid, -1)


@dataclass(frozen=True, eq=False)
class Paths:
    """
    Every path that the signs of a deepest code make, each equally likely.

    `codes` [X^(1), ..., X^(L)] has a row a draw. A trial has the signs of layer 1, too: it belongs to a draw, and
    `signs` [T^(1), ..., T^(L)] has a row a trial; all ones in the plain model, in which every draw is a trial.
    """

    small: Small
    codes: list[np.ndarray]
    draw: np.ndarray
    signs: list[np.ndarray]


def random_sign_paths(small, deepest):
    """The paths of D-CSC-R; nothing if they are too many."""
    codes, signs, rows = [deepest[None]], [], np.zeros(1, dtype=int)
    for matrix in small.matrices[:0:-1]:
        grown = _enumerated(codes[0])
        if grown is None or sum(len(one) for one in grown) > LARGEST:
            return None
        chosen = np.repeat(np.arange(len(codes[0])), [len(one) for one in grown])
        codes, signs = [code[chosen] for code in codes], [sign[chosen] for sign in signs]
        signs.insert(0, np.concatenate(grown))
        made = (signs[0] * codes[0]) @ matrix.T
        codes.insert(0, np.where(np.abs(made) > ROUNDING, made, 0.0))
    first = small.matrices[0]
    if np.array_equal(first.T @ first, np.eye(first.shape[1])):
        grown = [np.ones((1, first.shape[1]))] * len(codes[0])  # nothing interferes, whatever the signs
    else:
        grown = _enumerated(codes[0])
    if grown is None or sum(len(one) for one in grown) > LARGEST:
        return None
    rows = np.repeat(np.arange(len(codes[0])), [len(one) for one in grown])
    return Paths(small, codes, rows, [np.concatenate(grown), *(sign[rows] for sign in signs)])


def _enumerated(codes):
    """For each code all signs of its active atoms, as often as the code with most of them has; 1 elsewhere."""
    most = max(np.count_nonzero(code) for code in codes)
    if 2**most * len(codes) > LARGEST:
        return None
    choices = np.array(list(itertools.product([1.0, -1.0], repeat=most))).reshape(-1, most)
    found = []
    for code in codes:
        active = np.flatnonzero(code)
        signs = np.ones((len(choices), len(code)))
        signs[:, active] = choices[:, : len(active)]
        found.append(signs)
    return found


def plain_paths(small, deepest):
    """The paths of the plain model, whose deepest code alone has random signs."""
    codes = [_enumerated(deepest[None])[0] * np.abs(deepest)]
    for matrix in small.matrices[:0:-1]:
        made = codes[0] @ matrix.T
        codes.insert(0, np.where(np.abs(made) > ROUNDING, made, 0.0))
    return Paths(small, codes, np.arange(len(codes[0])), [np.ones_like(code) for code in codes])


@dataclass(frozen=True, eq=False)
class Pursuit:
    """A layered pursuit: "hard", "soft", "relu" or "top-k", thresholds of each layer one a draw, or a draw and atom."""

    rule: str
    thresholds: list[np.ndarray] = field(default_factory=list)
    debias: bool = False


def failure_rate(paths, pursuit, eps=0.0, deviation=0.0):
    """
    Exact share of signs for which a pursuit misses the path.

    With noise of at most eps a lower bound: for each choice of signs the noise is along the atom of the first layer
    that is nearest to failing, or along another. With Gaussian noise: of the first layer, for the atom that fails
    most often, a lower bound, too.
    """
    clean = _synthesis(paths)
    if deviation:
        return float(_gaussian_failures(paths, pursuit, clean, deviation).mean())
    recovered = _recovered(paths, pursuit, clean)
    if eps:
        matrix, active = paths.small.matrices[0], paths.codes[0][paths.draw] != 0
        correlation = clean @ matrix
        towards = np.where(active, -1.0, 1.0) * np.where(correlation < 0, -1.0, 1.0)
        beta = _of_trials(pursuit.thresholds[0], paths) if pursuit.rule != "top-k" else 0.5
        nearest = np.argmin(np.abs(np.abs(correlation) - beta), axis=1)
        for atoms in (nearest, np.arange(len(clean)) % matrix.shape[1]):
            along = matrix[:, atoms].T * towards[np.arange(len(clean)), atoms, None]
            recovered = np.minimum(recovered, _recovered(paths, pursuit, clean + eps * (1 - ROUNDING) * along))
    return float(1 - recovered.mean())


def recovered_draws(paths, pursuit):
    """Share of signs of layer 1 for which each draw is recovered."""
    found = _recovered(paths, pursuit, _synthesis(paths))
    return np.bincount(paths.draw, found) / np.bincount(paths.draw)


def _of_trials(thresholds, paths):
    spread = thresholds if thresholds.ndim > 1 else thresholds[:, None]
    return spread[paths.draw]


def _synthesis(paths):
    return (paths.signs[0] * paths.codes[0][paths.draw]) @ paths.small.matrices[0].T


def _recovered(paths, pursuit, signals):
    """Probability that each trial is recovered: 0 or 1, but for ReLU, where signs of inactive atoms play their part."""
    chance, current = np.ones(len(signals)), signals
    for layer, (matrix, codes, signs) in enumerate(zip(paths.small.matrices, paths.codes, paths.signs, strict=True)):
        truth = codes[paths.draw]
        active = truth != 0
        correlation = signs * (current @ matrix)
        size = np.abs(correlation)
        beta = _of_trials(pursuit.thresholds[layer], paths) if pursuit.rule != "top-k" else None
        if pursuit.rule == "top-k":
            smallest = np.where(active, size, np.inf).min(axis=1)
            chance = chance * (smallest > np.where(active, -1.0, size).max(axis=1))
        else:
            kept = correlation if pursuit.rule == "relu" else size
            chance = chance * np.where(active, kept > beta, True).all(axis=1)
            alarms = (~active & (size > beta)).sum(axis=1)
            chance = chance * (0.5**alarms if pursuit.rule == "relu" else alarms == 0)
        shrunk = correlation - np.sign(correlation) * beta if pursuit.rule in ("soft", "relu") else correlation
        fitted = _fitted(matrix, codes, paths.draw, current) * signs if pursuit.debias else shrunk
        current = np.where(active, fitted, 0.0)
    return chance


def _fitted(matrix, codes, draw, signals):
    """Least squares on the support of each draw, of minimum norm where atoms are dependent."""
    supports, which = np.unique(codes != 0, axis=0, return_inverse=True)
    inverses = np.zeros((len(supports), *matrix.T.shape))
    for inverse, support in zip(inverses, supports, strict=True):
        inverse[support] = np.linalg.pinv(matrix[:, support])
    found = np.empty((len(signals), matrix.shape[1]))
    for number, inverse in enumerate(inverses):
        rows = which.ravel()[draw] == number
        found[rows] = signals[rows] @ inverse.T
    return found


def _gaussian_failures(paths, pursuit, clean, deviation):
    active = paths.codes[0][paths.draw] != 0
    correlation = paths.signs[0] * (clean @ paths.small.matrices[0])
    beta = pursuit.thresholds[0][paths.draw, None]
    above, below = ndtr((correlation - beta) / deviation), ndtr((-correlation - beta) / deviation)
    if pursuit.rule == "relu":
        fails = np.where(active, 1 - above, (above + below) / 2)
    else:
        fails = np.where(active, 1 - above - below, above + below)
    return np.minimum(fails.max(axis=1), 1.0)  # a threshold may be below 0


def random_small(rng):
    """
    A cascade of one to three layers.

    Most layers are nearly orthonormal but for a few atoms that weigh many others, so that bounds are neither 0 nor 1;
    pairs of filters (1, 1) and (1, -1) write to the same entries, where they cancel. Others are integers at random.
    """
    depth = int(rng.choice([1, 2, 2, 3]))
    positions = int(rng.choice([1, 1, 2, 3]))
    channels, filters, strides, grids = int(rng.integers(6, 13)), [], [], []
    for layer in range(depth):
        if rng.random() < 0.12:
            found, stride = _integer_filters(rng, channels, positions)
        else:
            found, stride = _weighing_filters(rng, channels, positions, first=layer == 0), 1
        filters.append(found / np.linalg.norm(found.reshape(len(found), -1), axis=1)[:, None, None])
        strides.append(stride)
        grids.append(positions)
        positions, channels = positions // stride, len(found)
    return Small(filters, strides, grids)


def aligned_sum(active, common, weight, above):
    """
    Two layers that fail in the deepest if its signs agree, and in the first unless they do.

    `active` deepest atoms write each to an entry of its own, and `common` to a common one: it is small unless all
    signs agree. One more atom weighs each of them by about `weight`. An atom of layer 1 weighs one entry by `above`.
    """
    inner = np.zeros((active + 1, active + 2))
    inner[:active, :active], inner[:active, active] = np.eye(active), common
    inner[:active] /= math.hypot(1, common)
    inner[active] = weight * inner[:active].sum(axis=0)
    inner[active, -1] = math.sqrt(1 - (inner[active] ** 2).sum())
    outer = np.eye(active + 2)
    if above:
        outer[-1, 0], outer[-1, -1] = above, math.sqrt(1 - above**2)
    deepest = np.append(np.ones(active), 0.0)
    return Small([outer[..., None], inner[..., None]], [1, 1], [1, 1]), deepest


def _integer_filters(rng, channels, positions):
    stride = int(rng.choice([s for s in (1, 2, 3) if positions % s == 0]))
    longest = (positions // stride + 1) // 2 * stride
    taps = int(rng.integers(1, longest + 1))
    filters = np.zeros((int(rng.integers(2, 7)), channels, taps))
    for one in filters:
        places = rng.choice(one.size, min(one.size, int(rng.integers(1, 5))), replace=False)
        one.flat[places] = rng.choice([-2, -1, -1, 1, 1, 2], len(places))
    return filters, stride


def _weighing_filters(rng, channels, positions, first):
    """An orthonormal basis of some of the channels, and atoms that weigh it, each with a channel of its own."""
    order = list(rng.permutation(channels))
    own = [order.pop() for _ in range(min(channels - 1, int(rng.choice([0, 1, 2] if first else [0, 0, 1, 2]))))]
    taps = int(rng.integers(1, 3)) if positions == 3 else 1
    basis = []
    while order:
        width = min(len(order), int(rng.choice([1, 1, 2] if first else [1, 1, 2, 4])))
        width -= width == 3
        chosen = [order.pop() for _ in range(width)]
        signs = np.array([[(-1) ** (a & b).bit_count() for b in range(width)] for a in range(width)])
        for row in signs[: width if rng.random() < 0.7 else 1]:
            one = np.zeros(channels)
            one[chosen] = row / math.sqrt(width)
            basis.append(one)
    if own and not first and rng.random() < 0.5:
        # All write a little to one channel: its entry is large when signs agree, and too small to be seen otherwise.
        weight = float(rng.choice([0.1, 0.2, 0.3]))
        for one in basis:
            one[own[0]] = weight * rng.choice([-1, 1])
    filters = [np.pad(one[:, None], ((0, 0), (0, taps - 1))) for one in basis]
    for channel in own:
        weights = np.zeros((len(basis), taps))
        several = rng.choice(weights.size, min(weights.size, int(rng.choice([1, 2, 3, 3, 4, 5, 6, 8]))), replace=False)
        # The sum of all weights just reaches a magnitude, or half of it, when the signs agree.
        total = rng.choice([0.3, 0.45, 0.55, 0.75, 0.9, 1.02, 1.1, 1.3])
        weights.flat[several] = total / len(several) * rng.choice([-1, 1], len(several))
        one = np.array(basis).T @ weights
        one[channel, 0] = math.sqrt(max(1 - (weights**2).sum(), 0.05))
        filters.append(one)
    return np.array(filters)


def random_deepest(rng, small):
    """A deepest code with few active atoms."""
    n_atoms = small.matrices[-1].shape[1]
    code = np.zeros(n_atoms)
    largest = {1: 10, 2: 5, 3: 3}[small.depth]
    active = rng.choice(n_atoms, min(n_atoms, int(rng.integers(1, largest + 1))), replace=False)
    if rng.random() < 0.5:  # rather those that meet at one atom
        one = small.matrices[-1].T @ small.matrices[-1][:, active[0]]
        active = np.argsort(-np.where(np.arange(n_atoms) == active[0], 0, np.abs(one)))[: len(active)]
    code[active] = rng.choice([1.0, 1.0, 1.0, 0.9, 0.5], len(active))
    return code if rng.random() < 0.8 else np.where(code > 0, 1.0, 0.0)
