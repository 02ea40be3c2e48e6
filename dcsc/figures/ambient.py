"""How many activations can be recovered as the ambient dimension grows, and at which stripe-sparsity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dcsc import transitions
from dcsc.figures import style as styles
from dcsc.figures.results import Results
from dcsc.figures.thresholds import LEVELS, RUNGS

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
    points["ambient_dimension"] = points["cascade"].map(sizes)
    # The statistical guarantees allow a stripe-sparsity of the order of 1 / log M, M the number of atoms.
    points["active_log"] = points["active"] * np.log(2 * points["cascade"].map(_atoms(results)))
    curve, tables = ["pursuit", "variant", "level"], []
    for quantity in (*QUANTITIES, "active_log"):
        found = transitions.summarized(points, curve, confidence, y=quantity)
        found = found.rename(columns=lambda name, quantity=quantity: name.replace(quantity, "value"))
        tables.append(found.assign(kind="measured", quantity=quantity))
        fitted = transitions.slopes(points, curve, confidence, x="ambient_dimension", y=quantity)
        tables.append(fitted.assign(kind="slope", quantity=quantity))
    found = transitions.certified_beside(
        transitions.certified(results.certificates), points, confidence, settings["delta"]
    )
    found = found.rename(columns=lambda name: name.replace("stripe_sparsity", "value"))
    tables.append(found.assign(kind="certified", quantity="stripe_sparsity"))
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "ambient_dimension", table["cascade"].map(sizes))
    return table.assign(trials=int(results.summary["trials"].max()))


def _atoms(results: Results) -> dict[str, int]:
    """Number of atoms of every cascade's first layer."""
    first = {name: tree["layer_1"] for name, tree in results.dictionaries.items()}
    return {
        name: layer.sizes["filter"] * int(np.prod(layer["grid"].to_numpy() // layer["stride"].to_numpy()))
        for name, layer in first.items()
    }


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw the number of activations (left) and the stripe-sparsity (right) at the transitions.

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
    measured, slopes = (table[table["kind"] == kind] for kind in ("measured", "slope"))
    curves = measured[["pursuit", "variant", "level"]].drop_duplicates()
    several = len(curves["pursuit"].unique()) > 1
    colour = styles.colours(style, len(curves))
    figure, axes = styles.canvas(style, 1, 2, 0.85, sharex=True)
    for panel, (quantity, label) in zip(axes[0], QUANTITIES.items(), strict=True):
        for index, curve in enumerate(curves.itertuples(index=False)):
            parts = []
            for part in (measured, slopes):
                same = (part["pursuit"] == curve.pursuit) & (part["variant"] == curve.variant)
                parts.append(part[same & (part["level"] == curve.level) & (part["quantity"] == quantity)])
            exponent = parts[1].iloc[0]
            name = f"{curve.pursuit}, " * several + f"{curve.level:.0%}, {curve.variant}"
            name += f": exponent {exponent.slope:.2f} [{exponent.slope_lower:.2f}, {exponent.slope_upper:.2f}]"
            styles.curve_with_band(panel, parts[0], "ambient_dimension", "value", colour[index], index, label=name)
        if quantity == "stripe_sparsity":
            _draw_certified(panel, table[table["kind"] == "certified"])
        else:
            sizes = np.array(sorted(measured["ambient_dimension"].unique()))
            scale = measured.loc[measured["quantity"] == quantity, "value"].min() / sizes[0]
            panel.plot(sizes, 0.5 * scale * sizes, color="0.5", linestyle=":", label="proportional to N")
        styles.logarithmic(panel.yaxis, [1, 1e6] if quantity == "active" else panel.get_ylim())
        panel.set_xscale("log", base=2)
        panel.set_xlabel("ambient dimension $N$")
        panel.set_ylabel(label)
        panel.legend(fontsize="xx-small", loc="upper center", bbox_to_anchor=(0.5, -0.26))
    styles.footnote(
        figure,
        style,
        f"means over {styles.plural(measured['replicates'], 'dictionary')}, the same filters on every grid; "
        f"{styles.plural(table['trials'], 'trial')} a cell; "
        f"bands and brackets: Student {settings['confidence']:.0%}; certified at {1 - settings['delta']:.0%}",
    )
    return figure


def _draw_certified(panel: Any, table: pd.DataFrame) -> None:
    lines = ("--", ":", "-.")
    for rung, label in RUNGS.items():
        part = table[(table["rung"] == rung) & (table["value"] >= 1)].sort_values("ambient_dimension")
        line = lines[[name for name in RUNGS if name.split("-")[0] == rung.split("-")[0]].index(rung)]
        shade = "0.1" if rung.startswith("statistical") else "0.55"
        if len(part):
            panel.plot(part["ambient_dimension"], part["value"], color=shade, linestyle=line, lw=1.1, label=label)
