"""How many signals are drawn, and how."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from dcsc.seeds import BLOCK
from dcsc.stages.settings import Draw
from dcsc.study.options.types import Count, Label, Names, Number, Options, Scalar, numeric, whole

Parameter = Annotated[Scalar, BeforeValidator(numeric)]
Choice = str | dict[str, Parameter | list[Parameter | list[Parameter]]]
"""A name, or a mapping of `name` and parameters: those of `given` are lists, or lists of lists."""

if TYPE_CHECKING:
    from dcsc.model.dictionary import ConvolutionalDictionary

MOST_JOBS = 5_000
"""Jobs of a study: Snakemake takes about 20 s to plan as many, and its time grows with them."""

JOBS_OF_A_CHUNK = 3
"""Signals, pursuits and metrics."""


class DrawOptions(Options):
    """How codes and noise are drawn."""

    support: Choice = "uniform"
    """Choice of the active atoms: a name of `dcsc.sampling`, or a mapping of `name` and parameters."""
    magnitudes: Choice = "constant"
    """Law of the magnitudes: a name of `dcsc.sampling`, or a mapping of `name` and parameters."""
    signs: Choice = "rademacher"
    """
    Signs of the deepest code: a name of `dcsc.sampling`, or a mapping of `name` and parameters. `{name: worst-case,
    threshold: statistical}` makes thresholding at X_min/2 fail if any signs do. `threshold: uniform` does so for the
    threshold (X_min + mu X_max)/2 (one layer). `{name: worst-case, pursuit: basis-pursuit}` does so for the certificate
    of basis pursuit.
    """
    layer_signs: bool | Literal["worst-case"] = False
    """
    Draw the signs T of every layer and trial, which is the model D-CSC-R. `worst-case` takes the worst ones for top-k,
    layer by layer.
    """
    constraint: Literal["none", "contrast-floor", "no-overlap", "rejection"] = "none"
    """What deep codes must satisfy, see `dcsc.sampling.deep_codes`."""
    floor: Annotated[Number, Field(ge=0, le=1)] = 0.0
    """Smallest contrast of every layer, for contrast-floor and rejection."""
    noise_db: Number | None = None
    """Signal-to-noise ratio of white Gaussian noise in decibels (of power); none by default."""
    windows_of: str | None = None
    """
    Take codes that approximate windows of a real signal instead of random ones, with `active` atoms through the whole
    cascade: `electrocardiogram`, `photograph` or a plugin's.
    """
    residual: bool = False
    """Observe the windows themselves: what the codes miss is added to what they synthesize."""
    codes: str | None = None
    """
    Take the codes of a .npz, .npy or .nc file instead of random ones, see `dcsc.stages.codes_file`: those of the
    deepest layer of each cascade, in the order of the file. A cell has codes with at most `active` non-zeros, and with
    more than the cell before.
    """


class VariantOptions(Options):
    """What a variant draws in its own way; what is not named is as for the experiment."""

    support: Choice | None = None
    """As above."""
    magnitudes: Choice | None = None
    """As above."""
    signs: Choice | None = None
    """As above."""
    layer_signs: bool | Literal["worst-case"] | None = None
    """As above."""
    constraint: Literal["none", "contrast-floor", "no-overlap", "rejection"] | None = None
    """As above."""
    floor: Annotated[Number, Field(ge=0, le=1)] | None = None
    """As above."""
    noise_db: Number | None = None
    """As above."""
    windows_of: str | None = None
    """As above."""
    residual: bool | None = None
    """As above."""
    codes: str | None = None
    """As above."""


class SignalOptions(DrawOptions):
    """How many signals are drawn, and how."""

    active: list[Count] | None = Field(default=None, min_length=1)
    """Numbers of active atoms in the deepest code, one cell each."""
    density: list[Annotated[Number, Field(gt=0, le=1)]] | None = Field(default=None, min_length=1)
    """Instead of `active`: shares of the deepest code's atoms."""
    density_layer: Count | None = None
    """
    The layer that `density` is of, by default the deepest. For another layer, the number of active deepest atoms is
    chosen that gives it about that density. This is a mean over 32 draws of supports as the experiment has them, with
    generic values.
    """
    stripe_sparsity: list[Count] | None = Field(default=None, min_length=1)
    """
    Instead of `active`, for support `spread` on one axis: stripe-sparsities. So many atoms are active that every stripe
    is filled up to this number, and none further.
    """
    refine: Annotated[int, BeforeValidator(whole), Field(ge=0, le=100)] = 0
    """
    How many cells are added to every transition. A coarse sweep finds where recovery falls from 97 % to 3 %, for each
    cascade, variant and pursuit. The cells are spread over this range, with one more beyond either end.
    """
    refine_for: Names | None = Field(default=None, min_length=1)
    """
    Pursuits whose transitions choose the cells of `refine`; all by default. If a pursuit that is not listed here is
    added later, nothing is drawn again.
    """
    trials: Count
    """Signals for each cell and dictionary replicate."""
    variants: dict[Label, VariantOptions] = Field(default={"signals": VariantOptions()}, min_length=1)
    """Ways to draw, side by side: they share the supports, magnitudes and noise that they can."""
    chunk_blocks: Count = 4
    """Blocks of 32 trials in one job; changes no draw."""

    @model_validator(mode="after")
    def _listed_once(self) -> SignalOptions:
        keys = [key for key in ("active", "density", "stripe_sparsity") if getattr(self, key) is not None]
        if len(keys) != 1:
            raise ValueError(
                "give either active or density or stripe_sparsity: the numbers of active atoms, their shares, "
                "or what they fill every stripe to."
            )
        (key,) = keys
        values = getattr(self, key)
        if len(set(values)) != len(values):
            raise ValueError(f"{key} holds a value twice: list each once.")
        if self.density_layer is not None and self.density is None:
            raise ValueError("density_layer is the layer that density is of: give density, or remove it.")
        if self.refine_for is not None and not self.refine:
            raise ValueError("refine_for says which pursuits choose the cells of refine: set refine, or remove it.")
        sections: dict[str, SignalOptions | VariantOptions] = {"": self}
        sections |= {f"variant {name!r}: ": variant for name, variant in self.variants.items()}
        for where, section in sections.items():
            drawn = {"support", "magnitudes", "signs", "windows_of"} & section.model_fields_set
            if section.codes is not None and drawn:
                raise ValueError(f"{where}codes of a file are taken as they are: remove {min(drawn)}.")
        if self.refine and any(draw.codes is not None for draw in self.draws().values()):
            raise ValueError("refine draws further cells, which codes of a file do not have: remove it.")
        for label, draw in self.draws().items():
            if conflict := _conflict(draw):
                raise ValueError(f"variant {label!r}: {conflict}")
            if self.stripe_sparsity and draw.codes is not None:
                raise ValueError(f"variant {label!r}: stripe_sparsity is not for codes of a file: give active.")
            if self.stripe_sparsity and draw.support not in ("spread", {"name": "spread"}):
                raise ValueError(f"variant {label!r}: stripe_sparsity is for evenly spread atoms: set support: spread.")
        return self

    @property
    def blocks(self) -> int:
        """Blocks of trials of a cell, the last of which may not be full."""
        return math.ceil(self.trials / BLOCK)

    @property
    def chunks(self) -> int:
        """Chunks that they are split into."""
        return math.ceil(self.blocks / self.chunk_blocks)

    def cells(self, layers: Sequence[ConvolutionalDictionary]) -> list[int]:
        """
        Give the numbers of active atoms.

        Parameters
        ----------
        layers : sequence of ConvolutionalDictionary
            Of the cascade; densities and stripe-sparsities refer to the deepest, unless `density_layer` names another.

        Returns
        -------
        list of int
            One per cell; ascending and without doubles when they come from densities or stripe-sparsities.

        Raises
        ------
        UserError
            When stripe-sparsities are given and the layer has more than one axis, or no number of deepest atoms gives
            a layer the density.
        """
        deepest = layers[-1]
        if self.active is not None:
            return self.active
        if self.density is not None and self.density_layer not in (None, len(layers)):
            from dcsc.sampling import densities

            support = json.dumps(self.support, sort_keys=True)
            return sorted(
                {densities.active_for(tuple(layers), self.density_layer, share, support) for share in self.density}
            )
        if self.density is not None:
            return sorted({max(1, round(share * deepest.n_atoms)) for share in self.density})
        from dcsc.sampling.supports import spread_size

        return sorted({spread_size(deepest, limit) for limit in self.stripe_sparsity or ()})

    def draws(self) -> dict[str, Draw]:
        """
        Fill every variant in.

        Returns
        -------
        dict of str to Draw
            By the variant's name.
        """
        common = {name: getattr(self, name) for name in DrawOptions.model_fields}
        drawn = {}
        for label, variant in self.variants.items():
            own = variant.model_dump(exclude_none=True)
            if own.keys() & {"windows_of", "codes"}:  # of two sources, that of the variant counts
                own = {"windows_of": None, "codes": None, **own}
            drawn[label] = Draw(**{**common, **own})
        return drawn


def _conflict(draw: Draw) -> str:
    """What of the ways to draw excludes one another, as a sentence; empty when nothing does."""
    if draw.residual and (draw.windows_of is None or draw.noise_db is not None):
        return "residual is what codes miss of windows_of: give that, and no noise_db."
    random = {"layer_signs": draw.layer_signs, "constraint": draw.constraint != "none", "floor": draw.floor}
    wrong = [key for key, value in random.items() if value]
    given = "windows_of" if draw.windows_of is not None else "a file" if draw.codes is not None else ""
    if given and wrong:
        return f"{wrong[0]} is for random codes, not for those of {given}: remove one of them."
    return ""
