"""Claims that a run is put to."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dcsc.study.options.types import Count, Number, Options, Scalar


class ClaimOptions(Options):
    """A statement, a query about the tables behind figures, and the criterion that decides on it."""

    statement: str = Field(min_length=1, description="What is claimed, in a sentence.")
    figures: list[str] = Field(
        min_length=1,
        description="Figures whose tables decide, each as `experiment-panel`; their rows are put together.",
    )
    select: dict[str, Scalar | list[Scalar]] = Field(
        default={}, description="Which rows of the tables: the value, or one of the values, of each column."
    )
    value: str = Field(description="The column that is looked at.")
    interval: tuple[str, str] | None = Field(default=None, description="The columns of its interval, if it has one.")
    out_of: str | None = Field(
        default=None, description="A column of trials that makes a proportion of the value, summed over the rows."
    )
    among: str | None = Field(
        default=None,
        description="A column of trials that the value is counted among, without an interval: a theorem has no "
        "exceptions, and the count is all there is.",
    )
    over: dict[str, Scalar | list[Scalar]] | None = Field(
        default=None, description="Rows to divide by, selected like the others."
    )
    per: str = Field(default="cascade", description="The column in which a row and the one it is divided by agree.")
    aggregate: Literal["only", "sum", "min", "max"] = Field(
        default="only", description="What is made of several rows; `only` allows one."
    )
    counted: str = Field(default="rows", description="What the sample size counts, in the plural.")
    within: tuple[Number, Number] | None = Field(default=None, description="The number must lie between these.")
    at_least: Number | None = Field(default=None, description="The number must not be smaller.")
    at_most: Number | None = Field(default=None, description="The number must not be larger.")
    contains: Number | None = Field(default=None, description="The interval must contain this.")
    above: Number | None = Field(default=None, description="The whole interval must lie above this.")
    enough: Count | None = Field(default=None, description="The smallest sample that decides.")

    @model_validator(mode="after")
    def _decides(self) -> ClaimOptions:
        criteria = (self.within, self.at_least, self.at_most, self.contains, self.above)
        if self.among and (self.out_of or self.over or self.interval):
            raise ValueError("among counts without an interval: remove out_of, over and interval.")
        if all(criterion is None for criterion in criteria):
            raise ValueError("a claim needs a criterion: give within, at_least, at_most, contains or above.")
        if (self.contains is not None or self.above is not None) and not (self.interval or self.out_of):
            raise ValueError("contains and above ask for an interval: give interval or out_of.")
        return self
