"""Experiments, and the figures that they can ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from dcsc.errors import nearest
from dcsc.figures.panels import built_in, panels
from dcsc.study.options.pursuits import BoundOptions, PursuitOptions
from dcsc.study.options.signals import SignalOptions
from dcsc.study.options.types import Count, Name, Names, Options, distinct


def _known(name: str) -> str:
    if name not in panels():
        raise ValueError(f"the figure {name!r} is unknown: {nearest(name, panels())}")
    return name


if TYPE_CHECKING:
    Figure = str
else:
    Figure = Annotated[str, AfterValidator(_known)] | Literal[tuple(built_in())]
"""A figure that an experiment can ask for: those of plug-ins are known once these are loaded."""


class ExperimentOptions(Options):
    """Signals drawn through cascades, pursued, measured and shown."""

    title: str = Field(min_length=1)
    """What the experiment asks, in one line, for the report."""
    cascades: Names = Field(min_length=1)
    """Names of cascades; a series stands for all its members."""
    signals: SignalOptions | None = None
    """How the deepest codes are drawn; none for an experiment on dictionaries alone."""
    pursuits: dict[Name, PursuitOptions] = Field(default={})
    """Pursuits by a name of your choice."""
    bounds: BoundOptions = BoundOptions()
    """Guarantees that depend on the supports."""
    errors: bool = False
    """Keep the recovered values, not only supports, and measure errors."""
    figures: Annotated[list[Figure], AfterValidator(distinct)] = Field(min_length=1)
    """The figures to draw: those that are built in, and those that `plugins` register."""
    axis: Literal["stripe-sparsity", "count", "density"] | None = None
    """
    What figures `recovery`, `depth`, `thresholds`, `ladder`, `slopes`, `contrast` and `basis-pursuit` show recovery
    against: the mean stripe-sparsity of the first layer (by default, but for `depth`), the mean number of active atoms
    of a layer, or their share (`depth` by default).
    """
    axis_layer: Count | None = None
    """The layer to which `count` and `density` of `axis` refer; the deepest by default."""
    beside: Names = Field(default=[])
    """
    Figures of other experiments, each as `experiment-panel`. Figures `depth` and `basis-pursuit` (the latter of
    `recovery`) show their numbers, too.
    """

    @property
    def is_certified(self) -> bool:
        """Whether a figure shows what is certified for the pursuits."""
        return any("certificates" in panels()[panel].needs for panel in self.figures)

    @model_validator(mode="after")
    def _parts_agree(self) -> ExperimentOptions:
        if bool(self.signals) != bool(self.pursuits):
            missing, given = ("pursuits", "signals") if self.signals else ("signals", "pursuits")
            raise ValueError(f"{given} without {missing}: give both, or neither for dictionaries alone.")
        variants = self.signals.variants if self.signals else {}
        for label, pursuit in self.pursuits.items():
            for variant in (name for name in pursuit.variants or () if name not in variants):
                raise ValueError(
                    f"pursuits.{label}.variants names {variant!r}, which is unknown: {nearest(variant, variants)}"
                )
        for label in (self.signals.refine_for if self.signals else None) or ():
            if label not in self.pursuits:
                raise ValueError(
                    f"signals.refine_for names {label!r}, which is unknown: {nearest(label, self.pursuits)}"
                )
        return self

    @model_validator(mode="after")
    def _figures_have_what_they_show(self) -> ExperimentOptions:
        for panel in self.figures:
            if "errors" in panels()[panel].needs and not self.errors:
                raise ValueError(f"figure {panel!r} shows errors: set errors: true.")
            if panels()[panel].is_measured and self.signals is None:
                raise ValueError(f"figure {panel!r} shows what was recovered: give signals and pursuits.")
        if (self.axis or self.axis_layer) and not any(panels()[panel].takes_axis for panel in self.figures):
            takers = ", ".join(repr(name) for name, panel in panels().items() if panel.takes_axis)
            raise ValueError(f"axis is for figures {takers}: remove it, or name one of them.")
        if self.axis_layer and self.axis not in ("count", "density"):
            raise ValueError("axis_layer is for axis 'count' or 'density': set axis, or remove it.")
        if self.beside and not any("beside" in panels()[panel].needs for panel in self.figures):
            raise ValueError("beside is for figures 'basis-pursuit' and 'depth': remove it.")
        return self
