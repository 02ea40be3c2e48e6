"""Estimates of the memory and time that the certificate of a layer takes, from its sizes, before it is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

from dcsc.arrays import in_gib
from dcsc.convolution import gram
from dcsc.errors import UserError
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.grouped import GroupedDictionary
from dcsc.ragged import RaggedCodes
from dcsc.seeds import BLOCK

COPIES = 6
"""Arrays of the size of the Gram kernel that the rungs on supports need at once, as measured."""
CODE_COPIES = 24
"""Arrays of the size of a batch of codes that the guarantees need at once, as measured."""
DRAWN_AT_ONCE = 64
"""Codes of a layer that are drawn and held at once, at least."""
TOLD = 10.0
"""Seconds from which on a user is told beforehand."""

_HELD_ATOMS = 2**17
"""Atoms of the codes that are held at once where these are small."""
_KEPT_NONZEROS = 2**20
"""Non-zeros of all draws of one size up to which they are kept from one rung to the next."""

# Seconds on one core of the machine of docs/benchmarks.md.
_MULTIPLICATION = 6e-11
_SORTED = 5e-8
_LAYER = 2e-3
_CALL = 2.5e-3
_CODE = 5e-5
_CODE_ATOM = 2e-8
_SUPPORT_ATOM = 5e-10
_SIZES = 9
_RUNGS_ON_SUPPORTS = 4


Sizes = ConvolutionalDictionary | GroupedDictionary
"""A layer, of which sizes alone count."""


def _blocks(layer: Sizes) -> tuple[int, ...]:
    """Shape of the filters in blocks, (group, filter, *overlap, point)."""
    groups = layer.n_groups if isinstance(layer, GroupedDictionary) else 1
    points = layer.n_channels // groups * math.prod(layer.stride)
    return (groups, layer.n_filters // groups, *layer.overlap, points)


def draws_within(name: str, layer: Sizes, draws: int, largest: int) -> tuple[int, str]:
    """
    Find how much of a certificate the memory allows.

    Parameters
    ----------
    name : str
        The layer's.
    layer : ConvolutionalDictionary or GroupedDictionary
        The layer.
    draws : int
        Codes wanted for each size of the rungs that depend on supports.
    largest : int
        Bytes that the layer may take.

    Returns
    -------
    draws : int
        As wanted, or 0 where the memory is enough for the closed forms alone.
    note : str
        What is left out, and why; empty where nothing is.

    Raises
    ------
    UserError
        When not even the closed forms fit.
    """
    streamed = gram.needed_bytes(_blocks(layer))
    if streamed > largest:
        raise UserError(
            f"the coherence of layer {name!r} takes about {in_gib(streamed)}, more than the {in_gib(largest)} allowed: "
            "leave it out with --layers, or raise --memory."
        )
    kernel = COPIES * 8 * layer.n_filters * layer.stripe_size
    written = written_out_bytes(layer)
    held = min(draws, DRAWN_AT_ONCE)
    codes = CODE_COPIES * 8 * layer.n_atoms * held
    if draws and written > largest:
        what, remedy = f"its groups written out take about {in_gib(written)}", "raise --memory"
    elif draws and kernel > largest:
        what, remedy = f"the inner products of its atoms take about {in_gib(kernel)}", "raise --memory"
    elif draws and codes > largest:
        what, remedy = f"{held} codes take about {in_gib(codes)}", "lower --grid, or raise --memory"
    else:
        return draws, ""
    return 0, (
        f"Left out of layer {name}: the rungs that depend on supports, since {what}, more than the {in_gib(largest)} "
        f"allowed. To have them, {remedy}."
    )


def written_out_bytes(layer: Sizes) -> int:
    """
    Tell what a layer takes once its groups are written out, as the rungs that depend on supports need it.

    Parameters
    ----------
    layer : ConvolutionalDictionary or GroupedDictionary
        The layer.

    Returns
    -------
    int
        Bytes; 0 of a layer without groups.
    """
    if not isinstance(layer, GroupedDictionary):
        return 0
    return 4 * 8 * layer.n_filters * layer.n_channels * math.prod(layer.taps)


def check_kernel(name: str, layer: Sizes, largest: int) -> None:
    """
    Refuse to hold all inner products of a layer where they are too many.

    Parameters
    ----------
    name, layer, largest
        As for `draws_within`.

    Raises
    ------
    UserError
        When they exceed the memory.
    """
    kernel = max(COPIES * 8 * layer.n_filters * layer.stripe_size, written_out_bytes(layer))
    if kernel > largest:
        raise UserError(
            f"the inner products of the atoms of layer {name!r} take about {in_gib(kernel)}, more than the "
            f"{in_gib(largest)} allowed: leave it out with --layers, or raise --memory."
        )


def drawn_at_once(layer: Sizes) -> int:
    """
    Choose how many codes are drawn and held at once.

    Parameters
    ----------
    layer : ConvolutionalDictionary or GroupedDictionary
        The layer.

    Returns
    -------
    int
        A multiple of the block of a draw, so that it changes no bit; more of small codes, whose calls cost most.
    """
    return max(DRAWN_AT_ONCE, _HELD_ATOMS // (layer.n_atoms * BLOCK) * BLOCK)


def kept(draw: Callable[[int], Iterator[RaggedCodes]], draws: int) -> Callable[[int], Iterator[RaggedCodes]]:
    """
    Draw the codes of a size once, for all rungs that ask for them.

    Parameters
    ----------
    draw : callable
        Takes a size, and gives its codes part by part.
    draws : int
        How many codes these are.

    Returns
    -------
    callable
        The same; few and sparse codes are kept, others drawn again.
    """
    parts: dict[int, list[RaggedCodes]] = {}

    def of_size(size: int) -> Iterator[RaggedCodes]:
        if draws * size > _KEPT_NONZEROS:
            return draw(size)
        if size not in parts:
            parts[size] = list(draw(size))
        return iter(parts[size])

    return of_size


def seconds(layer: Sizes, draws: int) -> float:
    """
    Estimate the certificate of a layer.

    Parameters
    ----------
    layer : ConvolutionalDictionary or GroupedDictionary
        The layer.
    draws : int
        Codes drawn for each size of the rungs that depend on supports.

    Returns
    -------
    float
        On one core, to a factor of three or so.
    """
    blocks = _blocks(layer)
    entries = gram.gram_size(layer.overlap, blocks[1], blocks[0])
    closed = _LAYER + _MULTIPLICATION * gram.multiplications(blocks) + _SORTED * entries
    if not draws:
        return closed
    calls = math.ceil(draws / drawn_at_once(layer))
    # Basis pursuit solves for every atom on the support, whose size grows as the root of the entries of an atom.
    entries_of_atom = layer.n_channels // blocks[0] * math.prod(layer.taps)
    a_code = _CODE + _CODE_ATOM * layer.n_atoms + _SUPPORT_ATOM / 2 * layer.n_atoms * entries_of_atom
    return closed + _SIZES * _RUNGS_ON_SUPPORTS * (calls * _CALL + draws * a_code)


def told(layers: Iterable[Sizes], draws: int, cores: int = 1) -> str:
    """
    Say what certificates take, where that is long.

    Parameters
    ----------
    layers : iterable of ConvolutionalDictionary or GroupedDictionary
        The layers.
    draws : int
        As for `seconds`.
    cores : int
        That work at once.

    Returns
    -------
    str
        One line; empty for less than `TOLD` seconds.
    """
    each = [(seconds(layer, draws), seconds(layer, 0)) for layer in layers]
    whole, closed = (sum(column) / cores for column in zip(*each, strict=True)) if each else (0.0, 0.0)
    if whole < TOLD:
        return ""
    count = f"{len(each)} layer{'s' * (len(each) > 1)}"
    less = f"; with --draws 0, which leaves the rungs on supports out, about {_time(closed)}" if draws else ""
    return f"certifying {count} takes about {_time(whole)}{less}"


def _time(duration: float) -> str:
    if duration < 90:
        return f"{max(1, round(duration))} s"
    return f"{duration / 60:.0f} min" if duration < 5400 else f"{duration / 3600:.1f} h"
