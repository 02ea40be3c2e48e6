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
    pursuits, variants = list(table["pursuit"].unique()), list(settings["variants"])
    series = table[["cascade", "mutual_coherence", "uniform_limit"]].drop_duplicates().sort_values("mutual_coherence")
    colour = styles.sequence(style, len(series))
    figure, axes = styles.canvas(style, len(pursuits), len(variants), 0.62, sharex=True, sharey=True)
    for row, pursuit in enumerate(pursuits):
        for column, variant in enumerate(variants):
            panel = axes[row, column]
            for index, cascade in enumerate(series.itertuples()):
                chosen = (
                    (table["cascade"] == cascade.cascade)
                    & (table["pursuit"] == pursuit)
                    & (table["variant"] == variant)
                )
                curve = table[chosen].sort_values("active")
                panel.fill_between(
                    curve["stripe_sparsity"],
                    curve["rate_lower"],
                    curve["rate_upper"],
                    color=colour[index],
                    alpha=0.25,
                    lw=0,
                )
                panel.plot(
                    curve["stripe_sparsity"],
                    curve["rate"],
                    color=colour[index],
                    marker=styles.MARKERS[index % len(styles.MARKERS)],
                    markersize=3,
                    linewidth=1.2,
                    label=f"{cascade.mutual_coherence:.3f}",
                )
                panel.axvline(cascade.uniform_limit, 0, 0.12, color=colour[index], linewidth=1.6)
            panel.set_xscale("log")
            panel.set_ylim(-0.03, 1.03)
            panel.set_title(f"{pursuit}, {variant}", fontsize="medium")
            if column == 0:
                panel.set_ylabel("recovered (share of trials)")
            if row == len(pursuits) - 1:
                panel.set_xlabel("mean stripe-sparsity $\\|X\\|^S_{0,\\infty}$ (atoms)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        title="mean coherence $\\mu$",
        loc="outside right center",
        fontsize="small",
        title_fontsize="small",
    )
    trials = sorted(set(table["trials"]))
    spread = f"{trials[0]}" if len(trials) == 1 else f"{trials[0]} to {trials[-1]}"
    figure.supxlabel(
        f"{spread} trials a point, pooled over {table['replicates'].iloc[0]} dictionaries; bands: Clopper-Pearson "
        f"{settings['confidence']:.0%}; ticks at the foot: uniform limit $(1+1/\\mu)/2$",
        fontsize="x-small",
    )
    return figure
