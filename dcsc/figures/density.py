"""
Density of activations in every layer: certified for all signs, certified for random ones, and recovered.

When to take it: for cascades: how many activations a layer may have, certified and recovered.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from dcsc.figures import style, transitions
from dcsc.figures.inputs import FigureSettings, Results
from dcsc.figures.panels import Panel
from dcsc.figures.tables import mean_of, select

PANEL = Panel(
    needs=("certificates",),
    reads_trials=True,
    columns="cascade depth pursuit variant kind of layer active next_active density draws density_lower density_upper "
    "replicates censored gain gain_lower gain_upper trials",
)


class Kind(NamedTuple):
    """
    What is shown of each layer, and how.

    Parameters
    ----------
    label : str
        In the legend.
    colour : int
        Of the palette: equal for what is certified in the same way.
    marker : str
        Of the pursuit.
    """

    label: str
    colour: int
    marker: str


KINDS = {
    "uniform-coherence": Kind("thresholding, all signs: Theorem 8", 0, "o"),
    "basis-pursuit-uniform-coherence": Kind("basis pursuit, all signs: Theorem 11", 0, "s"),
    "uniform-instance": Kind("thresholding, all signs: instance", 1, "o"),
    "basis-pursuit-uniform-instance": Kind("basis pursuit, all signs: instance", 1, "s"),
    "statistical-instance": Kind("thresholding, random signs: instance", 2, "o"),
    "basis-pursuit-statistical-instance": Kind("basis pursuit, random signs: instance", 2, "s"),
    "measured": Kind("thresholding, recovered", 3, "*"),
}
"""Rungs, and what was measured."""

ALL_SIGNS = ("uniform-coherence", "uniform-babel", "uniform-instance")
"""Rungs of thresholding that hold for all signs; the best of them is what random signs are held against."""


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    List the densities of every layer at which whole paths are certified and recovered.

    Parameters
    ----------
    results : Results
        Its summary, trials and certificates are used.
    settings : FigureSettings
        Its confidence, variants and delta.

    Returns
    -------
    pandas.DataFrame
        A row for each cascade, pursuit, variant, layer and `kind` (a rung, or "measured": the transition at 1 - delta).
        `of` is "path", or "layer" where a layer is certified alone, its input being exact. `gain` is the density over
        the largest one that a rung of thresholding certifies for all signs of the path, its lower end over the next
        density that no such rung certifies.
    """
    points = transitions.measured(results.summary, settings.variants, [1 - settings.delta])
    rows = []
    for cascade, certificates in results.certificates.items():
        atoms = [layer.n_atoms for layer in results.cascade(cascade).dictionaries]
        for pursuit in certificates["pursuit"].to_numpy():
            for variant in settings.variants:
                place = {"cascade": cascade, "depth": len(atoms), "pursuit": pursuit, "variant": variant}
                rows += [{**place, **row} for row in _certified(certificates.sel(pursuit=pursuit, variant=variant))]
                same = select(points, cascade=cascade, pursuit=pursuit, variant=variant)
                if len(same):
                    densities = _measured(same, _nonzeros(results.trials[cascade], variant), atoms, settings.confidence)
                    rows += [{**place, "kind": "measured", "of": "path", **row} for row in densities]
    return _gains(pd.DataFrame(rows)).assign(trials=int(results.summary["trials"].max()))


def _certified(certificates: xr.Dataset) -> list[dict[str, Any]]:
    rows = []
    for rung in certificates["rung"].to_numpy():
        for part in certificates["part"].to_numpy():
            size = certificates.sel(rung=rung, part=part)
            for layer in size["layer"].to_numpy() if size["applies"] else ():
                if part in ("path", f"layer {layer}"):
                    rows.append(
                        {
                            "kind": rung,
                            "of": part.split()[0],
                            "layer": int(layer),
                            "active": int(size["active"]),
                            "next_active": int(size["next_active"]),
                            "density": float(size["density"].sel(layer=layer)) if size["active"] else 0.0,
                            "draws": int(size["draws"]),
                        }
                    )
    return rows


def _nonzeros(trials: xr.Dataset, variant: str) -> xr.DataArray:
    """Mean non-zeros of every layer at each number of active deepest atoms that was drawn."""
    chosen = trials.sel(variant=variant)
    drawn = chosen["measured"].astype(bool).any("pursuit").to_numpy()
    dims = [dim for dim in chosen["nonzeros"].dims if dim not in ("layer", "active")]
    return chosen["nonzeros"].mean(dims).isel(active=drawn)


def _measured(
    points: pd.DataFrame, nonzeros: xr.DataArray, atoms: list[int], confidence: float
) -> list[dict[str, Any]]:
    """Densities of every layer at the transitions of the replicates."""
    rows = []
    sizes = points["active"].to_numpy()
    for layer, count in enumerate(atoms, start=1):
        here = nonzeros.sel(layer=layer)
        logs = np.interp(np.log(sizes), np.log(here["active"].to_numpy()), np.log(here.to_numpy()))
        rows.append(
            {
                "layer": layer,
                "active": float(sizes.mean()),
                **mean_of(np.exp(logs) / count, confidence, "density"),
                "replicates": len(sizes),
                "censored": int((points["censored"] != "").sum()),
            }
        )
    return rows


def _gains(table: pd.DataFrame) -> pd.DataFrame:
    """Hold every density of a path against the best that is certified for all signs of thresholding it."""
    place = ["cascade", "pursuit", "variant", "layer"]
    uniform = table[table["kind"].isin(ALL_SIGNS) & (table["of"] == "path")]
    best = uniform.groupby(place, as_index=False).agg(best=("active", "max"), next_best=("next_active", "max"))
    table = table.merge(best, on=place, how="left")
    of_path = table["of"] == "path"
    # The densities of a path are proportional to the number of deepest atoms, as its layers follow from them.
    with np.errstate(divide="ignore"):
        gain = table["active"] / table["best"].to_numpy()
    table["gain"] = gain.where(table["active"] > 0, 0.0).where(of_path)
    lower, upper = (table[f"density_{end}"].fillna(table["density"]) / table["density"] for end in ("lower", "upper"))
    table["gain_lower"] = (lower * table["active"] / table["next_best"]).where(table["active"] > 0, 0.0).where(of_path)
    table["gain_upper"] = (upper * gain).where(table["active"] > 0, 0.0).where(of_path)
    return table.drop(columns=["best", "next_best"])


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw a panel for each cascade: the density of every layer, for whole paths.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : FigureSettings
        Its style, confidence and delta.

    Returns
    -------
    Figure
        Small open markers where a layer is certified alone, its input being exact.
    """
    cascades = list(table["cascade"].unique())
    figure, axes = style.canvas(settings.style, 1, len(cascades), 1.15, sharey=True)
    colours = style.colours(settings.style, 4)
    for panel, cascade in zip(axes[0], cascades, strict=True):
        here = table[(table["cascade"] == cascade) & (table["density"] > 0)]
        for index, (kind, shown) in enumerate(KINDS.items()):
            shift = 0.09 * (index - (len(KINDS) - 1) / 2)
            for of, filled in (("path", True), ("layer", False)):
                part = select(here, kind=kind, of=of).drop_duplicates("layer")
                part = part.assign(place=part["layer"] + shift)
                colour = colours[shown.colour]
                look: style.Look = {"marker": shown.marker, "markersize": 7 if shown.marker == "*" else 4.5}
                look["markerfacecolor"] = colour if filled else "none"
                if filled:
                    look["label"] = shown.label
                if len(part):
                    style.bars(panel, part, "place", "density", colour, index, linestyle="none", **look)
        depth = int(here["depth"].iloc[0])
        panel.set(title=f"{depth} layers", xlabel="layer", xticks=range(1, depth + 1), xlim=(0.5, depth + 0.5))
        style.logarithmic(panel.yaxis, table["density"])
    axes[0, 0].set_ylabel("density of activations")
    style.common_legend(figure, axes.flat, 2, fontsize="x-small")
    replicates = select(table, kind="measured")["replicates"].max()
    style.footnote(
        figure,
        f"filled: whole paths; open: a layer alone, its input being exact. Recovered: {1 - settings.delta:.0%}, of "
        f"{style.count(table['trials'])} trials a cell; means over {style.plural(replicates, 'dictionary')} with "
        f"Student {settings.confidence:.0%} bars; "
        f"{style.certified_note(table[table['kind'] != 'measured'], settings)}",
    )
    return figure
