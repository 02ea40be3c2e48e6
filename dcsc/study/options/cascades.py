"""Cascades of dictionaries, and series of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from dcsc.study.options.types import Count, Number, Options, Scalar, numeric, whole


class LayerOptions(Options):
    """One layer of a cascade."""

    family: str
    """Family of filters, a name of `dcsc.families` or of a plugin."""
    parameters: dict[str, Annotated[Scalar | list[Scalar], BeforeValidator(numeric)]] = Field(default={})
    """Parameters of the family; those without a default are required."""


class VaryOptions(Options):
    """A parameter that makes a series of cascades out of one, and changes nothing else."""

    parameter: str
    """
    The parameter of the layer's family that varies, or `grid`. Its value enters no random stream, so nothing else
    changes: the filters are the same on every grid, the direction of a perturbation is the same at every size, a search
    has the same start, and codes are the same where numbers of atoms and of active atoms are equal.
    """
    values: list[Annotated[int, BeforeValidator(whole)] | Number] = Field(min_length=1)
    """Its values, one cascade each."""
    layer: Count = 1
    """The layer whose parameter varies, 1 next to the signal."""


class CascadeOptions(Options):
    """A cascade of convolutional dictionaries, or a series of them."""

    grid: list[Count] = Field(min_length=1)
    """Size of the periodic signal grid, one number per axis."""
    layers: list[LayerOptions] = Field(min_length=1)
    """The layers, from the signal inwards."""
    replicates: Count = 1
    """Independent draws of every random dictionary."""
    vary: VaryOptions | None = None
    """Makes a series: one cascade for each value."""

    @model_validator(mode="after")
    def _varied_layer_exists(self) -> CascadeOptions:
        if self.vary and self.vary.layer > len(self.layers):
            raise ValueError(f"vary.layer = {self.vary.layer} is not allowed: there are {len(self.layers)} layers.")
        if self.vary and len(set(self.vary.values)) != len(self.vary.values):
            raise ValueError("vary.values holds a value twice: list each once.")
        if self.vary and self.vary.parameter == "grid":
            wrong = [value for value in self.vary.values if value != int(value) or value < 1]
            if wrong:
                raise ValueError(f"vary.values holds {wrong[0]:g}, which is no size of a grid: give whole numbers.")
        return self
