"""
Measured failures of the aligned cascade, beside its failure probability, which is known exactly.

When to take it: for the aligned cascade alone.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dcsc.errors import UserError
from dcsc.figures import style
from dcsc.figures.inputs import FigureSettings, Results, measured_cells
from dcsc.figures.panels import Panel
from dcsc.figures.tables import select, share
from dcsc.model.dictionary import ConvolutionalDictionary

PANEL = Panel(
    reads_trials=True,
    columns="cascade pursuit rule threshold_over_x variant blocks trials failures rate rate_lower rate_upper exact "
    "inside",
)

LARGEST = 2**16
"""Sign patterns that are enumerated at most."""


def block_failure(
    first: ConvolutionalDictionary, second: ConvolutionalDictionary, threshold: float, random_layers: bool
) -> float:
    """
    Find the probability that one block fails at the first layer, by enumeration of all signs.

    The deepest code has one active atom of magnitude 1 above the block; docs/theory.md, "Aligned cascade".

    Parameters
    ----------
    first : ConvolutionalDictionary
        Placed on blocks, so that no two of them meet.
    second : ConvolutionalDictionary
        One filter of one tap.
    threshold : float
        beta of the first layer; NaN for top-k.
    random_layers : bool
        Whether the signs T of D-CSC-R are drawn.

    Returns
    -------
    float
        Share of the sign patterns that break the support.

    Raises
    ------
    UserError
        When the cascade is not of that form or has too many patterns.
    """
    values = second.filters.reshape(second.n_filters, -1)
    active = np.flatnonzero(values[0])
    if second.n_filters != 1 or set(second.taps) != {1} or first.taps != first.stride or 2 ** len(active) > LARGEST:
        raise UserError("figure 'exact' is about one atom above blocks, with few enough signs: see family 'aligned'.")
    gram = first.filters.reshape(first.n_filters, -1) @ first.filters[active].reshape(len(active), -1).T
    magnitudes = np.abs(values[0, active])
    patterns = np.array(list(itertools.product([-1.0, 1.0], repeat=len(active))))
    signs = patterns if random_layers else np.sign(values[:, active])
    correlations = np.abs((signs * magnitudes) @ gram.T)
    smallest_on = correlations[:, active].min(axis=1)
    largest_off = np.delete(correlations, active, axis=1).max(axis=1)
    if np.isnan(threshold):
        return float(np.mean(largest_off >= smallest_on))
    return float(np.mean((largest_off > threshold) | (smallest_on <= threshold)))


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Set measured failures beside the exact probability.

    Parameters
    ----------
    results : Results
        Its trials are used; thresholds must be the same in all of them.
    settings : FigureSettings
        Its confidence, variants and pursuits.

    Returns
    -------
    pandas.DataFrame
        A row for each cascade, number of active blocks, pursuit and variant.
    """
    rows = []
    for cascade, trials in results.trials.items():
        first, second = results.cascade(cascade).dictionaries
        magnitude = float(np.abs(second.filters).max())
        for place, cell in measured_cells(trials, settings.variants):
            pursuit, variant = place["pursuit"], place["variant"]
            threshold = float(trials["threshold"].sel(pursuit=pursuit, variant=variant, layer=1).max())
            rule = settings.pursuits[pursuit]["rule"]
            if np.isnan(threshold) and rule != "top-k":
                raise UserError(f"figure exact knows no thresholds by filter, as of {pursuit!r}: give it a common one.")
            block = block_failure(first, second, threshold, bool(settings.variants[variant].layer_signs))
            size = cell["path_recovered"].size
            failures = size - int(cell["path_recovered"].sum())
            rate = share(failures, size, settings.confidence)
            exact = 1 - (1 - block) ** place["active"]
            rows.append(
                {
                    "cascade": cascade,
                    "pursuit": pursuit,
                    "rule": rule,
                    "threshold_over_x": threshold / magnitude,
                    "variant": variant,
                    "blocks": place["active"],
                    "trials": size,
                    "failures": failures,
                    **rate,
                    "exact": exact,
                    "inside": rate["rate_lower"] <= exact <= rate["rate_upper"],
                }
            )
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw the table.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : FigureSettings
        Its style and confidence.

    Returns
    -------
    Figure
        A page that can stand in the report.
    """
    rows = len(table[["variant", "pursuit"]].drop_duplicates())
    figure, axes = style.canvas(settings.style, 1, 1, 0.055 * (rows + 1))
    draw_table(axes[0, 0], table, 8)
    style.footnote(figure, note(table, settings))
    return figure


def note(table: pd.DataFrame, settings: FigureSettings) -> str:
    """
    Tell sample sizes and the meaning of the intervals.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : FigureSettings
        Its confidence.

    Returns
    -------
    str
        Without a full stop.
    """
    return (
        f"failed paths in per cent of {style.plural(table['trials'], 'trial')}, the exact value, and the "
        f"Clopper-Pearson {settings.confidence:.0%} interval; x: magnitude of the active entries"
    )


def draw_table(panel: Axes, table: pd.DataFrame, size: float) -> None:
    """
    Write the failures into a panel, a row for each kind of signs and pursuit and a column for each number of blocks.

    Parameters
    ----------
    panel : Axes
        Its axes are switched off.
    table : pandas.DataFrame
        From `tidy`, or read back from its file; a value outside its interval is bold.
    size : float, in points
        Of the letters.
    """
    blocks = sorted(table["blocks"].unique())
    kinds = table[["variant", "pursuit", "rule", "threshold_over_x"]].drop_duplicates()
    cells, outside = [], []
    for row, kind in enumerate(kinds.sort_values("variant", kind="stable").itertuples(), start=1):
        threshold = "" if np.isnan(kind.threshold_over_x) else f", threshold {kind.threshold_over_x:.3g} x"
        cells.append([kind.variant, kind.rule + threshold])
        of_kind = select(table, variant=kind.variant, pursuit=kind.pursuit).set_index("blocks")
        for column, number in enumerate(blocks, start=2):
            entry = of_kind.loc[number]
            rate, lower, upper, value = (
                f"{100 * entry[name]:.2f}".replace("100.00", "100")
                for name in ("rate", "rate_lower", "rate_upper", "exact")
            )
            cells[-1].append(f"{rate} (exact {value})\n{lower} to {upper}")
            outside += [] if entry["inside"] else [(row, column)]
    labels = ["signs", "pursuit", *[style.plural(number, "block") for number in blocks]]
    widths = [0.12, 0.28, *[0.6 / len(blocks)] * len(blocks)]
    drawn = style.write_table(panel, labels, cells, widths, size, (1.0, 0.3), 0.02, bbox=(0, 0, 1, 1))
    for place in outside:
        drawn[place].set_text_props(weight="bold")
