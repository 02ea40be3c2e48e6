"""The ladder of guarantees beside what was measured, one line a cascade."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dcsc.figures import style as styles
from dcsc.figures import thresholds
from dcsc.figures.results import Results
from dcsc.figures.thresholds import LEVELS, RUNGS

RUNG_MARKERS = dict(zip(RUNGS, ("o", "s", "D", "o", "s", "D"), strict=True))


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    Average transitions and certified sparsities over the replicates.

    Parameters
    ----------
    results : Results
        Its summary is used.
    settings : mapping
        `confidence`, `variants`, `series` and `delta`.

    Returns
    -------
    pandas.DataFrame
        As from `dcsc.figures.thresholds.tidy`.
    """
    return thresholds.tidy(results, settings)


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw a panel a pursuit; each line is a cascade, in the order of coherence.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : mapping
        `style`, `variants`, `confidence` and `delta`.

    Returns
    -------
    Figure
        Grey markers are certified, coloured ones measured.
    """
    style = settings["style"]
    measured, certified = (table[table["kind"] == kind] for kind in ("measured", "certified"))
    pursuits = list(measured["pursuit"].unique())
    cascades = table.groupby("cascade")["mutual_coherence"].mean().sort_values(ascending=False)
    place = {name: index for index, name in enumerate(cascades.index)}
    colour = styles.colours(style, len(settings["variants"]))
    columns = min(len(pursuits), 2)
    rows = -(-len(pursuits) // columns)
    aspect = (0.7 + 0.42 * len(cascades)) / (style["width"] / 2.54 / columns)
    figure, axes = styles.canvas(style, rows, columns, aspect, sharex=True, sharey=True)
    for panel, pursuit in zip(axes.flat, pursuits, strict=False):
        beside = thresholds.of_pursuit(certified, pursuit)
        for rung, label in RUNGS.items():
            part = beside[beside["rung"] == rung]
            if not len(part):
                continue
            statistical = rung.startswith("statistical")
            panel.plot(
                part["stripe_sparsity"],
                part["cascade"].map(place) - (0.12 if statistical else 0.24),
                RUNG_MARKERS[rung],
                color="0.1" if statistical else "0.55",
                markerfacecolor="0.1" if statistical else "white",
                markersize=4,
                label=f"certified for {label}",
            )
        for index, variant in enumerate(settings["variants"]):
            for level in LEVELS:
                chosen = (measured["pursuit"] == pursuit) & (measured["variant"] == variant)
                part = measured[chosen & (measured["level"] == level)]
                if not len(part):
                    continue
                ends = part[["stripe_sparsity_lower", "stripe_sparsity_upper"]].to_numpy().T
                panel.errorbar(
                    part["stripe_sparsity"],
                    part["cascade"].map(place) + 0.08 + 0.14 * index,
                    xerr=np.nan_to_num(np.abs(ends - part["stripe_sparsity"].to_numpy())),
                    color=colour[index],
                    linestyle="none",
                    marker=styles.MARKERS[index],
                    markerfacecolor=colour[index] if level == LEVELS[0] else "white",
                    markersize=4.5,
                    capsize=2,
                    label=f"{level:.0%} recovered, {variant}",
                )
        styles.logarithmic(panel.xaxis, table["stripe_sparsity"])
        panel.tick_params(labelbottom=True)
        panel.set_title(pursuit, fontsize="medium")
    for panel in axes.flat[len(pursuits) :]:
        panel.set_axis_off()
    labels = [f"{name}, $\\mu$ = {coherence:.3f}" for name, coherence in cascades.items()]
    for row in axes:
        row[0].set_yticks(range(len(place)), labels, fontsize="x-small")
    axes[0, 0].set_ylim(-0.5, len(place) - 0.75 + 0.14 * len(settings["variants"]))
    styles.common_legend(figure, axes.flat, loc="outside upper center", ncols=3, fontsize="x-small")
    note = (
        f"stripe-sparsity (atoms); means over {styles.plural(measured['replicates'].max(), 'dictionary')}, "
        f"{styles.count(measured['trials'])} trials a cell; bars: Student {settings['confidence']:.0%}; "
        f"{thresholds.certified_note(certified, settings)}; rungs below one atom are not drawn"
    )
    if (measured["censored"] > 0).any():
        note += "; at the right end some transitions lie beyond the cells"
    styles.footnote(
        figure,
        style,
        note,
    )
    return figure
