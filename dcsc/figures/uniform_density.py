"""Whether a density of activations that is certified for all signs is recovered at every size of the grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dcsc import statistics
from dcsc.figures import style as styles
from dcsc.figures import transitions
from dcsc.figures.results import Results

CURVE = ["pursuit", "variant", "limit"]
LIMITS = {"certified": "certified for all signs", "recovered": "recovered in every draw"}


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    Count the cells of every grid, and find the most activations that are certified, and recovered, on each.

    Parameters
    ----------
    results : Results
        Its summary and dictionaries are used: a series of grids.
    settings : mapping
        `confidence` and `variants`.

    Returns
    -------
    pandas.DataFrame
        Rows of the kinds "cell" (a row a grid, pursuit, variant and number of activations, over all
        dictionaries), "limit" (the most activations of a cell, and of all smaller ones, that the theorem
        covers in every draw, or that every draw recovered: means over dictionaries) and "slope" (the exponent
        with which they grow with the grid).
    """
    sizes = {name: int(np.prod(tree["layer_1"]["grid"])) for name, tree in results.dictionaries.items()}
    table = _counts(results, settings["variants"])
    points = _limits(table, sizes)
    confidence = settings["confidence"]
    limits = transitions.summarized(points, CURVE, confidence, y="active").assign(kind="limit")
    slopes = transitions.slopes(points, CURVE, confidence, x="ambient_dimension", y="active").assign(kind="slope")
    cells = _pooled(table, confidence).assign(kind="cell")
    whole = pd.concat([cells, limits, slopes], ignore_index=True)
    whole.insert(0, "ambient_dimension", whole["cascade"].map(sizes))
    for ending in ("", "_lower", "_upper"):
        whole[f"density{ending}"] = whole.get(f"active{ending}") / whole["ambient_dimension"]
    return whole


def _counts(results: Results, variants: Mapping[str, Any]) -> pd.DataFrame:
    """Trials of every cell and dictionary that were drawn, recovered and covered."""
    counts = results.summary[["trials", "covered", "violations", "stripe_sparsity", "mutual_coherence"]]
    counts = counts.assign(recovered=transitions.successes(results.summary, variants))
    table = counts.to_dataframe().reset_index()
    return table[table["trials"] > 0]


def _pooled(table: pd.DataFrame, confidence: float) -> pd.DataFrame:
    grouped = table.groupby(["cascade", "pursuit", "variant", "active"], sort=False)
    sums = grouped[["trials", "recovered", "covered", "violations"]].sum()
    means = grouped[["stripe_sparsity", "mutual_coherence"]].mean()
    pooled = sums.join(means).join(grouped["replicate"].nunique().rename("replicates")).reset_index()
    for name, count in (("rate", "recovered"), ("certified", "covered")):
        pooled[name] = pooled[count] / pooled["trials"]
    pooled["rate_lower"], pooled["rate_upper"] = statistics.proportion_interval(
        pooled["recovered"], pooled["trials"], confidence
    )
    return pooled


def _limits(table: pd.DataFrame, sizes: Mapping[str, int]) -> pd.DataFrame:
    """The largest cell of every dictionary up to which all draws were covered, or recovered; no row without one."""
    rows = []
    keys = ["cascade", "pursuit", "variant", "replicate"]
    for key, cells in table.sort_values("active").groupby(keys, sort=False):
        place = dict(zip(keys, key, strict=True))
        place |= {
            "mutual_coherence": cells["mutual_coherence"].iloc[0],
            "ambient_dimension": sizes[place["cascade"]],
        }
        for limit, count in (("certified", "covered"), ("recovered", "recovered")):
            whole = (cells[count] == cells["trials"]).cummin()
            if whole.any():
                rows.append({**place, "limit": limit, "active": int(cells.loc[whole, "active"].max())})
    return pd.DataFrame(rows, columns=[*keys, "mutual_coherence", "ambient_dimension", "limit", "active"])


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw the most activations against the ambient dimension, and recovery against stripe-sparsity for every grid.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`; a row of panels a pursuit and variant.
    settings : mapping
        `style` and `confidence`.

    Returns
    -------
    Figure
        With the exponents in the legend.
    """
    style = settings["style"]
    rows = list(table[["pursuit", "variant"]].drop_duplicates().itertuples(index=False, name=None))
    figure, axes = styles.canvas(style, len(rows), 2, 0.75, sharex="col")
    for (left, right), (pursuit, variant) in zip(axes, rows, strict=True):
        part = table[(table["pursuit"] == pursuit) & (table["variant"] == variant)]
        _draw_limits(left, part, style)
        _draw_cells(right, part[part["kind"] == "cell"], style)
        for panel, subject in ((left, "most activations"), (right, "support and signs, worst signs")):
            name = f"{pursuit}, {variant}: " * (len(rows) > 1)
            panel.set_title(f"{name}{subject}", fontsize="small")
    cells = table[table["kind"] == "cell"]
    styles.footnote(
        figure,
        style,
        f"{styles.plural(cells['trials'], 'trial')} a point over {styles.plural(cells['replicates'], 'dictionary')}, "
        f"the same filters on every grid; bands: Clopper-Pearson {settings['confidence']:.0%}; left: the most up to "
        f"which it holds of every draw, means over the dictionaries, bars and brackets: Student "
        f"{settings['confidence']:.0%}; failures of certified draws: {int(cells['violations'].sum())} of "
        f"{int(cells['covered'].sum()):,}",
    )
    return figure


def _draw_limits(panel: Axes, part: pd.DataFrame, style: Mapping[str, Any]) -> None:
    limits, slopes = part[part["kind"] == "limit"], part[part["kind"] == "slope"]
    for index, ((limit, name), colour) in enumerate(zip(LIMITS.items(), styles.colours(style, 2), strict=True)):
        curve = limits[limits["limit"] == limit].sort_values("ambient_dimension")
        for slope in slopes[slopes["limit"] == limit].itertuples():
            name += f":\nexponent {slope.slope:.3f} [{slope.slope_lower:.3f}, {slope.slope_upper:.3f}]"
        if len(curve):
            lengths = np.abs(curve[["active_lower", "active_upper"]].to_numpy().T - curve["active"].to_numpy())
            marker = {"marker": styles.MARKERS[index], "markersize": 4, "linewidth": 1.2, "capsize": 2}
            panel.errorbar(
                curve["ambient_dimension"], curve["active"], np.nan_to_num(lengths), color=colour, label=name, **marker
            )
    certified = limits[limits["limit"] == "certified"].sort_values("ambient_dimension")
    if len(certified):
        first = certified.iloc[0]
        guide = 0.6 * first["active"] / first["ambient_dimension"] * certified["ambient_dimension"]
        panel.plot(certified["ambient_dimension"], guide, color="0.5", linestyle=":", label="proportional to $N$")
    panel.set_xscale("log", base=2)
    styles.logarithmic(panel.yaxis, limits["active"])
    panel.set(xlabel="ambient dimension $N$", ylabel="activations")
    panel.legend(fontsize="xx-small", loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2)


def _draw_cells(panel: Axes, cells: pd.DataFrame, style: Mapping[str, Any]) -> None:
    sizes = sorted(cells["ambient_dimension"].unique())
    for index, (size, colour) in enumerate(zip(sizes, styles.sequence(style, len(sizes)), strict=True)):
        curve = cells[cells["ambient_dimension"] == size]
        label = f"recovered, $N$ = {int(size):,}"
        styles.curve_with_band(panel, curve, "stripe_sparsity", "rate", colour, index, label=label)
    certified = cells[cells["ambient_dimension"] == sizes[-1]].sort_values("stripe_sparsity")
    panel.plot(
        certified["stripe_sparsity"],
        certified["certified"],
        color="0.1",
        linestyle="--",
        linewidth=1.1,
        marker="_",
        markersize=7,
        label=f"{LIMITS['certified']}, $N$ = {int(sizes[-1]):,}",
    )
    styles.logarithmic(panel.xaxis, cells["stripe_sparsity"])
    panel.set_ylim(-0.03, 1.03)
    panel.set_xlim(right=1.08 * cells["stripe_sparsity"].max())
    panel.set(xlabel="stripe-sparsity (atoms)", ylabel="share of draws")
    panel.legend(fontsize="xx-small", loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2)
