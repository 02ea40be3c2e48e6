"""The errors a user can cause, each one sentence that says what to do."""

from __future__ import annotations

import difflib
import functools
import reprlib
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

LONGEST_NAME, LONGEST_MESSAGE = 80, 800
"""Characters of a user's name that a message repeats, and of a message."""

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 3, 60, 60, 60


class UserError(ValueError):
    """
    A mistake in what the user asked for; its message is one sentence, shown without a traceback.

    Parameters
    ----------
    message : str
        The sentence; what a terminal cannot print, such as line breaks of a hostile name, is escaped.
    """

    def __init__(self, message: str = "") -> None:
        text = printable(message)
        super().__init__(text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 3] + "...")


def printable(text: str) -> str:
    """
    Escape what a terminal would not show as it stands, such as line breaks and control characters.

    Parameters
    ----------
    text : str
        Any text, also one with lone surrogates.

    Returns
    -------
    str
        The same, on one line.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def shown(value: Any) -> str:
    """
    Write a user's value for a message, however large or deeply nested it is.

    Parameters
    ----------
    value : object
        The value.

    Returns
    -------
    str
        Its representation, shortened.
    """
    try:
        text = _SHORT.repr(value)
    except Exception:  # a number of too many digits has no representation
        text = f"a {type(value).__name__}"
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 3] + "..."


def shortened(name: str) -> str:
    """
    Cut a user's name to a length that a message can repeat.

    Parameters
    ----------
    name : str
        The name.

    Returns
    -------
    str
        At most `LONGEST_NAME` characters.
    """
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 3] + "..."


def nearest(name: str, allowed: Iterable[str]) -> str:
    """
    Suggest the allowed name nearest to a misspelt one.

    Parameters
    ----------
    name : str
        What the user wrote.
    allowed : iterable of str
        The valid names.

    Returns
    -------
    str
        ``"did you mean 'x'?"`` when one is near, else the list of valid names.
    """
    allowed = sorted(allowed)
    close = difflib.get_close_matches(name[:LONGEST_NAME], allowed, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return "valid are " + ", ".join(repr(valid) for valid in allowed)


Result = TypeVar("Result")
Given = ParamSpec("Given")


def renamed(**new_names: str) -> Callable[[Callable[Given, Result]], Callable[Given, Result]]:
    """
    Make a decorator by which a function refuses keyword parameters that have another name now.

    Parameters
    ----------
    **new_names : str
        The present name by the former one.

    Returns
    -------
    callable
        The decorator; the function's signature stays as it is.
    """

    def decorate(function: Callable[Given, Result]) -> Callable[Given, Result]:
        @functools.wraps(function)
        def checked(*arguments: Given.args, **parameters: Given.kwargs) -> Result:
            for former, name in new_names.items():
                if former in parameters:
                    raise UserError(
                        f"{function.__name__} has no parameter {former!r}, it is called {name!r} everywhere: rename it."
                    )
            return function(*arguments, **parameters)

        return checked

    return decorate
