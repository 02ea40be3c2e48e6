"""Local signal-to-noise ratio of every realisation at each layer, with its bound ([PRE17] section 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dcsc.figures import style as styles
from dcsc.figures.results import Results

ROUNDING = 1e-9
"""Share of the largest patch by which an error that is bounded by 0 may come out."""


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    Turn errors and their bounds into local signal-to-noise ratios.

    Parameters
    ----------
    results : Results
        Its trials are used.
    settings : mapping
        Not used here.

    Returns
    -------
    pandas.DataFrame
        A row for each cascade, pursuit, layer and realisation: ratio and bound in decibels, and whether a theorem that
        covers it was violated, by an error above its bound or a wrong support.
    """
    tables = []
    for cascade, dataset in results.trials.items():
        names = ["error", "error_bound", "magnitude", "stripe_sparsity", "support_recovered", "covered", "measured"]
        table = dataset[names].to_dataframe().reset_index().assign(cascade=cascade)
        tables.append(table[table["measured"] == 1].drop(columns="measured"))
    table = pd.concat(tables, ignore_index=True)
    with np.errstate(divide="ignore"):  # an exact code has an infinite ratio
        table["local_snr_db"] = 20 * np.log10(table["magnitude"] / table["error"])
        table["bound_db"] = 20 * np.log10(table["magnitude"] / table["error_bound"])
    kept = (table["error"] <= table["error_bound"] * (1 + 1e-9) + ROUNDING * table["magnitude"]) & (
        table["support_recovered"] == 1
    )
    table["violations"] = ((table["covered"] == 1) & ~kept).astype(int)
    return table


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw one panel a layer and family of pursuits, the ratio of each realisation over its number of activations.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : mapping
        `style`. The first word of a pursuit's name, up to a hyphen, is its family.

    Returns
    -------
    Figure
        Realisations as points, bounds as crosses.
    """
    style = settings["style"]
    families = table["pursuit"].str.split("-").str[0]
    layers, shown = sorted(table["layer"].unique()), list(families.unique())
    largest = int(table.groupby(families)["pursuit"].nunique().max())
    colour = styles.colours(style, max(3, largest + 1))
    steps = np.diff(np.unique(table["active"]))
    apart = 0.3 * (steps.min() if len(steps) else 1)  # clouds of equal values stand beside each other
    figure, axes = styles.canvas(
        style, len(shown), len(layers), 0.85 if len(layers) > 2 else 0.6, sharex=True, sharey="row"
    )
    for row, family in enumerate(shown):
        for panel, layer in zip(axes[row], layers, strict=True):
            part = table[(table["layer"] == layer) & (families == family)]
            pursuits = list(part["pursuit"].unique())
            for index, pursuit in enumerate(pursuits):
                one = part[part["pursuit"] == pursuit]
                oracle = pursuit.endswith("oracle")
                panel.scatter(
                    one["active"] + apart * (index - (len(pursuits) - 1) / 2),
                    one["local_snr_db"],
                    s=9 if oracle else 7,
                    facecolors="none" if oracle else [colour[index]],
                    edgecolors=[colour[index]],
                    marker=styles.MARKERS[index],
                    linewidth=0.5 if oracle else 0,
                    label=pursuit,
                )
                if not oracle and one["bound_db"].notna().any():
                    panel.scatter(
                        one["active"], one["bound_db"], s=9, color=colour[-1], marker="x", linewidth=0.7, label="bound"
                    )
            panel.set_title(f"layer {layer}", fontsize="medium")
        axes[row, 0].set_ylabel("local SNR (dB)")
        handles, labels = axes[row, 0].get_legend_handles_labels()
        axes[row, -1].legend(handles, labels, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    counts = table.groupby(["pursuit", "layer"]).size()
    recovered = table.groupby("pursuit")["support_recovered"].agg(["sum", "size"])
    shares = "; ".join(f"{name} {int(row['sum'])}/{int(row['size'])}" for name, row in recovered.iterrows())
    styles.footnote(
        figure,
        style,
        f"{styles.plural(counts, 'realisation')} a panel and pursuit, pursuits side by side. "
        f"Exact supports over all layers: {shares}",
        label="activations in the deepest code",
    )
    return figure
