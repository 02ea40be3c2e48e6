"""A whole configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from dcsc.errors import nearest
from dcsc.study.options.cascades import CascadeOptions, LayerOptions
from dcsc.study.options.claims import ClaimOptions
from dcsc.study.options.experiments import ExperimentOptions
from dcsc.study.options.types import Name, Names, Number, Options, Proportion, whole

STAGES = ("dictionaries", "sweeps", "signals", "pursuits", "metrics", "certificates", "figures")
"""The stages of the workflow, in order; no experiment may carry one of these names."""

TARGETS = (*STAGES, "claims", "all", "default")
"""What a user types to have it made; experiments and figures stand beside them."""

FILES = ("claims.json", "claims.md", "reproduction.md", "report.html", "report.zip", "summary.nc")
"""Files below the results folder, beside folders that experiments and cascades name."""

CHECKOUT = ("benchmarks", "config", "dcsc", "docs", "logs", "paper", "profiles", "scripts", "tests", "workflow")
"""Folders of the checkout, and that of the logs: none may become the results folder."""

LONGEST_FOLDER, LONGEST_RESULTS, LONGEST_MEMBER = 100, 200, 150
"""Characters of one folder of the results' path, of the whole path, and of the name of a member of a series."""


def _apart(results: str) -> str:
    """Refuse a results folder that a file system has no room for, or that holds something else."""
    if len(results) > LONGEST_RESULTS or any(len(part) > LONGEST_FOLDER for part in results.split("/")):
        raise ValueError(
            f"the path is too long: use at most {LONGEST_FOLDER} characters a folder, and {LONGEST_RESULTS} in all."
        )
    if (first := results.split("/")[0]).lower() in CHECKOUT:
        raise ValueError(f"{first!r} is a folder of the workflow itself: name another one.")
    return results


def _is_taken(name: str) -> bool:
    """Whether a name is that of a file below the results folder, or of one beside it that tells where it is from."""
    return any(name == file or name.startswith((f"{file}-metadata", f"{file}.sha256")) for file in FILES)


def _layer(number: int | None) -> str:
    """Name the layer of an axis."""
    return "the deepest layer" if number is None else f"layer {number}"


Folder = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$"),
    AfterValidator(_apart),
]
"""A folder of results, relative to where the workflow runs."""


class SentenceOptions(Options):
    """A sentence of a source, and the claims that put it to test."""

    sentence: str = Field(min_length=1)
    """The sentence, word by word."""
    tested: str = Field(min_length=1)
    """How it is tested, in a sentence of ours."""
    claims: list[str] = Field(min_length=1)
    """Claims whose verdicts stand beside it."""


class StyleOptions(Options):
    """How figures look."""

    context: Literal["paper", "notebook", "talk"] = "paper"
    """Seaborn's scale of lines and text."""
    palette: str = "colorblind"
    """Seaborn's or matplotlib's name of a palette."""
    width: Annotated[Number, Field(gt=2, lt=100)] = 17.0
    """Width of a figure in centimetres."""
    dpi: Annotated[int, BeforeValidator(whole), Field(ge=50, le=1200)] = 200
    """Resolution of the PNG files in dots per inch."""


class KeepOptions(Options):
    """Which bulky stages stay on disk when nothing needs them any more."""

    signals: bool = True
    """Keep the signals."""
    pursuits: bool = True
    """Keep what the pursuits found."""


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


class Study(Options):
    """A whole configuration."""

    results: Folder = "results"
    """Folder of everything the workflow writes, relative to where it runs."""
    title: str = Field(default="The reproduction, figure by figure", min_length=1)
    """Heading of the page about the run."""
    introduction: str = (
        "The claims are those of [MT18]'s abstract as we put them to test; the statistical theorems are our "
        "derivation (docs/theory.md), and no figure of [MT18] is replicated. Section 8 of [PRE17] is."
    )
    """What the page about the run says before its figures."""
    seed: Annotated[int, BeforeValidator(whole), Field(ge=0)]
    """Seed of the study; every random number derives from it and from what the number is for."""
    confidence: Proportion = 0.95
    """Level of every interval."""
    plugins: Names = Field(default=[])
    """Python files that register families, pursuits, samplers, real signals or figures."""
    strict_versions: bool = False
    """
    Make results again that another version of numpy, scipy, numba, xarray, netcdf4, snakemake or of what plugins import
    has made. By default a line at the start of a run tells of it. To turn it on makes everything again once.
    """
    style: StyleOptions = StyleOptions()
    """How figures look."""
    keep: KeepOptions = KeepOptions()
    """Which stages stay on disk."""
    cascades: dict[Name, CascadeOptions] = Field(min_length=1)
    """Cascades of dictionaries, by name."""
    experiments: dict[Name, ExperimentOptions] = Field(min_length=1)
    """Experiments, by name."""
    claims: dict[Name, ClaimOptions] = Field(default={})
    """Claims that the run is put to, by name."""
    sentences: list[SentenceOptions] = Field(default=[])
    """Sentences of a source, with which the page about the run begins."""

    @model_validator(mode="after")
    def _names_are_free(self) -> Study:
        taken = dict.fromkeys(TARGETS, "a stage, or of what the workflow makes")
        taken |= dict.fromkeys(("report", "logs"), "a folder of the workflow")
        for name in self.experiments:
            if name in taken or _is_taken(name):
                what = taken.get(name, "a file of the results")
                raise ValueError(f"experiments.{name} carries the name of {what}: choose another name.")
        for name in self.experiments:
            taken[name] = f"experiments.{name}"
        for name, experiment in self.experiments.items():
            for panel in experiment.figures:
                figure = f"{name}-{panel}"
                if figure in taken:
                    raise ValueError(
                        f"experiments.{name} has a figure {figure!r}, which is the name of {taken[figure]}, too: "
                        "rename one of the experiments."
                    )
                taken[figure] = f"figure {panel!r} of experiments.{name}"
        members = [(name, member) for name in self.cascades for member in self.members_of(name)]
        for name, member in members:
            if _is_taken(member):
                raise ValueError(f"cascades.{name} carries the name of a file of the results: choose another name.")
            if len(member) > LONGEST_MEMBER:
                raise ValueError(f"cascades.{name} makes names of {len(member)} characters: choose a shorter name.")
        if len({member for _, member in members}) != len(members):
            raise ValueError("two cascades share a name once every member of a series has its own: rename one.")
        return self

    @model_validator(mode="after")
    def _names_agree(self) -> Study:
        for name, experiment in self.experiments.items():
            for cascade in experiment.cascades:
                if cascade not in self.cascades:
                    raise ValueError(
                        f"experiments.{name}.cascades names {cascade!r}, which is unknown: "
                        f"{nearest(cascade, self.cascades)}"
                    )
                if experiment.signals is None:
                    continue
                depth = len(self.cascades[cascade].layers)
                named = {"axis_layer": experiment.axis_layer, "signals.density_layer": experiment.signals.density_layer}
                for key, layer in named.items():
                    if layer and layer > depth:
                        raise ValueError(
                            f"experiments.{name}.{key} = {layer} is not allowed: cascade {cascade!r} has "
                            f"{depth} layers."
                        )
                draws = experiment.signals.draws()
                worst = [label for label, draw in draws.items() if draw.has_worst_deepest_signs]
                if worst and depth > 1:
                    raise ValueError(
                        f"experiments.{name}.signals: {worst[0]!r} asks for worst-case signs, but cascade "
                        f"{cascade!r} has {depth} layers: they are defined for one."
                    )
                for pursuit, options in experiment.pursuits.items():
                    if isinstance(options.threshold, list) and len(options.threshold) != depth:
                        raise ValueError(
                            f"experiments.{name}.pursuits.{pursuit}.threshold has {len(options.threshold)} entries, "
                            f"but cascade {cascade!r} has {depth} layers: give one per layer."
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
                other = drawn[figure].axis_layer
                shown = experiment.axis in ("count", "density") and "basis-pursuit" in experiment.figures
                if shown and other != experiment.axis_layer:
                    raise ValueError(
                        f"experiments.{name}.beside names {figure!r}, whose counts and densities are of "
                        f"{_layer(other)}, but axis_layer asks for {_layer(experiment.axis_layer)}: give both "
                        "experiments the same axis_layer."
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
        return self

    def members_of(self, cascade: str) -> dict[str, Member]:
        """
        List the cascades of a series.

        Parameters
        ----------
        cascade : str
            A name under `cascades`.

        Returns
        -------
        dict of str to Member
            By name; a cascade that varies nothing is its own only member.
        """
        options = self.cascades[cascade]
        common = Member(
            name=cascade, cascade=cascade, grid=options.grid, replicates=options.replicates, layers=options.layers
        )
        vary = options.vary
        if vary is None:
            return {cascade: common}
        members = {}
        for value in vary.values:
            name = f"{cascade}-{vary.parameter.replace('_', '-')}-{value:g}"
            changed: dict[str, Any] = {"grid": [int(value)] * len(options.grid)}
            if vary.parameter != "grid":
                layers, index = list(options.layers), vary.layer - 1
                parameters = {**layers[index].parameters, vary.parameter: value}
                layers[index] = LayerOptions(family=layers[index].family, parameters=parameters)
                changed = {"layers": layers}
            varied = Varied(parameter=vary.parameter, value=value, layer=vary.layer)
            members[name] = common.model_copy(update={"name": name, "varied": varied, **changed})
        return members
