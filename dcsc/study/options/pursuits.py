"""Pursuits, and the guarantees that are computed beside them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from dcsc.stages.settings import PursuitRun
from dcsc.study.options.types import Count, Names, Number, Options, Proportion, Scalar, numeric, whole

Tail = Literal["hoeffding", "gaussian", "chernoff", "exact"]
"""The bounds on tails of `dcsc.guarantees`, which a configuration is read without."""


class PursuitOptions(Options):
    """A pursuit and its parameters."""

    method: str = "layered-thresholding"
    """A name of `dcsc.pursuit`."""
    parameters: dict[str, Annotated[Scalar | list[Scalar], BeforeValidator(numeric)]] = Field(default={})
    """Parameters of another method than layered-thresholding, see `dcsc.pursuit`."""
    rule: Literal["hard", "soft", "relu", "top-k"] | None = None
    """The non-linearity of layered-thresholding."""
    threshold: (
        Literal[
            "uniform",
            "uniform-lower",
            "statistical",
            "oracle",
            "uniform-by-filter",
            "uniform-lower-by-filter",
            "statistical-by-filter",
            "oracle-by-filter",
        ]
        | Annotated[Number, Field(ge=0)]
        | list[Annotated[Number, Field(ge=0)] | Annotated[list[Annotated[Number, Field(ge=0)]], Field(min_length=1)]]
        | None
    ) = None
    """
    A number, one per layer (a number, or a list of one per filter), or a choice: `uniform` (X_min + mu X_max)/2,
    `uniform-lower` k mu X_max, `statistical` X_min/2, `oracle` the one that keeps the known number of entries; the same
    of every filter by itself with `-by-filter` behind the name. Not for top-k.
    """
    debias: bool = False
    """Fit the values by least squares on each recovered support."""
    variants: Names | None = Field(default=None, min_length=1)
    """Variants of the signals that it runs on; all by default."""

    @model_validator(mode="after")
    def _threshold_fits_rule(self) -> PursuitOptions:
        if self.method != "layered-thresholding":
            return self
        if self.parameters:
            raise ValueError(f"parameters are not for {self.method!r}: use rule, threshold and debias.")
        if self.rule is None:
            raise ValueError("layered-thresholding needs a rule: hard, soft, relu or top-k.")
        if (self.rule == "top-k") != (self.threshold is None):
            state = "has no use for a threshold" if self.rule == "top-k" else "needs a threshold"
            raise ValueError(f"rule {self.rule!r} {state}: " + ("remove it." if self.rule == "top-k" else "give one."))
        return self

    def as_run(self) -> PursuitRun:
        """
        Give what a stage takes.

        Returns
        -------
        PursuitRun
            With the same fields.
        """
        return PursuitRun(**self.model_dump())


class BoundOptions(Options):
    """Guarantees that depend on the supports, hence computed trial by trial."""

    delta: Proportion = 0.01
    """Failure probability that the statistical guarantees admit."""
    trials: Annotated[int, BeforeValidator(whole), Field(ge=0)] = 32
    """
    Trials of each cell and replicate for which bounds are computed, of each pursuit as it is run, with its thresholds
    and debiasing; 0 for none.
    """
    draws: Count = 768
    """
    The least number of draws, over all replicates, behind every certified number that is estimated. Such a number is a
    confidence limit: 299 draws are the fewest that can certify 99 % at a level of 95 %.
    """
    tail: Tail = "exact"
    """
    How the tails of the interference behind certified numbers are bounded. The default is the sharpest; exact tails
    take minutes on long grids.
    """
    tail_of_trials: Tail = "gaussian"
    """The same for what is computed trial by trial."""
    basis_pursuit: bool = False
    """
    Certify layered basis pursuit in its equality form beside the pursuits, without a run of it ([PRE17] Theorem 11, and
    what holds for the supports). A pursuit that is run in this form is certified anyway.
    """
    by_pairs: bool = False
    """
    Certify top-k of one layer with random signs also by all pairs of an active and an inactive atom. This is sharper
    than by the best threshold, and takes longer.
    """
