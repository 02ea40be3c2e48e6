"""
Whether a density of activations that is certified for all signs is recovered at every size of the grid.

When to take it: for larger and larger grids with the same density of activations, certified on all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dcsc.figures import style, transitions
from dcsc.figures.inputs import FigureSettings, Results
from dcsc.figures.panels import Panel
from dcsc.figures.tables import select, with_shares

PANEL = Panel(
    columns="ambient_dimension cascade pursuit variant active trials recovered covered violations stripe_sparsity "
    "mutual_coherence replicates rate certified rate_lower rate_upper kind limit active_lower active_upper "
    "censored slope slope_lower slope_upper cascades lowest_coherence highest_coherence density density_lower "
    "density_upper",
)

CURVE = ["pursuit", "variant", "limit"]
LIMITS = {"certified": "certified for all signs", "recovered": "recovered in every draw"}


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Count the cells of every grid, and find the most activations that are certified, and recovered, on each.

    Parameters
    ----------
    results : Results
        Its summary and dictionaries are used: a series of grids.
    settings : FigureSettings
        Its confidence and variants.

    Returns
    -------
    pandas.DataFrame
        Rows of the kinds "cell" (a row per grid, pursuit, variant and number of activations, over all
        dictionaries), "limit" (the most activations of a cell, and of all smaller ones, that the theorem
        covers in every draw, or that every draw recovered: means over dictionaries) and "slope" (the exponent
        with which they grow with the grid).
    """
    summary, confidence = results.summary, settings.confidence
    counts = summary[["trials", "covered", "violations", "stripe_sparsity", "mutual_coherence"]]
    counts = counts.assign(recovered=transitions.successes(summary, settings.adversarial))
    table = counts.to_dataframe().reset_index()
    table = table[table["trials"] > 0]
    points = _limits(table, results.grid_sizes)
    limits = transitions.summarized(points, CURVE, confidence, y="active").assign(kind="limit")
    slopes = transitions.slopes(points, CURVE, confidence, x="ambient_dimension", y="active").assign(kind="slope")
    cells = _pooled(table, confidence).assign(kind="cell")
    whole = pd.concat([cells, limits, slopes], ignore_index=True)
    whole.insert(0, "ambient_dimension", whole["cascade"].map(results.grid_sizes))
    for ending in ("", "_lower", "_upper"):
        whole[f"density{ending}"] = whole.get(f"active{ending}") / whole["ambient_dimension"]
    return whole


def _pooled(table: pd.DataFrame, confidence: float) -> pd.DataFrame:
    grouped = table.groupby(["cascade", "pursuit", "variant", "active"], sort=False)
    sums = grouped[["trials", "recovered", "covered", "violations"]].sum()
    means = grouped[["stripe_sparsity", "mutual_coherence"]].mean()
    pooled = sums.join(means).join(grouped["replicate"].nunique().rename("replicates")).reset_index()
    pooled["rate"], pooled["certified"] = (pooled[name] / pooled["trials"] for name in ("recovered", "covered"))
    return with_shares(pooled, "recovered", confidence)


def _limits(table: pd.DataFrame, sizes: Mapping[str, int]) -> pd.DataFrame:
    """The largest cell of every dictionary up to which all draws were covered, or recovered; no row without one."""
    rows = []
    keys = ["cascade", "pursuit", "variant", "replicate"]
    for key, cells in table.sort_values("active").groupby(keys, sort=False):
        place = dict(zip(keys, key, strict=True))
        place |= {"mutual_coherence": cells["mutual_coherence"].iloc[0], "ambient_dimension": sizes[place["cascade"]]}
        for limit, count in (("certified", "covered"), ("recovered", "recovered")):
            whole = (cells[count] == cells["trials"]).cummin()
            if whole.any():
                rows.append({**place, "limit": limit, "active": int(cells.loc[whole, "active"].max())})
    return pd.DataFrame(rows, columns=[*keys, "mutual_coherence", "ambient_dimension", "limit", "active"])


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw the most activations against the ambient dimension, and recovery against stripe-sparsity for every grid.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`; a row of panels a pursuit and variant.
    settings : FigureSettings
        Its style and confidence.

    Returns
    -------
    Figure
        With the exponents in the legend.
    """
    rows = list(table[["pursuit", "variant"]].drop_duplicates().itertuples(index=False, name=None))
    figure, axes = style.canvas(settings.style, len(rows), 2, 0.75, sharex="col")
    for (left, right), (pursuit, variant) in zip(axes, rows, strict=True):
        part = select(table, pursuit=pursuit, variant=variant)
        _draw_limits(left, part, settings)
        _draw_cells(right, select(part, kind="cell"))
        for panel, subject in ((left, "most activations"), (right, "support and signs, worst signs")):
            name = f"{pursuit}, {variant}: " * (len(rows) > 1)
            panel.set_title(f"{name}{subject}", fontsize="small")
            style.legend_below(panel, 0.25, 2)
    cells = select(table, kind="cell")
    style.footnote(
        figure,
        f"{style.plural(cells['trials'], 'trial')} a point over {style.plural(cells['replicates'], 'dictionary')}, "
        f"the same filters on every grid; bands: Clopper-Pearson {settings.confidence:.0%}; left: the most up to "
        f"which it holds of every draw, means over the dictionaries, bars and brackets: Student "
        f"{settings.confidence:.0%}; failures of certified draws: {int(cells['violations'].sum())} of "
        f"{int(cells['covered'].sum()):,}",
    )
    return figure


def _draw_limits(panel: Axes, part: pd.DataFrame, settings: FigureSettings) -> None:
    limits = select(part, kind="limit").sort_values("ambient_dimension")
    colours = style.colours(settings.style, 2)
    for index, (limit, name) in enumerate(LIMITS.items()):
        curve = select(limits, limit=limit)
        for slope in select(part, kind="slope", limit=limit).itertuples():
            name += f":\nexponent {slope.slope:.3f} [{slope.slope_lower:.3f}, {slope.slope_upper:.3f}]"
        if len(curve):
            look = {"linewidth": 1.2, "label": name}
            style.bars(panel, curve, "ambient_dimension", "active", colours[index], index, **look)
    certified = select(limits, limit="certified")
    if len(certified):
        sizes = certified["ambient_dimension"]
        guide = 0.6 * certified["density"].iloc[0] * sizes
        panel.plot(sizes, guide, color="0.5", linestyle=":", label="proportional to $N$")
    panel.set_xscale("log", base=2)
    style.logarithmic(panel.yaxis, limits["active"])
    panel.set(xlabel="ambient dimension $N$", ylabel="activations")


def _draw_cells(panel: Axes, cells: pd.DataFrame) -> None:
    sizes = sorted(cells["ambient_dimension"].unique())
    for index, (size, colour) in enumerate(zip(sizes, style.sequence(len(sizes)), strict=True)):
        curve = select(cells, ambient_dimension=size)
        label = f"recovered, $N$ = {int(size):,}"
        style.curve_with_band(panel, curve, "stripe_sparsity", "rate", colour, index, label=label)
    certified = select(cells, ambient_dimension=sizes[-1]).sort_values("stripe_sparsity")
    look: style.Look = {"color": "0.1", "linestyle": "--", "linewidth": 1.1, "marker": "_", "markersize": 7}
    label = f"{LIMITS['certified']}, $N$ = {int(sizes[-1]):,}"
    panel.plot(certified["stripe_sparsity"], certified["certified"], label=label, **look)
    style.logarithmic(panel.xaxis, cells["stripe_sparsity"])
    panel.set_ylim(-0.03, 1.03)
    panel.set_xlim(right=1.08 * cells["stripe_sparsity"].max())
    panel.set(xlabel="stripe-sparsity (atoms)", ylabel="share of draws")
