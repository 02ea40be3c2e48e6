"""Random supports of one layer, with equal chances for all filters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.convolution.filter_bank import per_axis
from dcsc.convolution.layouts import AXES
from dcsc.errors import UserError
from dcsc.kernels import drawing
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.ragged import RaggedCodes
from dcsc.sampling.registry import SUPPORTS, register_support

ATTEMPTS = 100
"""Fresh starts of a draw that ran out of room, before it is refused."""


def draw_supports(
    name: str, rng: np.random.Generator, dictionary: ConvolutionalDictionary, trials: int, **parameters: Any
) -> RaggedCodes:
    """
    Draw supports by the name of their distribution.

    Parameters
    ----------
    name : str
        A registered support, such as 'uniform' or 'stripe'.
    rng : numpy.random.Generator
        The stream of this block.
    dictionary : ConvolutionalDictionary
        The layer.
    trials : int
        How many to draw.
    **parameters
        Those of the distribution.

    Returns
    -------
    RaggedCodes
        Batch shape (trials,), with value 1 (int8) on each support.

    Raises
    ------
    UserError
        When the name or parameters are not allowed, or what was drawn does not fit the layer.
    """
    drawn = SUPPORTS.get(name, parameters)(rng, dictionary, trials, **parameters)
    if drawn.batch_shape != (trials,) or tuple(drawn.code_shape) != dictionary.code_shape:
        raise UserError(
            f"support {name!r} drew codes {tuple(drawn.code_shape)} of batch shape {drawn.batch_shape}: "
            f"it must draw {dictionary.code_shape} of batch shape ({trials},)."
        )
    return drawn


def ragged_supports(sizes: NDArray, atoms: NDArray, code_shape: tuple[int, ...]) -> RaggedCodes:
    """
    Collect drawn atoms, code after code in any order, into supports.

    Parameters
    ----------
    sizes : ndarray of int, shape (trial,)
        Atoms of each code.
    atoms : ndarray of int, shape (atom,)
        The atoms, distinct within a code.
    code_shape : tuple of int
        Shape (filter, *position) of a code.

    Returns
    -------
    RaggedCodes
        Ascending, with value 1 (int8).
    """
    n_atoms = math.prod(code_shape)
    first = np.repeat(np.arange(len(sizes), dtype=np.int64) * n_atoms, sizes)
    ordered = np.sort(first + atoms) - first
    return RaggedCodes(sizes.astype(np.int64), ordered.astype(np.int32), np.ones(len(atoms), np.int8), code_shape)


def _sizes(size: ArrayLike, trials: int, largest: int, what: str, name: str = "size") -> NDArray:
    sizes = np.asarray(size)
    if sizes.shape not in ((), (trials,)) or sizes.dtype.kind not in "iuf" or np.any(sizes != np.floor(sizes)):
        raise UserError(f"{name} = {size} is not allowed: give a whole number, or one for each of {trials} trials.")
    if np.any(sizes < 0) or np.any(sizes > largest):
        raise UserError(f"{name} = {size} is not allowed: {what} takes 0 to {largest} atoms.")
    return np.array(np.broadcast_to(sizes, (trials,)), dtype=np.int64)


def _three(numbers: tuple[int, ...], filler: int) -> NDArray:
    return np.array([*[filler] * (AXES - len(numbers)), *numbers], dtype=np.int64)


def _room_error(name: str, sizes: NDArray, trial: int, change: str) -> UserError:
    return UserError(
        f"support {name!r} found no room for {sizes[trial]} atoms in {ATTEMPTS} attempts: {change}, or ask for fewer."
    )


@register_support("uniform")
def uniform(
    rng: np.random.Generator, dictionary: ConvolutionalDictionary, trials: int, *, size: ArrayLike
) -> RaggedCodes:
    """
    Uniform supports of a given size.

    Parameters
    ----------
    rng : numpy.random.Generator
        The stream of this block.
    dictionary : ConvolutionalDictionary
        The layer.
    trials : int
        How many to draw.
    size : int or array_like of int, shape (trials,)
        Active atoms of a code.

    Returns
    -------
    RaggedCodes
        The supports.
    """
    n_atoms = dictionary.n_atoms
    sizes = _sizes(size, trials, n_atoms, "this layer")
    out = np.empty(sizes.sum(), np.int64)
    order, swaps = np.arange(n_atoms), np.empty(n_atoms, np.int64)
    drawing.uniform_subsets(rng, sizes, n_atoms, order, swaps, out)
    return ragged_supports(sizes, out, dictionary.code_shape)


@register_support("bernoulli")
def bernoulli(
    rng: np.random.Generator, dictionary: ConvolutionalDictionary, trials: int, *, density: float
) -> RaggedCodes:
    """
    Atoms active independently of one another.

    Parameters
    ----------
    rng : numpy.random.Generator
        The stream of this block.
    dictionary : ConvolutionalDictionary
        The layer.
    trials : int
        How many to draw.
    density : float
        Chance of each atom, in [0, 1].

    Returns
    -------
    RaggedCodes
        The supports, whose sizes are binomial.
    """
    if not 0 <= density <= 1:
        raise UserError(f"density = {density} is not allowed: give a chance from 0 to 1.")
    return uniform(rng, dictionary, trials, size=rng.binomial(dictionary.n_atoms, density, trials))


@register_support("clustered")
def clustered(
    rng: np.random.Generator,
    dictionary: ConvolutionalDictionary,
    trials: int,
    *,
    size: ArrayLike,
    clusters: int = 1,
    width: int | tuple[int, ...] | None = None,
) -> RaggedCodes:
    """
    Supports confined to windows around a few uniform centres.

    Parameters
    ----------
    rng : numpy.random.Generator
        The stream of this block.
    dictionary : ConvolutionalDictionary
        The layer.
    trials : int
        How many to draw.
    size : int or array_like of int, shape (trials,)
        Active atoms of a code, uniform among the atoms in the windows.
    clusters : int
        Number of windows, which may overlap.
    width : int or tuple of int, in positions
        Length of a window, one for all axes or one an axis; by default one atom's overlap.

    Returns
    -------
    RaggedCodes
        The supports.
    """
    lengths = dictionary.overlap if width is None else per_axis(width, dictionary.rank, "width")
    lengths = tuple(min(pair) for pair in zip(lengths, dictionary.positions, strict=True))
    (n_clusters,) = per_axis(clusters, 1, "clusters")
    room = math.prod(lengths) * dictionary.n_filters
    sizes = _sizes(size, trials, room, f"a window of {lengths} positions")
    out = np.empty(sizes.sum(), np.int64)
    order, swaps = np.arange(dictionary.n_atoms), np.empty(dictionary.n_atoms, np.int64)
    drawing.clustered_subsets(
        rng,
        sizes,
        n_clusters,
        _three(lengths, 1),
        _three(dictionary.positions, 1),
        dictionary.n_filters,
        order,
        swaps,
        out,
    )
    return ragged_supports(sizes, out, dictionary.code_shape)


@register_support("minimum-distance")
def minimum_distance(
    rng: np.random.Generator,
    dictionary: ConvolutionalDictionary,
    trials: int,
    *,
    size: ArrayLike,
    distance: int | tuple[int, ...] | None = None,
) -> RaggedCodes:
    """
    Atoms drawn one by one, each at least a distance away from those before.

    Parameters
    ----------
    rng : numpy.random.Generator
        The stream of this block.
    dictionary : ConvolutionalDictionary
        The layer.
    trials : int
        How many to draw.
    size : int or array_like of int, shape (trials,)
        Active atoms of a code.
    distance : int or tuple of int, in positions
        Two atoms are at least that far apart along one axis or another, around the period; by
        default the overlap, so that no two active atoms meet.

    Returns
    -------
    RaggedCodes
        The supports: random sequential, which fills about three quarters of a line at most.
    """
    apart = dictionary.overlap if distance is None else per_axis(distance, dictionary.rank, "distance")
    apart = tuple(min(pair) for pair in zip(apart, dictionary.positions, strict=True))
    room = math.prod(n // d for n, d in zip(dictionary.positions, apart, strict=True))
    sizes = _sizes(size, trials, room, f"a distance of {apart} positions")
    out = np.empty(sizes.sum(), np.int64)
    stuck = drawing.distant_subsets(
        rng, sizes, _three(apart, 1), _three(dictionary.positions, 1), dictionary.n_filters, ATTEMPTS, out
    )
    if stuck >= 0:
        raise _room_error("minimum-distance", sizes, stuck, "shorten the distance")
    return ragged_supports(sizes, out, dictionary.code_shape)


@register_support("stripe")
def stripe(
    rng: np.random.Generator,
    dictionary: ConvolutionalDictionary,
    trials: int,
    *,
    norm: int,
    size: ArrayLike | None = None,
    exact: bool = True,
) -> RaggedCodes:
    """
    Supports of a given stripe-sparsity ||X||^S_{0,inf}.

    Parameters
    ----------
    rng : numpy.random.Generator
        The stream of this block.
    dictionary : ConvolutionalDictionary
        The layer.
    trials : int
        How many to draw.
    norm : int
        The stripe-sparsity: exactly, or at most.
    size : int or array_like of int, shape (trials,), optional
        Active atoms of a code; by default atoms are added until none fits.
    exact : bool
        Fill one stripe, at a uniform position, before the rest is drawn.

    Returns
    -------
    RaggedCodes
        The supports: atoms added one by one, uniformly among those that keep every stripe at the norm.
    """
    limit = int(_sizes(norm, 1, dictionary.stripe_size, "a stripe", "norm")[0])
    stripe_positions = math.prod(2 * overlap - 1 for overlap in dictionary.overlap)
    room = min(limit * math.prod(dictionary.positions) // stripe_positions, dictionary.n_atoms)
    room = max(room, limit) if exact else room
    fill = size is None
    sizes = np.zeros(trials, np.int64) if fill else _sizes(size, trials, room, f"a stripe-sparsity of {limit}")
    if exact and not fill and np.any(sizes < limit):
        raise UserError(f"size = {size} is not allowed: a stripe-sparsity of exactly {limit} needs as many atoms.")
    out = np.empty(trials * room if fill else sizes.sum(), np.int64)
    order, swaps = np.arange(dictionary.n_atoms), np.empty(dictionary.n_atoms, np.int64)
    reach = _three(tuple(overlap - 1 for overlap in dictionary.overlap), 0)
    stuck = drawing.stripe_subsets(
        rng,
        sizes,
        fill,
        limit,
        exact,
        reach,
        _three(dictionary.positions, 1),
        dictionary.n_filters,
        ATTEMPTS,
        order,
        swaps,
        room,
        out,
    )
    if stuck >= 0:
        raise _room_error("stripe", sizes, stuck, "raise the norm")
    return ragged_supports(sizes, out[: sizes.sum()], dictionary.code_shape)


def spread_size(dictionary: ConvolutionalDictionary, stripe_sparsity: int) -> int:
    """
    Count the atoms that fill every stripe to a given sparsity when they are spread evenly.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer, of one axis.
    stripe_sparsity : int
        The most atoms that a stripe may hold.

    Returns
    -------
    int
        The largest number with which supports of `spread` keep every stripe at that sparsity, and hold it or
        one atom less in each.

    Raises
    ------
    UserError
        When the layer has more than one axis, where stripes of a lattice vary by more than one atom.

    Notes
    -----
    Of m atoms on P positions, m // P stand at every position and the rest at equal distances, so that any w
    positions in a row hold (m // P) w + ceil(w (m mod P) / P) of them at most, w = 2 overlap - 1 for a stripe.
    """
    if dictionary.rank != 1:
        raise UserError(f"an even spread fills the stripes of one axis alone, not of {dictionary.rank}: give numbers.")
    (positions,), width = dictionary.positions, 2 * dictionary.overlap[0] - 1
    everywhere, left = divmod(stripe_sparsity, width)
    return min(everywhere * positions + left * positions // width, dictionary.n_atoms)


@register_support("spread")
def spread(
    rng: np.random.Generator, dictionary: ConvolutionalDictionary, trials: int, *, size: ArrayLike
) -> RaggedCodes:
    """
    Atoms spread over the positions as evenly as they go, with uniform filters.

    Parameters
    ----------
    rng : numpy.random.Generator
        The stream of this block.
    dictionary : ConvolutionalDictionary
        The layer.
    trials : int
        How many to draw.
    size : int or array_like of int, shape (trials,)
        Active atoms of a code.

    Returns
    -------
    RaggedCodes
        The supports: any two positions differ by at most one atom, and the positions with one more
        lie on a shifted lattice (equidistant in 1-D).
    """
    sizes = _sizes(size, trials, dictionary.n_atoms, "this layer")
    # Powers of the root of x^(rank+1) = x + 1 give a lattice of low discrepancy together with 1/n.
    root = {1: 2.0, 2: 1.618033988749895, 3: 1.324717957244746}[dictionary.rank]
    increments = np.zeros(AXES)
    for axis in range(1, dictionary.rank):
        increments[AXES - 1 - axis] = root**-axis
    out = np.empty(sizes.sum(), np.int64)
    order, swaps = np.arange(dictionary.n_filters), np.empty(dictionary.n_filters, np.int64)
    drawing.spread_subsets(
        rng, sizes, _three(dictionary.positions, 1), dictionary.n_filters, increments, order, swaps, out
    )
    return ragged_supports(sizes, out, dictionary.code_shape)
