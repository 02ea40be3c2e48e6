"""The inputs of a figure: the results of an experiment, and the typed settings of the figure's job."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from dcsc.model.cascade import Cascade
from dcsc.store import dataset
from dcsc.store.readers import cascade_of


class TrialsOnDemand(Mapping[str, xr.Dataset]):
    """
    Metrics by cascade that are read when a figure asks for them: most show counts alone.

    Parameters
    ----------
    paths : mapping of str to sequence of str
        The chunks of the metrics stage, by cascade.
    read_each : callable
        Reads such chunks one after another, given their paths.
    """

    def __init__(
        self, paths: Mapping[str, Sequence[str]], read_each: Callable[[Sequence[str]], Iterable[xr.Dataset]]
    ) -> None:
        self._paths, self._read_each = paths, read_each
        self._read: dict[str, xr.Dataset] = {}

    def __getitem__(self, name: str) -> xr.Dataset:
        """Read all chunks of a cascade, once."""
        if name not in self._read:
            self._read[name] = dataset.join_chunks(list(self._read_each(self._paths[name])))
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        """Name the cascades."""
        return iter(self._paths)

    def __len__(self) -> int:
        """Count the cascades."""
        return len(self._paths)


@dataclass(frozen=True, eq=False)
class Results:
    """
    The datasets of one experiment; a figure gets those that its `PANEL` says it needs.

    Parameters
    ----------
    dictionaries : mapping of str to DataTree
        Of the dictionaries stage, by cascade.
    counts : Dataset or None
        Of the summary stage; None for figures that show dictionaries alone.
    trials : mapping of str to Dataset
        Of the metrics stage, all chunks joined, by cascade.
    signals, pursuits : mapping of str to sequence of DataTree
        Of these stages, the chunks in order, by cascade.
    certificates : mapping of str to Dataset
        Of the certificates stage, by cascade.
    beside : mapping of str to pandas.DataFrame
        Numbers of other experiments' figures, by experiment-panel.
    """

    dictionaries: Mapping[str, xr.DataTree]
    counts: xr.Dataset | None = None
    trials: Mapping[str, xr.Dataset] = field(default_factory=dict)
    signals: Mapping[str, Sequence[xr.DataTree]] = field(default_factory=dict)
    pursuits: Mapping[str, Sequence[xr.DataTree]] = field(default_factory=dict)
    certificates: Mapping[str, xr.Dataset] = field(default_factory=dict)
    beside: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def summary(self) -> xr.Dataset:
        """The counts of all cells; raises where the panel is told to need dictionaries alone."""
        if self.counts is None:
            raise ValueError("there is no summary: PANEL of this figure says that it needs dictionaries alone")
        return self.counts

    def cascade(self, name: str) -> Cascade:
        """Rebuild the first replicate of a cascade."""
        return cascade_of(self.dictionaries[name], 0)

    @property
    def grid_sizes(self) -> dict[str, int]:
        """The ambient dimension of every cascade, in grid points."""
        return {name: int(np.prod(tree["layer_1"]["grid"])) for name, tree in self.dictionaries.items()}


@dataclass(frozen=True)
class Style:
    """
    How figures look.

    Parameters
    ----------
    context : str
        Seaborn's scale of lines and text.
    palette : str
        Seaborn's or matplotlib's name of a palette.
    width : float, in centimetres
        Of a figure.
    dpi : int
        Resolution of PNG files.
    """

    context: str
    palette: str
    width: float
    dpi: int


@dataclass(frozen=True)
class Variant:
    """
    What figures ask of the way in which a variant is drawn.

    Parameters
    ----------
    signs, magnitudes : str or mapping
        Laws, by name or as a mapping of `name` and parameters.
    layer_signs : bool or str
        Whether the signs T of every layer are drawn, or "worst-case".
    constraint : str
        What deep codes satisfy.
    noise_db : float or None, in dB
        Signal-to-noise ratio.
    residual : bool
        Whether windows themselves are observed.
    """

    signs: str | Mapping[str, Any]
    magnitudes: str | Mapping[str, Any]
    layer_signs: bool | str
    constraint: str
    noise_db: float | None
    residual: bool

    @property
    def is_adversarial(self) -> bool:
        """Whether it draws worst-case signs of any kind."""
        name = self.signs if isinstance(self.signs, str) else self.signs["name"]
        return name.startswith("worst-case") or self.layer_signs == "worst-case"

    @property
    def contrast(self) -> float:
        """The contrast X_min / X_max that it prescribes, in (0, 1]; constant magnitudes have contrast 1."""
        if isinstance(self.magnitudes, str):
            return 1.0
        if self.magnitudes["name"] == "given":
            values = np.abs(np.asarray(self.magnitudes["values"], dtype=np.float64))
            return float(values.min() / values.max())
        return float(self.magnitudes.get("contrast", 1.0))


@dataclass(frozen=True)
class Axis:
    """
    What recovery is shown against.

    Parameters
    ----------
    of : {"stripe-sparsity", "count", "density"} or None
        None is what a figure shows it against by itself.
    layer : int or None
        Whose number of active atoms, or density; the deepest by default. The stripe-sparsity is that of the first.
    """

    of: str | None = None
    layer: int | None = None

    def column(self, default: str) -> str:
        """Name the column that holds it, where a figure has that default."""
        return (self.of or default).replace("-", "_")

    def label(self, default: str) -> str:
        """Say what it is, beside an axis."""
        layer = "the deepest layer" if self.layer is None else f"layer {self.layer}"
        return {
            "stripe-sparsity": r"mean stripe-sparsity $\|X^{(1)}\|^S_{0,\infty}$ (atoms)",
            "count": f"mean number of active atoms of {layer}",
            "density": f"mean density of activations of {layer}",
        }[self.of or default]

    def of_transitions(self) -> str:
        """Say what transitions are told in, beside an axis; the stripe-sparsity by default."""
        if self.of in (None, "stripe-sparsity"):
            return "stripe-sparsity (atoms)"
        return self.label("stripe-sparsity").removeprefix("mean ")


@dataclass(frozen=True)
class FigureSettings:
    """
    What a figure depends on beside its data.

    Parameters
    ----------
    series : mapping of str to str
        The series, or cascade, that each cascade of the experiment belongs to, in order.
    variants : mapping of str to Variant
        How each variant is drawn.
    pursuits : mapping of str to mapping
        Options of each pursuit, as the pursuits stage has them.
    delta : float
        Admitted failure rate of certificates.
    seed : int
        Of the study.
    confidence : float
        Level of all intervals.
    style : Style
        How it looks.
    axis : Axis
        What recovery is shown against.
    """

    series: Mapping[str, str]
    variants: Mapping[str, Variant]
    pursuits: Mapping[str, Mapping[str, Any]]
    delta: float
    seed: int
    confidence: float
    style: Style
    axis: Axis = Axis()

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> FigureSettings:
        """
        Read the settings of a job.

        Parameters
        ----------
        settings : mapping
            As the rule gives them; further keys are for the script.

        Returns
        -------
        FigureSettings
            Typed.
        """
        variants = {name: Variant(**_known(Variant, draw)) for name, draw in settings["variants"].items()}
        style = Style(**_known(Style, settings["style"]))
        typed = {"variants": variants, "style": style, "axis": Axis(**settings.get("axis", {}))}
        return cls(**{**_known(cls, {**settings, **typed}), **typed})

    @property
    def adversarial(self) -> list[str]:
        """Names of the variants of worst-case signs."""
        return [name for name, variant in self.variants.items() if variant.is_adversarial]


def _known(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Choose what a class of data has a field for."""
    return {field.name: values[field.name] for field in fields(kind)}


def active_atoms(summary: xr.Dataset, layer: int | None, *, each: bool = False) -> xr.Dataset:
    """
    Give the mean number of active atoms of a layer in every cell, and their share.

    Parameters
    ----------
    summary : Dataset
        Of the summary stage.
    layer : int or None
        Which; the deepest of each cascade by default.
    each : bool
        Whether each replicate is told, or their mean.

    Returns
    -------
    Dataset
        `count` and `density` along cascade, variant and active, and replicate where each is told.
    """
    there = summary["atoms"] > 0
    chosen = there.sum("layer") if layer is None else xr.full_like(there.sum("layer"), layer)
    at = summary["layer"] == chosen
    count = summary["nonzeros"].where(at).sum("layer", min_count=1)
    count = count if each else count.mean("replicate")
    return xr.Dataset({"count": count, "density": count / summary["atoms"].where(at).sum("layer")})


def measured_cells(trials: xr.Dataset, variants: Iterable[str]) -> Iterator[tuple[dict[str, Any], xr.Dataset]]:
    """
    Go through the cells that a pursuit ran on.

    Parameters
    ----------
    trials : Dataset
        Metrics of a cascade.
    variants : iterable of str
        Those to go through.

    Yields
    ------
    place : dict
        `pursuit`, `variant` and `active`.
    cell : Dataset
        Its trials.
    """
    for pursuit in trials["pursuit"].to_numpy():
        for variant in variants:
            chosen = trials.sel(pursuit=pursuit, variant=variant)
            for active in chosen["active"].to_numpy()[chosen["measured"].to_numpy().astype(bool)]:
                yield {"pursuit": pursuit, "variant": variant, "active": int(active)}, chosen.sel(active=active)


def ran(cell: xr.Dataset, pursuit: str) -> bool:
    """
    Tell whether a pursuit ran on a cell.

    Parameters
    ----------
    cell : Dataset
        Metrics of one variant.
    pursuit : str
        Its name.

    Returns
    -------
    bool
        True where it did on all of its numbers of active atoms.
    """
    return bool(cell["measured"].sel(pursuit=pursuit).to_numpy().astype(bool).all())


def truths(values: xr.DataArray) -> NDArray[np.bool_]:
    """
    Flatten what is true of the trials of a cell.

    Parameters
    ----------
    values : DataArray of int
        1 where it is true, along replicates, numbers of active atoms and trials.

    Returns
    -------
    ndarray of bool, shape (replicate, trial)
        The trials of all numbers of active atoms.
    """
    flags = values.transpose("replicate", "active", "trial").to_numpy().astype(bool)
    return flags.reshape(len(flags), -1)
