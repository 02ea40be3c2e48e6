"""
What [PRE17] section 8 prints of its three experiments, beside what this run measured.

When to take it: for the three experiments of [PRE17] section 8.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from dcsc.errors import UserError
from dcsc.figures import style
from dcsc.figures.inputs import FigureSettings, Results
from dcsc.figures.panels import Panel

PANEL = Panel(
    reads_trials=True, columns="quantity layer printed_low printed_high measured_low measured_high agrees realisations"
)

LENGTH, CODE = "length of the layer's signal", "length of the deepest code"
COHERENCE, STRIPES, RATIO = "mutual coherence", "stripe-sparsity", "mean signal-to-noise ratio (dB)"


Printed = tuple[str, int, float, float, float]


def _printed(
    depth: int, lengths: list[int], code: int | None, stripes: list[tuple[int, int]], ratio: float | None
) -> list[Printed]:
    """What is printed of one experiment; the coherences are the same in all."""
    rows: list[Printed] = [(LENGTH, layer, length, length, 0) for layer, length in enumerate(lengths, start=1)]
    rows += [(CODE, depth, code, code, 0)] if code else []
    rows += [(COHERENCE, 1, 2.44e-4, 2.44e-4, 0.05e-4)]
    rows += [(COHERENCE, layer, 4.33e-3, 4.33e-3, 0.005e-3) for layer in range(2, depth + 1)]
    rows += [(STRIPES, layer, *ends, 0) for layer, ends in enumerate(stripes, start=1)]
    rows += [(RATIO, 0, ratio, ratio, 0.005)] if ratio else []
    return rows


PRINTED = {
    2: _printed(2, [3600, 600], 100, [(7, 8), (3, 7)], 68.53),
    3: _printed(3, [21600, 3600, 600], 100, [(8, 8), (5, 6), (3, 7)], None),
    5: _printed(5, [777600], None, [(8, 8), (6, 6), (6, 6), (6, 6), (4, 7)], 124.43),
}
"""By the number of layers: quantity, layer, printed range, and half a unit of the last printed digit."""


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Set measured ranges beside the printed ones.

    Parameters
    ----------
    results : Results
        Of an experiment with one cascade of two, three or five layers.
    settings : FigureSettings
        Not used here.

    Returns
    -------
    pandas.DataFrame
        A row per quantity and layer, and whether the measured range lies within the printed one.

    Raises
    ------
    UserError
        When the paper prints nothing of such an experiment.
    """
    if len(results.trials) != 1 or next(iter(results.trials.values())).sizes["layer"] not in PRINTED:
        raise UserError("figure 'paper-table' is about one cascade of 2, 3 or 5 layers: see config/config.yaml.")
    ((name, trials),) = results.trials.items()
    rows = []
    for quantity, layer, low, high, rounding in PRINTED[trials.sizes["layer"]]:
        dictionary = results.dictionaries[name][f"layer_{max(layer, 1)}"].to_dataset()
        measured = _measured(quantity, layer, dictionary, trials)
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


def _measured(quantity: str, layer: int, dictionary: xr.Dataset, trials: xr.Dataset) -> np.ndarray:
    """All values of a quantity in this run."""
    if quantity == RATIO:
        return trials["signal_to_noise"].mean().to_numpy()
    if quantity == STRIPES:
        return trials["stripe_sparsity"].sel(layer=layer).to_numpy()
    if quantity == CODE:
        return dictionary["grid"].to_numpy() // dictionary["stride"].to_numpy()
    return dictionary["grid" if quantity == LENGTH else "mutual_coherence"].to_numpy()


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw the table.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : FigureSettings
        Its style.

    Returns
    -------
    Figure
        A page that can stand in the report.
    """
    figure, axes = style.canvas(settings.style, 1, 1, 0.42)
    cells = [
        [
            row.quantity,
            str(row.layer or "signal"),
            _span(row.printed_low, row.printed_high),
            _span(row.measured_low, row.measured_high),
            "yes" if row.agrees else "NO",
        ]
        for row in table.itertuples()
    ]
    labels, widths = ["quantity", "layer", "printed in [PRE17]", "this run", "agrees"], [0.36, 0.1, 0.22, 0.2, 0.12]
    style.write_table(axes[0, 0], labels, cells, widths, 9, (1.0, 0.4), 0.1, loc="center").scale(1, 1.3)
    style.footnote(figure, f"ranges over {table['realisations'].iloc[0]} realisations")
    return figure


def _span(low: float, high: float) -> str:
    return _number(low) if low == high else f"{_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    if value == round(value):
        return f"{value:.0f}"
    if abs(value) >= 1:
        return f"{value:.5g}"
    return np.format_float_scientific(value, precision=3, trim="-", exp_digits=1)
