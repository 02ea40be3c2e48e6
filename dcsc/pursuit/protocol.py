"""What every pursuit takes and gives, and the registry that names them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dcsc.errors import UserError, nearest


@dataclass(frozen=True, eq=False)
class PursuitResult:
    """
    The codes that a pursuit found, and how it came to stop.

    Parameters
    ----------
    codes : list of ndarray, each of shape (..., filter, *position)
        [X^(1), ..., X^(L)].
    thresholds : list of ndarray, each of shape (...)
        The threshold (or penalty) used at each layer, one a trial.
    iterations : ndarray of int, shape (..., layer)
        Steps taken; 1 a layer for one-step thresholding.
    optimality : ndarray, shape (..., layer)
        Distance from optimality at the end; 0 where a step has no objective.
    stopped : str
        Why it stopped, in a few words.
    """

    codes: list[NDArray]
    thresholds: list[NDArray]
    iterations: NDArray
    optimality: NDArray
    stopped: str

    @property
    def supports(self) -> list[NDArray]:
        """Supports of the codes as boolean arrays: the recovered activation path."""
        return [code != 0 for code in self.codes]


Pursuit = Callable[..., PursuitResult]
_PURSUITS: dict[str, Pursuit] = {}


def register(name: str) -> Callable[[Pursuit], Pursuit]:
    """
    Register a pursuit under a name that configurations can use.

    Parameters
    ----------
    name : str
        The name.

    Returns
    -------
    callable
        A decorator for a function (model, signals, **parameters) -> PursuitResult.

    Raises
    ------
    UserError
        When the name is taken.
    """

    def decorate(pursuit: Pursuit) -> Pursuit:
        if _PURSUITS.get(name, pursuit).__qualname__ != pursuit.__qualname__:
            raise UserError(f"pursuit {name!r} is registered already: choose another name.")
        _PURSUITS[name] = pursuit
        return pursuit

    return decorate


def get(name: str) -> Pursuit:
    """
    Find a pursuit by its name.

    Parameters
    ----------
    name : str
        A registered name.

    Returns
    -------
    callable
        The pursuit.

    Raises
    ------
    UserError
        When there is none of that name.
    """
    if name not in _PURSUITS:
        raise UserError(f"pursuit {name!r} is unknown: {nearest(name, _PURSUITS)}")
    return _PURSUITS[name]


GIVEN = ("reference", "noise")
"""Parameters that every pursuit takes and that a study fills in."""


def check_parameters(name: str, parameters: Iterable[str]) -> None:
    """
    Check the names of a pursuit's parameters.

    Parameters
    ----------
    name : str
        A registered name.
    parameters : iterable of str
        Names of keyword parameters that are to be passed.

    Raises
    ------
    UserError
        When the pursuit is unknown, does not take one of them, or needs one that is not among them.
    """
    keywords = {
        key: parameter
        for key, parameter in inspect.signature(get(name)).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and key not in GIVEN
    }
    given = list(parameters)
    for key in given:
        if key not in keywords:
            raise UserError(f"parameter {key!r} of pursuit {name!r} is unknown: {nearest(key, keywords)}")
    for key, parameter in keywords.items():
        if parameter.default is parameter.empty and key not in given:
            raise UserError(f"pursuit {name!r} needs the parameter {key!r}: add it.")


def names() -> list[str]:
    """
    List the registered pursuits.

    Returns
    -------
    list of str
        Sorted names.
    """
    return sorted(_PURSUITS)


def one_step_result(codes: list[NDArray], thresholds: list[NDArray]) -> PursuitResult:
    """
    Wrap what a one-step pursuit found.

    Parameters
    ----------
    codes : list of ndarray
        [X^(1), ..., X^(L)].
    thresholds : list of ndarray, each of shape (...)
        Thresholds used.

    Returns
    -------
    PursuitResult
        One iteration a layer, nothing left to optimise.
    """
    shape = (*thresholds[0].shape, len(codes))
    return PursuitResult(codes, thresholds, np.ones(shape, dtype=np.int64), np.zeros(shape), "one step a layer")
