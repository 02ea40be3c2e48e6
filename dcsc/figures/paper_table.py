"""What [PRE17] section 8 prints of its noiseless experiment, beside what this run measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dcsc.figures import style as styles
from dcsc.figures.results import Results

PRINTED = [
    ("length of the layer's signal", 1, 21600, 21600, 0),
    ("length of the layer's signal", 2, 3600, 3600, 0),
    ("length of the layer's signal", 3, 600, 600, 0),
    ("length of the deepest code", 3, 100, 100, 0),
    ("mutual coherence", 1, 2.44e-4, 2.44e-4, 0.05e-4),
    ("mutual coherence", 2, 4.33e-3, 4.33e-3, 0.005e-3),
    ("mutual coherence", 3, 4.33e-3, 4.33e-3, 0.005e-3),
    ("stripe-sparsity", 1, 8, 8, 0),
    ("stripe-sparsity", 2, 5, 6, 0),
    ("stripe-sparsity", 3, 3, 7, 0),
]
"""Quantity, layer, printed range, and half a unit of the last printed digit."""


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    Set measured ranges beside the printed ones.

    Parameters
    ----------
    results : Results
        Of an experiment with one cascade of three layers.
    settings : mapping
        Not used here.

    Returns
    -------
    pandas.DataFrame
        A row a quantity and layer, and whether the measured range lies within the printed one.
    """
    ((name, trials),) = results.trials.items()
    rows = []
    for quantity, layer, low, high, rounding in PRINTED:
        dictionary = results.dictionaries[name][f"layer_{layer}"]
        positions = dictionary["grid"].to_numpy() // dictionary["stride"].to_numpy()
        measured = {
            "length of the layer's signal": dictionary["grid"].to_numpy(),
            "length of the deepest code": positions,
            "mutual coherence": dictionary["mutual_coherence"].to_numpy(),
            "stripe-sparsity": trials["stripe_sparsity"].sel(layer=layer).to_numpy(),
        }[quantity]
        rows.append(
            {
                "quantity": quantity,
                "layer": layer,
                "printed_low": low,
                "printed_high": high,
                "measured_low": float(measured.min()),
                "measured_high": float(measured.max()),
                "agrees": bool(low - rounding <= measured.min() and measured.max() <= high + rounding),
                "realisations": int(trials.sizes["active"] * trials.sizes["trial"]),
            }
        )
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw the table.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : mapping
        `style`.

    Returns
    -------
    Figure
        A page that can stand in the report.
    """
    figure, axes = styles.canvas(settings["style"], 1, 1, 0.42)
    panel = axes[0, 0]
    panel.axis("off")
    cells = [
        [
            row.quantity,
            str(row.layer),
            _span(row.printed_low, row.printed_high),
            _span(row.measured_low, row.measured_high),
            "yes" if row.agrees else "NO",
        ]
        for row in table.itertuples()
    ]
    drawn = panel.table(
        cells,
        colLabels=["quantity", "layer", "printed in [PRE17]", "this run", "agrees"],
        colWidths=[0.36, 0.1, 0.22, 0.2, 0.12],
        cellLoc="left",
        loc="center",
    )
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(9)
    drawn.scale(1, 1.3)
    for (row, _), cell in drawn.get_celld().items():
        cell.visible_edges = "B"
        cell.set_linewidth(1.0 if row == 0 else 0.4)
        if row == 0:
            cell.set_text_props(weight="bold", horizontalalignment="left")
    styles.footnote(
        figure,
        settings["style"],
        f"ranges over {table['realisations'].iloc[0]} realisations",
    )
    return figure


def _span(low: float, high: float) -> str:
    return _number(low) if low == high else f"{_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    if value == round(value):
        return f"{value:.0f}"
    return np.format_float_scientific(value, precision=3, trim="-", exp_digits=1)
