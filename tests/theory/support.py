"""Dictionaries, codes, adversarial signs and brute-force references for the tests of the guarantees."""

from __future__ import annotations

import itertools
import math

import numpy as np

from dcsc import Cascade, ConvolutionalDictionary
from dcsc.guarantees import tails
from dcsc.model.sparsity import patch_l2
from dcsc.pursuit import layered_thresholding
from tests.strategies import dense_matrix


def dense_gram(dictionary):
    """Inner products of all atoms, with zeros on the diagonal."""
    matrix = dense_matrix(dictionary)
    gram = matrix.T @ matrix
    np.fill_diagonal(gram, 0.0)
    return gram


def nearly_orthogonal(seed, n_filters, n_channels, taps, stride, grid, perturbation):
    """Orthonormal blocks side by side, moved by Gaussian perturbations that reach beyond the block."""
    rng = np.random.default_rng(seed)
    reached = [min(s, t) for s, t in zip(stride, taps, strict=True)]
    size = n_channels * math.prod(reached)
    basis = np.linalg.qr(rng.standard_normal((size, size)))[0][:n_filters]
    filters = np.zeros((n_filters, n_channels, *taps))
    filters[(slice(None), slice(None), *map(slice, reached))] = basis.reshape(n_filters, n_channels, *reached)
    filters += perturbation * rng.standard_normal(filters.shape) / math.sqrt(n_channels * math.prod(taps))
    return ConvolutionalDictionary(filters, stride, grid, normalize=True)


def sparse_groups(seed, n_filters, n_channels, taps, stride, grid, group, perturbation):
    """Filters with few non-zeros: groups on disjoint supports, orthonormal in a group but for a perturbation."""
    rng = np.random.default_rng(seed)
    entries = rng.permutation(n_channels * math.prod(taps))
    filters = np.zeros((n_filters, len(entries)))
    for start in range(0, n_filters, group):
        # Hadamard-like magnitudes keep the contrast of what they synthesize high.
        basis = np.array([[(-1) ** (a & b).bit_count() for b in range(group)] for a in range(group)]) / math.sqrt(group)
        basis = basis + perturbation * rng.standard_normal(basis.shape) / math.sqrt(group)
        chosen = filters[start : start + group]
        chosen[:, entries[start : start + group]] = basis[: len(chosen)]
    return ConvolutionalDictionary(filters.reshape(n_filters, n_channels, *taps), stride, grid, normalize=True)


def integer_filter(positions):
    """The 20-tap filter of coherence 1/231 at stride 6."""
    taps = np.zeros((1, 1, 20), dtype=int)
    taps[0, 0, [2, 3, 6, 7, 14, 17, 18]] = [3, -8, -8, 7, 5, 4, 2]
    return ConvolutionalDictionary.from_integers(taps, 6, (6 * positions,))


DICTIONARIES = {
    "1-D, stride 8 of 16 taps": lambda: nearly_orthogonal(1, 8, 1, (16,), (8,), (96,), 0.1),
    "1-D, stride 8, low coherence": lambda: nearly_orthogonal(2, 8, 1, (20,), (8,), (96,), 0.02),
    "1-D, stride 1": lambda: nearly_orthogonal(3, 3, 8, (3,), (1,), (24,), 0.2),
    "1-D, two channels, stride 4": lambda: nearly_orthogonal(4, 8, 2, (10,), (4,), (48,), 0.2),
    "1-D, one filter": lambda: integer_filter(60),
    "2-D, stride 2 of 4 x 3 taps": lambda: nearly_orthogonal(5, 8, 4, (4, 3), (2, 2), (12, 8), 0.15),
    "2-D, unequal strides": lambda: nearly_orthogonal(6, 6, 2, (3, 5), (1, 3), (5, 12), 0.3),
    "2-D, orthonormal": lambda: nearly_orthogonal(7, 4, 1, (2, 2), (2, 2), (12, 12), 0.0),
}

CASCADES = {
    "1-D, integer filters, three layers": lambda: Cascade(
        [integer_filter(360), integer_filter(60), integer_filter(10)]
    ),
    "1-D, groups, two layers": lambda: Cascade(
        [
            nearly_orthogonal(11, 16, 1, (24,), (16,), (192,), 0.05),
            sparse_groups(12, 8, 16, (2,), (2,), (12,), 4, 0.05),
        ]
    ),
    "1-D, overlapping groups, two layers": lambda: Cascade(
        [
            nearly_orthogonal(13, 16, 1, (32,), (16,), (128,), 0.08),
            sparse_groups(14, 8, 16, (2,), (1,), (8,), 4, 0.1),
        ]
    ),
    "2-D, groups, two layers": lambda: Cascade(
        [
            nearly_orthogonal(15, 9, 1, (4, 4), (3, 3), (24, 24), 0.03),
            sparse_groups(16, 8, 9, (2, 2), (2, 2), (8, 8), 2, 0.05),
        ]
    ),
}


DENSE = {
    "1-D, dense": lambda size: Cascade(
        [
            nearly_orthogonal(31, 16, 1, (24,), (16,), (64,), size),
            sparse_groups(32, 32, 16, (2,), (2,), (4,), 4, 0.05),
        ]
    ),
    "2-D, dense": lambda size: Cascade(
        [
            nearly_orthogonal(33, 9, 1, (4, 4), (3, 3), (12, 12), size),
            sparse_groups(34, 36, 9, (2, 2), (2, 2), (4, 4), 4, 0.05),
        ]
    ),
}


def one_per_group(rng, dictionary, group, counts):
    """Codes of +-1 with at most one filter of each group at a position, which never write to the same entry."""
    codes = np.zeros((len(counts), *dictionary.code_shape))
    for code, count in zip(codes, counts, strict=True):
        slots = rng.choice(dictionary.n_atoms // group, count, replace=False)
        block, position = np.divmod(slots, math.prod(dictionary.positions))
        atoms = (block * group + rng.integers(group, size=count)) * math.prod(dictionary.positions) + position
        code.flat[atoms] = rng.choice([-1.0, 1.0], count)
    return codes


def random_codes(rng, shape, sizes, contrasts, near=None):
    """
    Codes with the given numbers of non-zeros, random signs, and magnitudes from contrast to 1.

    Half of the codes have clustered supports, so that stripes fill up.
    """
    codes = np.zeros((len(sizes), *shape))
    for row, (size, contrast) in enumerate(zip(sizes, contrasts, strict=True)):
        if size == 0:
            continue
        weights = np.ones(shape)
        if near is not None and row % 2:
            distance = [np.abs((np.arange(n) - n // 2 + rng.integers(n)) % n - n // 2) for n in shape[1:]]
            close = np.ones(shape[1:], dtype=bool)
            for axis, (away, reach) in enumerate(zip(distance, near, strict=True)):
                close &= (away < reach).reshape([-1 if a == axis else 1 for a in range(len(shape) - 1)])
            if close.sum() * shape[0] >= size:
                weights = weights * close
        atoms = rng.choice(codes[row].size, size, replace=False, p=(weights / weights.sum()).ravel())
        magnitudes = rng.choice([contrast, 1.0, rng.uniform(contrast, 1.0)], size)
        magnitudes[0], magnitudes[-1] = contrast, 1.0
        codes[row].flat[atoms] = magnitudes * rng.choice([-1.0, 1.0], size)
    return codes


def near_limit_codes(rng, dictionary, sizes):
    """Clustered codes of magnitude 1 but for one atom, which is about as small as the worst signs allow."""
    count = len(sizes)
    codes = random_codes(rng, dictionary.code_shape, sizes, np.ones(count), dictionary.overlap)
    codes = np.roll(codes, 1, axis=0)  # so that the first one is clustered
    flat = codes.reshape(count, -1)
    bound = np.abs(flat) @ np.abs(dense_gram(dictionary))
    limit = np.where(flat == 0, bound, 0).max(axis=1) + np.where(flat != 0, bound, 0).max(axis=1)
    for row, smallest in enumerate(np.minimum(1.0, rng.uniform(0.5, 1.05, count) * limit)):
        flat[row, rng.choice(np.flatnonzero(flat[row]))] *= max(smallest, 1e-3)
    return codes


def worst_signs(rng, codes, gram, targets=None):
    """
    Signs of +-1 that hurt one atom of each code most: the one with least margin, or given ones.

    Returns the signs T, to multiply the codes, and the atoms.
    """
    flat = codes.reshape(len(codes), -1)
    magnitudes = np.abs(flat)
    bound = magnitudes @ np.abs(gram)
    rows = np.arange(len(flat))
    if targets is None:
        off = np.where(flat == 0, bound, -np.inf)
        on = np.where(flat != 0, magnitudes - bound, np.inf)
        gap_on, gap_off = on.min(axis=1), off.max(axis=1)
        targets = np.where(rng.random(len(flat)) < 0.5, on.argmin(axis=1), off.argmax(axis=1))
        targets = np.where(np.isfinite(gap_on) & np.isfinite(gap_off), targets, 0)
    wanted = np.where(gram[targets] >= 0, 1.0, -1.0)
    active = flat[rows, targets] != 0
    wanted[active] *= -1
    wanted[rows, targets] = 1.0
    signs = np.where(flat != 0, wanted * np.sign(flat), 1.0)
    return signs.reshape(codes.shape), targets


def adversarial_path(rng, cascade, deepest):
    """The cascade with signs that are worst for one atom of every layer, and [X^(0), ..., X^(L)]."""
    layers, signs = [deepest], []
    for dictionary in cascade.dictionaries[::-1]:
        sign, targets = worst_signs(rng, layers[0], dense_gram(dictionary))
        signs.insert(0, sign)
        layers.insert(0, dictionary.synthesize(sign * layers[0]))
    return Cascade(cascade.dictionaries, signs), layers, targets


def random_path(rng, cascade, deepest):
    """The cascade with Rademacher signs of its own for every code, and [X^(0), ..., X^(L)]."""
    batch = len(deepest)
    signs = [rng.choice([-1, 1], (batch, *dictionary.code_shape)) for dictionary in cascade.dictionaries]
    model = Cascade(cascade.dictionaries, signs)
    return model, model.synthesize(deepest)


def aligned_noise(rng, dictionary, layers, targets, signs, eps):
    """Noise along the target atom, of patch norm eps, against an active target and for an inactive one's signs."""
    code = np.zeros((len(targets), dictionary.n_atoms))
    rows = np.arange(len(targets))
    flat = (signs * layers[1]).reshape(code.shape)
    interference = flat @ dense_gram(dictionary)[:, targets]
    own = flat[rows, targets]
    code[rows, targets] = eps * np.where(own != 0, -np.sign(own), np.where(np.diag(interference) < 0, -1, 1))
    return dictionary.synthesize(code.reshape(-1, *dictionary.code_shape))


def recovered(result, layers, signed=False):
    """Whether every support (or every sign) of each code of the batch is exact, layer by layer."""
    compare = np.sign if signed else (lambda code: code != 0)
    return [
        (compare(found) == compare(true)).reshape(len(true), -1).all(axis=1)
        for found, true in zip(result.codes, layers[1:], strict=True)
    ]


def pursue(model, signals, rule, thresholds, **options):
    """Layered thresholding with one threshold a code and layer."""
    return layered_thresholding(model, signals, rule=rule, threshold=list(thresholds), **options)


def layer_errors(model, result, layers):
    """Patch norms of the errors of every layer."""
    return [
        patch_l2(found - true, model.next_dictionary(layer), model.rank)
        for layer, (found, true) in enumerate(zip(result.codes, layers[1:], strict=True), start=1)
    ]


def all_signs(size):
    """Every choice of signs, shape (2^size, size)."""
    return np.array(list(itertools.product([-1.0, 1.0], repeat=size))).reshape(-1, size)


def clopper_pearson_lower(failures, trials, level):
    """One-sided lower confidence limit of a failure rate."""
    from scipy.stats import beta

    return 0.0 if failures == 0 else float(beta.ppf(1 - level, failures, trials - failures + 1))


def write_counts(dictionary, code):
    """Count the active atoms that write to each entry of what one code synthesizes."""
    counts = np.zeros(dictionary.signal_shape, dtype=np.int64)
    for index in range(dictionary.n_filters):
        positions = np.nonzero(code[index])
        channel, *taps = np.nonzero(dictionary.filters[index])
        places = [
            (where[:, None] * step + tap) % points
            for where, step, tap, points in zip(positions, dictionary.stride, taps, dictionary.grid, strict=True)
        ]
        np.add.at(counts, (channel[None, :], *places), 1)
    return counts


def instance_failure(interference, threshold, eps, guard, noise_variance=0.0):
    """The instance form of a layer at given thresholds by Hoeffding's inequality, from arrays of all atoms."""
    active = interference.active
    floor = interference.magnitude + interference.locked
    margin = np.where(active, floor - (threshold + eps)[:, None], (threshold - eps)[:, None])
    bound = interference.bound if noise_variance == 0 else np.inf
    factor = np.where(active, 1.0, 2.0)
    terms = tails.tail(margin, interference.variance + noise_variance, bound, factor, guard[:, None])
    return np.minimum(1.0, terms.sum(axis=1))
