"""Local signal-to-noise ratio of every realisation at each layer, with its bound ([PRE17] section 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dcsc.figures import style as styles
from dcsc.figures.results import Results


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
        A row for each cascade, pursuit, layer and realisation: ratio and bound in decibels.
    """
    tables = []
    for cascade, dataset in results.trials.items():
        names = ["error", "error_bound", "magnitude", "stripe_sparsity", "support_recovered", "covered"]
        table = dataset[names].to_dataframe().reset_index().assign(cascade=cascade)
        tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    with np.errstate(divide="ignore"):  # an exact code has an infinite ratio
        table["local_snr_db"] = 20 * np.log10(table["magnitude"] / table["error"])
        table["bound_db"] = 20 * np.log10(table["magnitude"] / table["error_bound"])
    return table


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw one panel a layer and family of rules, the ratio of each realisation over its number of activations.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : mapping
        `style`.

    Returns
    -------
    Figure
        Realisations as points, bounds as crosses.
    """
    style = settings["style"]
    layers, rules = sorted(table["layer"].unique()), ["hard", "soft"]
    colour = styles.colours(style, 3)
    figure, axes = styles.canvas(style, len(rules), len(layers), 0.85, sharex=True, sharey="row")
    for row, rule in enumerate(rules):
        for panel, layer in zip(axes[row], layers, strict=True):
            part = table[(table["layer"] == layer) & table["pursuit"].str.startswith(rule)]
            for index, pursuit in enumerate(part["pursuit"].unique()):
                one = part[part["pursuit"] == pursuit]
                oracle = pursuit.endswith("oracle")
                panel.scatter(
                    one["active"],
                    one["local_snr_db"],
                    s=16 if oracle else 7,
                    facecolors="none" if oracle else [colour[index]],
                    edgecolors=[colour[index]],
                    marker=styles.MARKERS[index],
                    linewidth=0.7 if oracle else 0,
                    label=pursuit,
                )
                if not oracle:
                    panel.scatter(
                        one["active"], one["bound_db"], s=9, color=colour[2], marker="x", linewidth=0.7, label="bound"
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
        f"{counts.iloc[0]} realisations a panel and pursuit. Exact supports over all layers: {shares}",
        label="activations in the deepest code",
    )
    return figure
