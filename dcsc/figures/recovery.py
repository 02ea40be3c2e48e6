"""
Recovery rate against stripe-sparsity, one curve per cascade, typical beside worst-case signs.

When to take it: for the first look at a transition: a curve per cascade over the stripe-sparsity.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from dcsc.figures import style, transitions
from dcsc.figures.inputs import FigureSettings, Results, active_atoms
from dcsc.figures.panels import Panel
from dcsc.figures.tables import bound_tests, select, with_shares

PANEL = Panel(
    columns="cascade mutual_coherence pursuit variant active stripe_sparsity rate trials covered violations bounded "
    "bounded_failures assured assured_failures recovered failure_bound rate_lower rate_upper uniform_limit "
    "replicates falls cells_in_fall resolved bound_tested bound_exceeded count density",
    takes_axis=True,
)

FALL, ENOUGH = (0.05, 0.95), 6
"""Recovery rates between which a transition must be resolved, and by how many cells."""


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Pool the replicates of every cell.

    Parameters
    ----------
    results : Results
        Its summary is used.
    settings : FigureSettings
        Its confidence and variants.

    Returns
    -------
    pandas.DataFrame
        A row for each cascade, pursuit, variant and number of active atoms; `falls`, `cells_in_fall` and `resolved`
        are of its curve; `count` and `density` of the layer that the axis names, else of the deepest.
    """
    summary = results.summary
    counted = ["trials", "covered", "violations", "bounded", "bounded_failures", "assured", "assured_failures"]
    counts = summary[counted].assign(recovered=transitions.successes(summary, settings.adversarial))
    # All replicates have equally many draws; one without a bound leaves the cell without one.
    pooled = counts.sum("replicate").assign(failure_bound=summary["failure_bound"].mean("replicate", skipna=False))
    means = summary[["stripe_sparsity", "mutual_coherence"]].mean("replicate")
    atoms = active_atoms(summary, settings.axis.layer)
    table = xr.merge([pooled, means, atoms], join="exact").to_dataframe().reset_index()
    table = with_shares(table[table["trials"] > 0].reset_index(drop=True), "recovered", settings.confidence)
    limit = ((1 + 1 / summary["mutual_coherence"]) / 2).mean("replicate").to_series()
    table["uniform_limit"] = table["cascade"].map(limit)
    table["replicates"] = summary.sizes["replicate"]
    curves = table.groupby(["cascade", "pursuit", "variant"], group_keys=False)
    table = table.join(curves[["active", "rate"]].apply(_fall))
    table[["bound_tested", "bound_exceeded"]] = bound_tests(table, settings.confidence)
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


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw a panel for each pursuit and variant that it ran on.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : FigureSettings
        Its style, confidence and variants.

    Returns
    -------
    Figure
        With bands of the intervals and a tick at every uniform limit.
    """
    pairs = list(table[["pursuit", "variant"]].drop_duplicates().itertuples(index=False, name=None))
    pairs.sort(key=lambda pair: list(settings.variants).index(pair[1]))  # a row of panels for each kind of signs
    series = table[["cascade", "mutual_coherence", "uniform_limit"]].drop_duplicates().sort_values("mutual_coherence")
    columns = 2 if len(pairs) in (2, 4) else min(len(pairs), 3)
    rows = -(-len(pairs) // columns)
    free = rows * columns - len(pairs)
    aspect = {1: 0.5, 2: 0.62}.get(columns, 0.8)
    figure, axes = style.canvas(settings.style, rows, columns, aspect, sharex=True, sharey=True)
    axis = settings.axis.column("stripe-sparsity")
    for panel, (pursuit, variant) in zip(axes.flat, pairs, strict=False):
        for index, (cascade, colour) in enumerate(zip(series.itertuples(), style.sequence(len(series)), strict=True)):
            curve = select(table, pursuit=pursuit, variant=variant, cascade=cascade.cascade)
            label = f"{cascade.mutual_coherence:.3f}  {cascade.cascade}"
            style.curve_with_band(panel, curve, axis, "rate", colour, index, label=label)
            if axis == "stripe_sparsity":
                panel.axvline(cascade.uniform_limit, 0, 0.12, color=colour, linewidth=1.6)
        panel.set_ylim(-0.03, 1.03)
        style.logarithmic(panel.xaxis, table[axis])
        panel.set_title(f"{pursuit}, {variant}")
        panel.tick_params(labelbottom=True)
    figure.supylabel("recovered (share)", fontsize="medium")
    options: style.Look = {"title": "mean coherence $\\mu$, cascade", "fontsize": "x-small", "title_fontsize": "small"}
    if free:  # the legend takes the places that no panel needs
        place = axes[0, 0].get_gridspec()[rows - 1, columns - free :]
        for panel in axes.flat[len(pairs) :]:
            panel.remove()
        spare = figure.add_subplot(place)
        spare.set_axis_off()
        spare.legend(
            *axes[0, 0].get_legend_handles_labels(), loc="center", ncols=1 if len(series) <= 9 else free, **options
        )
    else:
        style.common_legend(figure, axes[0, :1], 3, **options)
    style.footnote(
        figure,
        f"{style.plural(table['trials'], 'trial')} a point, pooled over "
        f"{style.plural(table['replicates'], 'dictionary')}; bands: Clopper-Pearson {settings.confidence:.0%}"
        + ("; ticks at the foot: uniform limit $(1+1/\\mu)/2$" if axis == "stripe_sparsity" else ""),
        settings.axis.label("stripe-sparsity"),
    )
    return figure
