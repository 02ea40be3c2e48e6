"""
The forward pass of a segment as the network runs it: zero padding at its phase, the floor of odd sizes, its biases.

The padded input of a layer is laid on a periodic grid with so many empty positions that nothing wraps around. Atoms
that hang over the edge of the input are cut there: the network correlates with the part within, of norm below 1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcsc.arrays import LARGEST, in_gib
from dcsc.certification.network import ConvolutionLayer, Network, Pads, of_filters, placed_in_groups
from dcsc.errors import UserError
from dcsc.model.coherence import Atoms

_COPIES = 4
"""Arrays of the size of a layer's codes that running it needs."""
_TIE = 2.0**-44
"""A correlation that exceeds its threshold by no more than that share of its size is a tie, hence no non-zero."""


@dataclass(frozen=True, eq=False)
class LayerRun:
    """
    What a layer did.

    Parameters
    ----------
    layer : ConvolutionLayer
        The layer.
    dictionary : ConvolutionalDictionary or GroupedDictionary
        Its unit-norm filters on a grid that holds the padded input.
    given : ndarray, shape (trial, channel, *grid)
        The padded input, zeros beyond.
    codes : ndarray, shape (trial, filter, *position of the grid)
        What the layer keeps, on the scale of the unit-norm filters; zeros at positions that the network does not have.
    positions : tuple of int
        Those that it has along each axis.
    inside : tuple of (int, int)
        First and last (exclusive) grid point of the input along each axis.
    """

    layer: ConvolutionLayer
    dictionary: Atoms
    given: NDArray
    codes: NDArray
    positions: tuple[int, ...]
    inside: tuple[tuple[int, int], ...]

    @property
    def active_codes(self) -> NDArray:
        """The codes at the positions that the network has, shape (trial, filter, *position)."""
        return self.codes[:, :, *[slice(count) for count in self.positions]]

    @property
    def n_atoms(self) -> int:
        """Atoms that the network has."""
        return self.layer.weight.shape[0] * math.prod(self.positions)

    @property
    def n_whole(self) -> int:
        """Those of them that lie within the input."""
        whole = 1
        for windows, taps in zip(_windows(self), self.layer.taps, strict=True):
            whole *= sum(window == (0, taps) for window in windows)
        return self.layer.weight.shape[0] * whole

    @property
    def smallest_norm(self) -> float:
        """Smallest norm that the border leaves of an atom; 1 where none is cut."""
        filters = self.dictionary.filters
        sums = (filters.astype(np.float64) ** 2).sum(axis=1)
        for axis in range(1, sums.ndim):
            sums = np.cumsum(np.concatenate([np.zeros_like(np.take(sums, [0], axis)), sums], axis), axis)
        smallest = 1.0
        for window in itertools.product(*(dict.fromkeys(windows) for windows in _windows(self))):
            left = np.zeros(len(filters))
            for corner in itertools.product((0, 1), repeat=len(window)):
                place: tuple[Any, ...] = tuple(limits[end] for limits, end in zip(window, corner, strict=True))
                left += (-1) ** (len(window) - sum(corner)) * np.moveaxis(sums, 0, -1)[place]
            smallest = min(smallest, float(left.min()))
        return math.sqrt(max(smallest, 0.0))

    def within(self, values: NDArray) -> NDArray:
        """Keep what lies on the input, shape (trial, channel, *grid), and set the rest to zero."""
        kept, index = np.zeros_like(values), tuple(slice(*ends) for ends in self.inside)
        kept[:, :, *index] = values[:, :, *index]
        return kept


def _windows(run: LayerRun) -> list[list[tuple[int, int]]]:
    """Which taps lie within the input, by axis and position."""
    layer = run.layer
    return [
        [(min(max(low - p * step, 0), taps), max(min(high - p * step, taps), 0)) if _meets(low, high, p * step, taps)
         else (0, 0) for p in range(count)]
        for (low, high), step, taps, count in zip(run.inside, layer.stride, layer.taps, run.positions, strict=True)
    ]  # fmt: skip


def _meets(low: int, high: int, start: int, taps: int) -> bool:
    return low < start + taps and start < high


def run_segment(segment: Network, signals: NDArray, largest: int = LARGEST) -> list[LayerRun]:
    """
    Run signals through the layers of a segment as the network does.

    Parameters
    ----------
    segment : Network
        A cascade, of layers whose padding is known.
    signals : ndarray, shape (trial, channel, *space)
        Its input, of any size.
    largest : int
        Bytes that the codes of all layers may take.

    Returns
    -------
    list of LayerRun
        One per layer; the network's own activations are the codes times the norms of the filters.

    Raises
    ------
    UserError
        When the input is smaller than a filter, or the codes take too much memory.
    """
    runs: list[LayerRun] = []
    current, held = signals, 0
    for layer in segment.layers:
        positions = positions_for(layer, current.shape[2:])
        held += _COPIES * 8 * len(signals) * len(layer.weight) * math.prod(positions)
        if held > largest:
            raise UserError(
                f"the codes of {len(signals)} signals up to layer {layer.name!r} take about {in_gib(held)}, more than "
                f"the {in_gib(largest)} allowed: give fewer or smaller ones, or raise --memory."
            )
        runs.append(_run(layer, current, positions))
        current = runs[-1].active_codes
    return runs


def positions_for(layer: ConvolutionLayer, size: Sequence[int]) -> tuple[int, ...]:
    """
    Count the positions of a layer on an input of a given size.

    Parameters
    ----------
    layer : ConvolutionLayer
        Its padding is known.
    size : sequence of int
        Points of the input along each axis.

    Returns
    -------
    tuple of int
        One number per axis, at least 1.

    Raises
    ------
    UserError
        When the input is smaller than a filter.
    """
    positions = []
    pads = pads_for(layer, size)
    for n, (before, after), taps, step in zip(size, pads, layer.taps, layer.stride, strict=True):
        positions.append((n + before + after - taps) // step + 1)
        if positions[-1] < 1:
            raise UserError(
                f"layer {layer.name!r} gets {n} points of its input, fewer than its {taps} taps need: give larger "
                "signals."
            )
    return tuple(positions)


def _run(layer: ConvolutionLayer, given: NDArray, positions: tuple[int, ...]) -> LayerRun:
    size = given.shape[2:]
    pads = pads_for(layer, size)
    overlap = [math.ceil(taps / step) for taps, step in zip(layer.taps, layer.stride, strict=True)]
    # With that many empty positions no atom meets another one across the border of the grid.
    count = [max(m + o - 1, 2 * o - 1) for m, o in zip(positions, overlap, strict=True)]
    dictionary = placed_in_groups(layer, [m * step for m, step in zip(count, layer.stride, strict=True)])
    ends = [(m - 1) * step + taps for m, step, taps in zip(positions, layer.stride, layer.taps, strict=True)]
    inside = tuple(
        (min(before, end), min(before + n, end)) for n, (before, _), end in zip(size, pads, ends, strict=True)
    )
    padded = np.zeros((*given.shape[:2], *dictionary.grid))
    target = (slice(None), slice(None), *(slice(*limits) for limits in inside))
    padded[target] = given[(slice(None), slice(None), *(slice(0, high - low) for low, high in inside))]
    own = (slice(None), slice(None), *map(slice, positions))
    found = dictionary.correlate(padded)[own]
    thresholds = of_filters(layer.thresholds, layer.rank) + _missing(layer, positions, inside)
    size_of = np.abs(thresholds) + math.sqrt(padded[0].size) * np.abs(padded).max(initial=0.0)
    kept = found - thresholds
    codes = np.zeros((len(given), *dictionary.code_shape))
    codes[own] = np.where(kept > _TIE * size_of, kept, 0.0)
    return LayerRun(layer, dictionary, padded, codes, positions, inside)


def pads_for(layer: ConvolutionLayer, size: Sequence[int]) -> Pads:
    """
    Tell the zeros before and after an input of a given size.

    Parameters
    ----------
    layer : ConvolutionLayer
        Its padding is known.
    size : sequence of int
        Points of the input along each axis.

    Returns
    -------
    tuple of (int, int)
        One pair an axis.
    """
    if isinstance(layer.padding, str):
        pads = []
        for n, taps, step in zip(size, layer.taps, layer.stride, strict=True):
            total = max((math.ceil(n / step) - 1) * step + taps - n, 0)
            ends = (total // 2, total - total // 2)
            pads.append(ends if layer.padding == "SAME_UPPER" else ends[::-1])
        return tuple(pads)
    if layer.padding is None:
        raise UserError(f"the padding of layer {layer.name!r} is not known: state it with --padding.")
    return layer.padding


def _missing(layer: ConvolutionLayer, positions: Sequence[int], inside: Sequence[tuple[int, int]]) -> NDArray | float:
    """What the thresholds of atoms at the border miss of a shift that was folded in before the padding."""
    if layer.fringe is None:
        return 0.0
    missing = np.zeros((len(layer.weight), *positions))
    for tap in np.ndindex(*layer.taps):
        on_input = np.ones(())
        for t, step, count, (low, high) in zip(tap, layer.stride, positions, inside, strict=True):
            points = np.arange(count) * step + t
            on_input = on_input[..., None] * ((low <= points) & (points < high))
        missing += of_filters(layer.fringe[(slice(None), *tap)], layer.rank) * (1 - on_input)
    return missing / of_filters(layer.norms, layer.rank)
