"""How many activations can be recovered as the ambient dimension grows, and at which stripe-sparsity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dcsc.figures import style as styles
from dcsc.figures import transitions
from dcsc.figures.results import Results
from dcsc.figures.thresholds import LEVELS, RUNGS, certified_note, line_of
from dcsc.store.readers import cascade_of

QUANTITIES = {"active": "activations recovered", "stripe_sparsity": "stripe-sparsity (atoms)"}


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    Find the transitions at every size of the grid, and the exponents with which they grow.

    Parameters
    ----------
    results : Results
        Its summary, dictionaries and certificates are used.
    settings : mapping
        `confidence`, `variants` and `delta`.

    Returns
    -------
    pandas.DataFrame
        A row a curve and size (kind "measured" or "certified"), and a row a curve and quantity with the
        exponent in `slope` (kind "slope").
    """
    variants, confidence = settings["variants"], settings["confidence"]
    sizes = {name: int(np.prod(tree["layer_1"]["grid"])) for name, tree in results.dictionaries.items()}
    points = transitions.measured(results.summary, variants, LEVELS)
    atoms = {name: cascade_of(tree, 0).dictionaries[0].n_atoms for name, tree in results.dictionaries.items()}
    points["ambient_dimension"] = points["cascade"].map(sizes)
    # The statistical guarantees allow a stripe-sparsity of the order of 1 / log M, M the number of atoms.
    points["active_log"] = points["active"] * np.log(2 * points["cascade"].map(atoms))
    curve, tables = ["pursuit", "variant", "level"], []
    for quantity in (*QUANTITIES, "active_log"):
        found = transitions.summarized(points, curve, confidence, y=quantity)
        found = found.rename(columns=lambda name, quantity=quantity: name.replace(quantity, "value"))
        tables.append(found.assign(kind="measured", quantity=quantity))
        fitted = transitions.slopes(points, curve, confidence, x="ambient_dimension", y=quantity)
        tables.append(fitted.assign(kind="slope", quantity=quantity))
    found = transitions.certified_beside(
        transitions.certified(results.certificates), results.summary, variants, confidence, settings["delta"]
    )
    found = found.rename(columns=lambda name: name.replace("stripe_sparsity", "value"))
    tables.append(found.assign(kind="certified", quantity="stripe_sparsity"))
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "ambient_dimension", table["cascade"].map(sizes))
    return table.assign(trials=int(results.summary["trials"].max()))


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw the number of activations (left) and the stripe-sparsity of each way of spreading supports at the transitions.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : mapping
        `style`, `variants`, `confidence` and `delta`.

    Returns
    -------
    Figure
        With the measured exponents in the legend.
    """
    style = settings["style"]
    measured, slopes, certified = (table[table["kind"] == kind] for kind in ("measured", "slope", "certified"))
    curves = measured[["pursuit", "variant", "level"]].drop_duplicates()
    variants = list(measured["variant"].unique())
    colour = dict(zip(variants, styles.colours(style, len(variants)), strict=True))
    panels = [("active", None), *(("stripe_sparsity", variant) for variant in variants)]
    figure, axes = styles.canvas(style, 1, len(panels), 1.35, sharex=True)
    for panel, (quantity, only) in zip(axes[0], panels, strict=True):
        for curve in curves.itertuples(index=False):
            if only not in (None, curve.variant):
                continue
            parts = []
            for part in (measured, slopes):
                same = (part["pursuit"] == curve.pursuit) & (part["variant"] == curve.variant)
                parts.append(part[same & (part["level"] == curve.level) & (part["quantity"] == quantity)])
            exponent = parts[1].iloc[0]
            name = f"{curve.variant}, {curve.level:.0%}" if only is None else f"recovered, {curve.level:.0%}"
            name += f":\nexponent {exponent.slope:.2f} [{exponent.slope_lower:.2f}, {exponent.slope_upper:.2f}]"
            look = {"linestyle": "-" if curve.level == LEVELS[0] else "--", "label": name}
            index = variants.index(curve.variant)
            styles.curve_with_band(panel, parts[0], "ambient_dimension", "value", colour[curve.variant], index, **look)
        if only is None:
            sizes = np.array(sorted(measured["ambient_dimension"].unique()))
            scale = measured.loc[measured["quantity"] == quantity, "value"].min() / sizes[0]
            panel.plot(sizes, 0.5 * scale * sizes, color="0.5", linestyle=":")
        else:
            part = certified[(certified["variant"] == only) & (certified["value"] >= 1)]
            for rung in [rung for rung in RUNGS if rung in set(part["rung"])]:
                line = part[part["rung"] == rung].sort_values("ambient_dimension")
                panel.plot(line["ambient_dimension"], line["value"], **line_of(rung))
            panel.set_title(only, fontsize="medium")
        panel.set_xscale("log", base=2)
        panel.set_xlabel("ambient dimension $N$")
        panel.set_ylabel(QUANTITIES[quantity] if only in (None, variants[0]) else "")
        panel.legend(fontsize="xx-small", loc="upper center", bbox_to_anchor=(0.5, -0.34))
    shown = measured.loc[measured["quantity"] == "stripe_sparsity", "value"]
    limits = [0.8 * certified.loc[certified["value"] >= 1, "value"].min(), 1.25 * shown.max()]
    for panel in axes[0, 1:]:
        styles.logarithmic(panel.yaxis, limits)
        panel.set_ylim(*limits)
    styles.logarithmic(axes[0, 0].yaxis, [1, 1e6])
    styles.footnote(
        figure,
        style,
        f"means over {styles.plural(measured['replicates'], 'dictionary')}, the same filters on every grid; "
        f"{styles.plural(table['trials'], 'trial')} a cell; bands and brackets: Student {settings['confidence']:.0%}; "
        f"{certified_note(certified, settings)}; dotted: proportional to N",
    )
    return figure
