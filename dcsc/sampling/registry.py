"""The registries that give supports, magnitudes and signs the names that configurations use."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from dcsc.errors import UserError, nearest, shown

Sampler = Callable[..., Any]


class Registry:
    """
    Samplers of one kind by name.

    Parameters
    ----------
    kind : str
        What they draw, for the messages.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._samplers: dict[str, Sampler] = {}

    def register(self, name: str) -> Callable[[Sampler], Sampler]:
        """
        Register a sampler under a name.

        Parameters
        ----------
        name : str
            The name.

        Returns
        -------
        callable
            A decorator; the sampler's keyword-only arguments are its parameters.

        Raises
        ------
        UserError
            When the name is taken.
        """

        def decorate(sampler: Sampler) -> Sampler:
            if self._samplers.get(name, sampler).__qualname__ != sampler.__qualname__:
                raise UserError(f"{self.kind} {name!r} is registered already: choose another name.")
            self._samplers[name] = sampler
            return sampler

        return decorate

    def names(self) -> list[str]:
        """
        List what is registered.

        Returns
        -------
        list of str
            Sorted names.
        """
        return sorted(self._samplers)

    def get(self, name: str, parameters: Mapping[str, Any]) -> Sampler:
        """
        Find a sampler that takes the given parameters.

        Parameters
        ----------
        name : str
            A registered name.
        parameters : mapping
            Parameters by name.

        Returns
        -------
        callable
            The sampler.

        Raises
        ------
        UserError
            When the name or a parameter is unknown, or a needed one is missing.
        """
        if name not in self._samplers:
            raise UserError(f"{self.kind} {name!r} is unknown: {nearest(name, self._samplers)}")
        accepted = {
            parameter.name: parameter
            for parameter in inspect.signature(self._samplers[name]).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        for given in parameters:
            if given not in accepted:
                hint = nearest(given, accepted) if accepted else "it takes none"
                raise UserError(f"{self.kind} {name!r} has no parameter {given!r}: {hint}")
        for needed, parameter in accepted.items():
            if parameter.default is parameter.empty and needed not in parameters:
                raise UserError(f"{self.kind} {name!r} needs the parameter {needed!r}: give it.")
        return self._samplers[name]


SUPPORTS = Registry("support")
MAGNITUDES = Registry("magnitude")
SIGNS = Registry("sign rule")
register_support = SUPPORTS.register
register_magnitude = MAGNITUDES.register
register_signs = SIGNS.register


def named(choice: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """
    Split a choice of the configuration into a name and parameters.

    Parameters
    ----------
    choice : str or mapping
        A name, or a mapping of `name` and the parameters.

    Returns
    -------
    name : str
        The name.
    parameters : dict
        The rest.

    Raises
    ------
    UserError
        When a mapping has no name, or one that is no text.
    """
    if isinstance(choice, str):
        return choice, {}
    parameters = dict(choice)
    if "name" not in parameters:
        raise UserError(f"{shown(parameters)} names no sampler: add a `name`.")
    name = parameters.pop("name")
    if not isinstance(name, str):
        raise UserError(f"name = {shown(name)} is not allowed: give the name of a sampler as text.")
    return name, parameters
