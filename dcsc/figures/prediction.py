"""Failure of a layer as predicted by its sparsity in the stripe, in the patch, and in the whole code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

from dcsc import statistics
from dcsc.figures import style as styles
from dcsc.figures.results import Results

PREDICTORS = {
    "stripe_sparsity": "stripe-sparsity",
    "patch_sparsity": "patch-sparsity",
    "active": "number of activations",
}
BINS = np.linspace(0, 1, 11)


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    Compare predictors of failure over all trials of an experiment.

    Areas under ROC curves are computed for each dictionary, so that their intervals are over independent
    replicates and their differences are paired. The calibration is fitted on the dictionaries of even
    number and checked on the others.

    Parameters
    ----------
    results : Results
        Its trials are used: one cascade.
    settings : mapping
        `confidence` and `variants`.

    Returns
    -------
    pandas.DataFrame
        Rows of the kinds "rate" (failure against a predictor, a curve a variant), "roc", "auc",
        "difference" (stripe-sparsity minus another predictor) and "calibration", for each pursuit.
    """
    tables = []
    for pursuit in results.summary["pursuit"].to_numpy():
        trials = pd.concat([_trials(dataset, pursuit) for dataset in results.trials.values()], ignore_index=True)
        for predictor in PREDICTORS:
            tables.append(_rates(trials, predictor, settings["confidence"]).assign(kind="rate", pursuit=pursuit))
            false_alarms, hits = statistics.roc_curve(trials[predictor], trials["failed"])
            roc = pd.DataFrame({"predictor": predictor, "x": false_alarms, "y": hits})
            tables.append(roc.assign(kind="roc", pursuit=pursuit, trials=len(trials)))
            tables.append(_calibration(trials, predictor, settings["confidence"]).assign(pursuit=pursuit))
        tables.append(_areas(trials, settings["confidence"]).assign(pursuit=pursuit))
    return pd.concat(tables, ignore_index=True)


def _trials(dataset: Any, pursuit: str) -> pd.DataFrame:
    chosen = dataset.sel(pursuit=pursuit)
    first = chosen.isel(layer=0)
    table = first[["stripe_sparsity", "patch_sparsity"]].assign(failed=~chosen["path_recovered"].astype(bool))
    table = table.assign(measured=chosen["measured"].astype(bool)).to_dataframe().reset_index()
    return table.loc[table["measured"], ["variant", "replicate", "failed", *PREDICTORS]]


def _rates(trials: pd.DataFrame, predictor: str, confidence: float) -> pd.DataFrame:
    """Failure rate of every variant in bins of a predictor, of about equal counts."""
    edges = np.unique(np.quantile(trials[predictor], np.linspace(0, 1, 25)))
    binned = np.clip(np.searchsorted(edges, trials[predictor], side="right") - 1, 0, max(len(edges) - 2, 0))
    grouped = trials.assign(bin=binned).groupby(["variant", "bin"], sort=True)
    table = grouped.agg(x=(predictor, "mean"), failures=("failed", "sum"), trials=("failed", "size")).reset_index()
    table["y"] = table["failures"] / table["trials"]
    table["y_lower"], table["y_upper"] = statistics.proportion_interval(table["failures"], table["trials"], confidence)
    return table.drop(columns="bin").assign(predictor=predictor)


def _areas(trials: pd.DataFrame, confidence: float) -> pd.DataFrame:
    areas = {
        predictor: np.array(
            [statistics.auc(one[predictor], one["failed"]) for _, one in trials.groupby("replicate", sort=True)]
        )
        for predictor in PREDICTORS
    }
    rows = []
    for predictor, values in areas.items():
        parts = [("auc", values)]
        if predictor != "stripe_sparsity":
            parts.append(("difference", areas["stripe_sparsity"] - values))
        for kind, numbers in parts:
            mean, lower, upper = statistics.mean_interval(numbers, confidence)
            found = {"y": mean, "y_lower": lower, "y_upper": upper, "replicates": len(numbers), "trials": len(trials)}
            rows.append({"kind": kind, "predictor": predictor, **found})
    return pd.DataFrame(rows)


def _calibration(trials: pd.DataFrame, predictor: str, confidence: float) -> pd.DataFrame:
    """Failure rates that an increasing function of the predictor promises, beside those of other dictionaries."""
    fitted, held_out = trials[trials["replicate"] % 2 == 0], trials[trials["replicate"] % 2 == 1]
    if fitted.empty or held_out.empty:
        return pd.DataFrame()
    means = fitted.groupby(predictor)["failed"].agg(["mean", "size"])
    curve = isotonic_regression(means["mean"], weights=means["size"].astype(float)).x
    predicted = np.interp(held_out[predictor], means.index, curve)
    binned = np.clip(np.digitize(predicted, BINS) - 1, 0, len(BINS) - 2)
    grouped = pd.DataFrame({"bin": binned, "x": predicted, "failed": held_out["failed"].to_numpy()}).groupby("bin")
    table = grouped.agg(x=("x", "mean"), failures=("failed", "sum"), trials=("failed", "size")).reset_index(drop=True)
    table["y"] = table["failures"] / table["trials"]
    table["y_lower"], table["y_upper"] = statistics.proportion_interval(table["failures"], table["trials"], confidence)
    return table.assign(kind="calibration", predictor=predictor)


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw failure against the number of activations and against stripe-sparsity, the ROC curves and the calibration.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`; a row of panels a pursuit.
    settings : mapping
        `style`, `confidence` and `variants`.

    Returns
    -------
    Figure
        Where curves of differently placed supports fall together, the abscissa explains the failures.
    """
    style = settings["style"]
    pursuits = list(table["pursuit"].unique())
    figure, axes = styles.canvas(style, 2 * len(pursuits), 2, 0.68)
    predictor_colour = dict(zip(PREDICTORS, styles.colours(style, 3), strict=True))
    for row, pursuit in enumerate(pursuits):
        part = table[table["pursuit"] == pursuit]
        upper, lower = axes[2 * row], axes[2 * row + 1]
        for panel, predictor in zip(upper, ("active", "stripe_sparsity"), strict=True):
            _draw_rates(panel, part, predictor, style)
            panel.set_title(f"{pursuit}: failure against {PREDICTORS[predictor]}", fontsize="small")
        upper[0].set_ylabel("failed (share)")
        upper[0].legend(fontsize="x-small")
        for predictor, name in PREDICTORS.items():
            one = part[part["predictor"] == predictor]
            area = one[one["kind"] == "auc"].iloc[0]
            label = f"{name}: {area.y:.3f} [{area.y_lower:.3f}, {area.y_upper:.3f}]"
            roc = one[one["kind"] == "roc"]
            lower[0].plot(roc["x"], roc["y"], color=predictor_colour[predictor], linewidth=1.3, label=label)
            fit = one[one["kind"] == "calibration"].sort_values("x")
            lengths = np.abs(fit[["y_lower", "y_upper"]].to_numpy().T - fit["y"].to_numpy())
            marker = styles.MARKERS[list(PREDICTORS).index(predictor)]
            options = {"color": predictor_colour[predictor], "marker": marker, "markersize": 3.5}
            lower[1].errorbar(fit["x"], fit["y"], lengths, linewidth=1, capsize=2, label=name, **options)
        differences = part[part["kind"] == "difference"]
        text = "\n".join(
            f"stripe - {PREDICTORS[one.predictor]}:\n  {one.y:+.3f} [{one.y_lower:+.3f}, {one.y_upper:+.3f}]"
            for one in differences.itertuples()
        )
        lower[0].text(0.98, 0.42, text, fontsize="xx-small", transform=lower[0].transAxes, ha="right", va="bottom")
        lower[0].legend(fontsize="xx-small", title="area under the curve", title_fontsize="xx-small", loc="lower right")
        lower[0].set(xlabel="false alarms (share of recovered)", ylabel="detected (share of failed)")
        lower[1].plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1)
        lower[1].legend(fontsize="xx-small", loc="upper left")
        lower[1].set(xlabel="predicted failure rate", ylabel="measured, other dictionaries")
    areas = table[table["kind"] == "auc"]
    styles.footnote(
        figure,
        style,
        f"{styles.count(areas['trials'])} trials over {styles.count(areas['replicates'])} dictionaries; bands "
        f"and bars: Clopper-Pearson {settings['confidence']:.0%}; "
        "areas and paired differences: Student over dictionaries",
    )
    return figure


def _draw_rates(panel: Axes, table: pd.DataFrame, predictor: str, style: Mapping[str, Any]) -> None:
    rates = table[(table["kind"] == "rate") & (table["predictor"] == predictor)]
    variants = list(rates["variant"].unique())
    for index, (variant, colour) in enumerate(zip(variants, styles.colours(style, len(variants)), strict=True)):
        curve = rates[rates["variant"] == variant]
        styles.curve_with_band(panel, curve, "x", "y", colour, index, label=variant)
    styles.logarithmic(panel.xaxis, rates["x"])
    panel.set_ylim(-0.03, 1.03)
    panel.set_xlabel(PREDICTORS[predictor])
