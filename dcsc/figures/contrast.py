"""
Stripe-sparsity of the transitions against the contrast of the code, with what every rung certifies.

When to take it: for a sweep over the contrast of the magnitudes.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from dcsc.figures import style, transitions
from dcsc.figures.inputs import FigureSettings, Results
from dcsc.figures.panels import Panel
from dcsc.figures.tables import select
from dcsc.figures.transitions import LEVELS

PANEL = Panel(
    needs=("certificates",),
    columns="pursuit variant level cascade mutual_coherence stripe_sparsity stripe_sparsity_lower "
    "stripe_sparsity_upper replicates censored kind rung next_stripe_sparsity draws measured_upper "
    "above_measured signs contrast trials of_measured of_measured_lower of_measured_upper count count_lower "
    "count_upper density density_lower density_upper",
    takes_axis=True,
)

SIGNS = ("random signs", "worst-case signs")


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Average transitions and certified sparsities over the replicates.

    Parameters
    ----------
    results : Results
        Its summary and certificates are used.
    settings : FigureSettings
        Its confidence, variants, delta and axis.

    Returns
    -------
    pandas.DataFrame
        A row per cascade, contrast and curve; `signs` tells random from worst-case ones; with the `count` or the
        `density` of a layer where the axis asks for it.
    """
    table = transitions.on_axis(transitions.measured_and_certified(results, settings), results, settings)
    variants = settings.variants.items()
    table["signs"] = table["variant"].map({name: SIGNS[variant.is_adversarial] for name, variant in variants})
    table["contrast"] = table["variant"].map({name: variant.contrast for name, variant in variants})
    return table.assign(trials=int(results.summary["trials"].max()))


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw a panel for each cascade and pursuit, on logarithmic axes.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : FigureSettings
        Its style, confidence, delta and axis.

    Returns
    -------
    Figure
        Measured curves coloured, rungs grey and black.
    """
    measured, certified = (select(table, kind=kind) for kind in ("measured", "certified"))
    certified = certified[(certified["signs"] == SIGNS[0]) & (certified["stripe_sparsity"] >= 1)]
    cascades, pursuits = list(table["cascade"].unique()), list(measured["pursuit"].unique())
    colours, quantity = style.colours(settings.style, 2), settings.axis.column("stripe-sparsity")
    figure, axes = style.canvas(settings.style, len(cascades), len(pursuits), 0.8, sharex=True, sharey=True)
    for row, cascade in zip(axes, cascades, strict=True):
        coherence = select(measured, cascade=cascade)["mutual_coherence"].mean()
        for panel, pursuit in zip(row, pursuits, strict=True):
            here = {"cascade": cascade, "pursuit": pursuit}
            style.draw_rungs(panel, select(certified, **here), "contrast", quantity)
            for index, signs in enumerate(SIGNS):
                for level, line in zip(LEVELS, ("-", "--"), strict=True):
                    curve = select(measured, signs=signs, level=level, **here)
                    look = {"linestyle": line, "label": f"{level:.0%} recovery, {signs}"}
                    style.curve_with_band(panel, curve, "contrast", quantity, colours[index], index, **look)
            panel.set_title(f"{cascade}: {pursuit}\n$\\mu$ = {coherence:.3f}")
            style.logarithmic(panel.xaxis, table["contrast"])
            style.logarithmic(panel.yaxis, table[quantity])
        row[0].set_ylabel("\n".join(style.balanced(settings.axis.of_transitions(), style.BESIDE)))
    style.common_legend(figure, axes.flat, loc="outside right center")
    label = "contrast $X_{min}/X_{max}$ of the law of magnitudes"
    style.footnote(figure, style.transitions_note(table, settings, "bands"), label)
    return figure
