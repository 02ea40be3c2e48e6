"""Density of activations in every layer: certified for all signs, certified for random ones, and recovered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from dcsc import statistics
from dcsc.figures import style as styles
from dcsc.figures import transitions
from dcsc.figures.results import Results
from dcsc.figures.thresholds import certified_note
from dcsc.store.readers import cascade_of

KINDS = {
    "uniform-coherence": "all signs: Theorem 8",
    "basis-pursuit-babel": "all signs: Theorem 11, Babel form",
    "uniform-instance": "all signs: thresholding, instance form",
    "statistical-instance": "random signs: thresholding, instance form",
    "measured": "recovered",
}
"""What is shown of each layer: rungs, and what was measured."""

ALL_SIGNS = ("uniform-coherence", "uniform-babel", "uniform-instance")
"""Rungs of thresholding that hold for all signs; the best of them is what random signs are held against."""


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    List the densities of every layer at which whole paths are certified and recovered.

    Parameters
    ----------
    results : Results
        Its summary, trials and certificates are used.
    settings : mapping
        `confidence`, `variants` and `delta`.

    Returns
    -------
    pandas.DataFrame
        A row for each cascade, pursuit, variant, layer and `kind` (a rung, or "measured": the transition at 1 - delta).
        `of` is "path", or "layer" where a layer is certified alone, its input being exact. `gain` is the density over
        the largest one that a rung of thresholding certifies for all signs of the path, its lower end over the next
        density that no such rung certifies.
    """
    points = transitions.measured(results.summary, settings["variants"], [1 - settings["delta"]])
    rows = []
    for cascade, certificates in results.certificates.items():
        atoms = [layer.n_atoms for layer in cascade_of(results.dictionaries[cascade], 0).dictionaries]
        for pursuit in certificates["pursuit"].to_numpy():
            for variant in settings["variants"]:
                place = {"cascade": cascade, "depth": len(atoms), "pursuit": pursuit, "variant": variant}
                rows += [{**place, **row} for row in _certified(certificates.sel(pursuit=pursuit, variant=variant))]
                same = (points["cascade"] == cascade) & (points["pursuit"] == pursuit) & (points["variant"] == variant)
                if same.any():
                    nonzeros = _nonzeros(results.trials[cascade], variant)
                    found = _measured(points[same], nonzeros, atoms, settings["confidence"])
                    rows += [{**place, "kind": "measured", "of": "path", **row} for row in found]
    table = pd.DataFrame(rows)
    return _gains(table).assign(trials=int(results.summary["trials"].max()))


def _certified(certificates: xr.Dataset) -> list[dict[str, Any]]:
    rows = []
    for rung in certificates["rung"].to_numpy():
        for part in certificates["part"].to_numpy():
            one = certificates.sel(rung=rung, part=part)
            if not one["applies"]:
                continue
            size, following = int(one["active"]), int(one["next_active"])
            for layer in one["layer"].to_numpy():
                if part in ("path", f"layer {layer}"):
                    rows.append(
                        {
                            "kind": rung,
                            "of": part.split()[0],
                            "layer": int(layer),
                            "active": size,
                            "next_active": following,
                            "density": float(one["density"].sel(layer=layer)) if size else 0.0,
                            "draws": int(one["draws"]),
                        }
                    )
    return rows


def _nonzeros(trials: xr.Dataset, variant: str) -> xr.DataArray:
    """Mean non-zeros of every layer at each number of active deepest atoms that was drawn."""
    one = trials.sel(variant=variant)
    drawn = one["measured"].astype(bool).any("pursuit")
    dims = [dim for dim in one["nonzeros"].dims if dim not in ("layer", "active")]
    return one["nonzeros"].mean(dims).isel(active=np.flatnonzero(drawn.to_numpy()))


def _measured(
    points: pd.DataFrame, nonzeros: xr.DataArray, atoms: list[int], confidence: float
) -> list[dict[str, Any]]:
    """Densities of every layer at the transitions of the replicates."""
    rows = []
    sizes = points["active"].to_numpy()
    for layer, count in enumerate(atoms, start=1):
        here = nonzeros.sel(layer=layer)
        logs = np.interp(np.log(sizes), np.log(here["active"].to_numpy()), np.log(here.to_numpy()))
        densities = np.exp(logs) / count
        mean, lower, upper = statistics.mean_interval(densities, confidence)
        rows.append(
            {
                "layer": layer,
                "active": float(sizes.mean()),
                "density": mean,
                "density_lower": lower,
                "density_upper": upper,
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


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw a panel for each cascade: the density of every layer, for whole paths.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : mapping
        `style`, `confidence` and `delta`.

    Returns
    -------
    Figure
        Small open markers where a layer is certified alone, its input being exact.
    """
    style = settings["style"]
    cascades = list(table["cascade"].unique())
    figure, axes = styles.canvas(style, 1, len(cascades), 1.15, sharey=True)
    colour = styles.colours(style, len(KINDS))
    for panel, cascade in zip(axes[0], cascades, strict=True):
        here = table[(table["cascade"] == cascade) & (table["density"] > 0)]
        for index, (kind, label) in enumerate(KINDS.items()):
            shift = 0.09 * (index - (len(KINDS) - 1) / 2)
            for of, filled in (("path", True), ("layer", False)):
                part = here[(here["kind"] == kind) & (here["of"] == of)].drop_duplicates("layer").sort_values("layer")
                if not len(part):
                    continue
                ends = part[["density_lower", "density_upper"]].to_numpy(dtype=float).T
                lengths = np.nan_to_num(np.abs(ends - part["density"].to_numpy()))
                panel.errorbar(
                    part["layer"] + shift,
                    part["density"],
                    lengths,
                    linestyle="none",
                    marker=styles.MARKERS[index],
                    color=colour[index],
                    markerfacecolor=colour[index] if filled else "none",
                    markersize=5 if filled else 4,
                    capsize=2,
                    label=label if filled else None,
                )
        depth = int(here["depth"].iloc[0])
        panel.set_title(f"{depth} layers", fontsize="medium")
        panel.set_xlabel("layer")
        panel.set_xticks(range(1, depth + 1))
        panel.set_xlim(0.5, depth + 0.5)
        styles.logarithmic(panel.yaxis, table["density"])
    axes[0, 0].set_ylabel("density of activations")
    styles.common_legend(figure, axes.flat, loc="outside upper center", ncols=2, fontsize="x-small")
    certified, measured = table[table["kind"] != "measured"], table[table["kind"] == "measured"]
    styles.footnote(
        figure,
        style,
        f"filled: whole paths; open: a layer alone, its input being exact. Recovered: {1 - settings['delta']:.0%}, of "
        f"{styles.count(table['trials'])} trials a cell; means over "
        f"{styles.plural(measured['replicates'].max(), 'dictionary')} with Student {settings['confidence']:.0%} bars; "
        f"{certified_note(certified, settings)}",
    )
    return figure
