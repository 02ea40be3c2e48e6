"""
Stripe-sparsity of 50 % and 99 % recovery against coherence, with what every rung of the ladder certifies.

When to take it: for cascades over a range of coherence: the transitions themselves, beside what is certified.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dcsc.figures import style, transitions
from dcsc.figures.inputs import FigureSettings, Results, active_atoms
from dcsc.figures.panels import Panel
from dcsc.figures.tables import select
from dcsc.figures.transitions import LEVELS

PANEL = Panel(
    needs=("certificates",),
    columns="series pursuit variant level cascade mutual_coherence stripe_sparsity stripe_sparsity_lower "
    "stripe_sparsity_upper replicates censored kind trials rung next_stripe_sparsity draws measured_upper "
    "above_measured of_measured of_measured_lower of_measured_upper count count_lower count_upper density "
    "density_lower density_upper",
)


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Set transitions and certificates beside one another along each series of cascades.

    Parameters
    ----------
    results : Results
        Its summary and certificates are used.
    settings : FigureSettings
        Its confidence, variants, series, delta and axis.

    Returns
    -------
    pandas.DataFrame
        As from `transitions.along_series`; where the axis asks for it, with the `count` or the `density` of a layer at
        each transition, its interval, and what is certified of it.
    """
    table = transitions.along_series(results, settings)
    quantity = settings.axis.column("stripe-sparsity")
    if quantity == "stripe_sparsity":
        return table
    curve = ["pursuit", "variant", "level"]
    points = transitions.measured(results.summary, settings.variants)
    points[quantity] = _at_transitions(points, active_atoms(results.summary, settings.axis.layer, each=True)[quantity])
    measured = transitions.summarized(points, curve, settings.confidence, y=quantity)
    kept = [*curve, "cascade", quantity, f"{quantity}_lower", f"{quantity}_upper"]
    certified = pd.concat(
        _certified(cascade, of, results.summary, settings.axis.layer, quantity)
        for cascade, of in results.certificates.items()
    )
    parts = [
        select(table, kind="measured").merge(measured[kept], how="left"),
        select(table, kind="certified").merge(certified, how="left"),
        select(table, kind="crossing"),
    ]
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def _at_transitions(points: pd.DataFrame, values: xr.DataArray) -> list[float]:
    """The quantity at the number of active atoms of every transition, of the same dictionary, on logarithmic scales."""
    found = []
    for row in points.itertuples():
        curve = values.sel(cascade=row.cascade, replicate=row.replicate, variant=row.variant).dropna("active")
        logs = np.log(curve["active"].to_numpy()), np.log(curve.to_numpy())
        found.append(float(np.exp(np.interp(np.log(row.active), *logs))))
    return found


def _certified(
    cascade: str, certificates: xr.Dataset, summary: xr.Dataset, layer: int | None, quantity: str
) -> pd.DataFrame:
    """What is certified of a layer when whole paths are, by pursuit, variant and rung; 0 for nothing."""
    chosen = certificates.sel(part=certificates["part"][0], layer=layer or int(certificates["layer"][-1]))
    atoms = float(summary["atoms"].sel(cascade=cascade, layer=chosen["layer"]))
    values = chosen["density"].fillna(0.0) * (atoms if quantity == "count" else 1.0)
    table = values.rename(quantity).to_dataframe().reset_index()
    return table[["pursuit", "variant", "rung", quantity]].assign(cascade=cascade)


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw a panel for each pursuit and series, on logarithmic axes.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : FigureSettings
        Its style, confidence, variants and delta.

    Returns
    -------
    Figure
        Open markers where some replicate's transition lies beyond the cells.
    """
    measured, certified = (select(table, kind=kind) for kind in ("measured", "certified"))
    pursuits, series = list(measured["pursuit"].unique()), list(table["series"].unique())
    aspect, quantity = 0.8 if len(pursuits) > 1 else 0.5, settings.axis.column("stripe-sparsity")
    figure, axes = style.canvas(settings.style, len(series), len(pursuits), aspect, sharex="row", sharey="row")
    for row, name in zip(axes, series, strict=True):
        part = table[(table["series"] == name) & (table["stripe_sparsity"] >= 1) & table[quantity].notna()]
        for panel, pursuit in zip(row, pursuits, strict=True):
            here = {"series": name, "pursuit": pursuit}
            rungs = transitions.of_pursuit(select(certified, series=name), pursuit)
            style.draw_rungs(panel, rungs, "mutual_coherence", quantity)
            _draw_measured(panel, select(measured, **here), settings, quantity)
            if quantity == "stripe_sparsity":
                _draw_crossing(panel, select(table, kind="crossing", **here))
            panel.set(title=f"{name}: {pursuit}", xlabel="mutual coherence $\\mu$")
            style.logarithmic(panel.xaxis, part["mutual_coherence"])
            style.logarithmic(panel.yaxis, part[quantity])
        label = "stripe-sparsity (atoms)" if quantity == "stripe_sparsity" else settings.axis.label(quantity)
        row[0].set_ylabel(label.removeprefix("mean "))
    style.common_legend(figure, axes.flat, loc="outside right center")
    note = style.transitions_note(table, settings)
    if (measured["censored"] > 0).any():
        note += "; open: some transitions lie beyond the cells"
    style.footnote(figure, note)
    return figure


def _draw_crossing(panel: Axes, table: pd.DataFrame) -> None:
    for row in table.itertuples():
        place = (row.mutual_coherence, row.stripe_sparsity)
        panel.plot(*place, "o", color="0.1", markerfacecolor="none", markersize=9)
        panel.annotate(
            f"statistical coherence form\ncrosses the uniform limit\nat $\\mu$ = {row.mutual_coherence:.4f}",
            place,
            (0, -14),
            textcoords="offset points",
            fontsize="xx-small",
            ha="center",
            va="top",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1},
        )


def _draw_measured(panel: Axes, table: pd.DataFrame, settings: FigureSettings, quantity: str) -> None:
    variants = list(settings.variants)
    colours = style.colours(settings.style, len(variants))
    for variant, colour, marker in zip(variants, colours, style.MARKERS, strict=False):
        for level, line in zip(LEVELS, ("-", "--"), strict=True):
            curve = select(table, variant=variant, level=level).sort_values("mutual_coherence")
            x, y = curve["mutual_coherence"], curve[quantity]
            style.bars(panel, curve, x.name, y.name, colour, linestyle=line, linewidth=1.2, marker="")
            for beyond in (False, True):
                part = (curve["censored"] > 0) == beyond
                face = "white" if beyond else colour
                panel.plot(x[part], y[part], marker, color=colour, markerfacecolor=face, markersize=4.5)
            label = f"{level:.0%} recovery, {variant}"
            panel.plot([], [], color=colour, marker=marker, linestyle=line, markersize=4.5, label=label)
