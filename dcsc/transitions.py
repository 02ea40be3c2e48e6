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
        A row for each cascade, replicate, pursuit, variant and level: `mutual_coherence`,
        `stripe_sparsity` and `censored`, the side on which it lies beyond the cells.
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
                    cells = (
                        drawn["stripe_sparsity"].sel(variant=variant).to_numpy()[trials > 0],
                        counts.sel(place).to_numpy()[trials > 0],
                        trials[trials > 0],
                    )
                    for level in levels if trials.any() else ():
                        point, censored = statistics.transition_point(*cells, level)
                        mu = float(drawn["mutual_coherence"])
                        found = {"mutual_coherence": mu, "stripe_sparsity": point, "censored": censored}
                        rows.append({**place, "level": level, **found})
    return pd.DataFrame(rows)


def certified(summary: xr.Dataset, variant: str, delta: float) -> pd.DataFrame:
    """
    Find the stripe-sparsity that each rung of the ladder certifies for each replicate.

    The closed forms stand in the summary; the instance forms are read off the cells, where the
    uniform one must cover a share 1 - delta of the draws and the statistical one have a mean bound of
    at most delta, interpolated between cells.

    Parameters
    ----------
    summary : Dataset
        Of the summary stage.
    variant : str
        The variant with random signs whose supports the instance forms look at.
    delta : float
        Admitted failure probability.

    Returns
    -------
    pandas.DataFrame
        A row for each cascade, replicate and rung.
    """
    rows = []
    for cascade in summary["cascade"].to_numpy():
        for replicate in summary["replicate"].to_numpy():
            drawn = summary.sel(cascade=cascade, replicate=replicate)
            place = {"cascade": cascade, "replicate": replicate, "mutual_coherence": float(drawn["mutual_coherence"])}
            limits = drawn["certified_sparsity"].to_series().to_dict()
            cells = drawn.sel(variant=variant)
            cells = cells.isel(active=np.flatnonzero(~np.isnan(cells["stripe_sparsity"])))
            sparsity, bounded = cells["stripe_sparsity"].to_numpy(), cells["bounded"].to_numpy()
            if bounded.all():
                limits["uniform-instance"], _ = statistics.transition_point(
                    sparsity, cells["instance_covered"].to_numpy(), bounded, 1 - delta
                )
                limits["statistical-instance"] = _crossing(sparsity, cells["failure_bound"].to_numpy(), delta)
            rows += [{**place, "rung": rung, "stripe_sparsity": limit} for rung, limit in limits.items()]
    return pd.DataFrame(rows)


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


def slopes(points: pd.DataFrame, curve: list[str], confidence: float = 0.95) -> pd.DataFrame:
    """
    Fit the slope of log sparsity against log coherence for every curve, over all its cascades.

    Parameters
    ----------
    points : pandas.DataFrame
        From `measured` or `certified`; censored points, and those at 0, are left out.
    curve : list of str
        Columns that tell the curves apart.
    confidence : float
        Level of the interval.

    Returns
    -------
    pandas.DataFrame
        A row a curve: the mean of the replicates' least squares slopes, its Student interval over
        them, the number of cascades fitted, and the range of coherence.
    """
    kept = points[points["stripe_sparsity"] > 0]
    if "censored" in kept:
        # A cascade is dropped when any replicate is censored, so that all replicates fit the same points.
        bad = kept.assign(bad=kept["censored"] != "").groupby([*curve, "cascade"])["bad"].transform("any")
        kept = kept[~bad]
    rows = []
    for name, group in kept.groupby(curve, sort=False):
        fitted = [
            np.polyfit(np.log(one["mutual_coherence"]), np.log(one["stripe_sparsity"]), 1)[0]
            for _, one in group.groupby("replicate")
            if len(one) > 1
        ]
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


def summarized(points: pd.DataFrame, curve: list[str], confidence: float = 0.95) -> pd.DataFrame:
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

    Returns
    -------
    pandas.DataFrame
        A row a curve and cascade: mean coherence, mean sparsity with its Student interval, the number of
        replicates and how many of them are censored.
    """
    rows = []
    for name, group in points.groupby([*curve, "cascade"], sort=False):
        mean, lower, upper = statistics.mean_interval(group["stripe_sparsity"], confidence)
        censored = int((group["censored"] != "").sum()) if "censored" in group else 0
        rows.append(
            {
                **dict(zip([*curve, "cascade"], name, strict=True)),
                "mutual_coherence": group["mutual_coherence"].mean(),
                "stripe_sparsity": mean,
                "stripe_sparsity_lower": lower,
                "stripe_sparsity_upper": upper,
                "replicates": len(group),
                "censored": censored,
            }
        )
    return pd.DataFrame(rows)
