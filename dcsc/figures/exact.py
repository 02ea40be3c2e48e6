"""Failures of cascades whose failure probability is known exactly, beside what was measured: the aligned cascade."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.table import Table

from dcsc import statistics
from dcsc.errors import UserError
from dcsc.figures import style as styles
from dcsc.figures.results import Results
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.store.readers import cascade_of

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


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    Set measured failures beside the exact probability.

    Parameters
    ----------
    results : Results
        Its trials are used; thresholds must be the same in all of them.
    settings : mapping
        `confidence`, `variants` and `pursuits`.

    Returns
    -------
    pandas.DataFrame
        A row for each cascade, number of active blocks, pursuit and variant.
    """
    rows = []
    for cascade, trials in results.trials.items():
        first, second = cascade_of(results.dictionaries[cascade], 0).dictionaries
        magnitude = float(np.abs(second.filters).max())
        for pursuit, (variant, draw) in itertools.product(trials["pursuit"].to_numpy(), settings["variants"].items()):
            cell = trials.sel(pursuit=pursuit, variant=variant)
            threshold = float(cell["threshold"].sel(layer=1).max())
            block = block_failure(first, second, threshold, bool(draw["layer_signs"]))
            for active in cell["active"].to_numpy()[cell["measured"].to_numpy().astype(bool)]:
                recovered = cell["path_recovered"].sel(active=active).to_numpy()
                failures = int(recovered.size - recovered.sum())
                lower, upper = statistics.proportion_interval(failures, recovered.size, settings["confidence"])
                exact = 1 - (1 - block) ** int(active)
                rows.append(
                    {
                        "cascade": cascade,
                        "pursuit": pursuit,
                        "rule": settings["pursuits"][pursuit]["rule"],
                        "threshold_over_x": threshold / magnitude,
                        "variant": variant,
                        "blocks": int(active),
                        "trials": recovered.size,
                        "failures": failures,
                        "rate": failures / recovered.size,
                        "rate_lower": float(lower),
                        "rate_upper": float(upper),
                        "exact": exact,
                        "inside": bool(lower <= exact <= upper),
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
        `style` and `confidence`.

    Returns
    -------
    Figure
        A page that can stand in the report.
    """
    rows = len(table[["variant", "pursuit"]].drop_duplicates())
    figure, axes = styles.canvas(settings["style"], 1, 1, 0.055 * (rows + 1))
    draw_table(axes[0, 0], table).set_fontsize(8)
    styles.footnote(figure, settings["style"], note(table, settings))
    return figure


def note(table: pd.DataFrame, settings: Mapping[str, Any]) -> str:
    """
    Tell sample sizes and the meaning of the intervals.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : mapping
        `confidence`.

    Returns
    -------
    str
        Without a full stop.
    """
    return (
        f"failed paths in per cent of {styles.plural(table['trials'], 'trial')}, the exact value, and the "
        f"Clopper-Pearson {settings['confidence']:.0%} interval; x: magnitude of the active entries"
    )


def draw_table(panel: Axes, table: pd.DataFrame) -> Table:
    """
    Write the failures into a panel, a row for each kind of signs and pursuit and a column for each number of blocks.

    Parameters
    ----------
    panel : Axes
        Its axes are switched off.
    table : pandas.DataFrame
        From `tidy`, or read back from its file.

    Returns
    -------
    Table
        The drawn table; a value outside its interval is bold.
    """
    panel.axis("off")
    blocks = sorted(table["blocks"].unique())
    kinds = (
        table[["variant", "pursuit", "rule", "threshold_over_x"]]
        .drop_duplicates()
        .sort_values("variant", kind="stable")
    )
    cells, outside = [], []
    for row, kind in enumerate(kinds.itertuples(), start=1):
        threshold = "" if np.isnan(kind.threshold_over_x) else f", threshold {kind.threshold_over_x:.3g} x"
        cells.append([kind.variant, kind.rule + threshold])
        of_kind = table[(table["variant"] == kind.variant) & (table["pursuit"] == kind.pursuit)].set_index("blocks")
        for column, number in enumerate(blocks, start=2):
            one = of_kind.loc[number]
            rate, lower, upper, value = (
                f"{100 * one[name]:.2f}".replace("100.00", "100")
                for name in ("rate", "rate_lower", "rate_upper", "exact")
            )
            cells[-1].append(f"{rate} (exact {value})\n{lower} to {upper}")
            outside += [] if one["inside"] else [(row, column)]
    labels = ["signs", "pursuit", *[styles.plural(number, "block") for number in blocks]]
    width = 0.6 / len(blocks)
    drawn = panel.table(
        cells,
        colLabels=labels,
        colWidths=[0.12, 0.28, *[width] * len(blocks)],
        cellLoc="left",
        colLoc="left",
        bbox=(0, 0, 1, 1),
    )
    drawn.auto_set_font_size(False)
    for (row, column), cell in drawn.get_celld().items():
        cell.visible_edges = "B"
        cell.set_linewidth(1.0 if row == 0 else 0.3)
        cell.PAD = 0.02
        if row == 0 or (row, column) in outside:
            cell.set_text_props(weight="bold")
    return drawn
