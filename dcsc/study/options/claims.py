"""Claims that a run is put to."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dcsc.study.options.types import Count, Number, Options, Scalar


class ClaimOptions(Options):
    """A statement, a query about the tables behind figures, and the criterion that decides on it."""

    statement: str = Field(min_length=1)
    """What is claimed, in a sentence."""
    figures: list[str] = Field(min_length=1)
    """Figures whose tables decide, each as `experiment-panel`; their rows are put together."""
    select: dict[str, Scalar | list[Scalar]] = Field(default={})
    """Which rows of the tables: the value, or one of the values, of each column."""
    value: str
    """The column that is looked at."""
    interval: tuple[str, str] | None = None
    """The columns of its interval, if it has one."""
    out_of: str | None = None
    """A column of trials that makes a proportion of the value, summed over the rows."""
    among: str | None = None
    """
    A column of trials that the value is counted among, without an interval: a theorem has no exceptions, and the count
    is all there is.
    """
    over: dict[str, Scalar | list[Scalar]] | None = None
    """Rows to divide by, selected like the others."""
    per: str = "cascade"
    """The column in which a row and the one it is divided by agree."""
    aggregate: Literal["only", "sum", "min", "max"] = "only"
    """What is made of several rows; `only` allows one."""
    counted: str = "rows"
    """What the sample size counts, in the plural."""
    within: tuple[Number, Number] | None = None
    """The number must lie between these."""
    at_least: Number | None = None
    """The number must not be smaller."""
    at_most: Number | None = None
    """The number must not be larger."""
    contains: Number | None = None
    """The interval must contain this."""
    above: Number | None = None
    """The whole interval must lie above this."""
    enough: Count | None = None
    """The smallest sample that decides."""

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
