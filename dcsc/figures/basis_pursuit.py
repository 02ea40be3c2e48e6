"""
Recovery by basis pursuit against stripe-sparsity, beside what Theorem 11 and the supports themselves certify.

When to take it: for experiments that run basis pursuit in one layer or several, with random and worst-case signs.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from dcsc import guarantees
from dcsc.figures import recovery, style, transitions
from dcsc.figures.inputs import FigureSettings, Results
from dcsc.figures.panels import Panel
from dcsc.figures.tables import select

PANEL = Panel(
    needs=("certificates", "beside"),
    columns="cascade mutual_coherence pursuit variant active stripe_sparsity rate trials covered violations bounded "
    "bounded_failures assured assured_failures recovered failure_bound rate_lower rate_upper uniform_limit "
    "replicates falls cells_in_fall resolved bound_tested bound_exceeded kind rung next_stripe_sparsity draws "
    "measured_upper above_measured of_measured of_measured_lower of_measured_upper theorem_11 theorem_11_limit "
    "gain gain_over_limit count density",
    takes_axis=True,
)

LABELS = (
    "all signs: Theorem 11",
    "all signs: Theorem 11, Babel form",
    "all signs: exact recovery condition",
    "random signs: exact tails",
)
RUNGS = dict(zip(guarantees.BASIS_PURSUIT_RUNGS, LABELS, strict=True))
"""Rungs of basis pursuit and what they are called, each implying the next."""

ROUNDING = 1e-9
"""Below it a limit is a whole number, which the theorem does not reach."""

_LINES = (("0.55", (0, (1, 1))), ("0.55", (0, (3, 1, 1, 1))), ("0.55", (0, (5, 2))), ("0.1", "-"))


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Set the cells that basis pursuit ran on, and those of other figures beside it, against what is certified.

    Parameters
    ----------
    results : Results
        Its summary, certificates and the tables of figures `recovery` beside it are used.
    settings : FigureSettings
        Its confidence, variants, delta and axis.

    Returns
    -------
    pandas.DataFrame
        Rows of kind "measured", those of figure `recovery`, and of kind "certified", a rung each: the stripe-sparsity
        of the first layer (see `transitions.certified_beside`); `theorem_11` is what Theorem 11 certifies of the same
        draws, `theorem_11_limit` the largest whole number below (1 + 1/mu)/2, which it allows the fullest stripe of a
        code, a mean over the dictionaries; `gain` and `gain_over_limit` are the certified stripe-sparsity over each;
        `count` or `density` of the layer of the axis is that of what was measured, and where it is the axis of what
        is certified too.
    """
    own = recovery.tidy(results, settings)
    measured = pd.concat([own, *results.beside.values()], ignore_index=True).assign(kind="measured")
    certified = transitions.certified(results.certificates)
    certified = certified[certified["rung"].isin(RUNGS) & certified["pursuit"].isin(own["pursuit"])]
    beside = transitions.certified_beside(
        certified, results.summary, settings.variants, settings.confidence, settings.delta
    )
    place = ["cascade", "pursuit", "variant"]
    beside = transitions.certified_on_axis(beside, results, settings)
    first = select(beside, rung=guarantees.BASIS_PURSUIT_RUNGS[0])
    beside = beside.merge(
        first[[*place, "stripe_sparsity"]].rename(columns={"stripe_sparsity": "theorem_11"}), on=place
    )
    coherences = results.summary["mutual_coherence"].to_series()
    limits = np.ceil((1 + 1 / coherences) / 2 - ROUNDING) - 1
    beside["theorem_11_limit"] = beside["cascade"].map(limits.groupby("cascade").mean())
    for gain, of in (("gain", "theorem_11"), ("gain_over_limit", "theorem_11_limit")):
        beside[gain] = (beside["stripe_sparsity"] / beside[of]).where(beside[of] > 0)
    return pd.concat([measured, beside.assign(kind="certified")], ignore_index=True)


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw a panel for each cascade and pursuit.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : FigureSettings
        Its style, confidence, variants, delta and axis.

    Returns
    -------
    Figure
        Curves with bands of their intervals, and an upright line at what each rung certifies.
    """
    measured, certified = (select(table, kind=kind) for kind in ("measured", "certified"))
    pairs = list(measured[["cascade", "pursuit"]].drop_duplicates().itertuples(index=False, name=None))
    variants = list(measured["variant"].unique())
    colours = style.colours(settings.style, len(variants))
    columns, quantity = min(len(pairs), 3), settings.axis.column("stripe-sparsity")
    figure, axes = style.canvas(settings.style, -(-len(pairs) // columns), columns, 0.9, sharey=True)
    for panel, (cascade, pursuit) in zip(axes.flat, pairs, strict=False):
        here = select(measured, cascade=cascade, pursuit=pursuit)
        _draw_rungs(panel, select(certified, cascade=cascade, pursuit=pursuit), quantity)
        for index, (variant, colour) in enumerate(zip(variants, colours, strict=True)):
            curve = select(here, variant=variant)
            if len(curve):
                style.curve_with_band(panel, curve, quantity, "rate", colour, index, label=variant)
        style.logarithmic(panel.xaxis, here[quantity])
        if quantity == "density" and here[quantity].max() > 10 * here[quantity].min():
            panel.xaxis.set_major_locator(LogLocator())  # a panel is too narrow for more numbers of this length
        panel.set_ylim(-0.03, 1.03)
        several = f", {pursuit}" if len(set(measured["pursuit"])) > 1 else ""
        panel.set_title(f"{cascade}{several}\n$\\mu$ = {here['mutual_coherence'].iloc[0]:.2f}", fontsize="small")
    for panel in axes.flat[len(pairs) :]:
        panel.set_axis_off()
    figure.supylabel("recovered (share)", fontsize="medium")
    style.common_legend(figure, axes.flat, 3, fontsize="x-small")
    draws = certified.loc[certified["draws"] > 0, "draws"]
    limits = f", by {settings.confidence:.0%} limits over {style.plural(draws, 'draw')}" if len(draws) else ""
    style.footnote(
        figure,
        f"{style.plural(measured['trials'], 'trial')} a point, pooled over "
        f"{style.plural(measured['replicates'], 'dictionary')}; bands: Clopper-Pearson {settings.confidence:.0%}; "
        f"lines: certified at {1 - settings.delta:.0%} for these supports{limits}",
        "mean stripe-sparsity $\\|X^{(1)}\\|^S_{0,\\infty}$ of the first layer (atoms)"
        if quantity == "stripe_sparsity"
        else settings.axis.label("stripe-sparsity"),
    )
    return figure


def _draw_rungs(panel: Axes, certified: pd.DataFrame, quantity: str) -> None:
    """Mark what each rung certifies; one that certifies nothing has no line."""
    for (rung, label), (colour, dashes) in zip(RUNGS.items(), _LINES, strict=True):
        found = select(certified, rung=rung)[quantity]
        if len(found) and found.max() > 0:  # what holds for all signs is the same for all variants
            panel.axvline(found.max(), color=colour, linestyle=dashes, linewidth=1.2, label=label)
