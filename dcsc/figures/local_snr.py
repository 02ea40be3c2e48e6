"""
Local signal-to-noise ratio of every realisation at each layer, with its bound ([PRE17] section 8).

When to take it: for the experiments of [PRE17] section 8, or any with noise bounded in patches.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dcsc.figures import style
from dcsc.figures.inputs import FigureSettings, Results
from dcsc.figures.panels import Panel
from dcsc.figures.tables import select

PANEL = Panel(
    needs=("errors",),
    reads_trials=True,
    columns="pursuit layer replicate variant active trial error error_bound magnitude stripe_sparsity "
    "support_recovered covered cascade local_snr_db bound_db violations",
)

ROUNDING = 1e-9
"""Share of the largest patch by which an error that is bounded by 0 may come out."""


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Turn errors and their bounds into local signal-to-noise ratios.

    Parameters
    ----------
    results : Results
        Its trials are used.
    settings : FigureSettings
        Not used here.

    Returns
    -------
    pandas.DataFrame
        A row for each cascade, pursuit, layer and realisation: ratio and bound in decibels, and whether a theorem that
        covers it was violated, by an error above its bound or a wrong support.
    """
    tables = []
    for cascade, trials in results.trials.items():
        names = ["error", "error_bound", "magnitude", "stripe_sparsity", "support_recovered", "covered", "measured"]
        realisations = trials[names].to_dataframe().reset_index().assign(cascade=cascade)
        tables.append(select(realisations, measured=1).drop(columns="measured"))
    table = pd.concat(tables, ignore_index=True)
    with np.errstate(divide="ignore"):  # an exact code has an infinite ratio
        table["local_snr_db"] = 20 * np.log10(table["magnitude"] / table["error"])
        table["bound_db"] = 20 * np.log10(table["magnitude"] / table["error_bound"])
    within = table["error"] <= table["error_bound"] * (1 + 1e-9) + ROUNDING * table["magnitude"]
    kept = within & (table["support_recovered"] == 1)
    table["violations"] = ((table["covered"] == 1) & ~kept).astype(int)
    return table


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw one panel per layer and family of pursuits, the ratio of each realisation over its number of activations.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : FigureSettings
        Its style. The first word of a pursuit's name, up to a hyphen, is its family.

    Returns
    -------
    Figure
        Realisations as points, bounds as crosses.
    """
    families = table["pursuit"].str.split("-").str[0]
    layers, shown = sorted(table["layer"].unique()), list(families.unique())
    largest = int(table.groupby(families)["pursuit"].nunique().max())
    colour = style.colours(settings.style, max(3, largest + 1))
    steps = np.diff(np.unique(table["active"]))
    apart = 0.3 * (steps.min() if len(steps) else 1)  # clouds of equal values stand beside each other
    aspect = 0.85 if len(layers) > 2 else 0.6
    figure, axes = style.canvas(settings.style, len(shown), len(layers), aspect, sharex=True, sharey="row")
    for row, family in zip(axes, shown, strict=True):
        for panel, layer in zip(row, layers, strict=True):
            part = table[(table["layer"] == layer) & (families == family)]
            pursuits = list(part["pursuit"].unique())
            for index, pursuit in enumerate(pursuits):
                points, oracle = select(part, pursuit=pursuit), pursuit.endswith("oracle")
                panel.scatter(
                    points["active"] + apart * (index - (len(pursuits) - 1) / 2),
                    points["local_snr_db"],
                    s=9 if oracle else 7,
                    facecolors="none" if oracle else [colour[index]],
                    edgecolors=[colour[index]],
                    marker=style.MARKERS[index],
                    linewidth=0.5 if oracle else 0,
                    label=pursuit,
                )
                if not oracle and points["bound_db"].notna().any():
                    look = {"s": 9, "color": colour[-1], "marker": "x", "linewidth": 0.7, "label": "bound"}
                    panel.scatter(points["active"], points["bound_db"], **look)
            panel.set_title(f"layer {layer}")
        row[0].set_ylabel("local SNR (dB)")
        handles, labels = row[0].get_legend_handles_labels()
        row[-1].legend(handles, labels, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    counts = table.groupby(["pursuit", "layer"]).size()
    recovered = table.groupby("pursuit")["support_recovered"].agg(["sum", "size"])
    shares = "; ".join(f"{name} {int(row['sum'])}/{int(row['size'])}" for name, row in recovered.iterrows())
    style.footnote(
        figure,
        f"{style.plural(counts, 'realisation')} a panel and pursuit, pursuits side by side. "
        f"Exact supports over all layers: {shares}",
        "activations in the deepest code",
    )
    return figure
