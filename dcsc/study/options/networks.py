"""The configuration of the experiment on networks, a file of its own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from dcsc.study.options.claims import ClaimOptions
from dcsc.study.options.study import Folder, StyleOptions
from dcsc.study.options.types import Count, Name, Names, Number, Options, Proportion, whole

Share = Annotated[float, BeforeValidator(whole), Field(gt=0, le=1)]
Whole = Annotated[int, BeforeValidator(whole), Field(ge=0, le=2**31)]


class NetworkOptions(Options):
    """A network, and the signals that are run through it."""

    weights: str = Field(min_length=1)
    """An ONNX file."""
    signals: str = Field(min_length=1)
    """A .npz, .npy or .safetensors file of its inputs, (trial, ...), by the names that the graph gives them."""
    layers: Names | None = Field(default=None, min_length=1)
    """The layers to look at; by default all that are dense, have more than one position and one of `activations`."""


class NetworksOptions(Options):
    """Planted codes in the layers of networks."""

    results: Folder = "results-networks"
    """The folder of all that is made."""
    seed: Whole = 0
    """Of all draws."""
    networks: dict[Name, NetworkOptions] = Field(min_length=1)
    """By a name, which figures show."""
    activations: Names = Field(default=["ReLU", "PReLU", "hard-swish", "SiLU", "leaky ReLU"], min_length=1)
    """Activations of which the layers are looked at: those that pass on what is above 0."""
    shares: list[Share] = Field(default=[1.0, 0.1, 0.01], min_length=1)
    """Shares of the non-zeros that are planted; the first one is what figures by layer show."""
    magnitudes: list[Literal["measured", "equal"]] = Field(default=["measured", "equal"], min_length=1, max_length=2)
    """
    Magnitudes of the non-zeros, those of the forward pass, or their root mean square for all; the first is what figures
    show.
    """
    iterations: Count = 60
    """Steps by which the coherence of optimised filters is lowered."""
    most_optimised: Whole = 64
    """Filters above whose number a layer has none that are optimised, as that takes long."""
    steps: Count = 20
    """Steps of conjugate gradients for the best code on a support."""
    memory: Annotated[Number, Field(gt=0, le=2**20)] = 1.0
    """GiB that the file and the codes of a network may take."""
    confidence: Proportion = 0.95
    """Level of all intervals over signals."""
    style: StyleOptions = StyleOptions()
    """How the figure looks."""
    claims: dict[Name, ClaimOptions] = Field(default={})
    """Claims that the tables, `networks`, `networks-layers`, `-summary` and `-differences`, are put to."""
