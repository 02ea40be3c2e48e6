"""
Failure of a layer as predicted by its sparsity in the stripe, in the patch, and in the whole code.

When to take it: for draws of several laws of supports: which measure of sparsity predicts failure best?
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.optimize import isotonic_regression

from dcsc import statistics
from dcsc.figures import style
from dcsc.figures.inputs import FigureSettings, Results
from dcsc.figures.panels import Panel
from dcsc.figures.tables import mean_of, select, with_shares

PANEL = Panel(
    reads_trials=True, columns="variant x failures trials y y_lower y_upper predictor kind pursuit replicates"
)

PREDICTORS = {
    "stripe_sparsity": "stripe-sparsity",
    "patch_sparsity": "patch-sparsity",
    "active": "number of activations",
}
BINS = np.linspace(0, 1, 11)
FEWEST = 10
"""Trials in a bin; one with fewer is merged with its neighbour."""

TOGETHER = "all laws"
"""Stands for the variant where trials of all of them are put together."""


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Compare predictors of failure over all trials of an experiment.

    Areas under ROC curves are computed for each dictionary, so that their intervals are over independent
    replicates and their differences are paired; once over the trials of all variants, which differ in the law
    of the supports, and once within each of them. The calibration is fitted on the dictionaries of even
    number and checked on the others.

    Parameters
    ----------
    results : Results
        Its trials are used: one cascade.
    settings : FigureSettings
        Its confidence.

    Returns
    -------
    pandas.DataFrame
        Rows of the kinds "rate" (failure against a predictor, a curve per variant), "roc", "auc",
        "difference" (stripe-sparsity minus another predictor) and "calibration", for each pursuit; `variant` is
        "all laws" where all trials are together.
    """
    tables = []
    for pursuit in results.summary["pursuit"].to_numpy():
        trials = pd.concat([_trials(dataset, pursuit) for dataset in results.trials.values()], ignore_index=True)
        for predictor in PREDICTORS:
            tables.append(_rates(trials, predictor, settings.confidence).assign(kind="rate", pursuit=pursuit))
            false_alarms, hits = statistics.roc_curve(trials[predictor], trials["failed"])
            roc = pd.DataFrame({"predictor": predictor, "x": false_alarms, "y": hits})
            tables.append(roc.assign(kind="roc", pursuit=pursuit, variant=TOGETHER, trials=len(trials)))
            fitted = _calibration(trials, predictor, settings.confidence)
            tables.append(fitted.assign(pursuit=pursuit, variant=TOGETHER))
        for law, chosen in {TOGETHER: trials, **dict(tuple(trials.groupby("variant", sort=False)))}.items():
            tables.append(_areas(chosen, settings.confidence).assign(pursuit=pursuit, variant=law))
    return pd.concat(tables, ignore_index=True)


def _trials(dataset: xr.Dataset, pursuit: str) -> pd.DataFrame:
    chosen = dataset.sel(pursuit=pursuit)
    first = chosen.isel(layer=0)[["stripe_sparsity", "patch_sparsity", "path_recovered", "measured"]]
    table = select(first.to_dataframe().reset_index(), measured=1)
    return table.assign(failed=table["path_recovered"] == 0)[["variant", "replicate", "failed", *PREDICTORS]]


def _rates(trials: pd.DataFrame, predictor: str, confidence: float) -> pd.DataFrame:
    """Failure rate of every variant in bins of a predictor, of about equal counts over all variants."""
    edges = np.unique(np.quantile(trials[predictor], np.linspace(0, 1, 25)))
    binned = np.clip(np.searchsorted(edges, trials[predictor], side="right") - 1, 0, max(len(edges) - 2, 0))
    grouped = trials.assign(bin=binned).groupby(["variant", "bin"], sort=True)
    counts = grouped["failed"].size()
    wider = pd.concat([merged_bins(of_variant, FEWEST) for _, of_variant in counts.groupby("variant")])
    grouped = trials.assign(bin=wider.loc[list(zip(trials["variant"], binned, strict=True))].to_numpy())
    grouped = grouped.groupby(["variant", "bin"], sort=True)
    table = grouped.agg(x=(predictor, "mean"), failures=("failed", "sum"), trials=("failed", "size")).reset_index()
    return with_shares(table, "failures", confidence, "y").drop(columns="bin").assign(predictor=predictor)


def merged_bins(counts: pd.Series, fewest: int) -> pd.Series:
    """
    Merge each bin that holds too few trials with the next, and the last with the one before.

    Parameters
    ----------
    counts : pandas.Series of int
        Trials of every bin, in order.
    fewest : int
        What a bin must hold.

    Returns
    -------
    pandas.Series of int
        The number, from 0, of the wider bin that each one is in; all are in one when there are too few in all.
    """
    number, held, wider = 0, 0, []
    for count in counts:
        if held >= fewest:
            number, held = number + 1, 0
        wider.append(number)
        held += count
    if held < fewest and number > 0:
        wider = [min(index, number - 1) for index in wider]
    return pd.Series(wider, counts.index)


def _areas(trials: pd.DataFrame, confidence: float) -> pd.DataFrame:
    replicates = [of_replicate for _, of_replicate in trials.groupby("replicate", sort=True)]
    areas = {name: np.array([statistics.auc(part[name], part["failed"]) for part in replicates]) for name in PREDICTORS}
    rows = []
    for predictor, values in areas.items():
        kinds = {"auc": values}
        if predictor != "stripe_sparsity":
            kinds["difference"] = areas["stripe_sparsity"] - values
        for kind, numbers in kinds.items():
            counts = {"replicates": int(np.isfinite(numbers).sum()), "trials": len(trials)}
            rows.append({"kind": kind, "predictor": predictor, **mean_of(numbers, confidence, "y"), **counts})
    return pd.DataFrame(rows)


def _calibration(trials: pd.DataFrame, predictor: str, confidence: float) -> pd.DataFrame:
    """Failure rates that an increasing function of the predictor promises, beside those of other dictionaries."""
    fitted, held_out = (trials[trials["replicate"] % 2 == half] for half in (0, 1))
    if fitted.empty or held_out.empty:
        return pd.DataFrame()
    means = fitted.groupby(predictor)["failed"].agg(["mean", "size"])
    curve = isotonic_regression(means["mean"], weights=means["size"].astype(float)).x
    predicted = np.interp(held_out[predictor], means.index, curve)
    binned = np.clip(np.digitize(predicted, BINS) - 1, 0, len(BINS) - 2)
    grouped = pd.DataFrame({"bin": binned, "x": predicted, "failed": held_out["failed"].to_numpy()}).groupby("bin")
    table = grouped.agg(x=("x", "mean"), failures=("failed", "sum"), trials=("failed", "size")).reset_index(drop=True)
    return with_shares(table, "failures", confidence, "y").assign(kind="calibration", predictor=predictor)


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw failure against every predictor, the ROC curves, what stripe-sparsity gains, and the calibration.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`; three rows of panels a pursuit.
    settings : FigureSettings
        Its style and confidence.

    Returns
    -------
    Figure
        Where curves of differently placed supports fall together, the abscissa explains the failures.
    """
    pursuits = list(table["pursuit"].unique())
    figure, axes = style.canvas(settings.style, 3 * len(pursuits), 2, 0.62)
    colour = dict(zip(PREDICTORS, style.colours(settings.style, 3), strict=True))
    for row, pursuit in enumerate(pursuits):
        part = select(table, pursuit=pursuit)
        panels = axes[3 * row : 3 * row + 3].ravel()
        for predictor, panel in zip(("active", "stripe_sparsity", "patch_sparsity"), panels, strict=False):
            _draw_rates(panel, select(part, kind="rate", predictor=predictor), settings)
            panel.set_title(f"{pursuit}: failure against {PREDICTORS[predictor]}", fontsize="small")
            panel.set(xlabel=PREDICTORS[predictor], ylabel="failed (share)")
        panels[0].legend(fontsize="x-small", title="supports", title_fontsize="x-small")
        _draw_roc(panels[3], select(part, variant=TOGETHER), colour)
        _draw_differences(panels[4], select(part, kind="difference"), colour)
        _draw_calibration(panels[5], select(part, kind="calibration"), colour)
    areas = select(table, kind="auc", variant=TOGETHER)
    style.footnote(
        figure,
        f"{style.plural(areas['trials'], 'trial')} over {style.plural(areas['replicates'], 'dictionary')}, at least "
        f"{FEWEST} a point; bands and bars of shares: Clopper-Pearson {settings.confidence:.0%}; areas and their "
        f"paired differences: Student {settings.confidence:.0%} over dictionaries",
    )
    return figure


def _draw_roc(panel: Axes, together: pd.DataFrame, colour: Mapping[str, Any]) -> None:
    for (predictor, name), line in zip(PREDICTORS.items(), ("-", "--", "-."), strict=True):
        area = select(together, kind="auc", predictor=predictor).iloc[0]
        label = f"{name}: {area.y:.3f} [{area.y_lower:.3f}, {area.y_upper:.3f}]"
        roc = select(together, kind="roc", predictor=predictor)
        panel.plot(roc["x"], roc["y"], color=colour[predictor], linestyle=line, linewidth=1.3, label=label)
    panel.legend(fontsize="xx-small", title="area under the curve", title_fontsize="xx-small", loc="lower right")
    panel.set_title(f"{TOGETHER} of supports together", fontsize="small")
    panel.set(xlabel="false alarms (share of recovered)", ylabel="detected\n(share of failed)")


def _draw_differences(panel: Axes, differences: pd.DataFrame, colour: Mapping[str, Any]) -> None:
    """What stripe-sparsity gains over the other predictors, over all laws together and within each."""
    laws = list(differences["variant"].unique())
    others = [predictor for predictor in PREDICTORS if predictor != "stripe_sparsity"]
    for index, predictor in enumerate(others):
        chosen = select(differences, predictor=predictor)
        chosen = chosen.assign(height=chosen["variant"].map(laws.index) + 0.3 * (index - 0.5))
        name = f"over {PREDICTORS[predictor]}"
        look: style.Look = {"linestyle": "", "markersize": 3.5, "label": name}
        style.bars(panel, chosen, "y", "height", colour[predictor], 1 + index, **look)
        for row in chosen.itertuples():
            look = {"textcoords": "offset points", "va": "center", "fontsize": "xx-small"}
            panel.annotate(f"{row.y:+.4f}", (row.y_upper, row.height), (4, 0), **look)
    panel.axvline(0, color="0.4", linewidth=0.8, linestyle=":")
    panel.margins(x=0.25)
    panel.set_yticks(range(len(laws)), [laws[0], *(f"within\n{law}" for law in laws[1:])], fontsize="x-small")
    panel.set_ylim(len(laws) - 0.4, -1.4)  # from above, with space for the legend
    panel.legend(fontsize="xx-small", loc="upper left", ncols=2)
    panel.set_title("what stripe-sparsity gains", fontsize="small")
    panel.xaxis.set_major_locator(MaxNLocator(5))
    panel.set_xlabel("difference of the areas under the curve")


def _draw_calibration(panel: Axes, calibration: pd.DataFrame, colour: Mapping[str, Any]) -> None:
    for index, (predictor, name) in enumerate(PREDICTORS.items()):
        fit = select(calibration, predictor=predictor)
        style.bars(panel, fit, "x", "y", colour[predictor], index, linestyle="", markersize=3.5, label=name)
    panel.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1)
    panel.legend(fontsize="xx-small", loc="upper left")
    panel.set_title("fitted on half of the dictionaries", fontsize="small")
    panel.set(xlabel="predicted failure rate", ylabel="failed, other half\n(share)")


def _draw_rates(panel: Axes, rates: pd.DataFrame, settings: FigureSettings) -> None:
    variants = list(rates["variant"].unique())
    colours = style.colours(settings.style, len(variants))
    for index, (variant, colour) in enumerate(zip(variants, colours, strict=True)):
        style.curve_with_band(panel, select(rates, variant=variant), "x", "y", colour, index, label=variant)
    style.logarithmic(panel.xaxis, rates["x"])
    panel.set_ylim(-0.03, 1.03)
