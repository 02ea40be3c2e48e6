"""What every section of the configuration shares: kinds of numbers and names, and the refusal of unknown keys."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints


def whole(value: Any) -> Any:
    """
    Refuse what Python would quietly count as a whole number.

    Parameters
    ----------
    value : object
        As YAML reads it.

    Returns
    -------
    object
        The same.

    Raises
    ------
    ValueError
        For a truth value.
    """
    if isinstance(value, bool):
        raise ValueError("give a number, not a truth value")
    return value


def distinct(values: Any) -> Any:
    """
    Refuse a list that names something twice.

    Parameters
    ----------
    values : list
        Names.

    Returns
    -------
    list
        The same.

    Raises
    ------
    ValueError
        With what stands twice.
    """
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"{value!r} stands twice: list each once.")
    return values


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,38}[a-z0-9])?$")]
Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 .,=+/_-]{0,39}$")]
Count = Annotated[int, BeforeValidator(whole), Field(ge=1, le=2**31)]
Number = Annotated[float, BeforeValidator(whole), Field(allow_inf_nan=False)]
Proportion = Annotated[float, BeforeValidator(whole), Field(gt=0, lt=1)]
Scalar = bool | int | Annotated[float, Field(allow_inf_nan=False)] | str
Names = Annotated[list[str], AfterValidator(distinct)]


class Options(BaseModel):
    """What every part of the configuration shares: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, use_attribute_docstrings=True)


def numeric(value: Any) -> Any:
    """
    Read the numbers that YAML takes for text, such as 1e-3.

    Parameters
    ----------
    value : object
        As YAML reads it.

    Returns
    -------
    object
        A number where the text is one, else the same.
    """
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
    return value


def models_in(annotation: Any) -> Iterator[type[Options]]:
    """
    Find the sections of the configuration in an annotation.

    Parameters
    ----------
    annotation : type
        Of a field.

    Yields
    ------
    type of Options
        The sections that it is made of.
    """
    if isinstance(annotation, type) and issubclass(annotation, Options):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from models_in(argument)
