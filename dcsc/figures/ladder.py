"""
The ladder of guarantees beside what was measured, one line per cascade.

When to take it: for the certificates of one pursuit beside its measured transition, cascade by cascade.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from dcsc.figures import style, transitions
from dcsc.figures.inputs import FigureSettings, Results
from dcsc.figures.panels import Panel
from dcsc.figures.tables import select
from dcsc.figures.transitions import LEVELS
from dcsc.guarantees import TOP_K_RUNG

PANEL = Panel(
    needs=("certificates",),
    columns="series pursuit variant level cascade mutual_coherence stripe_sparsity stripe_sparsity_lower "
    "stripe_sparsity_upper replicates censored kind trials rung next_stripe_sparsity draws measured_upper "
    "above_measured of_measured of_measured_lower of_measured_upper count count_lower count_upper density "
    "density_lower density_upper",
    takes_axis=True,
)

RUNG_MARKERS = {rung: "D" if rung.endswith("instance") else "o" for rung in style.RUNGS} | {TOP_K_RUNG: "s"}
"""Those of closed forms, of what looks at the supports themselves, and of what does so pair by pair."""


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
        As from `transitions.along_series`, and with the quantity of the axis (see `transitions.on_axis`).
    """
    return transitions.on_axis(transitions.along_series(results, settings), results, settings)


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw a panel per pursuit; each line is a cascade, in the order of coherence.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : FigureSettings
        Its style, variants, confidence, delta and axis.

    Returns
    -------
    Figure
        Grey markers are certified, coloured ones measured.
    """
    measured, certified = (select(table, kind=kind) for kind in ("measured", "certified"))
    pursuits, variants = list(table["pursuit"].dropna().unique()), list(settings.variants)
    cascades = table.groupby("cascade")["mutual_coherence"].mean().sort_values(ascending=False)
    place = {name: index for index, name in enumerate(cascades.index)}
    columns, quantity = len(pursuits) if len(pursuits) <= 3 else 2, settings.axis.column("stripe-sparsity")
    aspect = (0.7 + 0.42 * len(cascades)) / (settings.style.width / 2.54 / columns)
    figure, axes = style.canvas(settings.style, -(-len(pursuits) // columns), columns, aspect, sharex=True, sharey=True)
    for panel, pursuit in zip(axes.flat, pursuits, strict=False):
        beside = transitions.of_pursuit(certified, pursuit)
        for rung, label in style.RUNGS.items():
            part, statistical = select(beside, rung=rung), "statistical" in rung
            if len(part):
                panel.plot(
                    part[quantity],
                    part["cascade"].map(place) - (0.12 if statistical else 0.24),
                    RUNG_MARKERS[rung],
                    color=style.RUNG_LOOKS[rung]["color"],
                    markerfacecolor="0.1" if statistical else "white",
                    markersize=4,
                    label=f"certified for {label}",
                )
        for index, (variant, colour) in enumerate(
            zip(variants, style.colours(settings.style, len(variants)), strict=True)
        ):
            for level in LEVELS:
                part = select(measured, pursuit=pursuit, variant=variant, level=level)
                part = part.assign(height=part["cascade"].map(place) + 0.08 + 0.14 * index)
                look = {"markerfacecolor": colour if level == LEVELS[0] else "white", "markersize": 4.5}
                look |= {"linestyle": "none", "label": f"{level:.0%} recovered, {variant}"}
                if len(part):
                    style.bars(panel, part, quantity, "height", colour, index, **look)
        style.logarithmic(panel.xaxis, table[quantity])
        panel.tick_params(labelbottom=True)
        panel.set_title(pursuit)
    for panel in axes.flat[len(pursuits) :]:
        panel.set_axis_off()
    labels = [f"{name}, $\\mu$ = {coherence:.3f}" for name, coherence in cascades.items()]
    for row in axes:
        row[0].set_yticks(range(len(place)), labels, fontsize="x-small")
    axes[0, 0].set_ylim(-0.5, len(place) - 0.75 + 0.14 * len(variants))
    style.common_legend(figure, axes.flat, 3, fontsize="x-small")
    note = f"{settings.axis.of_transitions()}; {style.transitions_note(table, settings)}"
    note += "; rungs below one atom are not drawn"
    if (measured["censored"] > 0).any():
        note += "; at the right end some transitions lie beyond the cells"
    style.footnote(figure, note)
    return figure
