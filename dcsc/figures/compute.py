"""Recovery and error of pursuits against what they compute, counted in multiplications and additions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from dcsc import statistics
from dcsc.figures import style as styles
from dcsc.figures.comparison import ran, recovered
from dcsc.figures.results import Results
from dcsc.pursuit import work
from dcsc.store.readers import cascade_of

EXACT = 1e-8
"""Errors below are rounding, and drawn there."""


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    Put recovery, error and work of each pursuit side by side.

    Parameters
    ----------
    results : Results
        Its trials and dictionaries are used.
    settings : mapping
        `confidence` and `pursuits`.

    Returns
    -------
    pandas.DataFrame
        A row for each cascade, variant, number of active atoms and pursuit: the rate of recovered paths, quantiles
        of the largest relative error of any layer, and the median count of multiplications and additions, also
        relative to one forward pass; NaN where a pursuit's iterations do not tell.
    """
    rows = []
    for cascade, trials in results.trials.items():
        dictionaries = cascade_of(results.dictionaries[cascade], 0).dictionaries
        forward = sum(work.one_pass(layer) for layer in dictionaries)
        for variant in trials["variant"].to_numpy():
            for active in trials["active"].to_numpy():
                cell = trials.sel(variant=variant, active=[active])
                for name, options in settings["pursuits"].items():
                    if not ran(cell, name):
                        continue
                    paths = recovered(cell, name)
                    lower, upper = statistics.proportion_interval(paths.sum(), paths.size, settings["confidence"])
                    counted = work.multiply_adds(options, dictionaries, *_sizes(cell, name))
                    errors = (cell["error"].sel(pursuit=name) / cell["magnitude"]).max("layer").to_numpy()
                    quantiles = np.quantile(errors, (0.1, 0.5, 0.9))
                    rows.append(
                        {
                            "cascade": cascade,
                            "variant": str(variant),
                            "active": int(active),
                            "cell": f"{variant}, {active} active",
                            "pursuit": name,
                            "recovered": int(paths.sum()),
                            "trials": paths.size,
                            "rate": paths.mean(),
                            "rate_lower": float(lower),
                            "rate_upper": float(upper),
                            **dict(zip(("error_lower", "error", "error_upper"), quantiles, strict=True)),
                            "iterations": float(np.median(cell["iterations"].sel(pursuit=name).sum("layer"))),
                            "multiply_adds": float(np.median(counted)),
                            "forward_passes": float(np.median(counted)) / forward,
                        }
                    )
    return pd.DataFrame(rows)


def _sizes(cell: xr.Dataset, name: str) -> tuple[np.ndarray, ...]:
    """Iterations, atoms found and stripe-sparsity, layer first."""
    one = cell.sel(pursuit=name)
    found = one["nonzeros"] - one["misses"] + one["false_alarms"]
    return tuple(
        array.transpose("layer", "replicate", "active", "trial").to_numpy()
        for array in (one["iterations"], found, one["stripe_sparsity"])
    )


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw recovery (upper row) and error (lower row) against work, a column a variant and number of active atoms.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`, of one cascade; of the numbers of active atoms, the smallest, a middle and the largest are drawn.
    settings : mapping
        `style`, `confidence` and `pursuits`.

    Returns
    -------
    Figure
        A point a pursuit.
    """
    style = settings["style"]
    table = table[np.isfinite(table["multiply_adds"])]
    numbers = sorted(table["active"].unique())
    numbers = sorted({numbers[0], numbers[len(numbers) // 2], numbers[-1]})
    variants = list(table["variant"].unique())
    names = [name for name in settings["pursuits"] if name in set(table["pursuit"])]
    colour = styles.colours(style, 10)
    figure, axes = styles.canvas(style, 2 * len(variants), len(numbers), 0.72, sharex=True, sharey="row")
    for row, variant in enumerate(variants):
        for column, active in enumerate(numbers):
            part = table[(table["variant"] == variant) & (table["active"] == active)]
            for quantity, panel in zip(("rate", "error"), axes[2 * row : 2 * row + 2, column], strict=True):
                for one in part.itertuples():
                    index = names.index(one.pursuit)
                    least = 0.0 if quantity == "rate" else EXACT
                    value = max(getattr(one, quantity), least)
                    lower, upper = (max(getattr(one, f"{quantity}_{end}"), least) for end in ("lower", "upper"))
                    panel.errorbar(
                        [one.forward_passes],
                        [value],
                        [[value - lower], [upper - value]],
                        fmt=styles.MARKERS[index % 10],
                        color=colour[index % 10],
                        mfc="none" if index >= 10 else colour[index],
                        ms=4 + 0.5 * max(0, 6 - index),  # where points coincide, the ones below show
                        lw=0.8,
                        label=one.pursuit,
                    )
                panel.set_xscale("log")
            axes[2 * row, column].set_ylim(-0.05, 1.05)
            axes[2 * row + 1, column].set_yscale("log")
            if table.loc[table["variant"] == variant, "error"].min() <= EXACT:
                axes[2 * row + 1, column].set_ylim(EXACT / 3)
            axes[2 * row, column].set_title(f"{variant}: {active} active", fontsize="medium")
        axes[2 * row, 0].set_ylabel("paths recovered\n(share)")
        axes[2 * row + 1, 0].set_ylabel("largest relative\nerror of a layer")
    known = {}
    for panel in axes.flat:
        known |= dict(zip(*panel.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(known.values(), known.keys(), loc="outside upper center", ncols=5, fontsize="small")
    styles.footnote(
        figure,
        style,
        f"{styles.plural(table['trials'], 'draw')} a point, the same for all pursuits; bars: Clopper-Pearson "
        f"{settings['confidence']:.0%} of the share, 10 % to 90 % of the draws of the error "
        f"(drawn at {EXACT:g} where it is less). Work: multiplications and additions of direct convolutions, counted, "
        "median of the draws",
        label="work, in forward passes",
    )
    return figure
