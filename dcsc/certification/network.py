"""
The convolution layers of a network, or filters of one's own, as convolutional dictionaries.

A forward pass correlates its input with the filters, W y + b, and keeps what is positive. With W = diag(norms) A^T
it is one-sided soft thresholding of A^T y at -b / norms, scaled: the rows of W are the unit-norm atoms of
a dictionary A, which is the adjoint of the layer. What has no counterpart in the model is put into words.

========  ==========================  =======================================
array     axes                        meaning
========  ==========================  =======================================
weight    (filter, channel, *tap)     the filters as stored
bias      (filter,)                   added to the correlations
========  ==========================  =======================================
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dcsc.convolution.filter_bank import scaled_norms
from dcsc.errors import UserError
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary


@dataclass(frozen=True, eq=False)
class ConvolutionLayer:
    """
    One convolution layer.

    Parameters
    ----------
    name : str
        As the file has it.
    weight : ndarray, shape (filter, channel, *tap)
        Its filters, none of them zero.
    stride : tuple of int
        One number an axis.
    bias : ndarray, shape (filter,)
        Zeros when there is none.
    channel_scale : ndarray, shape (channel,)
        What the channels of the weight are multiplied by: the norms of the layer before, or ones.
    kept : ndarray of int, shape (filter,)
        Which of the `stored` filters of the file these are; zero ones are left out.
    stored : int
        Number of filters in the file.
    """

    name: str
    weight: NDArray
    stride: tuple[int, ...]
    bias: NDArray
    channel_scale: NDArray
    kept: NDArray
    stored: int

    @property
    def scaled(self) -> NDArray:
        """The filters on the codes of the unit-norm layer before, shape (filter, channel, *tap)."""
        return self.weight * self.channel_scale.reshape(1, -1, *[1] * self.rank)

    @cached_property
    def norms(self) -> NDArray:
        """Their l2 norms, shape (filter,)."""
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
        """Fewest positions an axis at which no atom meets another one twice."""
        return tuple(2 * math.ceil(taps / step) - 1 for taps, step in zip(self.taps, self.stride, strict=True))

    @property
    def thresholds(self) -> NDArray:
        """Thresholds of the unit-norm atoms that the biases stand for, -b / norm, shape (filter,)."""
        return -self.bias / self.norms


@dataclass(frozen=True, eq=False)
class Network:
    """
    Layers read from a file, and what the model cannot say of them.

    Parameters
    ----------
    name : str
        Name of the file.
    layers : tuple of ConvolutionLayer
        In order.
    is_cascade : bool
        Whether each layer acts on the codes of the one before.
    singleton : tuple of int
        Spatial axes of the stored weights that were left out, because nothing happens along them.
    notes : tuple of str
        What was assumed, changed or left out, a sentence each.
    """

    name: str
    layers: tuple[ConvolutionLayer, ...]
    is_cascade: bool
    singleton: tuple[int, ...]
    notes: tuple[str, ...]

    def dictionaries(self, grid: Sequence[int] | None = None) -> tuple[ConvolutionalDictionary, ...]:
        """
        Place the unit-norm filters of every layer on a periodic grid.

        Parameters
        ----------
        grid : sequence of int, optional
            Grid of the signal, one number an axis; by default the smallest one that fits all layers.

        Returns
        -------
        tuple of ConvolutionalDictionary
            Each on the positions of the one before, or all on grids of their own when they form no cascade.

        Raises
        ------
        UserError
            When a layer does not fit the grid.
        """
        built: list[ConvolutionalDictionary] = []
        for layer, smallest in zip(self.layers, self.smallest_grids(), strict=True):
            points = smallest if grid is None else tuple(grid)
            if built and self.is_cascade:
                points = built[-1].positions
            try:
                built.append(ConvolutionalDictionary(layer.scaled, layer.stride, points, normalize=True))
            except UserError as error:
                raise UserError(f"layer {layer.name!r}: {error}") from None
        return tuple(built)

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
            In a cascade the positions of one are the grid of the next.
        """
        if not self.is_cascade:
            return [tuple(n * s for n, s in zip(layer.needed_positions, layer.stride)) for layer in self.layers]
        return self.grids_from([1] * self.layers[0].rank)

    def grids_from(self, points: Sequence[int]) -> list[tuple[int, ...]]:
        """
        Find the smallest grids of a cascade that hold signals of a given size.

        Parameters
        ----------
        points : sequence of int
            Grid points of the signals, one number an axis.

        Returns
        -------
        list of tuple of int
            One a layer.
        """
        grids: list[list[int]] = [[] for _ in self.layers]
        for axis, wanted in enumerate(points):
            strides = [layer.stride[axis] for layer in self.layers]
            beyond = [math.prod(strides[index + 1 :]) for index in range(len(strides))]
            deepest = max(
                math.ceil(wanted / math.prod(strides)),
                *[math.ceil(layer.needed_positions[axis] / n) for layer, n in zip(self.layers, beyond, strict=True)],
            )
            for index, n in enumerate(beyond):
                grids[index].append(deepest * n * strides[index])
        return [tuple(grid) for grid in grids]

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
        current, norms = signals, np.ones(self.layers[0].weight.shape[1])
        for layer, dictionary in zip(self.layers, cascade.dictionaries, strict=True):
            # What the dictionary has not absorbed of the scale of its input is multiplied in here.
            given = current * _of_filters(norms / layer.channel_scale, layer.rank)
            current = np.maximum(dictionary.correlate(given) - _of_filters(layer.thresholds, layer.rank), 0.0)
            outputs.append((given, current))
            norms = layer.norms
        return outputs


def _of_filters(values: NDArray, rank: int) -> NDArray:
    """Shape one number a filter to act on codes."""
    return values.reshape(-1, *[1] * rank)


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
        One number an axis.
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
        if len(above.weight) != below.weight.shape[1]:
            return (
                f"{above.name} has {len(above.weight)} filters and {below.name} takes {below.weight.shape[1]} channels"
            )
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
    return Network(name, layers, not gap_of(layers), (), ())
