"""Recovery rate against stripe-sparsity, one curve a cascade, typical beside worst-case signs."""

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

FALL, ENOUGH = (0.05, 0.95), 6
"""Recovery rates between which a transition must be resolved, and by how many cells."""


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    Pool the replicates of every cell.

    Parameters
    ----------
    results : Results
        Its summary is used.
    settings : mapping
        `confidence` and `variants`.

    Returns
    -------
    pandas.DataFrame
        A row for each cascade, pursuit, variant and number of active atoms; `falls`, `cells_in_fall` and `resolved`
        are of its curve.
    """
    summary = results.summary
    counted = ["trials", "covered", "violations", "bounded", "bounded_failures", "assured", "assured_failures"]
    counts = summary[counted].assign(recovered=transitions.successes(summary, settings["variants"]))
    # All replicates have equally many draws; one without a bound leaves the cell without one.
    pooled = counts.sum("replicate").assign(failure_bound=summary["failure_bound"].mean("replicate", skipna=False))
    means = summary[["stripe_sparsity", "mutual_coherence"]].mean("replicate")
    table = xr.merge([pooled, means], join="exact").to_dataframe().reset_index()
    table = table[table["trials"] > 0].reset_index(drop=True)
    table["rate"] = table["recovered"] / table["trials"]
    table["rate_lower"], table["rate_upper"] = statistics.proportion_interval(
        table["recovered"], table["trials"], settings["confidence"]
    )
    limit = ((1 + 1 / summary["mutual_coherence"]) / 2).mean("replicate").to_series()
    table["uniform_limit"] = table["cascade"].map(limit)
    table["replicates"] = summary.sizes["replicate"]
    curves = table.groupby(["cascade", "pursuit", "variant"], group_keys=False)
    table = table.join(curves[["active", "rate"]].apply(_fall))
    table[["bound_tested", "bound_exceeded"]] = bound_tests(table, settings["confidence"])
    order = ["cascade", "mutual_coherence", "pursuit", "variant", "active", "stripe_sparsity", "rate"]
    return table[order + [column for column in table if column not in order]]


def _fall(curve: pd.DataFrame) -> pd.DataFrame:
    """Tell whether a curve falls through all of FALL, and whether ENOUGH cells, or all numbers, lie within."""
    low, high = FALL
    last, first = curve.loc[curve["rate"] >= high, "active"].max(), curve.loc[curve["rate"] <= low, "active"].min()
    cells = int(curve["rate"].between(low, high, inclusive="neither").sum())
    falls = not np.isnan(last) and not np.isnan(first)
    resolved = falls and (cells >= ENOUGH or curve["active"].between(last, first).sum() == first - last + 1)
    return pd.DataFrame({"falls": falls, "cells_in_fall": cells, "resolved": resolved}, index=curve.index)


def bound_tests(table: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """
    Put the bounds on failure rates to the failures of the same draws, with an error of 1 - confidence over all cells.

    Parameters
    ----------
    table : pandas.DataFrame
        With `bounded` draws, the `bounded_failures` among them and their `failure_bound`.
    confidence : float
        Level of all cells together.

    Returns
    -------
    pandas.DataFrame of bool
        `tested` where the bound says something: if all draws had failed, it would have been refuted; and `exceeded`
        where failures are too many for it.
    """
    draws = table["bounded"].clip(lower=1)
    has_bound = (table["bounded"] > 0) & table["failure_bound"].notna() & (table["failure_bound"] < 1)
    level = 1 - 2 * (1 - confidence) / max(int(has_bound.sum()), 1)  # one-sided
    at_worst, _ = statistics.proportion_interval(draws, draws, level)
    lower, _ = statistics.proportion_interval(table["bounded_failures"], draws, level)
    tested = has_bound & (at_worst > table["failure_bound"])
    return pd.DataFrame({"tested": tested, "exceeded": tested & (lower > table["failure_bound"])}, index=table.index)


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw a panel for each pursuit and variant that it ran on.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : mapping
        `style` and `confidence` and `variants`.

    Returns
    -------
    Figure
        With bands of the intervals and a tick at every uniform limit.
    """
    style = settings["style"]
    pairs = list(table[["pursuit", "variant"]].drop_duplicates().itertuples(index=False, name=None))
    pairs.sort(key=lambda pair: list(settings["variants"]).index(pair[1]))  # a row of panels for each kind of signs
    series = table[["cascade", "mutual_coherence", "uniform_limit"]].drop_duplicates().sort_values("mutual_coherence")
    colour = styles.sequence(style, len(series))
    columns = 2 if len(pairs) in (2, 4) else min(len(pairs), 3)
    rows = -(-len(pairs) // columns)
    free = rows * columns - len(pairs)
    aspect = {1: 0.5, 2: 0.62}.get(columns, 0.8)
    figure, axes = styles.canvas(style, rows, columns, aspect, sharex=True, sharey=True)
    for panel, (pursuit, variant) in zip(axes.flat, pairs, strict=False):
        chosen = table[(table["pursuit"] == pursuit) & (table["variant"] == variant)]
        for index, cascade in enumerate(series.itertuples()):
            curve = chosen[chosen["cascade"] == cascade.cascade]
            label = f"{cascade.mutual_coherence:.3f}  {cascade.cascade}"
            styles.curve_with_band(panel, curve, "stripe_sparsity", "rate", colour[index], index, label=label)
            panel.axvline(cascade.uniform_limit, 0, 0.12, color=colour[index], linewidth=1.6)
        panel.set_ylim(-0.03, 1.03)
        styles.logarithmic(panel.xaxis, table["stripe_sparsity"])
        panel.set_title(f"{pursuit}, {variant}", fontsize="medium")
        panel.tick_params(labelbottom=True)
    figure.supylabel("recovered (share)", fontsize="medium")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    options = {"title": "mean coherence $\\mu$, cascade", "fontsize": "x-small", "title_fontsize": "small"}
    if free:  # the legend takes the places that no panel needs
        place = axes[0, 0].get_gridspec()[rows - 1, columns - free :]
        for panel in axes.flat[len(pairs) :]:
            panel.remove()
        spare = figure.add_subplot(place)
        spare.set_axis_off()
        spare.legend(handles, labels, loc="center", ncols=1 if len(labels) <= 9 else free, **options)
    else:
        figure.legend(handles, labels, loc="outside upper center", ncols=3, **options)
    trials = styles.plural(table["trials"], "trial")
    replicates = styles.plural(table["replicates"], "dictionary")
    styles.footnote(
        figure,
        style,
        f"{trials} a point, pooled over {replicates}; bands: Clopper-Pearson "
        f"{settings['confidence']:.0%}; ticks at the foot: uniform limit $(1+1/\\mu)/2$",
        label="mean stripe-sparsity $\\|X^{(1)}\\|^S_{0,\\infty}$ (atoms)",
    )
    return figure
