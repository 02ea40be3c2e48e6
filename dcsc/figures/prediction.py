"""Failure of a layer as predicted by its sparsity in the stripe, in the patch, and in the whole code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
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
FEWEST = 10
"""Trials in a bin; one with fewer is merged with its neighbour."""

TOGETHER = "all laws"
"""Stands for the variant where trials of all of them are put together."""


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
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
    settings : mapping
        `confidence` and `variants`.

    Returns
    -------
    pandas.DataFrame
        Rows of the kinds "rate" (failure against a predictor, a curve a variant), "roc", "auc",
        "difference" (stripe-sparsity minus another predictor) and "calibration", for each pursuit; `variant` is
        "all laws" where all trials are together.
    """
    tables = []
    for pursuit in results.summary["pursuit"].to_numpy():
        trials = pd.concat([_trials(dataset, pursuit) for dataset in results.trials.values()], ignore_index=True)
        for predictor in PREDICTORS:
            tables.append(_rates(trials, predictor, settings["confidence"]).assign(kind="rate", pursuit=pursuit))
            false_alarms, hits = statistics.roc_curve(trials[predictor], trials["failed"])
            roc = pd.DataFrame({"predictor": predictor, "x": false_alarms, "y": hits})
            tables.append(roc.assign(kind="roc", pursuit=pursuit, variant=TOGETHER, trials=len(trials)))
            fitted = _calibration(trials, predictor, settings["confidence"])
            tables.append(fitted.assign(pursuit=pursuit, variant=TOGETHER))
        for law, chosen in {TOGETHER: trials, **dict(tuple(trials.groupby("variant", sort=False)))}.items():
            tables.append(_areas(chosen, settings["confidence"]).assign(pursuit=pursuit, variant=law))
    return pd.concat(tables, ignore_index=True)


def _trials(dataset: Any, pursuit: str) -> pd.DataFrame:
    chosen = dataset.sel(pursuit=pursuit)
    first = chosen.isel(layer=0)
    table = first[["stripe_sparsity", "patch_sparsity"]].assign(failed=~chosen["path_recovered"].astype(bool))
    table = table.assign(measured=chosen["measured"].astype(bool)).to_dataframe().reset_index()
    return table.loc[table["measured"], ["variant", "replicate", "failed", *PREDICTORS]]


def _rates(trials: pd.DataFrame, predictor: str, confidence: float) -> pd.DataFrame:
    """Failure rate of every variant in bins of a predictor, of about equal counts over all variants."""
    edges = np.unique(np.quantile(trials[predictor], np.linspace(0, 1, 25)))
    binned = np.clip(np.searchsorted(edges, trials[predictor], side="right") - 1, 0, max(len(edges) - 2, 0))
    grouped = trials.assign(bin=binned).groupby(["variant", "bin"], sort=True)
    counts = grouped["failed"].size()
    wider = pd.concat([merged_bins(one, FEWEST) for _, one in counts.groupby("variant")])
    grouped = trials.assign(bin=wider.loc[list(zip(trials["variant"], binned, strict=True))].to_numpy())
    grouped = grouped.groupby(["variant", "bin"], sort=True)
    table = grouped.agg(x=(predictor, "mean"), failures=("failed", "sum"), trials=("failed", "size")).reset_index()
    table["y"] = table["failures"] / table["trials"]
    table["y_lower"], table["y_upper"] = statistics.proportion_interval(table["failures"], table["trials"], confidence)
    return table.drop(columns="bin").assign(predictor=predictor)


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
        wider = [min(one, number - 1) for one in wider]
    return pd.Series(wider, counts.index)


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
            numbers = numbers[~np.isnan(numbers)]  # where all or none failed there is nothing to tell apart
            mean, lower, upper = statistics.mean_interval(numbers, confidence) if len(numbers) else (np.nan,) * 3
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
    Draw failure against every predictor, the ROC curves, what stripe-sparsity gains, and the calibration.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`; three rows of panels a pursuit.
    settings : mapping
        `style`, `confidence` and `variants`.

    Returns
    -------
    Figure
        Where curves of differently placed supports fall together, the abscissa explains the failures.
    """
    style = settings["style"]
    pursuits = list(table["pursuit"].unique())
    figure, axes = styles.canvas(style, 3 * len(pursuits), 2, 0.62)
    colour = dict(zip(PREDICTORS, styles.colours(style, 3), strict=True))
    for row, pursuit in enumerate(pursuits):
        part = table[table["pursuit"] == pursuit]
        first, second, third = axes[3 * row : 3 * row + 3]
        panels = dict(zip(("active", "stripe_sparsity", "patch_sparsity"), (*first, second[0]), strict=True))
        for predictor, panel in panels.items():
            _draw_rates(panel, part, predictor, style)
            panel.set_title(f"{pursuit}: failure against {PREDICTORS[predictor]}", fontsize="small")
            panel.set_ylabel("failed (share)", fontsize="medium")
        first[0].legend(fontsize="x-small", title="supports", title_fontsize="x-small")
        _draw_roc(second[1], part, colour)
        _draw_differences(third[0], part, colour)
        _draw_calibration(third[1], part, colour)
    areas = table[(table["kind"] == "auc") & (table["variant"] == TOGETHER)]
    styles.footnote(
        figure,
        style,
        f"{styles.plural(areas['trials'], 'trial')} over {styles.plural(areas['replicates'], 'dictionary')}, at least "
        f"{FEWEST} a point; bands and bars of shares: Clopper-Pearson {settings['confidence']:.0%}; areas and their "
        f"paired differences: Student {settings['confidence']:.0%} over dictionaries",
    )
    return figure


def _draw_roc(panel: Axes, part: pd.DataFrame, colour: Mapping[str, Any]) -> None:
    part = part[part["variant"] == TOGETHER]
    for (predictor, name), line in zip(PREDICTORS.items(), ("-", "--", "-."), strict=True):
        one = part[part["predictor"] == predictor]
        area = one[one["kind"] == "auc"].iloc[0]
        label = f"{name}: {area.y:.3f} [{area.y_lower:.3f}, {area.y_upper:.3f}]"
        roc = one[one["kind"] == "roc"]
        panel.plot(roc["x"], roc["y"], color=colour[predictor], linestyle=line, linewidth=1.3, label=label)
    panel.legend(fontsize="xx-small", title="area under the curve", title_fontsize="xx-small", loc="lower right")
    panel.set_title(f"{TOGETHER} of supports together", fontsize="small")
    panel.set_xlabel("false alarms (share of recovered)", fontsize="medium")
    panel.set_ylabel("detected\n(share of failed)", fontsize="medium")


def _draw_differences(panel: Axes, part: pd.DataFrame, colour: Mapping[str, Any]) -> None:
    """What stripe-sparsity gains over the other predictors, over all laws together and within each."""
    differences = part[part["kind"] == "difference"]
    laws = list(differences["variant"].unique())
    others = [predictor for predictor in PREDICTORS if predictor != "stripe_sparsity"]
    for index, predictor in enumerate(others):
        chosen = differences[differences["predictor"] == predictor].set_index("variant").loc[laws]
        heights = np.arange(len(laws)) + 0.3 * (index - 0.5)
        lengths = np.abs(chosen[["y_lower", "y_upper"]].to_numpy().T - chosen["y"].to_numpy())
        options = {"color": colour[predictor], "marker": styles.MARKERS[1 + index], "markersize": 3.5}
        panel.errorbar(
            chosen["y"],
            heights,
            xerr=lengths,
            linestyle="",
            capsize=2,
            label=f"over {PREDICTORS[predictor]}",
            **options,
        )
        for height, value, upper in zip(heights, chosen["y"], chosen["y_upper"], strict=True):
            panel.annotate(
                f"{value:+.4f}", (upper, height), (4, 0), textcoords="offset points", va="center", fontsize="xx-small"
            )
    panel.axvline(0, color="0.4", linewidth=0.8, linestyle=":")
    panel.margins(x=0.25)
    panel.set_yticks(range(len(laws)), [laws[0], *(f"within\n{law}" for law in laws[1:])], fontsize="x-small")
    panel.set_ylim(len(laws) - 0.4, -1.4)  # from above, with room for the legend
    panel.legend(fontsize="xx-small", loc="upper left", ncols=2)
    panel.set_title("what stripe-sparsity gains", fontsize="small")
    panel.xaxis.set_major_locator(MaxNLocator(5))
    panel.set_xlabel("difference of the areas under the curve", fontsize="medium")


def _draw_calibration(panel: Axes, part: pd.DataFrame, colour: Mapping[str, Any]) -> None:
    for index, (predictor, name) in enumerate(PREDICTORS.items()):
        one = part[part["predictor"] == predictor]
        fit = one[one["kind"] == "calibration"].sort_values("x")
        lengths = np.abs(fit[["y_lower", "y_upper"]].to_numpy().T - fit["y"].to_numpy())
        options = {"color": colour[predictor], "marker": styles.MARKERS[index], "markersize": 3.5}
        panel.errorbar(fit["x"], fit["y"], lengths, linestyle="", capsize=2, label=name, **options)
    panel.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1)
    panel.legend(fontsize="xx-small", loc="upper left")
    panel.set_title("fitted on half of the dictionaries", fontsize="small")
    panel.set_xlabel("predicted failure rate", fontsize="medium")
    panel.set_ylabel("failed, other half\n(share)", fontsize="medium")


def _draw_rates(panel: Axes, table: pd.DataFrame, predictor: str, style: Mapping[str, Any]) -> None:
    rates = table[(table["kind"] == "rate") & (table["predictor"] == predictor)]
    variants = list(rates["variant"].unique())
    for index, (variant, colour) in enumerate(zip(variants, styles.colours(style, len(variants)), strict=True)):
        curve = rates[rates["variant"] == variant]
        styles.curve_with_band(panel, curve, "x", "y", colour, index, label=variant)
    styles.logarithmic(panel.xaxis, rates["x"])
    panel.set_ylim(-0.03, 1.03)
    panel.set_xlabel(PREDICTORS[predictor], fontsize="medium")
