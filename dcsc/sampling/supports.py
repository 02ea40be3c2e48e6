"""Distributions of random supports of one layer, in which all filters are equally likely."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import real_numbers
from dcsc.convolution.filter_bank import per_axis
from dcsc.convolution.layouts import AXES, padded
from dcsc.errors import UserError
from dcsc.kernels import drawing
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.ragged import RaggedCodes
from dcsc.sampling.registry import SUPPORTS, register_support

ATTEMPTS = 100
"""Fresh starts of a draw that no further atom fitted, before it is refused."""


def draw_supports(
    name: str, rng: Generator, dictionary: ConvolutionalDictionary, trials: int, **parameters: Any
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
    SUPPORTS.check(name, parameters)
    drawn = SUPPORTS.call(name, rng, dictionary, trials, **parameters)
    wrong = _misfit(drawn, dictionary, trials)
    if wrong:
        raise UserError(
            f"{SUPPORTS.described(name)} returned {wrong}: it must return RaggedCodes of code shape "
            f"{dictionary.code_shape} and batch shape ({trials},), of each code the atoms in ascending order, with "
            "value 1."
        )
    return drawn


def _misfit(drawn: Any, dictionary: ConvolutionalDictionary, trials: int) -> str:
    """What is wrong with supports that were drawn; nothing when they are as they should be."""
    if not isinstance(drawn, RaggedCodes):
        return f"a {type(drawn).__name__}"
    if drawn.batch_shape != (trials,) or tuple(drawn.code_shape) != dictionary.code_shape:
        return f"code shape {tuple(drawn.code_shape)} and batch shape {drawn.batch_shape}"
    if drawn.row_size.dtype.kind not in "iu" or drawn.atom.dtype.kind not in "iu" or np.any(drawn.row_size < 0):
        return "sizes or atoms that are no whole numbers"
    ascends = drawn.atom[1:] > drawn.atom[:-1]
    ascends[drawn.starts[:-1][drawn.row_size > 0][1:] - 1] = True  # where another code begins
    if not ascends.all():
        return "atoms that do not ascend"
    return "" if (drawn.value == 1).all() else "other values than 1"


def _supports(dictionary: ConvolutionalDictionary, sizes: NDArray, atoms: NDArray) -> RaggedCodes:
    """Sort the drawn atoms of each trial; entries after the last one are scratch."""
    atoms = atoms[: sizes.sum()]
    # Half as many bytes are sorted in half the time.
    whole = np.dtype(np.int32 if len(sizes) * dictionary.n_atoms < 2**31 else np.int64)
    begins = np.arange(len(sizes), dtype=np.int64) * dictionary.n_atoms
    first = np.repeat(begins.astype(whole), sizes)
    ordered = np.sort(first + atoms.astype(whole, copy=False)) - first
    ones = np.ones(len(atoms), np.int8)
    return RaggedCodes(sizes.astype(np.int64), ordered.astype(np.int32, copy=False), ones, dictionary.code_shape)


def _sizes(size: ArrayLike, trials: int, largest: int, what: str, name: str = "size") -> NDArray:
    sizes = real_numbers(size, name, whole=True)
    if sizes.shape not in ((), (trials,)):
        raise UserError(f"{name} = {size} is not allowed: give a whole number, or one for each of {trials} trials.")
    if np.any(sizes < 0) or np.any(sizes > largest):
        raise UserError(f"{name} = {size} is not allowed: {what} takes 0 to {largest} atoms.")
    return np.array(np.broadcast_to(sizes, (trials,)), dtype=np.int64)


def _lengths(given: int | tuple[int, ...] | None, dictionary: ConvolutionalDictionary, name: str) -> tuple[int, ...]:
    """Lengths in positions, one per axis: what is given, by default the overlap, and never more than the layer has."""
    lengths = dictionary.overlap if given is None else per_axis(given, dictionary.rank, name)
    return tuple(min(pair) for pair in zip(lengths, dictionary.positions, strict=True))


def _order_and_swaps(n: int) -> tuple[NDArray, NDArray]:
    """What the kernels shuffle, and where they note how."""
    return np.arange(n), np.empty(n, np.int64)


def _check_drawn(stuck: int, name: str, sizes: NDArray, change: str) -> None:
    if stuck >= 0:
        raise UserError(
            f"support {name!r} found no room for {sizes[stuck]} atoms in {ATTEMPTS} attempts: "
            f"{change}, or ask for fewer."
        )


@register_support("uniform")
def uniform(rng: Generator, dictionary: ConvolutionalDictionary, trials: int, *, size: ArrayLike) -> RaggedCodes:
    """
    Draw supports of a given size, all equally likely.

    When to take it: for the usual distribution in the literature, and to measure recovery against the support size.

    Parameters
    ----------
    rng, dictionary, trials
        As for `draw_supports`.
    size : int or array_like of int, shape (trials,)
        Active atoms of a code.

    Returns
    -------
    RaggedCodes
        The supports.
    """
    sizes = _sizes(size, trials, dictionary.n_atoms, "this layer")
    atoms = np.empty(sizes.sum(), np.int64)
    drawing.uniform_subsets(rng, sizes, dictionary.n_atoms, *_order_and_swaps(dictionary.n_atoms), atoms)
    return _supports(dictionary, sizes, atoms)


@register_support("bernoulli")
def bernoulli(rng: Generator, dictionary: ConvolutionalDictionary, trials: int, *, density: float) -> RaggedCodes:
    """
    Draw supports whose atoms are active independently of one another, with equal probability.

    When to take it: when a density is given, not a size: the sizes then vary from draw to draw.

    Parameters
    ----------
    rng, dictionary, trials
        As for `draw_supports`.
    density : float
        Chance of each atom, in [0, 1].

    Returns
    -------
    RaggedCodes
        The supports, whose sizes are binomial.

    Raises
    ------
    UserError
        When the density is not in [0, 1].
    """
    if not 0 <= density <= 1:
        raise UserError(f"density = {density} is not allowed: give a chance from 0 to 1.")
    return uniform(rng, dictionary, trials, size=rng.binomial(dictionary.n_atoms, density, trials))


@register_support("clustered")
def clustered(
    rng: Generator,
    dictionary: ConvolutionalDictionary,
    trials: int,
    *,
    size: ArrayLike,
    clusters: int = 1,
    width: int | tuple[int, ...] | None = None,
) -> RaggedCodes:
    """
    Draw supports within windows around uniform centres.

    When to take it: when activations come in groups; the stripe-sparsity then says more than their number.

    Parameters
    ----------
    rng, dictionary, trials
        As for `draw_supports`.
    size : int or array_like of int, shape (trials,)
        Active atoms of a code, uniform among the atoms in the windows.
    clusters : int
        Number of windows, which may overlap.
    width : int or tuple of int, in positions
        Length of a window, one for all axes or one per axis; by default one atom's overlap.

    Returns
    -------
    RaggedCodes
        The supports.
    """
    lengths, positions, n_filters = _lengths(width, dictionary, "width"), dictionary.positions, dictionary.n_filters
    (n_clusters,) = per_axis(clusters, 1, "clusters")
    sizes = _sizes(size, trials, math.prod(lengths) * n_filters, f"a window of {lengths} positions")
    atoms, scratch = np.empty(sizes.sum(), np.int64), _order_and_swaps(dictionary.n_atoms)
    drawing.clustered_subsets(rng, sizes, n_clusters, padded(lengths), padded(positions), n_filters, *scratch, atoms)
    return _supports(dictionary, sizes, atoms)


@register_support("minimum-distance")
def minimum_distance(
    rng: Generator,
    dictionary: ConvolutionalDictionary,
    trials: int,
    *,
    size: ArrayLike,
    distance: int | tuple[int, ...] | None = None,
) -> RaggedCodes:
    """
    Draw atoms one by one, each at least a given distance away from those before.

    When to take it: when active atoms must not overlap, or only a little, as with spikes of a neuron.

    Parameters
    ----------
    rng, dictionary, trials
        As for `draw_supports`.
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
    apart, positions, n_filters = _lengths(distance, dictionary, "distance"), dictionary.positions, dictionary.n_filters
    most = math.prod(n // d for n, d in zip(positions, apart, strict=True))
    sizes = _sizes(size, trials, most, f"a distance of {apart} positions")
    atoms = np.empty(sizes.sum(), np.int64)
    stuck = drawing.distant_subsets(rng, sizes, padded(apart), padded(positions), n_filters, ATTEMPTS, atoms)
    _check_drawn(stuck, "minimum-distance", sizes, "shorten the distance")
    return _supports(dictionary, sizes, atoms)


@register_support("stripe")
def stripe(
    rng: Generator,
    dictionary: ConvolutionalDictionary,
    trials: int,
    *,
    norm: int,
    size: ArrayLike | None = None,
    exact: bool = True,
) -> RaggedCodes:
    """
    Draw supports of a given stripe-sparsity ||X||^S_{0,inf}.

    When to take it: for cells of equal stripe-sparsity, the measure in which the guarantees are stated.

    Parameters
    ----------
    rng, dictionary, trials
        As for `draw_supports`.
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

    Raises
    ------
    UserError
        When the norm or the size is not allowed, or the size is too small for a stripe of exactly that norm.
    """
    limit = int(_sizes(norm, 1, dictionary.stripe_size, "a stripe", "norm")[0])
    stripe_positions = math.prod(2 * overlap - 1 for overlap in dictionary.overlap)
    most = min(limit * math.prod(dictionary.positions) // stripe_positions, dictionary.n_atoms)
    most = max(most, limit) if exact else most
    sizes, fill = np.zeros(trials, np.int64), size is None
    if size is not None:
        sizes = _sizes(size, trials, most, f"a stripe-sparsity of {limit}")
        if exact and np.any(sizes < limit):
            raise UserError(f"size = {size} is not allowed: a stripe-sparsity of exactly {limit} needs as many atoms.")
    atoms = np.empty(trials * most if fill else sizes.sum(), np.int64)
    reach = padded(dictionary.overlap) - 1
    layer, scratch = (padded(dictionary.positions), dictionary.n_filters), _order_and_swaps(dictionary.n_atoms)
    stuck = drawing.stripe_subsets(rng, sizes, fill, limit, exact, reach, *layer, ATTEMPTS, *scratch, most, atoms)
    _check_drawn(stuck, "stripe", sizes, "raise the norm")
    return _supports(dictionary, sizes, atoms)


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
def spread(rng: Generator, dictionary: ConvolutionalDictionary, trials: int, *, size: ArrayLike) -> RaggedCodes:
    """
    Draw supports spread over the positions as evenly as possible, with uniformly random filters.

    When to take it: for the greatest number of activations at a given stripe-sparsity.

    Parameters
    ----------
    rng, dictionary, trials
        As for `draw_supports`.
    size : int or array_like of int, shape (trials,)
        Active atoms of a code.

    Returns
    -------
    RaggedCodes
        The supports: any two positions differ by at most one atom, and the positions with one more
        lie on a shifted lattice (equidistant in 1-D).
    """
    positions, n_filters = dictionary.positions, dictionary.n_filters
    sizes = _sizes(size, trials, dictionary.n_atoms, "this layer")
    # Powers of the root of x^(rank+1) = x + 1 give a lattice of low discrepancy together with 1/n.
    root = {1: 2.0, 2: 1.618033988749895, 3: 1.324717957244746}[dictionary.rank]
    increments = np.zeros(AXES)
    for axis in range(1, dictionary.rank):
        increments[AXES - 1 - axis] = root**-axis
    atoms, scratch = np.empty(sizes.sum(), np.int64), _order_and_swaps(n_filters)
    drawing.spread_subsets(rng, sizes, padded(positions), n_filters, increments, *scratch, atoms)
    return _supports(dictionary, sizes, atoms)


@register_support("given")
def given(
    rng: Generator,
    dictionary: ConvolutionalDictionary,
    trials: int,
    *,
    atoms: ArrayLike,
    size: ArrayLike | None = None,
) -> RaggedCodes:
    """
    Use the given atoms as the support of every trial.

    When to take it: when supports are given, for example by a measured code, or to look at one case.

    Parameters
    ----------
    rng, dictionary, trials
        As for `draw_supports`.
    atoms : array_like of int, shape (atom,) or (atom, 1 + axis)
        Each in C order of (filter, *position), or as its filter and position.
    size : int or array_like of int, shape (trials,), optional
        How many of them are active, from the first; all by default.

    Returns
    -------
    RaggedCodes
        The supports: those of fewer atoms lie within those of more.

    Raises
    ------
    UserError
        When the layer has no such atoms, or one stands twice.
    """
    listed = _listed(atoms, dictionary)
    sizes = _sizes(len(listed) if size is None else size, trials, len(listed), "the list of atoms")
    chosen = [listed[:count] for count in sizes]
    return _supports(dictionary, sizes, np.concatenate([np.empty(0, np.int64), *chosen]))


def _listed(atoms: ArrayLike, dictionary: ConvolutionalDictionary) -> NDArray:
    """The atoms that a user lists, each as one number."""
    shape = dictionary.code_shape
    array = real_numbers(atoms, "atoms", whole=True)
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] != len(shape)):
        raise UserError(
            f"atoms of shape {array.shape} are not allowed: list numbers, or {len(shape)} numbers an atom, its filter "
            "and position."
        )
    limits = np.array(shape if array.ndim == 2 else [dictionary.n_atoms])
    wrong = np.any((array < 0) | (array >= limits), axis=-1) if array.ndim == 2 else (array < 0) | (array >= limits)
    if wrong.any():
        raise UserError(
            f"atom {array[wrong][0].tolist()} is not in this layer: it has {dictionary.n_atoms} atoms, of shape "
            f"{shape} (filter, *position), counted from 0."
        )
    whole = array.astype(np.int64)
    flat = np.ravel_multi_index(tuple(whole.T), shape) if array.ndim == 2 else whole
    values, counts = np.unique(flat, return_counts=True)
    if np.any(counts > 1):
        raise UserError(f"atom {values[counts > 1][0]} stands twice: list each atom once.")
    return flat
