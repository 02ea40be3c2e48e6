"""The registries that give supports, magnitudes and signs the names that configurations use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dcsc.errors import UserError, shown
from dcsc.registry import Registry

SUPPORTS: Registry = Registry("support")
MAGNITUDES: Registry = Registry("magnitude", filled_in=("supports",))
SIGNS: Registry = Registry("sign rule")
register_support = SUPPORTS.register
register_magnitudes = MAGNITUDES.register
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
