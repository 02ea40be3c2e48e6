"""The errors a user can cause, each one sentence that says what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user asked for; its message is one sentence, shown without a traceback."""


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
    close = difflib.get_close_matches(name, allowed, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return "valid are " + ", ".join(repr(valid) for valid in allowed)
