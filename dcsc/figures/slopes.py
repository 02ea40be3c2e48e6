"""
Local slopes of log stripe-sparsity against log coherence: measured, and as the ladder predicts.

When to take it: for cascades over a range of coherence: does sparsity fall like 1/mu or like 1/mu^2?
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dcsc.figures import style, transitions
from dcsc.figures.inputs import FigureSettings, Results
from dcsc.figures.panels import Panel
from dcsc.figures.tables import select

PANEL = Panel(
    needs=("certificates",),
    columns="pursuit curve slope slope_lower slope_upper cascades replicates lowest_coherence highest_coherence kind "
    "series span coherence",
    takes_axis=True,
)

CURVE = ["pursuit", "curve"]
"""Columns that tell curves apart."""
_NAMES = {"stripe_sparsity": "sparsity", "count": "number of atoms", "density": "density"}
"""What the slopes are of, by the column of the axis."""


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Fit slopes over neighbouring cascades of a series, over the whole of it, and over its half of lower coherence.

    That half is of the cascades in which the transition of a curve lies among the cells.

    Parameters
    ----------
    results : Results
        Its summary and certificates are used.
    settings : FigureSettings
        Its confidence, variants, series, delta and axis.

    Returns
    -------
    pandas.DataFrame
        A row per curve and span; `span` is "local", "lower half" or "whole", `curve` the level and variant, or
        the rung. Rows of the kind "difference" are slopes of worst-case signs minus those of random signs.
    """
    quantity = settings.axis.column("stripe-sparsity")
    measured = transitions.measured_on_axis(results.summary, settings)
    measured["curve"] = measured["level"].map("{:.0%} recovery, ".format) + measured["variant"]
    certified = transitions.certified_on_axis(transitions.certified(results.certificates), results, settings)
    certified = certified[certified["rung"].isin(style.RUNGS)]
    # Rungs for all signs are the same for variants that differ in their signs.
    certified = certified.drop_duplicates(["cascade", "replicate", "pursuit", "rung"])
    certified["curve"] = certified["rung"].map(style.RUNGS)
    certified["pursuit"] = "certified for " + certified["pursuit"]
    tables = []
    for points, kind in ((measured, "measured"), (certified, "certified")):
        points["series"] = points["cascade"].map(settings.series)
        for series, of_series in points.groupby("series", sort=False):
            order = of_series.groupby("cascade")["mutual_coherence"].mean().sort_values().index
            pairs = [of_series[of_series["cascade"].isin(pair)] for pair in itertools.pairwise(order)]
            spans = [("whole", of_series), ("lower half", _lower_half(of_series)), *(("local", part) for part in pairs)]
            for span, part in spans:
                fitted = transitions.slopes(part, CURVE, settings.confidence, y=quantity)
                fitted = fitted[fitted["cascades"] == 2] if span == "local" else fitted
                tables.append(fitted.assign(kind=kind, series=series, span=span))
                if kind == "measured" and span != "local":
                    tables.append(_differences(part, settings).assign(kind="difference", series=series, span=span))
    table = pd.concat(tables, ignore_index=True)
    table["coherence"] = np.sqrt(table["lowest_coherence"] * table["highest_coherence"])
    return table


def _lower_half(points: pd.DataFrame) -> pd.DataFrame:
    """Of every curve the half of lower coherence, the cascade in the middle included."""
    halves = [points.iloc[:0]]
    for _, curve in transitions.uncensored(points, CURVE).groupby(CURVE, sort=False):
        order = curve.groupby("cascade")["mutual_coherence"].mean().sort_values().index
        halves.append(curve[curve["cascade"].isin(order[: (len(order) + 1) // 2])])
    return pd.concat(halves)


def _differences(points: pd.DataFrame, settings: FigureSettings) -> pd.DataFrame:
    """Slopes of each adversarial variant minus those of random signs, on the same dictionaries."""
    random = next(name for name in settings.variants if name not in settings.adversarial)
    rows, quantity = [], settings.axis.column("stripe-sparsity")
    for (pursuit, level), part in points.groupby(["pursuit", "level"], sort=False):
        for variant in settings.adversarial:
            worst, typical = (select(part, variant=name) for name in (variant, random))
            name = f"{level:.0%} recovery, {variant} minus {random}"
            difference = transitions.slope_difference(worst, typical, settings.confidence, quantity)
            rows.append({"pursuit": pursuit, "curve": name, **difference})
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw local slopes against coherence, a panel per series and pursuit, and one for the ladder.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : FigureSettings
        Its style, confidence and axis.

    Returns
    -------
    Figure
        With lines at -1 and -2.
    """
    series, panels = list(table["series"].unique()), list(table["pursuit"].unique())
    quantity = settings.axis.column("stripe-sparsity")
    figure, axes = style.canvas(settings.style, len(series), len(panels), 0.95, sharex="row", sharey=True)
    table = table[table["kind"] != "difference"]
    local = select(table, span="local")
    for row, name in zip(axes, series, strict=True):
        for panel, pursuit in zip(row, panels, strict=True):
            part = select(local, series=name, pursuit=pursuit)
            whole = select(table, span="whole", series=name, pursuit=pursuit)
            curves = sorted(select(table, pursuit=pursuit)["curve"].unique())
            for index, (curve, colour) in enumerate(
                zip(curves, style.colours(settings.style, len(curves)), strict=True)
            ):
                look = {"linewidth": 1, "label": f"{curve}{_over_all(select(whole, curve=curve))}"}
                style.bars(panel, select(part, curve=curve), "coherence", "slope", colour, index, **look)
            for reference in (-1, -2):
                panel.axhline(reference, color="0.4", linewidth=0.8, linestyle=":")
            style.logarithmic(panel.xaxis, part["coherence"])
            panel.set(title=f"{name}: {pursuit}", xlabel="mutual coherence $\\mu$")
            style.legend_below(panel, 0.2)
        row[0].set_ylabel(f"local slope of log {_NAMES[quantity]}")
    # Along a series of growing dictionaries a density may rise, which a stripe-sparsity does not.
    top = 0.2 if quantity == "stripe_sparsity" else max(0.2, min(5.0, local["slope"].max() + 0.3))
    axes[0, 0].set_ylim(max(-5.0, local["slope"].min() - 0.8), top)
    style.footnote(
        figure,
        f"slopes between neighbouring cascades, in the legend over all in which the transition lies among the cells; "
        f"bars and brackets: Student {settings.confidence:.0%} over "
        f"{style.plural(table['replicates'].max(), 'dictionary')}; what is certified is pooled over them"
        + ("" if quantity == "stripe_sparsity" else f"; {settings.axis.of_transitions()}"),
    )
    return figure


def _over_all(fitted: pd.DataFrame) -> str:
    """The slope over a whole series, with its interval where it has one, for a legend; empty where there is none."""
    return "".join(
        f": {row.slope:.2f}" + ("" if np.isnan(row.slope_lower) else f" [{row.slope_lower:.2f}, {row.slope_upper:.2f}]")
        for row in fitted.itertuples()
    )
