"""
Recovery and error of pursuits against what they compute, counted in multiplications and additions.

When to take it: for pursuits that iterate: how much does one more iteration improve recovery?
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dcsc.figures import style
from dcsc.figures.inputs import FigureSettings, Results, ran, truths
from dcsc.figures.panels import Panel
from dcsc.figures.tables import quantiles, select, share
from dcsc.pursuit import work

PANEL = Panel(
    needs=("errors",),
    reads_trials=True,
    columns="cascade variant active cell pursuit recovered trials rate rate_lower rate_upper error_lower error "
    "error_upper iterations multiply_adds forward_passes",
)

EXACT = 1e-8
"""Errors below are rounding, and drawn there."""


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Put recovery, error and work of each pursuit side by side.

    Parameters
    ----------
    results : Results
        Its trials and dictionaries are used.
    settings : FigureSettings
        Its confidence and pursuits.

    Returns
    -------
    pandas.DataFrame
        A row for each cascade, variant, number of active atoms and pursuit: the rate of recovered paths, quantiles
        of the largest relative error of any layer, and the median count of multiplications and additions, also
        relative to one forward pass; NaN where a pursuit's iterations do not tell.
    """
    rows = []
    for cascade, trials in results.trials.items():
        dictionaries = results.cascade(cascade).dictionaries
        forward = sum(work.one_pass(layer) for layer in dictionaries)
        for variant in trials["variant"].to_numpy():
            for active in trials["active"].to_numpy():
                cell = trials.sel(variant=variant, active=[active])
                for name, options in settings.pursuits.items():
                    if not ran(cell, name):
                        continue
                    paths = truths(cell["path_recovered"].sel(pursuit=name))
                    counted = float(np.median(work.multiply_adds(options, dictionaries, *_sizes(cell, name))))
                    errors = (cell["error"].sel(pursuit=name) / cell["magnitude"]).max("layer")
                    rows.append(
                        {
                            "cascade": cascade,
                            "variant": str(variant),
                            "active": int(active),
                            "cell": f"{variant}, {active} active",
                            "pursuit": name,
                            "recovered": int(paths.sum()),
                            "trials": paths.size,
                            **share(int(paths.sum()), paths.size, settings.confidence),
                            **quantiles(errors, "error"),
                            "iterations": float(np.median(cell["iterations"].sel(pursuit=name).sum("layer"))),
                            "multiply_adds": counted,
                            "forward_passes": counted / forward,
                        }
                    )
    return pd.DataFrame(rows)


def _sizes(cell: xr.Dataset, name: str) -> tuple[NDArray, NDArray, NDArray]:
    """Iterations, atoms of the estimated support and stripe-sparsity, layer first."""
    chosen = cell.sel(pursuit=name)
    chosen["support"] = chosen["nonzeros"] - chosen["misses"] + chosen["false_alarms"]
    iterations, support, stripes = (
        chosen[array].transpose("layer", "replicate", "active", "trial").to_numpy()
        for array in ("iterations", "support", "stripe_sparsity")
    )
    return iterations, support, stripes


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw recovery (upper row) and error (lower row) against work, a column per variant and number of active atoms.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`, of one cascade; of the numbers of active atoms, the smallest, a middle and the largest are drawn.
    settings : FigureSettings
        Its style, confidence and pursuits.

    Returns
    -------
    Figure
        A point per pursuit.
    """
    table = table[np.isfinite(table["multiply_adds"])]
    errors = ["error", "error_lower", "error_upper"]
    table = table.assign(**table[errors].clip(lower=EXACT))
    numbers = sorted(table["active"].unique())
    numbers = sorted({numbers[0], numbers[len(numbers) // 2], numbers[-1]})
    variants = list(table["variant"].unique())
    names = [name for name in settings.pursuits if name in set(table["pursuit"])]
    figure, axes = style.canvas(settings.style, 2 * len(variants), len(numbers), 0.72, sharex=True, sharey="row")
    for upper, lower, variant in zip(axes[::2], axes[1::2], variants, strict=True):
        of_variant = select(table, variant=variant)
        for above, below, active in zip(upper, lower, numbers, strict=True):
            part = select(of_variant, active=active)
            _draw_points(above, part, "rate", names, settings)
            _draw_points(below, part, "error", names, settings)
            above.set_ylim(-0.05, 1.05)
            below.set_yscale("log")
            if of_variant["error"].min() <= EXACT:
                below.set_ylim(EXACT / 3)
            above.set_title(f"{variant}: {active} active")
        upper[0].set_ylabel("paths recovered\n(share)")
        lower[0].set_ylabel("largest relative\nerror of a layer")
    style.common_legend(figure, axes.flat, 5)
    style.footnote(
        figure,
        f"{style.plural(table['trials'], 'draw')} a point, the same for all pursuits; bars: Clopper-Pearson "
        f"{settings.confidence:.0%} of the share, 10 % to 90 % of the draws of the error "
        f"(drawn at {EXACT:g} where it is less). Work: multiplications and additions of direct convolutions, counted, "
        "median of the draws",
        "work, in forward passes",
    )
    return figure


def _draw_points(panel: Axes, part: pd.DataFrame, quantity: str, names: list[str], settings: FigureSettings) -> None:
    colours = style.colours(settings.style, 10)
    for name, row in part.groupby("pursuit", sort=False):
        index = names.index(str(name))
        look: style.Look = {"markerfacecolor": "none"} if index >= 10 else {}
        look |= {"markersize": 4 + 0.5 * max(0, 6 - index)}  # where points coincide, the ones below show
        look |= {"linestyle": "", "linewidth": 0.8, "capsize": 0, "label": name}
        style.bars(panel, row, "forward_passes", quantity, colours[index % 10], index, **look)
    panel.set_xscale("log")
