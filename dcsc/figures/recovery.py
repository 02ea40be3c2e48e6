"""Recovery rate against stripe-sparsity, one curve a cascade, typical beside worst-case signs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from dcsc import statistics, transitions
from dcsc.figures import style as styles
from dcsc.figures.results import Results


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
        A row for each cascade, pursuit, variant and number of active atoms.
    """
    summary = results.summary
    counts = summary[["trials", "covered", "violations"]].assign(
        recovered=transitions.successes(summary, settings["variants"])
    )
    pooled = counts.sum("replicate")
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
    order = ["cascade", "mutual_coherence", "pursuit", "variant", "active", "stripe_sparsity", "rate"]
    return table[order + [column for column in table if column not in order]]


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw rows of pursuits and columns of variants.

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
    ran = table[["pursuit", "variant"]].drop_duplicates()
    pursuits = list(ran["pursuit"].unique())
    variants = [name for name in settings["variants"] if (ran["variant"] == name).any()]
    series = table[["cascade", "mutual_coherence", "uniform_limit"]].drop_duplicates().sort_values("mutual_coherence")
    colour = styles.sequence(style, len(series))
    figure, axes = styles.canvas(style, len(pursuits), len(variants), 0.62, sharex=True, sharey=True)
    for row, pursuit in enumerate(pursuits):
        for column, variant in enumerate(variants):
            panel = axes[row, column]
            chosen = table[(table["pursuit"] == pursuit) & (table["variant"] == variant)]
            if chosen.empty:
                panel.set_axis_off()
                continue
            for index, cascade in enumerate(series.itertuples()):
                curve = chosen[chosen["cascade"] == cascade.cascade]
                label = f"{cascade.mutual_coherence:.3f}  {cascade.cascade}"
                styles.curve_with_band(panel, curve, "stripe_sparsity", "rate", colour[index], index, label=label)
                panel.axvline(cascade.uniform_limit, 0, 0.12, color=colour[index], linewidth=1.6)
            panel.set_ylim(-0.03, 1.03)
            styles.logarithmic(panel.xaxis, table["stripe_sparsity"])
            panel.set_title(f"{pursuit}, {variant}", fontsize="medium")
            panel.tick_params(labelbottom=True)
        axes[row, 0].set_ylabel("recovered (share)")
    handles, labels = next(panel for panel in axes.flat if panel.lines).get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        title="mean coherence $\\mu$, cascade",
        loc="outside upper center",
        ncols=3,
        fontsize="x-small",
        title_fontsize="small",
    )
    trials, replicates = styles.count(table["trials"]), styles.count(table["replicates"])
    styles.footnote(
        figure,
        style,
        f"{trials} trials a point, pooled over {replicates} dictionaries; bands: Clopper-Pearson "
        f"{settings['confidence']:.0%}; ticks at the foot: uniform limit $(1+1/\\mu)/2$",
        label="mean stripe-sparsity $\\|X^{(1)}\\|^S_{0,\\infty}$ (atoms)",
    )
    return figure
