"""Pursuits compared on the same draws: how often each recovers the whole path, and by how much they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from dcsc import statistics
from dcsc.figures import style as styles
from dcsc.figures.results import Results

ENOUGH = 16
"""Draws of a number of active atoms from which its rate is worth a point; fewer are drawn together."""


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    Count recovered paths, and compare every pursuit with those before it in the configuration, trial by trial.

    Parameters
    ----------
    results : Results
        Its trials are used.
    settings : mapping
        `confidence` and `pursuits`.

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
        for variant in trials["variant"].to_numpy():
            cells = [[number] for number in trials["active"].to_numpy()]
            for active in [*cells, trials["active"].to_numpy()] if len(cells) > 1 else cells:
                cell = trials.sel(variant=variant, active=active)
                label = "all" if len(active) > 1 else str(active[0])
                key = {"cascade": cascade, "variant": str(variant), "active": label}
                rows += [key | row for row in _rows(cell, settings)]
    return pd.DataFrame(rows)


def ran(cell: xr.Dataset, pursuit: str) -> bool:
    """
    Tell whether a pursuit ran on a cell.

    Parameters
    ----------
    cell : Dataset
        Metrics of one variant.
    pursuit : str
        Its name.

    Returns
    -------
    bool
        True where it did on all of its numbers of active atoms.
    """
    return bool(cell["measured"].sel(pursuit=pursuit).to_numpy().astype(bool).all())


def recovered(cell: xr.Dataset, pursuit: str) -> np.ndarray:
    """
    Tell which paths a pursuit recovered.

    Parameters
    ----------
    cell : Dataset
        Metrics of one variant.
    pursuit : str
        Its name.

    Returns
    -------
    ndarray of bool, shape (replicate, trial)
        The trials of all numbers of active atoms.
    """
    return _flat(cell["path_recovered"].sel(pursuit=pursuit))


def _flat(truths: xr.DataArray) -> np.ndarray:
    found = truths.transpose("replicate", "active", "trial").to_numpy().astype(bool)
    return found.reshape(len(found), -1)


def _rows(cell: xr.Dataset, settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    names = [name for name in settings["pursuits"] if ran(cell, name)]
    paths = {name: recovered(cell, name) for name in names}
    blind = [name for name in names if _is_blind_step(settings["pursuits"][name])]
    lost = ~np.logical_or.reduce([paths[name] for name in blind]) if blind else None
    for name in names:
        counted = {"pursuit": name, "trials": paths[name].size}
        rate = _proportion(int(paths[name].sum()), paths[name].size, settings["confidence"])
        covered = _flat(cell["covered"].sel(pursuit=name).all("layer"))
        lost_though = {"covered": int(covered.sum()), "violations": int((covered & ~paths[name]).sum())}
        yield {"kind": "recovered", **counted, "recovered": int(paths[name].sum()), **rate, **lost_though}
        for other in names[: names.index(name)]:
            ends = statistics.paired_difference(paths[name], paths[other], settings["confidence"])
            difference = dict(zip(("rate", "rate_lower", "rate_upper"), ends, strict=True))
            yield {"kind": "difference", **counted, "versus": other, **difference}
        if lost is not None and name not in blind:
            found, among = int((paths[name] & lost).sum()), int(lost.sum())
            yield {
                "kind": "rescued",
                **counted,
                "trials": among,
                "versus": " and ".join(blind),
                "recovered": found,
                **_proportion(found, among, settings["confidence"]),
            }


def _is_blind_step(options: Mapping[str, Any]) -> bool:
    """Whether a pursuit is one step a layer that does not read the size of the true supports."""
    return options["rule"] in ("hard", "soft", "relu") and options["threshold"] != "oracle"


def _proportion(successes: int, trials: int, confidence: float) -> dict[str, float]:
    if not trials:
        return {"rate": np.nan, "rate_lower": np.nan, "rate_upper": np.nan}
    lower, upper = statistics.proportion_interval(successes, trials, confidence)
    return {"rate": successes / trials, "rate_lower": float(lower), "rate_upper": float(upper)}


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw rates (upper row) and paired differences (lower row), a column a cascade and variant.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : mapping
        `style`, `confidence` and `pursuits`.

    Returns
    -------
    Figure
        A group of points a pursuit, from few active atoms to many, or one for all of them together.
    """
    style = settings["style"]
    columns = list(table[["cascade", "variant"]].drop_duplicates().itertuples(index=False, name=None))
    names = [name for name in settings["pursuits"] if name in set(table["pursuit"])]
    cells = [cell for cell in table["active"].unique() if cell != "all"]
    many = table.loc[table["active"] != "all", "trials"].max() >= ENOUGH
    shown = cells if len(cells) == 1 or (many and len(cells) <= len(styles.MARKERS)) else ["all"]
    colour, first = styles.sequence(style, len(shown)), names[0]
    parts = [table[(table["cascade"] == cascade) & (table["variant"] == variant)] for cascade, variant in columns]
    ran = [[name for name in names if name in set(part["pursuit"])] for part in parts]
    figure, axes = styles.canvas(
        style,
        2,
        len(columns),
        0.38 if len(columns) == 1 else 0.75,
        sharex="col",
        sharey="row",
        width_ratios=[max(len(run), 3) for run in ran],  # as wide as it has pursuits, and as its title
    )
    for column, ((_, variant), part, names) in enumerate(zip(columns, parts, ran, strict=True)):
        for row, kind in enumerate(("recovered", "difference")):
            panel = axes[row, column]
            for index, cell in enumerate(shown):
                one = part[(part["kind"] == kind) & (part["active"] == cell)]
                one = one if kind == "recovered" else one[one["versus"] == first]
                offset = 0.6 * ((index + 0.5) / len(shown) - 0.5)
                places = [names.index(name) + offset for name in one["pursuit"]]
                spans = np.abs(one[["rate_lower", "rate_upper"]].to_numpy().T - one["rate"].to_numpy())
                panel.errorbar(
                    places, one["rate"], spans, color=colour[index], fmt=styles.MARKERS[index], ms=3, lw=0.8, label=cell
                )
            panel.axhline(0, color="0.3", lw=0.7)
        if first not in names:
            axes[1, column].text(
                0.5, 0.5, f"{first}\ndid not run", transform=axes[1, column].transAxes, ha="center", fontsize="x-small"
            )
        axes[1, column].set_xlim(-0.6, len(names) - 0.4)
        axes[0, column].set_title(variant if len(columns) > 1 else "", fontsize="medium")
        axes[1, column].set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize="small")
    axes[0, 0].set_ylabel("paths recovered (share)")
    axes[0, 0].set_ylim(-0.04, 1.04)
    axes[1, 0].set_ylabel(f"difference from {first},\non the same draws")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    if len(shown) > 1:
        title = "active atoms of the deepest code"
        figure.legend(handles, labels, loc="outside upper center", ncols=10, fontsize="small", title=title)
    counts = table.loc[(table["kind"] == "recovered") & table["active"].isin(shown), "trials"]
    styles.footnote(
        figure,
        style,
        f"{styles.plural(counts, 'draw')} a point, the same for all pursuits; bars: Clopper-Pearson "
        f"{settings['confidence']:.0%} (above), the wider of its and Student's over dictionaries (below)",
    )
    return figure
