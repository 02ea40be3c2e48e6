"""
The convolution layers of a network, or given filters, as convolutional dictionaries.

A forward pass correlates its input with the filters, W y + b, and applies ReLU. With W = diag(norms) A^T it is
one-sided soft thresholding of A^T y at the thresholds -b / norms, scaled by the norms: the rows of W, divided by their
norms, are the atoms of a dictionary A. What has no counterpart in the model is listed in words.

========  ======================================  =======================================
array     axes                                    meaning
========  ======================================  =======================================
weight    (filter, channel of its group, *tap)    the filters as stored
bias      (filter,)                               added to the correlations
========  ======================================  =======================================
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dcsc.convolution.filter_bank import scaled_norms
from dcsc.errors import UserError
from dcsc.model.cascade import Cascade
from dcsc.model.coherence import Atoms
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.grouped import GroupedDictionary

RELU = "ReLU"
"""The activation of the model."""
INPUT = "the network's input"
"""What the first segment of a network acts on."""

Pads = tuple[tuple[int, int], ...]
SAME = ("SAME_UPPER", "SAME_LOWER")
"""Paddings that depend on the size of the input, which positions times stride cover; by the end of the odd zero."""


@dataclass(frozen=True, eq=False)
class ConvolutionLayer:
    """
    One convolution layer, with the affine maps that were folded into it.

    Parameters
    ----------
    name : str
        As the file has it.
    weight : ndarray, shape (filter, channel of its group, *tap)
        Its filters, none of them zero; holes of a dilation are written out.
    stride : tuple of int
        One number per axis.
    bias : ndarray, shape (filter,)
        Zeros when there is none.
    channel_scale : ndarray, shape (channel,)
        What the channels are multiplied by before the weight acts: the norms of the layer before, what was folded, or
        ones.
    kept : ndarray of int, shape (filter,)
        Which of the `stored` filters of the file these are; zero ones are left out.
    stored : int
        Number of filters in the file.
    groups : int
        Groups of filters and channels that see only each other.
    padding : tuple of (int, int), str or None
        Zeros before and after the input along each axis, or one of `SAME`; None where it is not known.
    activation : str
        What follows: `RELU`, the name of another one, "none", or "" where it is not known.
    fringe : ndarray, shape (filter, *tap), or None
        The part of the bias that each tap brings, where a shift of the channels was folded in before zero padding:
        taps on padded zeros do not bring theirs.
    """

    name: str
    weight: NDArray
    stride: tuple[int, ...]
    bias: NDArray
    channel_scale: NDArray
    kept: NDArray
    stored: int
    groups: int = 1
    padding: Pads | str | None = None
    activation: str = ""
    fringe: NDArray | None = None

    @property
    def n_channels(self) -> int:
        """Channels of its input."""
        return self.weight.shape[1] * self.groups

    @property
    def scaled(self) -> NDArray:
        """The filters that act on its input, or on the codes of the unit-norm layer before, shape of the weight."""
        scale = np.repeat(self.channel_scale.reshape(self.groups, -1), len(self.weight) // self.groups, axis=0)
        return self.weight * scale.reshape(*scale.shape, *[1] * self.rank)

    @property
    def filters(self) -> NDArray:
        """The scaled filters with zeros at the channels of other groups, shape (filter, channel, *tap)."""
        return over_all_channels(self.scaled, self.groups)

    @property
    def alone(self) -> ConvolutionLayer:
        """The layer as it acts on its own input, whatever is before it."""
        return replace(self, channel_scale=np.ones(self.n_channels))

    @cached_property
    def norms(self) -> NDArray:
        """The l2 norms of the filters, shape (filter,)."""
        _, norms, exponents = scaled_norms(self.scaled)
        return np.ldexp(norms, exponents)

    @property
    def taps(self) -> tuple[int, ...]:
        """Size of a filter along each axis."""
        return self.weight.shape[2:]

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return self.weight.ndim - 2

    @property
    def needed_positions(self) -> tuple[int, ...]:
        """Smallest number of positions per axis at which no two atoms overlap twice around the period."""
        return tuple(2 * math.ceil(taps / step) - 1 for taps, step in zip(self.taps, self.stride, strict=True))

    @property
    def thresholds(self) -> NDArray:
        """Thresholds of the unit-norm atoms that the biases stand for, -b / norm, shape (filter,)."""
        return -self.bias / self.norms


@dataclass(frozen=True, eq=False)
class Network:
    """
    The convolution layers read from a file, and notes on what the model does not cover.

    Parameters
    ----------
    name : str
        Name of the file.
    layers : tuple of ConvolutionLayer
        In order.
    segments : tuple of tuple of int
        Which layers form a cascade, each acting on the codes of the one before; every layer is in one, perhaps alone.
    singleton : tuple of int
        Spatial axes of the stored weights that were left out, because nothing happens along them.
    notes : tuple of str
        What was assumed, changed or left out, a sentence each.
    sources : tuple of str
        What the input of each segment is, in words; empty where nothing is known.
    inputs : tuple of str
        The value of the graph that each segment acts on; empty where there is no graph.
    """

    name: str
    layers: tuple[ConvolutionLayer, ...]
    segments: tuple[tuple[int, ...], ...]
    singleton: tuple[int, ...]
    notes: tuple[str, ...]
    sources: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()

    @property
    def is_cascade(self) -> bool:
        """Whether each layer acts on the codes of the one before."""
        return len(self.segments) == 1

    def segment(self, number: int) -> Network:
        """
        Take the layers of one segment.

        Parameters
        ----------
        number : int
            Which, from 0.

        Returns
        -------
        Network
            A cascade.
        """
        layers = tuple(self.layers[index] for index in self.segments[number])
        sources = self.sources[number : number + 1]
        inputs = self.inputs[number : number + 1]
        own = (tuple(range(len(layers))),)
        return replace(self, layers=layers, segments=own, notes=(), sources=sources, inputs=inputs)

    def dictionaries(self, grid: Sequence[int] | None = None) -> tuple[ConvolutionalDictionary, ...]:
        """
        Place the unit-norm filters of every layer on a periodic grid.

        Parameters
        ----------
        grid : sequence of int, optional
            Grid of the input of every segment, one number per axis; by default the smallest ones that fit all layers.

        Returns
        -------
        tuple of ConvolutionalDictionary
            One per layer, each on the positions of the one before it in its segment.

        Raises
        ------
        UserError
            When a layer does not fit the grid.
        """
        grids = self.smallest_grids()
        built: list[ConvolutionalDictionary | None] = [None] * len(self.layers)
        for segment in self.segments:
            points = grids[segment[0]] if grid is None else tuple(grid)
            for index in segment:
                made = placed(self.layers[index], points)
                built[index], points = made, made.positions
        return tuple(made for made in built if made is not None)

    def cascade(self, grid: Sequence[int] | None = None) -> Cascade:
        """
        Make the layers a cascade.

        Parameters
        ----------
        grid : sequence of int, optional
            As for `dictionaries`.

        Returns
        -------
        Cascade
            Without signs.

        Raises
        ------
        UserError
            When the layers do not follow one another, or do not fit the grid.
        """
        if not self.is_cascade:
            raise UserError(f"the layers of {self.name} do not form a cascade: choose some that do.")
        return Cascade(self.dictionaries(grid))

    def smallest_grids(self) -> list[tuple[int, ...]]:
        """
        Find the smallest grid of every layer on which the stripes are exact.

        Returns
        -------
        list of tuple of int
            In a segment the positions of one are the grid of the next.
        """
        grids: dict[int, tuple[int, ...]] = {}
        for segment in self.segments:
            layers = [self.layers[index] for index in segment]
            grids |= dict(zip(segment, _grids_from([1] * layers[0].rank, layers), strict=True))
        return [grids[index] for index in range(len(self.layers))]

    def grids_from(self, points: Sequence[int]) -> list[tuple[int, ...]]:
        """
        Find the smallest grids of a cascade that hold signals of a given size.

        Parameters
        ----------
        points : sequence of int
            Grid points of the signals, one number per axis.

        Returns
        -------
        list of tuple of int
            One per layer.
        """
        return _grids_from(points, self.layers)

    def forward(self, signals: NDArray, cascade: Cascade) -> list[tuple[NDArray, NDArray]]:
        """
        Run the forward pass of the layers on the periodic grid.

        Parameters
        ----------
        signals : ndarray, shape (trial, channel, *space)
            On the grid of the cascade.
        cascade : Cascade
            From `cascade`.

        Returns
        -------
        list of tuple of ndarray, of shapes (trial, channel, *space) and (trial, filter, *position)
            For each layer what its dictionary correlates with, and ReLU of the correlations minus its thresholds:
            the layer's own output is the latter times its norms.
        """
        outputs: list[tuple[NDArray, NDArray]] = []
        given = signals
        for layer, dictionary in zip(self.layers, cascade.dictionaries, strict=True):
            codes = np.maximum(dictionary.correlate(given) - of_filters(layer.thresholds, layer.rank), 0.0)
            outputs.append((given, codes))
            given = codes
        return outputs


def _grids_from(points: Sequence[int], layers: Sequence[ConvolutionLayer]) -> list[tuple[int, ...]]:
    grids: list[list[int]] = [[] for _ in layers]
    for axis, wanted in enumerate(points):
        strides = [layer.stride[axis] for layer in layers]
        beyond = [math.prod(strides[index + 1 :]) for index in range(len(strides))]
        deepest = max(
            math.ceil(wanted / math.prod(strides)),
            *[math.ceil(layer.needed_positions[axis] / n) for layer, n in zip(layers, beyond, strict=True)],
        )
        for index, n in enumerate(beyond):
            grids[index].append(deepest * n * strides[index])
    return [tuple(grid) for grid in grids]


def placed(layer: ConvolutionLayer, points: Sequence[int]) -> ConvolutionalDictionary:
    """
    Place the unit-norm filters of a layer on a periodic grid.

    Parameters
    ----------
    layer : ConvolutionLayer
        The layer.
    points : sequence of int
        The grid, one number per axis.

    Returns
    -------
    ConvolutionalDictionary
        Its dictionary.

    Raises
    ------
    UserError
        When it does not fit the grid.
    """
    try:
        return ConvolutionalDictionary(layer.filters, layer.stride, points, normalize=True)
    except UserError as error:
        raise UserError(f"layer {layer.name!r}: {error}") from None


def placed_in_groups(layer: ConvolutionLayer, points: Sequence[int]) -> Atoms:
    """
    Place the unit-norm filters of a layer on a periodic grid, without writing the groups out.

    Parameters
    ----------
    layer, points
        As for `placed`.

    Returns
    -------
    ConvolutionalDictionary or GroupedDictionary
        The latter of a layer in groups: nothing is written out.

    Raises
    ------
    UserError
        When it does not fit the grid.
    """
    if layer.groups == 1:
        return placed(layer, points)
    try:
        return GroupedDictionary(layer.scaled, layer.groups, layer.stride, points, normalize=True)
    except UserError as error:
        raise UserError(f"layer {layer.name!r}: {error}") from None


def of_filters(values: NDArray, rank: int) -> NDArray:
    """
    Reshape one number per filter so that it broadcasts against codes.

    Parameters
    ----------
    values : ndarray, shape (filter,)
        The numbers.
    rank : int
        Number of spatial axes.

    Returns
    -------
    ndarray, shape (filter, 1, ...)
        The same.
    """
    return values.reshape(-1, *[1] * rank)


def over_all_channels(weight: NDArray, groups: int) -> NDArray:
    """
    Write the filters of a grouped convolution out, with zeros at the channels that they do not see.

    Parameters
    ----------
    weight : ndarray, shape (filter, channel of its group, *tap)
        The filters.
    groups : int
        Number of groups, which divides that of the filters.

    Returns
    -------
    ndarray, shape (filter, channel, *tap)
        The weight itself when there is one group.
    """
    if groups == 1:
        return weight
    count, channels = weight.shape[:2]
    rows, own = count // groups, np.arange(groups)
    spread = np.zeros((groups, rows, groups, channels, *weight.shape[2:]))
    spread[own, :, own] = weight.reshape(groups, rows, channels, *weight.shape[2:])
    return spread.reshape(count, channels * groups, *weight.shape[2:])


def plain_layer(name: str, weight: NDArray, stride: tuple[int, ...], bias: NDArray | None = None) -> ConvolutionLayer:
    """
    Make a layer of filters as they are stored.

    Parameters
    ----------
    name : str
        What to call it.
    weight : ndarray, shape (filter, channel, *tap)
        The filters.
    stride : tuple of int
        One number per axis.
    bias : ndarray, shape (filter,), optional
        Zeros by default.

    Returns
    -------
    ConvolutionLayer
        With all filters, and channels as they are.
    """
    count, channels = weight.shape[:2]
    bias = np.zeros(count) if bias is None else bias
    return ConvolutionLayer(name, weight, stride, bias, np.ones(channels), np.arange(count), count)


def gap_of(layers: Sequence[ConvolutionLayer]) -> str:
    """
    Say where layers do not follow one another.

    Parameters
    ----------
    layers : sequence of ConvolutionLayer
        In order.

    Returns
    -------
    str
        In words; empty when each layer acts on the codes of the one before.
    """
    for above, below in itertools.pairwise(layers):
        if above.rank != below.rank:
            return f"{above.name} has {above.rank} axes and {below.name} has {below.rank}"
        if len(above.weight) != below.n_channels:
            return f"{above.name} has {len(above.weight)} filters and {below.name} takes {below.n_channels} channels"
    return ""


def from_dictionaries(dictionaries: Sequence[ConvolutionalDictionary], name: str = "") -> Network:
    """
    Take dictionaries as the layers of a network without biases.

    Parameters
    ----------
    dictionaries : sequence of ConvolutionalDictionary
        From the signal inwards.
    name : str
        What to call them.

    Returns
    -------
    Network
        Layers `layer 1`, `layer 2`, ...
    """
    layers = tuple(
        plain_layer(f"layer {number}", dictionary.filters.astype(np.float64), dictionary.stride)
        for number, dictionary in enumerate(dictionaries, start=1)
    )
    alone = tuple((index,) for index in range(len(layers)))
    return Network(name, layers, alone if gap_of(layers) else (sum(alone, ()),), (), ())
