"""Claims that a run is put to."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from dcsc.study.options.types import Count, Names, Number, Options, Scalar


class MeasureOptions(Options):
    """A query about the tables behind figures, and what is made of the rows that it selects."""

    select: dict[str, Scalar | list[Scalar]] = Field(default={})
    """Which rows of the tables: the value, or one of the values, of each column."""
    value: str
    """The column that holds the measured value."""
    interval: tuple[str, str] | None = None
    """The columns of its interval, if it has one."""
    out_of: str | None = None
    """A column of trials that makes a proportion of the value, summed over the rows."""
    among: str | None = None
    """
    A column of trials: the value is a count among them, without an interval. (A theorem has no exceptions, so the count
    is all that matters.)
    """
    over: dict[str, Scalar | list[Scalar]] | None = None
    """Rows to divide by, selected like the others."""
    per: str = "cascade"
    """The column in which a row and the one it is divided by agree."""
    aggregate: Literal["only", "sum", "min", "max"] = "only"
    """How several rows are combined; `only` allows one row."""
    counted: str = "rows"
    """What the sample size counts, in the plural."""

    @model_validator(mode="after")
    def _counts_or_divides(self) -> MeasureOptions:
        if self.among and (self.out_of or self.over or self.interval):
            raise ValueError("among counts without an interval: remove out_of, over and interval.")
        return self


class CriterionOptions(Options):
    """What must hold of the measured number, of its interval and of the sample; all that is given."""

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
    """The smallest sample size with which the claim is decided."""

    @model_validator(mode="after")
    def _decides(self) -> CriterionOptions:
        if not self.model_dump(exclude_none=True, exclude={"enough"}):
            raise ValueError("a claim needs a criterion: give within, at_least, at_most, contains or above.")
        return self

    @model_validator(mode="after")
    def _can_hold(self) -> CriterionOptions:
        low, high = self.within or (-math.inf, math.inf)
        if low > high:
            raise ValueError(f"within = [{low:g}, {high:g}] holds no number: give the smaller one first.")
        low = max([low, *([] if self.at_least is None else [self.at_least])])
        high = min([high, *([] if self.at_most is None else [self.at_most])])
        if low > high:
            raise ValueError(f"no number is at least {low:g} and at most {high:g}: change one of them.")
        if self.contains is not None and self.above is not None and self.contains <= self.above:
            raise ValueError(
                f"no interval contains {self.contains:g} and lies above {self.above:g}: change one of them."
            )
        return self


class ClaimOptions(Options):
    """A statement, what is measured for it, and the criterion that decides on it."""

    statement: str = Field(min_length=1)
    """What is claimed, in a sentence."""
    figures: Names = Field(min_length=1)
    """Figures whose tables decide, each as `experiment-panel`; their rows are put together."""
    measure: MeasureOptions
    """What is measured."""
    criterion: CriterionOptions
    """The criterion that the measured value must meet."""

    @model_validator(mode="after")
    def _has_the_interval(self) -> ClaimOptions:
        asked = self.criterion.contains is not None or self.criterion.above is not None
        if asked and not (self.measure.interval or self.measure.out_of):
            raise ValueError("contains and above ask for an interval: give interval or out_of.")
        return self
