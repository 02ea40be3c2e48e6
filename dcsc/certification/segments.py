"""Segments of a network: layers that each act on the codes of the one before, without filters that are zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dcsc.certification.network import RELU, ConvolutionLayer, over_all_channels
from dcsc.errors import UserError

_NEGLIGIBLE = 2.0**-40
"""Filters of so small a share of the largest norm of their layer are what rounding left of zero."""

Segments = tuple[tuple[int, ...], ...]


def link(
    layers: Sequence[ConvolutionLayer], above: Sequence[int | None]
) -> tuple[list[ConvolutionLayer], Segments, list[str]]:
    """
    Let layers act on the codes of the unit-norm layers that they follow.

    Parameters
    ----------
    layers : sequence of ConvolutionLayer
        With all their filters, each after the one that it follows.
    above : sequence of (int or None)
        Which layer each one follows; no two follow the same.

    Returns
    -------
    layers : list of ConvolutionLayer
        Without filters that are zero; norms of one are multiplied into the channels of the next.
    segments : tuple of tuple of int
        Maximal runs of layers that follow one another.
    notes : list of str
        What was left out.

    Raises
    ------
    UserError
        When a layer has no filter that is not zero.
    """
    notes: list[str] = []
    done: list[ConvolutionLayer] = []
    segment_of: dict[int, list[int]] = {}
    for index, (layer, parent) in enumerate(zip(layers, above, strict=True)):
        if parent is not None:
            layer = _after(done[parent], layers[parent], layer)
        norms = layer.norms
        kept = np.flatnonzero(norms > _NEGLIGIBLE * norms.max(initial=0.0))
        if not len(kept):
            raise UserError(f"layer {layer.name!r} has no filter that is not zero: choose other layers with --layers.")
        if len(kept) < len(layer.weight):
            notes.append(
                f"Left out: {len(layer.weight) - len(kept)} of the {len(layer.weight)} filters of {layer.name}, which "
                "are zero, and the channels that they feed; what these pass on is in the biases of the next layer."
            )
            layer = _only(layer, kept)
        done.append(layer)
        segment_of[index] = [] if parent is None else segment_of[parent]
        segment_of[index].append(index)
    if any(parent is not None for parent in above):
        notes.append(
            "In a segment the norms of each layer's filters are multiplied into the channels of the next layer, so "
            "that the unit-norm filters have the forward pass of the network, up to positive factors."
        )
    segments = tuple(tuple(run) for index, run in segment_of.items() if run[0] == index)
    return done, segments, notes


def by_tap(weight: NDArray, groups: int, shift: NDArray) -> NDArray:
    """
    Add up what a shift of the channels brings with each tap.

    Parameters
    ----------
    weight : ndarray, shape (filter, channel of its group, *tap)
        The filters.
    groups : int
        Their groups.
    shift : ndarray, shape (channel,)
        Added to the channels.

    Returns
    -------
    ndarray, shape (filter, *tap)
        Whose sum over the taps is a bias.
    """
    spread = np.repeat(shift.reshape(groups, -1), len(weight) // groups, axis=0)
    return np.einsum("fc...,fc->f...", weight, spread)


def _only(layer: ConvolutionLayer, kept: NDArray) -> ConvolutionLayer:
    """Keep some filters; groups that lose different numbers of them are written out."""
    per_group = np.bincount(kept // (len(layer.weight) // layer.groups), minlength=layer.groups)
    if per_group.min() != per_group.max():
        layer = _written_out(layer)
    return replace(
        layer, weight=layer.weight[kept], bias=layer.bias[kept], kept=layer.kept[kept],
        fringe=None if layer.fringe is None else layer.fringe[kept],
    )  # fmt: skip


def _written_out(layer: ConvolutionLayer) -> ConvolutionLayer:
    return replace(layer, weight=over_all_channels(layer.weight, layer.groups), groups=1)


def _after(above: ConvolutionLayer, stored: ConvolutionLayer, layer: ConvolutionLayer) -> ConvolutionLayer:
    """Let a layer act on the codes of the one above, whose filters are those that are not zero of the stored ones."""
    if len(above.kept) < above.stored:
        constant = np.maximum(stored.bias, 0.0)  # what a filter that is zero passes on, everywhere
        constant[above.kept] = 0.0
        if constant.any():
            taps = by_tap(layer.weight, layer.groups, layer.channel_scale * constant)
            is_padded = not isinstance(layer.padding, tuple) or bool(np.any(layer.padding))
            fringe = taps if layer.fringe is None else layer.fringe + taps
            bias = layer.bias + taps.reshape(len(taps), -1).sum(axis=1)
            layer = replace(layer, bias=bias, fringe=fringe if is_padded else layer.fringe)
        layer = _written_out(layer)
        layer = replace(layer, weight=layer.weight[:, above.kept], channel_scale=layer.channel_scale[above.kept])
    return replace(layer, channel_scale=layer.channel_scale * above.norms)


def follows(above: ConvolutionLayer, below: ConvolutionLayer) -> bool:
    """
    Whether one layer can act on the codes of another, of which it gets nothing else.

    Parameters
    ----------
    above, below : ConvolutionLayer
        The layers.

    Returns
    -------
    bool
        By the activation in between, and by their sizes.
    """
    return above.activation == RELU and above.rank == below.rank and above.stored == below.n_channels
