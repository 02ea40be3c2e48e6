"""Checks of the sizes that families share."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dcsc.convolution.filter_bank import per_axis
from dcsc.errors import UserError

Grid = tuple[int, ...]
"""The periodic grid that a family is given, in grid points along each axis."""

PerAxis = int | tuple[int, ...]
"""One number for all axes, or one per axis."""

MOST_ENTRIES = 2**24
"""Numbers in the filters of a dictionary; the inner products of more could not be held."""


def at_least(smallest: float, **numbers: float) -> None:
    """
    Demand that numbers are not too small.

    Parameters
    ----------
    smallest : float
        The smallest allowed value.
    **numbers
        What the user gave, by the names of the parameters.

    Raises
    ------
    UserError
        When a number is below the smallest one.
    """
    for name, number in numbers.items():
        if number < smallest:
            raise UserError(f"{name} {number} is not allowed: give {smallest} or more.")


def shape_of(grid: Sequence[int], taps: PerAxis, n_filters: int = 1, n_channels: int = 1) -> tuple[int, ...]:
    """
    Check the sizes of a filter bank and give the shape of one filter.

    Parameters
    ----------
    grid : sequence of int, in grid points
        The periodic grid; only its number of axes counts here.
    taps : int or tuple of int
        Taps of a filter, one number for all axes or one per axis.
    n_filters, n_channels : int
        Numbers of filters and channels.

    Returns
    -------
    tuple of int
        The shape (filter, channel, *tap).

    Raises
    ------
    UserError
        When a size is below 1, the taps differ from the grid in axes or exceed it, or memory would be short.
    """
    at_least(1, n_filters=n_filters, n_channels=n_channels)
    taps = per_axis(taps, len(grid), "taps")
    # Refused here already, before any array of that size is made.
    if any(size > points for size, points in zip(taps, grid, strict=True)):
        raise UserError(f"taps {taps} are more than grid {tuple(grid)} has: lower the taps or enlarge the grid.")
    entries = n_filters * n_channels * math.prod(taps)
    if entries > MOST_ENTRIES:
        raise UserError(
            f"{n_filters} filters of {n_channels} channels and {taps} taps are not allowed: they hold {entries} "
            f"numbers, give at most {MOST_ENTRIES}."
        )
    return (n_filters, n_channels, *taps)


def one_dimensional(grid: Sequence[int], family: str) -> None:
    """
    Demand a grid of one axis.

    Parameters
    ----------
    grid : sequence of int, in grid points
        What the user gave.
    family : str
        The family that has no meaning on more axes.

    Raises
    ------
    UserError
        When the grid has more than one axis.
    """
    if len(grid) != 1:
        raise UserError(f"the family {family!r} has one axis, but grid {tuple(grid)} has {len(grid)}: give one number.")
