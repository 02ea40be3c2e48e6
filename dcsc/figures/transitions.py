"""Transitions and certified sparsities of every dictionary replicate, and their slopes against coherence."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from dcsc import statistics


def is_adversarial(draw: Mapping[str, Any]) -> bool:
    """
    Tell whether a variant draws worst-case signs.

    Parameters
    ----------
    draw : mapping
        How the variant is drawn.

    Returns
    -------
    bool
        True for worst-case signs of any kind.
    """
    signs = draw["signs"]
    name = signs if isinstance(signs, str) else signs["name"]
    return name.startswith("worst-case") or draw["layer_signs"] == "worst-case"


def successes(summary: xr.Dataset, variants: Mapping[str, Mapping[str, Any]]) -> xr.DataArray:
    """
    Count what the signs allow to ask for: the support, and against worst-case signs the signs too.

    Worst-case signs are exact for recovery of support and signs only: a correlation pushed through
    zero to the other side is back in the support, with the wrong sign.

    Parameters
    ----------
    summary : Dataset
        Of the summary stage.
    variants : mapping
        How each variant is drawn, by name.

    Returns
    -------
    DataArray of int
        Recovered trials of every cell.
    """
    adversarial = [name for name, draw in variants.items() if is_adversarial(draw)]
    with_signs = summary["variant"].isin(adversarial)
    return xr.where(with_signs, summary["recovered_with_signs"], summary["recovered"], keep_attrs=False)


def measured(
    summary: xr.Dataset, variants: Mapping[str, Mapping[str, Any]], levels: Iterable[float] = (0.5, 0.99)
) -> pd.DataFrame:
    """
    Find the stripe-sparsity at which each replicate's recovery falls through each level.

    Parameters
    ----------
    summary : Dataset
        Of the summary stage.
    variants : mapping
        How each variant is drawn, by name.
    levels : iterable of float
        Recovery rates.

    Returns
    -------
    pandas.DataFrame
        A row for each cascade, replicate, pursuit, variant and level: `mutual_coherence`, `stripe_sparsity`,
        `active` (the same transition in numbers of active atoms) and `censored`, the side on which it lies
        beyond the cells.
    """
    counts = successes(summary, variants)
    rows = []
    for cascade in summary["cascade"].to_numpy():
        for replicate in summary["replicate"].to_numpy():
            drawn = summary.sel(cascade=cascade, replicate=replicate)
            for pursuit in summary["pursuit"].to_numpy():
                for variant in variants:
                    place = {"cascade": cascade, "replicate": replicate, "pursuit": pursuit, "variant": variant}
                    trials = drawn["trials"].sel(pursuit=pursuit, variant=variant).to_numpy()
                    ran = trials > 0
                    cells = counts.sel(place).to_numpy()[ran], trials[ran]
                    sparsity = drawn["stripe_sparsity"].sel(variant=variant).to_numpy()[ran]
                    for level in levels if ran.any() else ():
                        point, censored = statistics.transition_point(sparsity, *cells, level)
                        number, _ = statistics.transition_point(drawn["active"].to_numpy()[ran], *cells, level)
                        mu = float(drawn["mutual_coherence"])
                        found = {"mutual_coherence": mu, "stripe_sparsity": point, "active": number}
                        rows.append({**place, "level": level, **found, "censored": censored})
    return pd.DataFrame(rows)


def certified(certificates: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """
    List the stripe-sparsity that each rung certifies for each pursuit and variant, as they are run.

    Parameters
    ----------
    certificates : mapping of str to Dataset
        Of the certificates stage, by cascade.

    Returns
    -------
    pandas.DataFrame
        A row for each cascade, pursuit, variant and rung that speaks of them, pooled over the dictionaries: the mean
        stripe-sparsity of the largest size whose confidence limit was computed and holds (0 for none), the next one in
        `next_stripe_sparsity`, and the `draws` behind it.
    """
    rows = []
    for cascade, dataset in certificates.items():
        layer = dataset.sel(part=dataset["part"][0], layer=1)
        for place in itertools.product(*(layer[name].to_numpy() for name in _CERTIFIED_FOR)):
            named = dict(zip(_CERTIFIED_FOR, place, strict=True))
            one = layer.sel(named)
            if one["applies"]:
                rows.append(
                    {
                        "cascade": cascade,
                        **named,
                        "replicate": 0,
                        "mutual_coherence": float(one["mutual_coherence"].mean()),
                        "stripe_sparsity": float(one["stripe_sparsity"].fillna(0.0)),
                        "next_stripe_sparsity": float(one["next_stripe_sparsity"]),
                        "draws": int(one["draws"]),
                    }
                )
    return pd.DataFrame(rows)


_CERTIFIED_FOR = ("pursuit", "variant", "rung")


def certified_beside(
    certificates: pd.DataFrame,
    summary: xr.Dataset,
    variants: Mapping[str, Mapping[str, Any]],
    confidence: float,
    delta: float,
) -> pd.DataFrame:
    """
    Summarize certificates beside what was measured of the same pursuit, supports and signs.

    Parameters
    ----------
    certificates : pandas.DataFrame
        From `certified`.
    summary : Dataset
        Of the summary stage.
    variants : mapping
        How each variant is drawn, by name.
    confidence : float
        Level of the intervals, and of all comparisons of the table together.
    delta : float
        Admitted failure rate of the certificates.

    Returns
    -------
    pandas.DataFrame
        The rows of the certificates, with `measured_upper`, the upper end of the measured stripe-sparsity at
        the level 1 - delta (infinite where the transition of a replicate lies beyond the cells), and `above_measured`,
        whether the certificate exceeds it.
    """
    table = certificates.drop(columns="replicate")
    same = measured(summary, variants, [1 - delta])
    comparisons = max(len(table), 1)
    ends = summarized(same, ["pursuit", "variant"], 1 - (1 - confidence) / comparisons)
    # One dictionary gives no interval; then the transition itself has to do.
    ends["measured_upper"] = ends["stripe_sparsity_upper"].fillna(ends["stripe_sparsity"])
    beyond = same[same["censored"] == "above"].groupby(["pursuit", "variant", "cascade"]).size().index
    keys = pd.MultiIndex.from_frame(ends[["pursuit", "variant", "cascade"]])
    ends.loc[keys.isin(beyond), "measured_upper"] = np.inf
    table = table.merge(ends[["pursuit", "variant", "cascade", "measured_upper"]], how="left")
    table["above_measured"] = table["stripe_sparsity"] > table["measured_upper"]
    return table


def slopes(
    points: pd.DataFrame,
    curve: list[str],
    confidence: float = 0.95,
    x: str = "mutual_coherence",
    y: str = "stripe_sparsity",
) -> pd.DataFrame:
    """
    Fit the slope of one logarithm against another for every curve, over all its cascades.

    The members of a series are paired, so that a replicate's slope is along one dictionary; replicates are
    independent.

    Parameters
    ----------
    points : pandas.DataFrame
        From `measured` or `certified`; censored points, and those at 0, are left out.
    curve : list of str
        Columns that tell the curves apart.
    confidence : float
        Level of the interval.
    x, y : str
        Columns whose logarithms are fitted: coherence and sparsity by default.

    Returns
    -------
    pandas.DataFrame
        A row a curve: the mean of the replicates' least squares slopes, its Student interval over
        them, the number of cascades fitted, and the range of coherence.
    """
    rows = []
    for name, group in uncensored(points[points[y] > 0], curve).groupby(curve, sort=False):
        fitted = _replicate_slopes(group, x, y)
        mean, lower, upper = statistics.mean_interval(fitted, confidence)
        rows.append(
            {
                **dict(zip(curve, name if isinstance(name, tuple) else (name,), strict=True)),
                "slope": mean,
                "slope_lower": lower,
                "slope_upper": upper,
                "cascades": group["cascade"].nunique(),
                "replicates": len(fitted),
                "lowest_coherence": group["mutual_coherence"].min(),
                "highest_coherence": group["mutual_coherence"].max(),
            }
        )
    return pd.DataFrame(rows)


def uncensored(points: pd.DataFrame, curve: list[str]) -> pd.DataFrame:
    """
    Drop a cascade when any replicate of it is censored, so that all replicates fit the same points.

    Parameters
    ----------
    points : pandas.DataFrame
        From `measured` or `certified`.
    curve : list of str
        Columns that tell the curves apart.

    Returns
    -------
    pandas.DataFrame
        Of each curve the cascades in which every replicate's transition lies among the cells.
    """
    if "censored" not in points:
        return points
    bad = points.assign(bad=points["censored"] != "").groupby([*curve, "cascade"])["bad"].transform("any")
    return points[~bad]


def _replicate_slopes(points: pd.DataFrame, x: str, y: str) -> pd.Series:
    """Least squares slope of log y against log x of every replicate with two points or more."""
    return pd.Series(
        {
            replicate: np.polyfit(np.log(one[x]), np.log(one[y]), 1)[0]
            for replicate, one in points.groupby("replicate")
            if len(one) > 1
        },
        dtype=np.float64,
    )


def slope_difference(
    first: pd.DataFrame, second: pd.DataFrame, confidence: float = 0.95
) -> tuple[float, float, float, int]:
    """
    Compare the slopes of two curves on the same dictionaries and the same cascades.

    Parameters
    ----------
    first, second : pandas.DataFrame
        Rows of `measured`, one curve each; cascades that are censored or missing in either are left out of both.
    confidence : float
        Level of the interval.

    Returns
    -------
    difference, lower, upper : float
        First minus second: mean over the replicates and its Student interval.
    replicates : int
        How many.
    """
    curves = (first, second)
    bad = {cascade for part in curves for cascade in part.loc[part["censored"] != "", "cascade"]}
    common = set(first["cascade"]) & set(second["cascade"]) - bad
    fitted = [
        _replicate_slopes(part[part["cascade"].isin(common)], "mutual_coherence", "stripe_sparsity") for part in curves
    ]
    difference = (fitted[0] - fitted[1]).dropna()
    return (*statistics.mean_interval(difference, confidence), len(difference))


def summarized(
    points: pd.DataFrame, curve: list[str], confidence: float = 0.95, y: str = "stripe_sparsity"
) -> pd.DataFrame:
    """
    Average the replicates of every point of every curve.

    Parameters
    ----------
    points : pandas.DataFrame
        From `measured` or `certified`.
    curve : list of str
        Columns that tell the curves apart.
    confidence : float
        Level of the intervals.
    y : str
        The column to average.

    Returns
    -------
    pandas.DataFrame
        A row a curve and cascade: mean coherence, mean sparsity with its Student interval, the number of
        replicates and how many of them are censored.
    """
    rows = []
    for name, group in points.groupby([*curve, "cascade"], sort=False):
        mean, lower, upper = statistics.mean_interval(group[y], confidence)
        censored = int((group["censored"] != "").sum()) if "censored" in group else 0
        rows.append(
            {
                **dict(zip([*curve, "cascade"], name, strict=True)),
                "mutual_coherence": group["mutual_coherence"].mean(),
                y: mean,
                f"{y}_lower": lower,
                f"{y}_upper": upper,
                "replicates": len(group),
                "censored": censored,
            }
        )
    return pd.DataFrame(rows)
