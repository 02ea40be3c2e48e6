"""Checks of the sizes that families share."""

from __future__ import annotations

from collections.abc import Sequence

from dcsc.errors import UserError


def at_least(value: float, smallest: float, name: str) -> None:
    """
    Demand that a number is not too small.

    Parameters
    ----------
    value : float
        What the user gave.
    smallest : float
        The smallest allowed value.
    name : str
        Its parameter, for the message.

    Raises
    ------
    UserError
        When the value is below the smallest one.
    """
    if value < smallest:
        raise UserError(f"{name} {value} is not allowed: give {smallest} or more.")


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


def root(number: int, degree: int) -> int | None:
    """
    Take an exact integer root.

    Parameters
    ----------
    number : int
        A positive number.
    degree : int
        Which root, 1 or more.

    Returns
    -------
    int or None
        None when the number is not the power of an integer.
    """
    candidate = round(number ** (1 / degree))
    return candidate if candidate**degree == number else None
