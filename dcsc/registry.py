"""Registries of functions that a configuration names: how they are registered, found, called and checked."""

from __future__ import annotations

import contextlib
import inspect
import math
import traceback
import types
import typing
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from dcsc.errors import UserError, nearest, shown

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
    demanded : bool
        Whether every function must take them; else they are for those that ask for them.
    """

    every: ClassVar[weakref.WeakSet[Registry[Any]]] = weakref.WeakSet()

    def __init__(self, kind: str, filled_in: tuple[str, ...] = (), *, demanded: bool = False) -> None:
        self.kind = kind
        self.filled_in = filled_in
        self.demanded = demanded
        self.entries: dict[str, Function] = {}
        Registry.every.add(self)

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
            When the name is no text or taken by another function, or the function does not take what is filled in.
        """
        if not isinstance(name, str) or not name:
            raise UserError(f"the {self.kind} name {shown(name)} is not allowed: give a text.")

        def add(function: Function) -> Function:
            taken = self.entries.get(name, function)
            if not _is_same(taken, function):
                raise UserError(
                    f"the {self.kind} name {name!r} is registered already, taken by {taken.__module__}: choose another."
                )
            signature = inspect.signature(function).parameters.values()
            takes_any = any(entry.kind is entry.VAR_KEYWORD for entry in signature)
            missing = {*self.filled_in} - {entry.name for entry in signature}
            if self.demanded and missing and not takes_any:
                raise UserError(
                    f"the {self.kind} {name!r} ({_called(function)}) takes no {min(missing)!r}, which it is given: "
                    f"add the parameters {', '.join(f'{given}=None' for given in self.filled_in)} to it."
                )
            self.entries[name] = function
            return function

        return add

    def described(self, name: str) -> str:
        """
        Name a function for a message.

        Parameters
        ----------
        name : str
            A registered name.

        Returns
        -------
        str
            Its kind, its name in a configuration, and where it is defined.

        Raises
        ------
        UserError
            When there is none of that name.
        """
        return f"the {self.kind} {name!r} ({_called(self.get(name))})"

    def call(self, name: str, *arguments: Any, **parameters: Any) -> Any:
        """
        Call a function, and say in one sentence how one that is not of the library fails.

        Parameters
        ----------
        name : str
            A registered name.
        *arguments, **parameters
            What it takes.

        Returns
        -------
        object
            What it gives.

        Raises
        ------
        UserError
            When there is none of that name, or it fails.
        """
        function = self.get(name)
        try:
            return function(*arguments, **parameters)
        except (UserError, MemoryError):
            raise
        except Exception as error:
            place = _place_of(error, function)
            if place is None:
                raise
            what = shown(str(error)) if str(error) else "without a word"
            raise UserError(
                f"{self.described(name)} fails at {place} with {type(error).__name__} {what}: correct it."
            ) from error

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
        signature = _signature(self.get(name)).items()
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
        return any(entry.kind is entry.VAR_KEYWORD for entry in _signature(self.get(name)).values())

    def check(self, name: str, given: Iterable[str], what: Mapping[str, str] | None = None) -> Function:
        """
        Check the names of the parameters that a user gives, and find the function.

        Parameters
        ----------
        name : str
            A registered name.
        given : iterable of str
            Names of the parameters; of a mapping, the values are compared with the annotations, too.
        what : mapping of str to str, optional
            What to give for a parameter that is missing, for the message.

        Returns
        -------
        callable
            The function.

        Raises
        ------
        UserError
            When the function is unknown, does not take one of the parameters or its value, or needs one that is not
            given.
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
        if isinstance(given, Mapping):
            hints = annotated(self.get(name))
            for key, value in given.items():
                if key in allowed and key in hints:
                    checked_value(f"{self.kind} {name!r}", key, hints[key], value)
        return self.get(name)


def _is_same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Whether two functions are one: running a notebook cell again defines the same one again, which is no conflict."""
    if one is other:
        return True
    places = [(function.__module__, function.__qualname__) for function in (one, other)]
    if places[0] != places[1]:
        return False
    return one.__module__ == "__main__" or _file_of(one) == _file_of(other)


@contextlib.contextmanager
def unchanged() -> Iterator[None]:
    """
    Guard what is registered while a user's file runs, which may do more than register.

    Yields
    ------
    None
        While it runs.

    Raises
    ------
    UserError
        When it took a name away from another function.
    """
    before = [(registry, dict(registry.entries)) for registry in Registry.every]
    yield
    taken = [
        (registry, name, function)
        for registry, entries in before
        for name, function in entries.items()
        if not _is_same(registry.entries.get(name, unchanged), function)
    ]
    for registry, entries in before if taken else ():
        registry.entries.update(entries)
    for registry, name, function in taken:
        raise UserError(f"the {registry.kind} {name!r} is taken by {function.__module__}: choose another name.")


def _file_of(function: Callable[..., Any]) -> Path:
    """The file in which a function is written."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return Path(code.co_filename if code else function.__module__)


@cache
def _called(function: Callable[..., Any]) -> str:
    """Name a function and where it is defined, as a user would look for it."""
    return f"{function.__name__} of {_file_of(function).name}"


def _place_of(error: Exception, function: Callable[..., Any]) -> str | None:
    """The innermost line of a function's file that an error came through; none for a function of the library."""
    file = _file_of(function)
    if Path(__file__).parent in file.parents:
        return None
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if Path(frame.f_code.co_filename) == file]
    return f"line {lines[-1]}" if lines else "its call"


@cache
def _signature(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Parameters of a function; kept, as a job asks for those of a sampler thousands of times."""
    return inspect.signature(function).parameters


@cache
def annotated(function: Callable[..., Any]) -> Mapping[str, Any]:
    """
    Read the annotations of a function, as far as they can be read.

    Parameters
    ----------
    function : callable
        The function.

    Returns
    -------
    dict of str to type
        By parameter; empty when one of them names what is not there.
    """
    with contextlib.suppress(Exception):  # an annotation may be any expression
        return typing.get_type_hints(function)
    return {}


def checked_value(owner: str, name: str, annotation: Any, value: Any) -> Any:
    """
    Compare the value of a parameter with its annotation.

    Parameters
    ----------
    owner : str
        Whose parameter it is, for the message.
    name : str
        Its name.
    annotation : type
        What values are allowed; of what is no number, text, path, tuple, literal or union of them, all are.
    value : object
        As YAML reads it: a list counts as a tuple, and the text '1e-3' as a number.

    Returns
    -------
    object
        The value that the function is to get.

    Raises
    ------
    UserError
        When it does not fit.
    """
    if isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim == 1):
        value = tuple(value)
    if isinstance(value, str) and annotation is float:
        with contextlib.suppress(ValueError):
            value = float(value)  # YAML takes 1e-3 for a text
    if not _fits(value, annotation):
        raise UserError(
            f"the parameter {name!r} of the {owner} is {shown(value)}, which is not allowed: "
            f"give {described(annotation)}."
        )
    return value


def is_integer(value: Any) -> typing.TypeGuard[int]:
    """
    Tell whether a value is a whole number; True and False are to Python, but a slip in a configuration.

    Parameters
    ----------
    value : object
        Any.

    Returns
    -------
    bool
        Whether it is one.
    """
    return isinstance(value, Integral) and not isinstance(value, bool)


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a value is of an annotated type: numbers, text, tuples, and unions and literals of them."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        # What is no type fits everything; to compare with a protocol is slow, and comes last.
        return any(_fits(value, choice) for choice in sorted(typing.get_args(annotation), key=_is_slow))
    if origin is typing.Literal:
        return any(type(value) is type(choice) and value == choice for choice in typing.get_args(annotation))
    if origin is tuple:
        kinds = [kind for kind in typing.get_args(annotation) if kind is not Ellipsis]
        return isinstance(value, tuple) and all(_fits(entry, kinds[0] if kinds else Any) for entry in value)
    if annotation is int:
        return is_integer(value)
    if annotation is float:
        return isinstance(value, Real) and not isinstance(value, bool) and _is_finite(value)
    if annotation is None or annotation is type(None):
        return value is None
    if annotation is list:
        return isinstance(value, tuple)
    return not isinstance(annotation, type) or isinstance(value, annotation)


def _is_slow(annotation: Any) -> bool:
    return isinstance(annotation, type) and getattr(annotation, "_is_protocol", False)


def _is_finite(value: Real) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the largest float
        return False


_DESCRIBED = {
    int: "an integer",
    float: "a finite number",
    str: "a text",
    bool: "true or false",
    Path: "a path",
    type(None): "nothing",
}
"""The types that values are compared with, in words."""


def described(annotation: Any) -> str:
    """
    Say in words what an annotation allows.

    Parameters
    ----------
    annotation : type
        As for `checked_value`.

    Returns
    -------
    str
        For a message.
    """
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(described(choice) for choice in typing.get_args(annotation))
    if origin is typing.Literal:
        return "one of " + ", ".join(repr(choice) for choice in typing.get_args(annotation))
    if origin is tuple:
        return f"{described(typing.get_args(annotation)[0])} for each axis"
    return _DESCRIBED.get(annotation, "a " + getattr(annotation, "__name__", "value"))


def returned(
    owner: str, value: Any, expected: str, shape: tuple[int, ...] | None = None, kinds: str = "iuf"
) -> NDArray:
    """
    Take the numbers that a registered function returned.

    Parameters
    ----------
    owner : str
        The function, from `Registry.described`.
    value : object
        What it returned.
    expected : str
        What it had to return, for the message.
    shape : tuple of int, optional
        The shape that it must have; any by default.
    kinds : str
        Kinds of numbers that are allowed, as in `numpy.dtype.kind`; by default real ones.

    Returns
    -------
    ndarray
        Finite numbers.

    Raises
    ------
    UserError
        When it returned anything else.
    """
    array = value
    if not isinstance(array, np.ndarray):
        with contextlib.suppress(Exception):  # any object may refuse to be an array, in any way
            array = np.asarray(value)
    if not isinstance(array, np.ndarray) or array.dtype.kind == "O":
        wrong = f"a {type(value).__name__}"
    elif array.dtype.kind not in kinds:
        wrong = f"an array of {array.dtype}"
    elif shape is not None and array.shape != shape:
        wrong = f"an array of shape {array.shape}"
    elif array.dtype.kind == "f" and not np.isfinite(array).all():
        wrong = "numbers that are not finite"
    else:
        return array
    raise UserError(f"{owner} returned {wrong}: it must return {expected}.")
