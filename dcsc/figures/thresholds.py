"""
Stripe-sparsity of 50 % and 99 % recovery against coherence, with what every rung of the ladder certifies.

When to take it: for cascades over a range of coherence: the transitions themselves, beside what is certified.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dcsc.figures import style, transitions
from dcsc.figures.inputs import FigureSettings, Results
from dcsc.figures.panels import Panel
from dcsc.figures.tables import select
from dcsc.figures.transitions import LEVELS

PANEL = Panel(
    needs=("certificates",),
    columns="series pursuit variant level cascade mutual_coherence stripe_sparsity stripe_sparsity_lower "
    "stripe_sparsity_upper replicates censored kind trials rung next_stripe_sparsity draws measured_upper "
    "above_measured of_measured of_measured_lower of_measured_upper count count_lower count_upper density "
    "density_lower density_upper",
    takes_axis=True,
)


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Join transitions and certificates along each series of cascades in one table.

    Parameters
    ----------
    results : Results
        Its summary and certificates are used.
    settings : FigureSettings
        Its confidence, variants, series, delta and axis.

    Returns
    -------
    pandas.DataFrame
        As from `transitions.along_series`; where the axis asks for it, with the `count` or the `density` of a layer at
        each transition, its interval, and what is certified of it.
    """
    return transitions.on_axis(transitions.along_series(results, settings), results, settings)


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw a panel for each pursuit and series, on logarithmic axes.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : FigureSettings
        Its style, confidence, variants and delta.

    Returns
    -------
    Figure
        Open markers where some replicate's transition lies beyond the cells.
    """
    measured, certified = (select(table, kind=kind) for kind in ("measured", "certified"))
    pursuits, series = list(measured["pursuit"].unique()), list(table["series"].unique())
    aspect, quantity = 0.8 if len(pursuits) > 1 else 0.5, settings.axis.column("stripe-sparsity")
    figure, axes = style.canvas(settings.style, len(series), len(pursuits), aspect, sharex="row", sharey="row")
    for row, name in zip(axes, series, strict=True):
        part = table[(table["series"] == name) & (table["stripe_sparsity"] >= 1) & table[quantity].notna()]
        for panel, pursuit in zip(row, pursuits, strict=True):
            here = {"series": name, "pursuit": pursuit}
            rungs = transitions.of_pursuit(select(certified, series=name), pursuit)
            style.draw_rungs(panel, rungs, "mutual_coherence", quantity)
            _draw_measured(panel, select(measured, **here), settings, quantity)
            if quantity == "stripe_sparsity":
                _draw_crossing(panel, select(table, kind="crossing", **here))
            panel.set(title=f"{name}: {pursuit}", xlabel="mutual coherence $\\mu$")
            style.logarithmic(panel.xaxis, part["mutual_coherence"])
            style.logarithmic(panel.yaxis, part[quantity])
        row[0].set_ylabel("\n".join(style.balanced(settings.axis.of_transitions(), style.BESIDE)))
    style.common_legend(figure, axes.flat, loc="outside right center")
    note = style.transitions_note(table, settings)
    if (measured["censored"] > 0).any():
        note += "; open: some transitions lie beyond the cells"
    style.footnote(figure, note)
    return figure


def _draw_crossing(panel: Axes, table: pd.DataFrame) -> None:
    for row in table.itertuples():
        place = (row.mutual_coherence, row.stripe_sparsity)
        panel.plot(*place, "o", color="0.1", markerfacecolor="none", markersize=9)
        panel.annotate(
            f"statistical coherence form\ncrosses the uniform limit\nat $\\mu$ = {row.mutual_coherence:.4f}",
            place,
            (0, -14),
            textcoords="offset points",
            fontsize="xx-small",
            ha="center",
            va="top",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1},
        )


def _draw_measured(panel: Axes, table: pd.DataFrame, settings: FigureSettings, quantity: str) -> None:
    variants = list(settings.variants)
    colours = style.colours(settings.style, len(variants))
    for variant, colour, marker in zip(variants, colours, style.MARKERS, strict=False):
        for level, line in zip(LEVELS, ("-", "--"), strict=True):
            curve = select(table, variant=variant, level=level).sort_values("mutual_coherence")
            x, y = curve["mutual_coherence"], curve[quantity]
            style.bars(panel, curve, x.name, y.name, colour, linestyle=line, linewidth=1.2, marker="")
            for beyond in (False, True):
                part = (curve["censored"] > 0) == beyond
                face = "white" if beyond else colour
                panel.plot(x[part], y[part], marker, color=colour, markerfacecolor=face, markersize=4.5)
            label = f"{level:.0%} recovery, {variant}"
            panel.plot([], [], color=colour, marker=marker, linestyle=line, markersize=4.5, label=label)
