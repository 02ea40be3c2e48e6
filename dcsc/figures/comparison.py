"""
Pursuits compared on the same draws: how often each recovers the whole path, and by how much they differ.

When to take it: for two or more pursuits on the same draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from dcsc import statistics
from dcsc.figures import style
from dcsc.figures.inputs import FigureSettings, Results, ran, truths
from dcsc.figures.panels import Panel
from dcsc.figures.tables import select, share

PANEL = Panel(
    reads_trials=True,
    columns="cascade variant active kind pursuit trials recovered rate rate_lower rate_upper covered violations versus",
)

ENOUGH = 16
"""Draws of a number of active atoms from which its rate is worth a point; fewer are drawn together."""


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Count recovered paths, and compare every pursuit with those before it in the configuration, trial by trial.

    Parameters
    ----------
    results : Results
        Its trials are used.
    settings : FigureSettings
        Its confidence and pursuits.

    Returns
    -------
    pandas.DataFrame
        For each cascade, variant, number of active atoms (and `all` of them together) and pursuit a row of kind
        `recovered` (rate, with a Clopper-Pearson interval, and how many paths a theorem covers, and of these are lost),
        of kind `rescued` (the rate among the trials that no one-step thresholding recovers which does not know the
        size of the true support), and of kind `difference` for every pursuit before it (of the rates, paired).
    """
    rows = []
    for cascade, trials in results.trials.items():
        numbers = trials["active"].to_numpy().tolist()
        cells = {str(number): [number] for number in numbers}
        if len(cells) > 1:
            cells["all"] = numbers
        for variant in trials["variant"].to_numpy():
            for label, active in cells.items():
                key = {"cascade": cascade, "variant": str(variant), "active": label}
                rows += [key | row for row in _rows(trials.sel(variant=variant, active=active), settings)]
    return pd.DataFrame(rows)


def _rows(cell: xr.Dataset, settings: FigureSettings) -> Iterator[dict[str, Any]]:
    names = [name for name in settings.pursuits if ran(cell, name)]
    paths = {name: truths(cell["path_recovered"].sel(pursuit=name)) for name in names}
    blind = [name for name in names if _is_blind_step(settings.pursuits[name])]
    lost = ~np.logical_or.reduce([paths[name] for name in blind]) if blind else None
    for index, name in enumerate(names):
        counted = {"pursuit": name, "trials": paths[name].size}
        successes = int(paths[name].sum())
        covered = truths(cell["covered"].sel(pursuit=name).all("layer"))
        yield {
            "kind": "recovered",
            **counted,
            "recovered": successes,
            **share(successes, paths[name].size, settings.confidence),
            "covered": int(covered.sum()),
            "violations": int((covered & ~paths[name]).sum()),
        }
        for other in names[:index]:
            ends = statistics.paired_difference(paths[name], paths[other], settings.confidence)
            difference = dict(zip(("rate", "rate_lower", "rate_upper"), ends, strict=True))
            yield {"kind": "difference", **counted, "versus": other, **difference}
        if lost is not None and name not in blind:
            rescued, among = int((paths[name] & lost).sum()), int(lost.sum())
            counted |= {"trials": among, "versus": " and ".join(blind), "recovered": rescued}
            yield {"kind": "rescued", **counted, **share(rescued, among, settings.confidence)}


def _is_blind_step(options: Mapping[str, Any]) -> bool:
    """Whether a pursuit is one step per layer that does not read the size of the true supports."""
    return options["rule"] in ("hard", "soft", "relu") and options["threshold"] != "oracle"


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw rates (upper row) and paired differences (lower row), a column per cascade and variant.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : FigureSettings
        Its style, confidence and pursuits.

    Returns
    -------
    Figure
        A group of points a pursuit, from few active atoms to many, or one for all of them together.
    """
    columns = list(table[["cascade", "variant"]].drop_duplicates().itertuples(index=False))
    names = [name for name in settings.pursuits if name in set(table["pursuit"])]
    cells = [cell for cell in table["active"].unique() if cell != "all"]
    many = table.loc[table["active"] != "all", "trials"].max() >= ENOUGH
    shown = cells if len(cells) == 1 or (many and len(cells) <= len(style.MARKERS)) else ["all"]
    colours, first = style.sequence(len(shown)), names[0]
    parts = [select(table, **column._asdict()) for column in columns]
    ran = [[name for name in names if name in set(part["pursuit"])] for part in parts]
    figure, axes = style.canvas(
        settings.style,
        2,
        len(columns),
        0.38 if len(columns) == 1 else 0.75,
        sharex="col",
        sharey="row",
        width_ratios=[max(len(run), 3) for run in ran],  # as wide as it has pursuits, and as its title
    )
    for (upper, lower), column, part, names in zip(axes.T, columns, parts, ran, strict=True):
        kinds = (select(part, kind="recovered"), select(part, kind="difference", versus=first))
        for panel, rows in zip((upper, lower), kinds, strict=True):
            for index, (cell, colour) in enumerate(zip(shown, colours, strict=True)):
                points = select(rows, active=cell)
                offset = 0.6 * ((index + 0.5) / len(shown) - 0.5)
                points = points.assign(place=points["pursuit"].map(names.index) + offset)
                look = {"linestyle": "", "linewidth": 0.8, "markersize": 3, "capsize": 0, "label": cell}
                style.bars(panel, points, "place", "rate", colour, index, **look)
            panel.axhline(0, color="0.3", lw=0.7)
        if first not in names:
            note = f"{first}\ndid not run"
            lower.text(0.5, 0.5, note, transform=lower.transAxes, ha="center", fontsize="x-small")
        lower.set_xlim(-0.6, len(names) - 0.4)
        upper.set_title(column.variant if len(columns) > 1 else "")
        lower.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize="small")
    axes[0, 0].set_ylabel("paths recovered (share)")
    axes[0, 0].set_ylim(-0.04, 1.04)
    axes[1, 0].set_ylabel(f"difference from {first},\non the same draws")
    if len(shown) > 1:
        style.common_legend(figure, axes[0, :1], 10, title="active atoms of the deepest code")
    counts = table.loc[(table["kind"] == "recovered") & table["active"].isin(shown), "trials"]
    style.footnote(
        figure,
        f"{style.plural(counts, 'draw')} a point, the same for all pursuits; bars: Clopper-Pearson "
        f"{settings.confidence:.0%} (above), the wider of its and Student's over dictionaries (below)",
    )
    return figure
