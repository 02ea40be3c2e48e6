"""The registry of families: the name of each family, and its parameters as its function's signature states them."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dcsc.errors import UserError
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.registry import Registry, checked_value, described, is_integer

Family = Callable[..., ConvolutionalDictionary]
Seed = int | np.random.SeedSequence | np.random.Generator | None

FAMILIES: Registry[Family] = Registry("family")
names = FAMILIES.names


@dataclass(frozen=True)
class Parameter:
    """
    One parameter of a family.

    Parameters
    ----------
    name : str
        The keyword.
    annotation : type
        What values are allowed; Any when the family does not say.
    default : object
        Its default, or None when it is required.
    required : bool
        Whether the user must give it.
    """

    name: str
    annotation: Any
    default: Any
    required: bool


def register(name: str) -> Callable[[Family], Family]:
    """
    Make a decorator that adds a family under a name.

    Parameters
    ----------
    name : str
        The name that users write in a configuration and in `create`.

    Returns
    -------
    callable
        The decorator; it gives the function back unchanged.

    Raises
    ------
    UserError
        When the name is taken by another function, or the function does not have
        the signature (grid, rng, *, parameters), or a parameter is called name or seed.
    """

    def add(family: Family) -> Family:
        signature = list(inspect.signature(family).parameters.values())
        keywords = {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}
        if [entry.name for entry in signature[:2]] != ["grid", "rng"] or any(
            entry.kind not in keywords for entry in signature[2:]
        ):
            raise UserError(f"the family {name!r} has a signature that does not fit: write (grid, rng, *, parameters).")
        kinds = {entry.name: entry.kind for entry in signature}
        for reserved in ("name", "seed"):
            if reserved in kinds:
                raise UserError(f"the family {name!r} has a parameter {reserved!r}, which `create` has: rename it.")
        if inspect.Parameter.VAR_KEYWORD in kinds.values() and "base" not in kinds:
            raise UserError(f"the family {name!r} takes any parameter: give it a parameter 'base', or name them all.")
        return FAMILIES.register(name)(family)

    return add


def parameters(name: str) -> dict[str, Parameter]:
    """
    List the parameters of a family from its signature, without building anything.

    Parameters
    ----------
    name : str
        A registered family.

    Returns
    -------
    dict of str to Parameter
        In the order of the signature; without grid and rng, and without what the
        family passes on to its base.

    Raises
    ------
    UserError
        When the family is unknown or its annotations can't be read.
    """
    try:
        hints = typing.get_type_hints(FAMILIES.get(name))
    except NameError as error:
        raise UserError(
            f"the family {name!r} has annotations that can't be read, {error}: import that name."
        ) from error
    return {
        key: Parameter(key, hints.get(key, Any), None if required else entry.default, required)
        for key, entry in FAMILIES.parameters(name).items()
        for required in [entry.default is entry.empty]
    }


def files(name: str, **given: Any) -> list[str]:
    """
    List the files that the parameters of a family, or of its base, name.

    Parameters
    ----------
    name : str
        A registered family.
    **given
        Parameters as for `create`.

    Returns
    -------
    list of str
        Paths, as given.

    Raises
    ------
    UserError
        When the family is unknown.
    """
    allowed = parameters(name)
    paths = [
        str(value)
        for key, value in given.items()
        if key in allowed and Path in (allowed[key].annotation, *typing.get_args(allowed[key].annotation))
    ]
    if FAMILIES.passes_on(name):
        paths += files(given["base"], **{key: value for key, value in given.items() if key not in allowed})
    return paths


def check(name: str, **given: Any) -> dict[str, Any]:
    """
    Check the parameters of a family by name and type, without building anything.

    Parameters
    ----------
    name : str
        A registered family.
    **given
        Parameters as for `create`; lists count as tuples and the text '1e-3' as a number,
        because that is what YAML makes of them.

    Returns
    -------
    dict
        The parameters as the family will get them, defaults not filled in.

    Raises
    ------
    UserError
        When the family is unknown, or a parameter is unknown, missing or of a wrong type.
    """
    allowed = parameters(name)
    FAMILIES.check(name, given, {key: described(parameter.annotation) for key, parameter in allowed.items()})
    checked = {
        key: checked_value(f"family {name!r}", key, allowed[key].annotation, value)
        for key, value in given.items()
        if key in allowed
    }
    if FAMILIES.passes_on(name):
        base = checked["base"]
        if FAMILIES.passes_on(base):
            raise UserError(f"the base {base!r} is not allowed for {name!r}: it needs a base itself.")
        checked |= check(base, **{key: value for key, value in given.items() if key not in allowed})
    return checked


def create(name: str, grid: int | Sequence[int], seed: Seed = None, **given: Any) -> ConvolutionalDictionary:
    """
    Build a dictionary of a named family.

    Parameters
    ----------
    name : str
        A registered family, see `names`.
    grid : int or sequence of int, in grid points
        Size of the periodic grid, one number per axis; it sets the spatial rank.
    seed : int, numpy.random.SeedSequence, numpy.random.Generator or None
        Source of randomness. The same seed gives bitwise the same filters; None draws new ones.
    **given : object
        Parameters of the family, see `parameters`.

    Returns
    -------
    ConvolutionalDictionary
        With unit-norm filters, and the stride that the family or its parameters state.

    Raises
    ------
    UserError
        When the family is unknown, a parameter is unknown, missing or not allowed,
        or the sizes do not fit the grid.

    Examples
    --------
    >>> import dcsc
    >>> dcsc.families.create("gaussian", grid=(32, 32), seed=0, n_filters=3, taps=5)
    ConvolutionalDictionary(3 filters, 1 channels, taps (5, 5), stride (1, 1), grid (32, 32), float64)
    >>> dcsc.families.create("gauss", grid=64, n_filters=3, taps=5)
    Traceback (most recent call last):
        ...
    dcsc.errors.UserError: the family 'gauss' is unknown: did you mean 'gaussian'?
    """
    checked = check(name, **given)
    try:
        dictionary = FAMILIES.call(name, _checked_grid(grid), _generator(seed), **checked)
    except MemoryError:
        raise UserError(f"the family {name!r} of these sizes does not fit in memory: lower the sizes.") from None
    if not isinstance(dictionary, ConvolutionalDictionary):
        raise UserError(
            f"{FAMILIES.described(name)} returned a {type(dictionary).__name__}: make it return a "
            "ConvolutionalDictionary."
        )
    if dictionary.grid != _checked_grid(grid):
        raise UserError(
            f"{FAMILIES.described(name)} returned a dictionary on grid {dictionary.grid}: it must be on the grid that "
            f"it is given, {_checked_grid(grid)}."
        )
    return dictionary


def _checked_grid(grid: int | Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(grid) if isinstance(grid, Sequence | np.ndarray) else (grid,)
    if not sizes or not all(is_integer(points) and points > 0 for points in sizes):
        raise UserError(f"grid {grid!r} is not allowed: give one positive integer an axis.")
    return tuple(int(points) for points in sizes)


def _generator(seed: Seed) -> np.random.Generator:
    known = seed is None or isinstance(seed, np.random.SeedSequence | np.random.Generator)
    if known or (is_integer(seed) and seed >= 0):
        return np.random.default_rng(seed)
    raise UserError(f"seed {seed!r} is not allowed: give an integer that is not negative, or None.")
