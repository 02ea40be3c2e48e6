"""Local slopes of log stripe-sparsity against log coherence: measured, and as the ladder predicts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dcsc.figures import style as styles
from dcsc.figures import transitions
from dcsc.figures.results import Results
from dcsc.figures.thresholds import LEVELS, RUNGS

CURVE = ["pursuit", "curve"]
"""Columns that tell curves apart."""


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    Fit slopes over neighbouring cascades of a series, over the whole of it, and over its half of lower coherence.

    That half is of the cascades in which the transition of a curve lies among the cells.

    Parameters
    ----------
    results : Results
        Its summary is used.
    settings : mapping
        `confidence`, `variants`, `series` and `delta`.

    Returns
    -------
    pandas.DataFrame
        A row a curve and span; `span` is "local", "lower half" or "whole", `curve` the level and variant, or
        the rung. Rows of the kind "difference" are slopes of worst-case signs minus those of random signs.
    """
    variants = settings["variants"]
    random = next(name for name, draw in variants.items() if not transitions.is_adversarial(draw))
    measured = transitions.measured(results.summary, variants, LEVELS)
    measured["curve"] = measured["level"].map("{:.0%} recovery, ".format) + measured["variant"]
    certified = transitions.certified(results.certificates)
    # Rungs for all signs are the same for variants that differ in their signs.
    certified = certified.drop_duplicates(["cascade", "replicate", "pursuit", "rung"])
    certified["curve"] = certified["rung"].map(RUNGS)
    certified["pursuit"] = "certified for " + certified["pursuit"]
    tables = []
    for points, kind in ((measured, "measured"), (certified, "certified")):
        points["series"] = points["cascade"].map(settings["series"])
        for series, of_series in points.groupby("series", sort=False):
            order = of_series.groupby("cascade")["mutual_coherence"].mean().sort_values().index
            pairs = [of_series[of_series["cascade"].isin(pair)] for pair in itertools.pairwise(order)]
            spans = [("whole", of_series), ("lower half", _lower_half(of_series)), *(("local", part) for part in pairs)]
            for span, part in spans:
                fitted = transitions.slopes(part, CURVE, settings["confidence"])
                fitted = fitted[fitted["cascades"] == 2] if span == "local" else fitted
                tables.append(fitted.assign(kind=kind, series=series, span=span))
                if kind == "measured" and span != "local":
                    differences = _differences(part, random, settings)
                    tables.append(differences.assign(kind="difference", series=series, span=span))
    table = pd.concat(tables, ignore_index=True)
    table["coherence"] = np.sqrt(table["lowest_coherence"] * table["highest_coherence"])
    return table


def _lower_half(points: pd.DataFrame) -> pd.DataFrame:
    """Of every curve the half of lower coherence, the one in the middle included."""
    halves = [points.iloc[:0]]
    for _, curve in transitions.uncensored(points, CURVE).groupby(CURVE, sort=False):
        order = curve.groupby("cascade")["mutual_coherence"].mean().sort_values().index
        halves.append(curve[curve["cascade"].isin(order[: (len(order) + 1) // 2])])
    return pd.concat(halves)


def _differences(points: pd.DataFrame, random: str, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Slopes of each adversarial variant minus those of random signs, on the same dictionaries."""
    rows = []
    adversarial = [name for name, draw in settings["variants"].items() if transitions.is_adversarial(draw)]
    for (pursuit, level), one in points.groupby(["pursuit", "level"], sort=False):
        typical = one[one["variant"] == random]
        for variant in adversarial:
            worst = one[one["variant"] == variant]
            mean, lower, upper, count = transitions.slope_difference(worst, typical, settings["confidence"])
            slope = {"slope": mean, "slope_lower": lower, "slope_upper": upper, "replicates": count}
            curve = f"{level:.0%} recovery, {variant} minus {random}"
            rows.append({"pursuit": pursuit, "curve": curve, **slope})
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw local slopes against coherence, a panel a series and pursuit, and one for the ladder.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : mapping
        `style` and `confidence`.

    Returns
    -------
    Figure
        With lines at -1 and -2.
    """
    style = settings["style"]
    series, panels = list(table["series"].unique()), list(table["pursuit"].unique())
    figure, axes = styles.canvas(style, len(series), len(panels), 0.95, sharex="row", sharey=True)
    table = table[table["kind"] != "difference"]
    local, whole = (table[table["span"] == span] for span in ("local", "whole"))
    for row, name in zip(axes, series, strict=True):
        for panel, pursuit in zip(row, panels, strict=True):
            part, over_all = (rows[(rows["series"] == name) & (rows["pursuit"] == pursuit)] for rows in (local, whole))
            curves = sorted(table[table["pursuit"] == pursuit]["curve"].unique())
            colour = styles.colours(style, len(curves))
            for index, curve in enumerate(curves):
                one = part[part["curve"] == curve].sort_values("coherence")
                lengths = np.abs(one[["slope_lower", "slope_upper"]].to_numpy().T - one["slope"].to_numpy())
                panel.errorbar(
                    one["coherence"],
                    one["slope"],
                    np.nan_to_num(lengths),
                    color=colour[index],
                    marker=styles.MARKERS[index % len(styles.MARKERS)],
                    markersize=4,
                    linewidth=1,
                    capsize=2,
                    label=f"{curve}{_over_all(over_all[over_all['curve'] == curve])}",
                )
            for reference in (-1, -2):
                panel.axhline(reference, color="0.4", linewidth=0.8, linestyle=":")
            styles.logarithmic(panel.xaxis, part["coherence"])
            panel.set_title(f"{name}: {pursuit}", fontsize="medium")
            panel.set_xlabel("mutual coherence $\\mu$")
            panel.legend(fontsize="xx-small", loc="upper center", bbox_to_anchor=(0.5, -0.2))
        row[0].set_ylabel("local slope of log sparsity")
    lowest = local["slope"].min()
    axes[0, 0].set_ylim(max(-5.0, lowest - 0.8), 0.2)
    styles.footnote(
        figure,
        style,
        f"slopes between neighbouring cascades, in the legend over all in which the transition lies among the cells; "
        f"bars and brackets: Student {settings['confidence']:.0%} over "
        f"{styles.plural(table['replicates'].max(), 'dictionary')}; what is certified is pooled over them",
    )
    return figure


def _over_all(fitted: pd.DataFrame) -> str:
    """The slope over a whole series, with its interval where it has one, for a legend; empty where there is none."""
    return "".join(
        f": {row.slope:.2f}" + ("" if np.isnan(row.slope_lower) else f" [{row.slope_lower:.2f}, {row.slope_upper:.2f}]")
        for row in fitted.itertuples()
    )
