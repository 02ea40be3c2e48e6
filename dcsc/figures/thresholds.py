"""The stripe-sparsity of 50 % recovery against coherence, next to the uniform limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from dcsc import statistics
from dcsc.figures import style as styles
from dcsc.figures.recovery import successes
from dcsc.figures.results import Results

LEVEL = 0.5


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    Find the transition of every replicate, and its mean over replicates.

    Parameters
    ----------
    results : Results
        Its summary is used.
    settings : mapping
        `confidence` and `variants`.

    Returns
    -------
    pandas.DataFrame
        A row for each cascade, pursuit and variant; `censored` counts replicates whose
        transition lies beyond the cells, where the mean is a bound.
    """
    summary = results.summary.assign(recovered=successes(results.summary, settings))
    rows = []
    for cascade, pursuit, variant in (
        (c, p, s)
        for c in summary["cascade"].to_numpy()
        for p in summary["pursuit"].to_numpy()
        for s in summary["variant"].to_numpy()
    ):
        cell = summary.sel(cascade=cascade, pursuit=pursuit, variant=variant)
        found = [
            statistics.transition_point(
                *(cell[name].isel(replicate=r).to_numpy() for name in ("stripe_sparsity", "recovered", "trials")), LEVEL
            )
            for r in range(cell.sizes["replicate"])
        ]
        mean, lower, upper = statistics.mean_interval([point for point, _ in found], settings["confidence"])
        sides = [side for _, side in found if side]
        coherence = cell["mutual_coherence"].to_numpy()
        rows.append(
            {
                "cascade": cascade,
                "pursuit": pursuit,
                "variant": variant,
                "mutual_coherence": coherence.mean(),
                "uniform_limit": ((1 + 1 / coherence) / 2).mean(),
                "transition": mean,
                "transition_lower": lower,
                "transition_upper": upper,
                "replicates": len(found),
                "censored": len(sides),
                "censored_side": ",".join(sorted(set(sides))),
                "trials_a_cell_and_replicate": int(cell["trials"].max()),
            }
        )
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw transitions against coherence on logarithmic axes.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : mapping
        `style` and `confidence` and `variants`.

    Returns
    -------
    Figure
        One panel a pursuit; open markers where some replicate's transition lies beyond the cells.
    """
    style = settings["style"]
    pursuits, variants = list(table["pursuit"].unique()), list(settings["variants"])
    colour = styles.colours(style, len(variants) + 1)
    figure, axes = styles.canvas(style, 1, len(pursuits), 0.8, sharex=True, sharey=True)
    for panel, pursuit in zip(axes[0], pursuits, strict=True):
        for index, variant in enumerate(variants):
            curve = table[(table["pursuit"] == pursuit) & (table["variant"] == variant)].sort_values("mutual_coherence")
            errors = np.abs(
                curve[["transition_lower", "transition_upper"]].to_numpy().T - curve["transition"].to_numpy()
            )
            panel.errorbar(
                curve["mutual_coherence"],
                curve["transition"],
                np.nan_to_num(errors),
                color=colour[index],
                linewidth=1.2,
                capsize=2,
            )
            for open_marker in (False, True):
                part = curve[(curve["censored"] > 0) == open_marker]
                panel.plot(
                    part["mutual_coherence"],
                    part["transition"],
                    styles.MARKERS[index],
                    color=colour[index],
                    markerfacecolor="white" if open_marker else colour[index],
                    markersize=5,
                    label=None if open_marker else f"50 % recovery, {variant}",
                )
        limit = curve[["mutual_coherence", "uniform_limit"]]
        panel.plot(
            limit["mutual_coherence"],
            limit["uniform_limit"],
            "--",
            color=colour[-1],
            label="uniform limit $(1+1/\\mu)/2$",
        )
        panel.set_xscale("log")
        panel.set_yscale("log")
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        panel.set_title(pursuit, fontsize="medium")
        panel.set_xlabel("mutual coherence $\\mu$")
    axes[0, 0].set_ylabel("stripe-sparsity (atoms)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize="small")
    note = (
        f"mean over {table['replicates'].iloc[0]} dictionaries of "
        f"{table['trials_a_cell_and_replicate'].iloc[0]} trials a cell; "
        f"bars: Student {settings['confidence']:.0%}"
    )
    if (table["censored"] > 0).any():
        note += "; open: some transitions lie beyond the densest cell"
    figure.supxlabel(note, fontsize="x-small")
    return figure
