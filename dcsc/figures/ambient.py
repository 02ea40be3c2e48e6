"""
Number of activations and stripe-sparsity at the transitions, as the ambient dimension grows.

When to take it: for the same filters on larger and larger grids: is recovery limited by the number of activations, or
by their density?
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dcsc.figures import style, transitions
from dcsc.figures.inputs import FigureSettings, Results
from dcsc.figures.panels import Panel
from dcsc.figures.tables import select
from dcsc.figures.transitions import LEVELS

PANEL = Panel(
    needs=("certificates",),
    columns="ambient_dimension pursuit variant level cascade mutual_coherence value value_lower value_upper replicates "
    "censored kind quantity slope slope_lower slope_upper cascades lowest_coherence highest_coherence rung "
    "next_value draws measured_upper above_measured trials of_measured of_measured_lower of_measured_upper",
)

QUANTITIES = {"active": "activations recovered", "stripe_sparsity": "stripe-sparsity (atoms)"}


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Find the transitions at every size of the grid, and the exponents with which they grow.

    Parameters
    ----------
    results : Results
        Its summary, dictionaries and certificates are used.
    settings : FigureSettings
        Its confidence, variants and delta.

    Returns
    -------
    pandas.DataFrame
        A row per curve and size (kind "measured" or "certified"), and a row per curve and quantity with the
        exponent in `slope` (kind "slope").
    """
    variants, confidence = settings.variants, settings.confidence
    points = transitions.measured(results.summary, variants)
    points["ambient_dimension"] = points["cascade"].map(results.grid_sizes)
    # The statistical guarantees allow a stripe-sparsity of the order of 1 / log M, M the number of atoms.
    atoms = {name: results.cascade(name).dictionaries[0].n_atoms for name in results.dictionaries}
    points["active_log"] = points["active"] * np.log(2 * points["cascade"].map(atoms))
    curve, tables = ["pursuit", "variant", "level"], []
    for quantity in (*QUANTITIES, "active_log"):
        means = transitions.summarized(points, curve, confidence, y=quantity)
        means.columns = means.columns.str.replace(quantity, "value")
        tables.append(means.assign(kind="measured", quantity=quantity))
        fitted = transitions.slopes(points, curve, confidence, x="ambient_dimension", y=quantity)
        tables.append(fitted.assign(kind="slope", quantity=quantity))
    certified = transitions.certified_beside(
        transitions.certified(results.certificates), results.summary, variants, confidence, settings.delta
    )
    certified.columns = certified.columns.str.replace("stripe_sparsity", "value")
    tables.append(certified.assign(kind="certified", quantity="stripe_sparsity"))
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "ambient_dimension", table["cascade"].map(results.grid_sizes))
    return table.assign(trials=int(results.summary["trials"].max()))


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw the number of activations (left) and the stripe-sparsity of each way of spreading supports at the transitions.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : FigureSettings
        Its style, variants, confidence and delta.

    Returns
    -------
    Figure
        With the measured exponents in the legend.
    """
    measured = select(table, kind="measured")
    certified = table[(table["kind"] == "certified") & (table["value"] >= 1)]
    curves = measured[["pursuit", "variant", "level"]].drop_duplicates()
    variants = list(measured["variant"].unique())
    colours = style.colours(settings.style, len(variants))
    panels = [("active", None), *(("stripe_sparsity", variant) for variant in variants)]
    figure, axes = style.canvas(settings.style, 1, len(panels), 1.35, sharex=True)
    for panel, (quantity, only) in zip(axes[0], panels, strict=True):
        for curve in curves.itertuples(index=False):
            if only not in (None, curve.variant):
                continue
            here = select(table, quantity=quantity, **curve._asdict())
            exponent = select(here, kind="slope").iloc[0]
            name = f"{curve.variant}, {curve.level:.0%}" if only is None else f"recovered, {curve.level:.0%}"
            name += f":\nexponent {exponent.slope:.2f} [{exponent.slope_lower:.2f}, {exponent.slope_upper:.2f}]"
            look = {"linestyle": "-" if curve.level == LEVELS[0] else "--", "label": name}
            index = variants.index(curve.variant)
            points = select(here, kind="measured")
            style.curve_with_band(panel, points, "ambient_dimension", "value", colours[index], index, **look)
        if only is None:
            sizes = np.array(sorted(measured["ambient_dimension"].unique()))
            scale = select(measured, quantity=quantity)["value"].min() / sizes[0]
            panel.plot(sizes, 0.5 * scale * sizes, color="0.5", linestyle=":")
        else:
            style.draw_rungs(panel, select(certified, variant=only), "ambient_dimension", "value")
            panel.set_title(only)
        panel.set_xscale("log", base=2)
        panel.set(xlabel="ambient dimension $N$", ylabel=QUANTITIES[quantity] if only in (None, variants[0]) else "")
        style.legend_below(panel, 0.34)
    shown = select(measured, quantity="stripe_sparsity")["value"]
    limits = [0.8 * certified["value"].min(), 1.25 * shown.max()]
    for panel in axes[0, 1:]:
        style.logarithmic(panel.yaxis, limits)
        panel.set_ylim(*limits)
    style.logarithmic(axes[0, 0].yaxis, [1, 1e6])
    style.footnote(
        figure,
        f"means over {style.plural(measured['replicates'], 'dictionary')}, the same filters on every grid; "
        f"{style.plural(table['trials'], 'trial')} a cell; bands and brackets: Student {settings.confidence:.0%}; "
        f"{style.certified_note(select(table, kind='certified'), settings)}; dotted: proportional to N",
    )
    return figure
