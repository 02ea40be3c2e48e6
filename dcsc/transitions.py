"""Transitions and certified sparsities of every dictionary replicate, and their slopes against coherence."""

from __future__ import annotations

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


def certified(
    summary: xr.Dataset, variants: Mapping[str, Mapping[str, Any]], variant: str, delta: float
) -> pd.DataFrame:
    """
    Find the stripe-sparsity that each rung of the ladder certifies for each replicate.

    The closed forms stand in the summary; the instance forms are read off the cells, where the
    uniform one must cover a share 1 - delta of the draws and the statistical one have a mean bound of
    at most delta, interpolated between cells. The uniform one does not depend on the signs: it is read off
    the cells of the variant that differs in its worst-case signs alone, if there is one, since these are
    finest where it falls.

    Parameters
    ----------
    summary : Dataset
        Of the summary stage.
    variants : mapping
        How each variant is drawn, by name.
    variant : str
        The one with random signs whose supports the instance forms look at.
    delta : float
        Admitted failure probability.

    Returns
    -------
    pandas.DataFrame
        A row for each cascade, replicate and rung.
    """
    rows = []
    worst = _counterpart(variants, variant)
    for cascade in summary["cascade"].to_numpy():
        for replicate in summary["replicate"].to_numpy():
            drawn = summary.sel(cascade=cascade, replicate=replicate)
            place = {"cascade": cascade, "replicate": replicate, "mutual_coherence": float(drawn["mutual_coherence"])}
            limits = drawn["certified_sparsity"].sel(variant=variant).to_series().to_dict()
            cells, finest = _bounded_cells(drawn, variant), _bounded_cells(drawn, worst)
            if cells.sizes["active"] and finest.sizes["active"]:
                limits["uniform-instance"], _ = statistics.transition_point(
                    *(finest[name].to_numpy() for name in ("stripe_sparsity", "instance_covered", "bounded")), 1 - delta
                )
                limits["statistical-instance"] = _crossing(
                    cells["stripe_sparsity"].to_numpy(), cells["failure_bound"].to_numpy(), delta
                )
            rows += [{**place, "rung": rung, "stripe_sparsity": limit} for rung, limit in limits.items()]
    return pd.DataFrame(rows)


def _counterpart(variants: Mapping[str, Mapping[str, Any]], variant: str) -> str:
    """The variant with worst-case signs that is drawn like another one otherwise; that one if there is none."""
    alike = {name: value for name, value in variants[variant].items() if name != "signs"}
    for name, draw in variants.items():
        if is_adversarial(draw) and {key: value for key, value in draw.items() if key != "signs"} == alike:
            return name
    return variant


def _bounded_cells(drawn: xr.Dataset, variant: str) -> xr.Dataset:
    """The cells of a variant for which the instance forms were computed."""
    cells = drawn.sel(variant=variant)
    return cells.isel(active=np.flatnonzero((cells["bounded"] > 0) & ~np.isnan(cells["stripe_sparsity"])))


def _crossing(sparsity: np.ndarray, bounds: np.ndarray, delta: float) -> float:
    """Interpolate where a growing bound passes delta, both logarithmic; 0 when no cell is below it."""
    logs = np.log(np.maximum(np.where(np.isnan(bounds), 1.0, bounds), 1e-300))
    above = logs > np.log(delta)
    if not above.any():
        return float(sparsity[-1])
    first = int(np.argmax(above))
    if first == 0:
        return 0.0
    share = (np.log(delta) - logs[first - 1]) / (logs[first] - logs[first - 1])
    return float(sparsity[first - 1] * (sparsity[first] / sparsity[first - 1]) ** share)


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
