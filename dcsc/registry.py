"""Functions that a configuration names: how they are registered, found, and their parameters checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from dcsc.errors import UserError, nearest

Function = TypeVar("Function", bound=Callable[..., Any])


class Registry(Generic[Function]):
    """
    The functions of one kind, by the names that users write.

    Parameters
    ----------
    kind : str
        What they are, for messages: 'pursuit'.
    filled_in : tuple of str
        Keyword parameters that the library fills in and a user may not give.
    """

    def __init__(self, kind: str, filled_in: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.filled_in = filled_in
        self.entries: dict[str, Function] = {}

    def register(self, name: str) -> Callable[[Function], Function]:
        """
        Make a decorator that adds a function under a name.

        Parameters
        ----------
        name : str
            The name that users write in a configuration.

        Returns
        -------
        callable
            The decorator; it gives the function back unchanged.

        Raises
        ------
        UserError
            When the name is taken by another function.
        """

        def add(function: Function) -> Function:
            taken = self.entries.get(name, function)
            # Running a notebook cell again defines the same function again, which is no conflict.
            if (taken.__module__, taken.__qualname__) != (function.__module__, function.__qualname__):
                raise UserError(
                    f"the {self.kind} name {name!r} is registered already, taken by {taken.__module__}: choose another."
                )
            self.entries[name] = function
            return function

        return add

    def names(self) -> list[str]:
        """
        List the registered names.

        Returns
        -------
        list of str
            In alphabetical order.
        """
        return sorted(self.entries)

    def get(self, name: str) -> Function:
        """
        Find a function by its name.

        Parameters
        ----------
        name : str
            A registered name.

        Returns
        -------
        callable
            The function.

        Raises
        ------
        UserError
            When there is none of that name.
        """
        if not isinstance(name, str) or name not in self.entries:
            raise UserError(f"the {self.kind} {name!r} is unknown: {nearest(str(name), self.entries)}")
        return self.entries[name]

    def parameters(self, name: str) -> dict[str, inspect.Parameter]:
        """
        Read the parameters that a user may give off the signature of a function.

        Parameters
        ----------
        name : str
            A registered name.

        Returns
        -------
        dict of str to inspect.Parameter
            The keyword-only ones, in the order of the signature.

        Raises
        ------
        UserError
            When there is no function of that name.
        """
        signature = inspect.signature(self.get(name)).parameters.items()
        return {
            key: entry for key, entry in signature if entry.kind is entry.KEYWORD_ONLY and key not in self.filled_in
        }

    def passes_on(self, name: str) -> bool:
        """
        Say whether a function takes parameters that it does not name, to pass them on to another one.

        Parameters
        ----------
        name : str
            A registered name.

        Returns
        -------
        bool
            Whether its signature ends in ``**parameters``.

        Raises
        ------
        UserError
            When there is no function of that name.
        """
        return any(entry.kind is entry.VAR_KEYWORD for entry in inspect.signature(self.get(name)).parameters.values())

    def check(self, name: str, given: Iterable[str], what: Mapping[str, str] | None = None) -> Function:
        """
        Check the names of the parameters that a user gives, and find the function.

        Parameters
        ----------
        name : str
            A registered name.
        given : iterable of str
            Names of the parameters.
        what : mapping of str to str, optional
            What to give for a parameter that is missing, for the message.

        Returns
        -------
        callable
            The function.

        Raises
        ------
        UserError
            When the function is unknown, does not take one of the parameters, or needs one that is not given.
        """
        allowed, keys = self.parameters(name), list(given)
        for key in keys:
            if key not in allowed and (key in self.filled_in or not self.passes_on(name)):
                hint = nearest(key, allowed) if allowed else "it takes none."
                raise UserError(f"the {self.kind} {name!r} has no parameter {key!r}, the name is unknown: {hint}")
        for key, entry in allowed.items():
            if entry.default is entry.empty and key not in keys:
                raise UserError(
                    f"the {self.kind} {name!r} needs the parameter {key!r}: give {(what or {}).get(key, 'it')}."
                )
        return self.get(name)
