"""The typed configuration: the one source of defaults, checks, JSON schema and key documentation."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from dcsc.errors import UserError, nearest, shortened, shown
from dcsc.seeds import BLOCK

if TYPE_CHECKING:
    from dcsc.dictionary import ConvolutionalDictionary

STAGES = ("dictionaries", "sweeps", "signals", "pursuits", "metrics", "certificates", "figures")
"""The stages of the workflow, in order; no experiment may carry one of these names."""

RESERVED = (*STAGES, "all", "report", "logs", "claims")

PANELS = {
    "recovery": (),
    "thresholds": ("certificates",),
    "slopes": ("certificates",),
    "ladder": ("certificates",),
    "ambient": ("certificates",),
    "uniform-density": (),
    "contrast": ("certificates",),
    "noise": ("errors",),
    "prediction": (),
    "local-snr": ("errors",),
    "paper-table": (),
    "families": ("dictionaries",),
    "gallery": ("signals", "pursuits", "errors"),
    "exact": (),
    "depth": ("beside",),
    "density": ("certificates",),
    "comparison": (),
    "compute": ("errors",),
    "real-signals": ("signals", "errors"),
}
"""
The figures that an experiment can ask for, and what each needs beside the summary, the metrics and the dictionaries.

"dictionaries" needs nothing else; "signals", "pursuits" and "certificates" are datasets of these stages; "errors" the
recovered values; "beside" shows numbers of other experiments' figures, where the configuration names any.
"""


LONGEST, MOST_ENTRIES, DEEPEST = 2**18, 50_000, 32
"""Bytes, entries and levels of a configuration, far beyond any study."""

MOST_JOBS = 100_000
"""Chunks of one experiment and cascade, beyond which a workflow manager cannot plan them."""


def _whole(value: Any) -> Any:
    """Refuse what Python would quietly count as a whole number."""
    if isinstance(value, bool):
        raise ValueError("give a number, not a truth value")
    return value


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,38}[a-z0-9])?$")]
Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 .,=+/_-]{0,39}$")]
Count = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=2**31)]
Number = Annotated[float, BeforeValidator(_whole), Field(allow_inf_nan=False)]
Proportion = Annotated[float, BeforeValidator(_whole), Field(gt=0, lt=1)]
Scalar = bool | int | Annotated[float, Field(allow_inf_nan=False)] | str


class Options(BaseModel):
    """What every part of the configuration shares: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


def _numeric(value: Any) -> Any:
    """Read the numbers that YAML takes for text, such as 1e-3."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
    return value


class LayerOptions(Options):
    """One layer of a cascade."""

    family: str = Field(description="Family of filters, a name of `dcsc.families` or of a plugin.")
    parameters: dict[str, Annotated[Scalar | list[Scalar], BeforeValidator(_numeric)]] = Field(
        default={}, description="Parameters of the family; those without a default are required."
    )


class VaryOptions(Options):
    """A parameter that makes a series of cascades out of one, and changes nothing else."""

    parameter: str = Field(
        description="The parameter of the layer's family that varies, or `grid`. Its value enters no random stream, so "
        "that nothing else changes: the same filters on every grid, the same direction of perturbation at every size "
        "of it, the same start of a search, and the same codes where as many of as many atoms are active."
    )
    values: list[Annotated[int, BeforeValidator(_whole)] | Number] = Field(
        min_length=1, description="Its values, one cascade each."
    )
    layer: Count = Field(default=1, description="The layer whose parameter varies, 1 next to the signal.")


class CascadeOptions(Options):
    """A cascade of convolutional dictionaries, or a series of them."""

    grid: list[Count] = Field(min_length=1, description="Size of the periodic signal grid, one number an axis.")
    layers: list[LayerOptions] = Field(min_length=1, description="The layers, from the signal inwards.")
    replicates: Count = Field(default=1, description="Independent draws of every random dictionary.")
    vary: VaryOptions | None = Field(default=None, description="Makes a series: one cascade for each value.")

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


class DrawOptions(Options):
    """How codes and noise are drawn."""

    support: str | dict[str, Scalar] = Field(
        default="uniform",
        description="Choice of the active atoms: a name of `dcsc.sampling`, or a mapping of `name` and parameters.",
    )
    magnitudes: str | dict[str, Scalar] = Field(
        default="constant",
        description="Law of the magnitudes: a name of `dcsc.sampling`, or a mapping of `name` and parameters.",
    )
    signs: str | dict[str, Scalar] = Field(
        default="rademacher",
        description="Signs of the deepest code: a name of `dcsc.sampling`, or a mapping of `name` and parameters; "
        "`{name: worst-case, threshold: statistical}` breaks thresholding at X_min/2 if any signs do, "
        "`threshold: uniform` that at (X_min + mu X_max)/2 (one layer).",
    )
    layer_signs: bool | Literal["worst-case"] = Field(
        default=False,
        description="Draw the signs T of every layer and trial: D-CSC-R; or the worst ones for top-k, layer by layer.",
    )
    constraint: Literal["none", "contrast-floor", "no-overlap", "rejection"] = Field(
        default="none", description="What deep codes must satisfy, see `dcsc.sampling.deep_codes`."
    )
    floor: Annotated[Number, Field(ge=0, le=1)] = Field(
        default=0.0, description="Smallest contrast of every layer, for contrast-floor and rejection."
    )
    noise_db: Number | None = Field(
        default=None,
        description="Signal-to-noise ratio of white Gaussian noise in decibels (of power); none by default.",
    )
    windows_of: str | None = Field(
        default=None,
        description="In place of random codes, those that approximate windows of a real signal by `active` atoms "
        "through the whole cascade: `electrocardiogram`, `photograph` or a plugin's.",
    )
    residual: bool = Field(
        default=False, description="Add to their synthesis what it misses, so that the windows themselves are observed."
    )

    @property
    def is_noisy(self) -> bool:
        """Whether a signal is more than the synthesis of its codes."""
        return self.noise_db is not None or self.residual

    @property
    def conflict(self) -> str:
        """What of the ways to draw excludes one another, as a sentence; empty when nothing does."""
        if self.residual and (self.windows_of is None or self.noise_db is not None):
            return "residual is what codes miss of windows_of: give that, and no noise_db."
        random = {"layer_signs": self.layer_signs, "constraint": self.constraint != "none", "floor": self.floor}
        wrong = [key for key, value in random.items() if value]
        if self.windows_of is not None and wrong:
            return f"{wrong[0]} is for random codes, not for those of windows_of: remove one of them."
        return ""

    @property
    def is_adversarial(self) -> bool:
        """Whether signs are the worst ones, so that recovery asks for the signs too."""
        return "worst-case" in str(self.signs) or self.layer_signs == "worst-case"


class VariantOptions(Options):
    """What a variant draws in its own way; what is not named is as for the experiment."""

    support: str | dict[str, Scalar] | None = Field(default=None, description="As above.")
    magnitudes: str | dict[str, Scalar] | None = Field(default=None, description="As above.")
    signs: str | dict[str, Scalar] | None = Field(default=None, description="As above.")
    layer_signs: bool | Literal["worst-case"] | None = Field(default=None, description="As above.")
    constraint: Literal["none", "contrast-floor", "no-overlap", "rejection"] | None = Field(
        default=None, description="As above."
    )
    floor: Annotated[Number, Field(ge=0, le=1)] | None = Field(default=None, description="As above.")
    noise_db: Number | None = Field(default=None, description="As above.")
    windows_of: str | None = Field(default=None, description="As above.")
    residual: bool | None = Field(default=None, description="As above.")


class SignalOptions(DrawOptions):
    """How many signals are drawn, and how."""

    active: list[Count] | None = Field(
        default=None, min_length=1, description="Numbers of active atoms in the deepest code, one cell each."
    )
    density: list[Annotated[Number, Field(gt=0, le=1)]] | None = Field(
        default=None, min_length=1, description="Instead of `active`: shares of the deepest code's atoms."
    )
    stripe_sparsity: list[Count] | None = Field(
        default=None,
        min_length=1,
        description="Instead of `active`, for support `spread` on one axis: stripe-sparsities, to which as many atoms "
        "as can fill every stripe, and none further.",
    )
    refine: Annotated[int, BeforeValidator(_whole), Field(ge=0, le=100)] = Field(
        default=0,
        description="Cells added to every transition: a coarse sweep finds where recovery falls from 97 % to 3 %, for "
        "each cascade, variant and pursuit, and this many cells are spread over it, with one more beyond either end.",
    )
    trials: Count = Field(description="Signals for each cell and dictionary replicate.")
    variants: dict[Label, VariantOptions] = Field(
        default={"signals": VariantOptions()},
        min_length=1,
        description="Ways to draw, side by side: they share the supports, magnitudes and noise that they can.",
    )
    chunk_blocks: Count = Field(default=4, description="Blocks of 32 trials in one job; changes no draw.")

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
        for label, draw in self.draws().items():
            if draw.conflict:
                raise ValueError(f"variant {label!r}: {draw.conflict}")
            if self.stripe_sparsity and draw.support not in ("spread", {"name": "spread"}):
                raise ValueError(f"variant {label!r}: stripe_sparsity is for evenly spread atoms: set support: spread.")
        jobs = math.ceil(self.trials / (BLOCK * self.chunk_blocks))
        if jobs > MOST_JOBS:
            raise ValueError(f"{self.trials} trials make {jobs} jobs, more than {MOST_JOBS}: raise chunk_blocks.")
        return self

    def cells(self, deepest: ConvolutionalDictionary) -> list[int]:
        """
        Give the numbers of active atoms.

        Parameters
        ----------
        deepest : ConvolutionalDictionary
            The deepest layer, which densities and stripe-sparsities refer to.

        Returns
        -------
        list of int
            One a cell; ascending and without doubles when they come from densities or stripe-sparsities.

        Raises
        ------
        UserError
            When stripe-sparsities are given and the layer has more than one axis.
        """
        if self.active is not None:
            return self.active
        if self.density is not None:
            return sorted({max(1, round(share * deepest.n_atoms)) for share in self.density})
        from dcsc.sampling.supports import spread_size

        return sorted({spread_size(deepest, limit) for limit in self.stripe_sparsity})

    def draws(self) -> dict[str, DrawOptions]:
        """
        Fill every variant in.

        Returns
        -------
        dict of str to DrawOptions
            By the variant's name.
        """
        common = {name: getattr(self, name) for name in DrawOptions.model_fields}
        return {
            label: DrawOptions(**{**common, **variant.model_dump(exclude_none=True)})
            for label, variant in self.variants.items()
        }


class PursuitOptions(Options):
    """A pursuit and its parameters."""

    method: str = Field(default="layered-thresholding", description="A name of `dcsc.pursuit`.")
    parameters: dict[str, Annotated[Scalar | list[Scalar], BeforeValidator(_numeric)]] = Field(
        default={}, description="Parameters of another method than layered-thresholding, see `dcsc.pursuit`."
    )
    rule: Literal["hard", "soft", "relu", "top-k"] | None = Field(
        default=None, description="The non-linearity of layered-thresholding."
    )
    threshold: (
        Literal["uniform", "uniform-lower", "statistical", "oracle"]
        | Annotated[Number, Field(ge=0)]
        | list[Annotated[Number, Field(ge=0)]]
        | None
    ) = Field(
        default=None,
        description="A number, one a layer, or a choice: `uniform` (X_min + mu X_max)/2, `uniform-lower` k mu X_max, "
        "`statistical` X_min/2, `oracle` the one that keeps the known number of entries. Not for top-k.",
    )
    debias: bool = Field(default=False, description="Fit the values by least squares on each recovered support.")
    variants: list[str] | None = Field(
        default=None, min_length=1, description="Variants of the signals that it runs on; all by default."
    )

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


class BoundOptions(Options):
    """Guarantees that depend on the supports, hence computed trial by trial."""

    delta: Proportion = Field(default=0.01, description="Failure probability that the statistical guarantees admit.")
    trials: Annotated[int, BeforeValidator(_whole), Field(ge=0)] = Field(
        default=32,
        description="Trials of each cell and replicate for which they are computed, of each pursuit as it is run, with "
        "its thresholds and debiasing; 0 for none.",
    )
    draws: Count = Field(
        default=768,
        description="Draws behind every certified number that is estimated, at least, over all replicates: it is "
        "a confidence limit, and 299 draws are the fewest that can certify 99 % at a level of 95 %.",
    )
    basis_pursuit: bool = Field(
        default=False,
        description="Certify layered basis pursuit in its equality form ([PRE17] Theorem 11) beside the pursuits.",
    )


class ExperimentOptions(Options):
    """Signals drawn through cascades, pursued, measured and shown."""

    title: str = Field(min_length=1, description="What the experiment asks, in one line, for the report.")
    cascades: list[str] = Field(min_length=1, description="Names of cascades; a series stands for all its members.")
    signals: SignalOptions | None = Field(
        default=None, description="How the deepest codes are drawn; none for an experiment on dictionaries alone."
    )
    pursuits: dict[Name, PursuitOptions] = Field(default={}, description="Pursuits by a name of your choice.")
    bounds: BoundOptions = Field(default=BoundOptions(), description="Guarantees that depend on the supports.")
    errors: bool = Field(default=False, description="Keep the recovered values, not only supports, and measure errors.")
    figures: list[Literal[tuple(PANELS)]] = Field(min_length=1, description="What is drawn.")
    beside: list[str] = Field(
        default=[],
        description="Figures of other experiments, each as `experiment-panel`, whose numbers figure `depth` shows too.",
    )

    @property
    def is_certified(self) -> bool:
        """Whether a figure shows what is certified for the pursuits."""
        return any("certificates" in PANELS[panel] for panel in self.figures)

    @model_validator(mode="after")
    def _parts_agree(self) -> ExperimentOptions:
        if bool(self.signals) != bool(self.pursuits):
            missing, given = ("pursuits", "signals") if self.signals else ("signals", "pursuits")
            raise ValueError(f"{given} without {missing}: give both, or neither for dictionaries alone.")
        for label, pursuit in self.pursuits.items():
            for variant in pursuit.variants or ():
                if variant not in self.signals.variants:
                    raise ValueError(
                        f"pursuits.{label}.variants names {variant!r}, which is unknown: "
                        f"{nearest(variant, self.signals.variants)}"
                    )
        return self

    @model_validator(mode="after")
    def _figures_have_what_they_show(self) -> ExperimentOptions:
        for panel in self.figures:
            if "errors" in PANELS[panel] and not self.errors:
                raise ValueError(f"figure {panel!r} shows errors: set errors: true.")
            if "dictionaries" not in PANELS[panel] and self.signals is None:
                raise ValueError(f"figure {panel!r} shows what was recovered: give signals and pursuits.")
        if self.beside and not any("beside" in PANELS[panel] for panel in self.figures):
            raise ValueError("beside is for figure 'depth': remove it.")
        return self


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


class SentenceOptions(Options):
    """A sentence of a source, and the claims that put it to test."""

    sentence: str = Field(min_length=1, description="The sentence, word by word.")
    tested: str = Field(min_length=1, description="How it is tested, in a sentence of ours.")
    claims: list[str] = Field(min_length=1, description="Claims whose verdicts stand beside it.")


class StyleOptions(Options):
    """How figures look."""

    context: Literal["paper", "notebook", "talk"] = Field(
        default="paper", description="Seaborn's scale of lines and text."
    )
    palette: str = Field(default="colorblind", description="Seaborn's or matplotlib's name of a palette.")
    width: Annotated[Number, Field(gt=2, lt=100)] = Field(default=17.0, description="Width of a figure in centimetres.")
    dpi: Annotated[int, BeforeValidator(_whole), Field(ge=50, le=1200)] = Field(
        default=200, description="Resolution of the PNG files in dots per inch."
    )


class KeepOptions(Options):
    """Which bulky stages stay on disk when nothing needs them any more."""

    signals: bool = Field(default=True, description="Keep the signals.")
    pursuits: bool = Field(default=True, description="Keep what the pursuits found.")


class Study(Options):
    """A whole configuration."""

    results: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$")
    ] = Field(default="results", description="Folder of everything the workflow writes, relative to where it runs.")
    title: str = Field(
        default="The reproduction, figure by figure", min_length=1, description="Heading of the page about the run."
    )
    introduction: str = Field(
        default="The claims are those of [MT18]'s abstract as we put them to test; the statistical theorems are our "
        "derivation (docs/theory.md), and no figure of [MT18] is replicated. Section 8 of [PRE17] is.",
        description="What the page about the run says before its figures.",
    )
    seed: Annotated[int, BeforeValidator(_whole), Field(ge=0)] = Field(
        description="Seed of the study; every random number derives from it and from what the number is for."
    )
    confidence: Proportion = Field(default=0.95, description="Level of every interval.")
    plugins: list[str] = Field(default=[], description="Python files that register families, pursuits or samplers.")
    style: StyleOptions = Field(default=StyleOptions(), description="How figures look.")
    keep: KeepOptions = Field(default=KeepOptions(), description="Which stages stay on disk.")
    cascades: dict[Name, CascadeOptions] = Field(min_length=1, description="Cascades of dictionaries, by name.")
    experiments: dict[Name, ExperimentOptions] = Field(min_length=1, description="Experiments, by name.")
    claims: dict[Name, ClaimOptions] = Field(default={}, description="Claims that the run is put to, by name.")
    sentences: list[SentenceOptions] = Field(
        default=[], description="Sentences of a source, with which the page about the run begins."
    )

    @model_validator(mode="after")
    def _names_agree(self) -> Study:
        for name, experiment in self.experiments.items():
            if name in RESERVED:
                raise ValueError(f"experiments.{name} carries the name of a stage: choose another name.")
            for cascade in experiment.cascades:
                if cascade not in self.cascades:
                    raise ValueError(
                        f"experiments.{name}.cascades names {cascade!r}, which is unknown: "
                        f"{nearest(cascade, self.cascades)}"
                    )
                if experiment.signals is None:
                    continue
                depth = len(self.cascades[cascade].layers)
                draws = experiment.signals.draws()
                worst = [label for label, draw in draws.items() if "worst-case" in str(draw.signs)]
                if worst and depth > 1:
                    raise ValueError(
                        f"experiments.{name}.signals: {worst[0]!r} asks for worst-case signs, but cascade "
                        f"{cascade!r} has {depth} layers: they are defined for one."
                    )
                for pursuit, options in experiment.pursuits.items():
                    if isinstance(options.threshold, list) and len(options.threshold) != depth:
                        raise ValueError(
                            f"experiments.{name}.pursuits.{pursuit}.threshold has {len(options.threshold)} entries, "
                            f"but cascade {cascade!r} has {depth} layers: give one a layer."
                        )
        drawn = {
            f"{name}-{panel}": experiment
            for name, experiment in self.experiments.items()
            for panel in experiment.figures
        }
        for name, experiment in self.experiments.items():
            # A figure that shows numbers of others must not be shown by them in turn.
            others = [figure for figure, owner in drawn.items() if owner is not experiment and not owner.beside]
            for figure in experiment.beside:
                if figure not in others:
                    raise ValueError(
                        f"experiments.{name}.beside names {figure!r}, which no other experiment draws: "
                        f"{nearest(figure, others)}"
                    )
        for name, claim in self.claims.items():
            for figure in claim.figures:
                if figure not in drawn:
                    raise ValueError(
                        f"claims.{name}.figures names {figure!r}, which is not drawn: {nearest(figure, drawn)}"
                    )
        for number, sentence in enumerate(self.sentences):
            for claim in sentence.claims:
                if claim not in self.claims:
                    raise ValueError(
                        f"sentences.{number}.claims names {claim!r}, which is unknown: {nearest(claim, self.claims)}"
                    )
        names = [member for cascade in self.cascades for member in members(self, cascade)]
        if len(set(names)) != len(names):
            raise ValueError("two cascades share a name once their series are spelt out: rename one.")
        return self


class Varied(Options):
    """What makes a member of a series: a parameter of a layer, or the grid, and its value."""

    parameter: str
    value: int | float
    layer: int


class Member(Options):
    """One cascade of a series, with its varied value filled in; what the dictionaries stage needs."""

    name: str
    cascade: str
    grid: list[int]
    replicates: int
    layers: list[LayerOptions]
    varied: Varied | None = None


def members(study: Study, cascade: str) -> dict[str, Member]:
    """
    Spell out a series of cascades.

    Parameters
    ----------
    study : Study
        The configuration.
    cascade : str
        A name under `cascades`.

    Returns
    -------
    dict of str to Member
        By name; a cascade that varies nothing is its own only member.
    """
    options = study.cascades[cascade]
    common = {"cascade": cascade, "grid": options.grid, "replicates": options.replicates}
    if options.vary is None:
        return {cascade: Member(name=cascade, layers=options.layers, **common)}
    spelt = {}
    for value in options.vary.values:
        name = f"{cascade}-{options.vary.parameter.replace('_', '-')}-{value:g}"
        varied = {
            "name": name,
            "varied": Varied(parameter=options.vary.parameter, value=value, layer=options.vary.layer),
        }
        if options.vary.parameter == "grid":
            grid = [int(value)] * len(options.grid)
            spelt[name] = Member(layers=options.layers, **(common | {"grid": grid} | varied))
            continue
        layers = list(options.layers)
        index = options.vary.layer - 1
        parameters = {**layers[index].parameters, options.vary.parameter: value}
        layers[index] = LayerOptions(family=layers[index].family, parameters=parameters)
        spelt[name] = Member(layers=layers, **common, **varied)
    return spelt


def load(path: str | Path) -> Study:
    """
    Read and check a configuration file.

    Parameters
    ----------
    path : str or Path
        A YAML file.

    Returns
    -------
    Study
        With all defaults filled in.

    Raises
    ------
    UserError
        When the file cannot be read or the configuration is wrong.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(LONGEST + 1)
    except (OSError, ValueError) as error:  # a name with a null character is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"configuration {path} cannot be read ({reason}): check the path.") from None
    if len(text) > LONGEST:
        raise UserError(f"configuration {path} is longer than {LONGEST} bytes: name a configuration.")
    try:
        decoded = text.decode("utf-8")
        _check_depth(decoded)
        content = yaml.safe_load(decoded)
    except UserError:
        raise
    except Exception as error:  # beside YAMLError, a date or a number that is none raises ValueError
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise UserError(f"configuration {path} is not valid YAML{line}: correct the file.") from None
    return validate(content)


def validate(content: Any) -> Study:
    """
    Check a configuration, fill in the defaults, and build each cascade once to see that it fits together.

    Parameters
    ----------
    content : mapping
        What was read from YAML.

    Returns
    -------
    Study
        The validated configuration.

    Raises
    ------
    UserError
        With one sentence that names the key, the value and what is allowed.
    """
    if not isinstance(content, Mapping):
        raise UserError("the configuration is not a mapping of keys: see config/README.md.")
    _check_extent(content)
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        raise UserError(_sentence(_most_telling(error.errors(), content), content)) from None
    _check_cascades(study)
    _check_samplers(study)
    return study


def _check_depth(text: str) -> None:
    """Refuse deep nesting event by event, as YAML's own reader needs time and stack that grow with the depth."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise UserError(_TOO_LARGE)


_TOO_LARGE = "the configuration is nested too deeply or too large: see config/README.md."


def _check_extent(content: Any) -> None:
    """Refuse what is far larger than any study once YAML's anchors are spelt out, or holds itself."""
    waiting, entries = [(content, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        entries += 1
        if entries > MOST_ENTRIES or depth > DEEPEST:
            raise UserError(_TOO_LARGE)
        if isinstance(value, Mapping):
            waiting += [(part, depth + 1) for pair in value.items() for part in pair]
        elif isinstance(value, list | tuple | set):
            waiting += [(part, depth + 1) for part in value]


def _most_telling(errors: list[Any], content: Any) -> Mapping[str, Any]:
    """Choose among the findings about the first wrong key: of a union, the branch that the value was meant for."""
    first = errors[0]
    same = [error for error in errors if _key(error, content) == _key(first, content)]
    if isinstance(first["input"], int | float):
        return next((error for error in same if error["type"].startswith(("greater", "less"))), first)
    return first


def _key(error: Mapping[str, Any], content: Any) -> list[Any]:
    """Follow a finding to its place in the content; what is not there are pydantic's names of union branches."""
    place, found = content, []
    for part in error["loc"]:
        in_list = isinstance(place, list) and isinstance(part, int) and part < len(place)
        if in_list or (isinstance(place, Mapping) and part in place):
            place = place[part]
        elif error["type"] != "missing" or part != error["loc"][-1]:
            continue
        found.append(part)
    return found or list(error["loc"][:1])


def _sentence(error: Mapping[str, Any], content: Any) -> str:
    """Say one of pydantic's findings in a sentence with the key, the value and the remedy."""
    location = _key(error, content)
    key = shortened(".".join(str(part) for part in location))
    context = error.get("ctx", {})
    if error["type"] == "extra_forbidden":
        return f"unknown key {key}: {nearest(str(location[-1]), _keys_at(location[:-1]))}"
    if error["type"] == "missing":
        return f"missing key {key}: add it, see config/README.md."
    value = shown(error["input"])
    if error["type"] == "value_error":
        message = str(context["error"])
        if isinstance(error["input"], bool):
            return f"{key} = {value} is not allowed: {message}."
        return f"{key}: {message}" if key else message
    if error["type"] == "string_pattern_mismatch":
        allowed = "small letters, digits, dots and hyphens, at most 40 characters"
        if key == "results":
            allowed = "a relative path of letters, digits, dots, hyphens and underscores"
        return f"{key} = {value} is not allowed: use {allowed}."
    return f"{key} = {value} is not allowed: {error['msg'][0].lower()}{error['msg'][1:]}."


def _models_in(annotation: Any) -> Iterator[type[Options]]:
    if isinstance(annotation, type) and issubclass(annotation, Options):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)


def _keys_at(location: list[Any]) -> list[str]:
    """List the valid keys of the part of the configuration at a location."""
    model: type[Options] = Study
    for part in location:
        if part in model.model_fields:
            model = next(_models_in(model.model_fields[part].annotation), model)
    return list(model.model_fields)


def _check_cascades(study: Study) -> None:
    """Build every cascade once, so that what does not fit is said before any job starts."""
    from dcsc import stages

    stages.load_plugins(study.plugins)
    from dcsc.stages import dictionaries

    for name in study.cascades:
        for member in members(study, name).values():
            try:
                deepest = dictionaries.deepest_layer(member.model_dump(mode="json"))
            except UserError as error:
                raise UserError(f"cascades.{name}: {error}") from None
            for experiment, options in study.experiments.items():
                if name not in options.cascades or options.signals is None:
                    continue
                _check_windows(experiment, options.signals, member)
                try:
                    largest = max(options.signals.cells(deepest))
                except UserError as error:
                    raise UserError(f"experiments.{experiment}.signals.stripe_sparsity: {error}") from None
                if largest > deepest.n_atoms:
                    raise UserError(
                        f"experiments.{experiment}.signals.active = {largest} is not allowed: "
                        f"the deepest code of cascade {member.name!r} has {deepest.n_atoms} atoms."
                    )


def _check_windows(experiment: str, signals: SignalOptions, member: Member) -> None:
    """Approximate a window of every real signal by one atom, which shows whether it fits the cascade."""
    names = {draw.windows_of for draw in signals.draws().values()} - {None}
    if not names:
        return
    from dcsc import windows
    from dcsc.stages import dictionaries

    layers = dictionaries.trial_cascade(member.model_dump(mode="json")).dictionaries
    for name in sorted(names):
        try:
            windows.check(name, layers)
        except UserError as error:
            raise UserError(f"experiments.{experiment}.signals.windows_of: {error}") from None


def _check_samplers(study: Study) -> None:
    """Look every sampler and pursuit up, which plug-ins may have brought."""
    from dcsc import pursuit
    from dcsc.sampling import registry

    for name, experiment in study.experiments.items():
        for label, draw in experiment.signals.draws().items() if experiment.signals else ():
            try:
                kind, parameters = registry.named(draw.support)
                registry.SUPPORTS.get(kind, {"size": 1, **parameters})
                registry.MAGNITUDES.get(*registry.named(draw.magnitudes))
                registry.SIGNS.get(*registry.named(draw.signs))
            except UserError as error:
                raise UserError(f"experiments.{name}.signals, variant {label!r}: {error}") from None
        for label, options in experiment.pursuits.items():
            try:
                pursuit.get(options.method)
                forward = options.method == "layered-thresholding"
                if not forward and (options.rule or options.threshold is not None or options.debias):
                    raise UserError(f"rule, threshold and debias are not for {options.method!r}: use parameters.")
                if not forward:
                    pursuit.check_parameters(options.method, options.parameters)
            except UserError as error:
                raise UserError(f"experiments.{name}.pursuits.{label}: {error}") from None


def json_schema() -> str:
    """
    Write the JSON schema of the configuration as YAML, for editors and the workflow catalog.

    Returns
    -------
    str
        The text of workflow/schemas/config.schema.yaml.
    """
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Study.model_json_schema()}
    return yaml.safe_dump(schema, sort_keys=False, width=110, allow_unicode=True)


def key_table() -> str:
    """
    Write the table of all keys for config/README.md.

    Returns
    -------
    str
        Markdown: key, type, default, meaning.
    """
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    rows += [f"| `{key}` | {kind} | {default} | {meaning} |" for key, kind, default, meaning in _rows(Study, "")]
    return "\n".join(rows) + "\n"


def _rows(model: type[Options], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, field in model.model_fields.items():
        key = prefix + name
        inner = next(_models_in(field.annotation), None)
        if field.is_required():
            default = "required"
        elif isinstance(field.default, Options):
            default = "the defaults below"
        else:
            default = f"`{_yaml(_plain(field.default))}`"
        yield key, _type_name(field.annotation), default, (field.description or "").replace("|", "\\|")
        if inner is not None:
            container = typing.get_origin(field.annotation)
            suffix = {dict: ".<name>.", list: "[]."}.get(container, ".")
            yield from _rows(inner, key + suffix)


def _plain(value: Any) -> Any:
    """Turn the parts of a default into what YAML writes."""
    if isinstance(value, Options):
        return value.model_dump(exclude_none=True)
    return {key: _plain(entry) for key, entry in value.items()} if isinstance(value, dict) else value


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


def _type_name(annotation: Any) -> str:
    """Name a type as a person would."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin is Literal:
        return "one of " + ", ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return f"list of {_type_name(arguments[0])}"
    if origin is tuple:
        return f"list of {len(arguments)} entries, each {_type_name(arguments[0])}"
    if origin is dict:
        return f"mapping of names to {_type_name(arguments[1])}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type_name(argument) for argument in arguments))
    if isinstance(annotation, type) and issubclass(annotation, Options):
        return "mapping"
    return {int: "whole number", float: "number", str: "text", bool: "`true` or `false`", type(None): "nothing"}[
        annotation
    ]
