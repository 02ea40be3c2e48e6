"""Transitions and certified sparsities of every dictionary replicate, and their slopes against coherence."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import pandas as pd
import xarray as xr

from dcsc import statistics
from dcsc.figures.inputs import FigureSettings, Results, Variant, active_atoms
from dcsc.figures.tables import mean_of, select

LEVELS = (0.5, 0.99)
"""Recovery rates whose transitions figures show."""


def successes(summary: xr.Dataset, adversarial: Collection[str]) -> xr.DataArray:
    """
    Count recovered trials: of the support, and for worst-case signs of support and signs.

    Worst-case signs are exact for recovery of support and signs only. The interference can give a correlation the
    wrong sign and a magnitude above the threshold; the support alone then counts as recovered.

    Parameters
    ----------
    summary : Dataset
        Of the summary stage.
    adversarial : collection of str
        The variants of worst-case signs.

    Returns
    -------
    DataArray of int
        Recovered trials of every cell.
    """
    with_signs = summary["variant"].isin(list(adversarial))
    return xr.where(with_signs, summary["recovered_with_signs"], summary["recovered"], keep_attrs=False)


def measured(summary: xr.Dataset, variants: Mapping[str, Variant], levels: Iterable[float] = LEVELS) -> pd.DataFrame:
    """
    Find the stripe-sparsity at which each replicate's recovery falls through each level.

    Parameters
    ----------
    summary : Dataset
        Of the summary stage.
    variants : mapping of str to Variant
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
    adversarial = [name for name, variant in variants.items() if variant.is_adversarial]
    cells = summary[["trials", "stripe_sparsity", "mutual_coherence"]]
    cells = cells.assign(successes=successes(summary, adversarial))
    axes = ("cascade", "replicate", "pursuit", "variant")
    rows = []
    for labels in itertools.product(*(summary[name].to_numpy() for name in axes[:-1]), variants):
        place = dict(zip(axes, labels, strict=True))
        cell = cells.sel(place)
        cell = cell.isel(active=cell["trials"].to_numpy() > 0)
        counts = cell["successes"].to_numpy(), cell["trials"].to_numpy()
        for level in levels if cell.sizes["active"] else ():
            sparsity, censored = statistics.transition_point(cell["stripe_sparsity"].to_numpy(), *counts, level)
            active, _ = statistics.transition_point(cell["active"].to_numpy(), *counts, level)
            coherence = {"mutual_coherence": float(cell["mutual_coherence"])}
            row = {**place, "level": level, **coherence, "stripe_sparsity": sparsity, "active": active}
            rows.append({**row, "censored": censored})
    return pd.DataFrame(rows)


def certified(certificates: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """
    List the stripe-sparsity that each rung certifies for each pursuit and variant, at the thresholds used.

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
    names = ["applies", "stripe_sparsity", "next_stripe_sparsity", "draws"]
    tables = []
    for cascade, dataset in certificates.items():
        layer = dataset.sel(part=dataset["part"][0], layer=1)
        sizes = layer[names].to_dataframe(["pursuit", "variant", "rung"])[names].reset_index()
        sizes.insert(0, "cascade", cascade)
        sizes.insert(4, "replicate", 0)
        sizes.insert(5, "mutual_coherence", float(layer["mutual_coherence"].mean()))
        tables.append(sizes[sizes.pop("applies").astype(bool)])
    return pd.concat(tables, ignore_index=True).fillna({"stripe_sparsity": 0.0})


def certified_beside(
    certificates: pd.DataFrame,
    summary: xr.Dataset,
    variants: Mapping[str, Variant],
    confidence: float,
    delta: float,
) -> pd.DataFrame:
    """
    Compare certificates with the measured transitions of the same pursuit, supports and signs.

    Parameters
    ----------
    certificates : pandas.DataFrame
        From `certified`.
    summary : Dataset
        Of the summary stage.
    variants : mapping of str to Variant
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
        whether the certificate exceeds it; and with `of_measured`, the certificate over what `pooled` measures of the
        same dictionaries together, with the interval that this has (NaN where it lies beyond the cells).
    """
    table = certificates.drop(columns="replicate")
    same = measured(summary, variants, [1 - delta])
    comparisons = max(len(table), 1)
    ends = summarized(same, ["pursuit", "variant"], 1 - (1 - confidence) / comparisons)
    # One dictionary gives no interval; then the transition itself has to do.
    ends["measured_upper"] = ends["stripe_sparsity_upper"].fillna(ends["stripe_sparsity"])
    place = ["pursuit", "variant", "cascade"]
    beyond = pd.MultiIndex.from_frame(same.loc[same["censored"] == "above", place])
    ends.loc[pd.MultiIndex.from_frame(ends[place]).isin(beyond), "measured_upper"] = np.inf
    table = table.merge(ends[[*place, "measured_upper"]], how="left")
    table["above_measured"] = table["stripe_sparsity"] > table["measured_upper"]
    return _over_pooled(table, pooled(summary, variants, 1 - delta, confidence))


def _over_pooled(certificates: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Add the ratio of every certificate to the pooled transition, and its ends."""
    place = ["pursuit", "variant", "cascade"]
    ends = {"pooled": "of_measured", "pooled_upper": "of_measured_lower", "pooled_lower": "of_measured_upper"}
    table = certificates.merge(measured[[*place, *ends]].rename(columns=ends), on=place, how="left")
    for column in ends.values():
        table[column] = table["stripe_sparsity"] / table[column]
    return table


def pooled(summary: xr.Dataset, variants: Mapping[str, Variant], level: float, confidence: float) -> pd.DataFrame:
    """
    Find the stripe-sparsity at which the recovery of all dictionaries together falls through a level.

    A certificate bounds the mean failure rate over the dictionaries, to which the worst of them contributes most. So
    even an exact certificate lies below the mean of their transitions.

    Parameters
    ----------
    summary : Dataset
        Of the summary stage.
    variants : mapping of str to Variant
        How each variant is drawn, by name.
    level : float
        Recovery rate.
    confidence : float
        Level of the interval, that of the rates after Clopper and Pearson.

    Returns
    -------
    pandas.DataFrame
        A row per cascade, pursuit and variant: `pooled`, `pooled_lower` and `pooled_upper`, NaN beyond the cells.
    """
    adversarial = [name for name, variant in variants.items() if variant.is_adversarial]
    cells = summary[["trials", "stripe_sparsity"]].assign(successes=successes(summary, adversarial))
    rows = []
    for labels in itertools.product(summary["cascade"].to_numpy(), summary["pursuit"].to_numpy(), variants):
        place = dict(zip(("cascade", "pursuit", "variant"), labels, strict=True))
        cell = cells.sel(place)
        cell = cell.isel(active=(cell["trials"] > 0).all("replicate").to_numpy())
        if not cell.sizes["active"]:
            continue
        sparsity = cell["stripe_sparsity"].mean("replicate").to_numpy()
        right, trials = (cell[name].sum("replicate").to_numpy() for name in ("successes", "trials"))
        lower = statistics.proportion_lower_limit(right, trials, (1 + confidence) / 2)
        upper = 1 - statistics.proportion_lower_limit(trials - right, trials, (1 + confidence) / 2)
        ends = {"pooled": right, "pooled_lower": lower * trials, "pooled_upper": upper * trials}
        found = {name: statistics.transition_point(sparsity, counts, trials, level) for name, counts in ends.items()}
        rows.append({**place, **{name: at if not censored else np.nan for name, (at, censored) in found.items()}})
    return pd.DataFrame(rows)


def measured_and_certified(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Average transitions over the replicates, beside the certificates.

    Parameters
    ----------
    results : Results
        Its summary and certificates are used.
    settings : FigureSettings
        Its confidence, variants and delta.

    Returns
    -------
    pandas.DataFrame
        A row per curve and cascade. `kind` is "measured" (pursuit, variant, level) or "certified" (pursuit, variant,
        rung; see `certified_beside`).
    """
    points = measured(results.summary, settings.variants)
    curves = summarized(points, ["pursuit", "variant", "level"], settings.confidence)
    certificates = certified_beside(
        certified(results.certificates), results.summary, settings.variants, settings.confidence, settings.delta
    )
    return pd.concat([curves.assign(kind="measured"), certificates.assign(kind="certified")], ignore_index=True)


def along_series(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Join transitions and certificates along each series of cascades in one table.

    Parameters
    ----------
    results : Results
        Its summary and certificates are used.
    settings : FigureSettings
        Its confidence, variants, series and delta.

    Returns
    -------
    pandas.DataFrame
        As from `measured_and_certified`; rows of the kind "crossing" are where the statistical coherence form meets
        the uniform limit.
    """
    table = measured_and_certified(results, settings)
    table.insert(0, "series", table["cascade"].map(settings.series))
    counted = np.where(table["kind"] == "measured", float(results.summary["trials"].max()), np.nan)
    table.insert(table.columns.get_loc("kind") + 1, "trials", counted)
    curve = ["series", "pursuit", "variant"]
    crossings = [
        _crossing(part).assign(**dict(zip(curve, labels, strict=True)))
        for labels, part in select(table, kind="certified").groupby(curve, sort=False)
    ]
    return pd.concat([table, *crossings], ignore_index=True)


def measured_on_axis(summary: xr.Dataset, settings: FigureSettings) -> pd.DataFrame:
    """
    Find the transitions in the quantity that the axis asks for.

    Parameters
    ----------
    summary : Dataset
        Of the summary stage.
    settings : FigureSettings
        Its variants and axis.

    Returns
    -------
    pandas.DataFrame
        As from `measured`, and the `count` or the `density` of a layer where the axis is one of them: interpolated on
        logarithmic scales at the number of active atoms of every transition, of the same dictionary.
    """
    points, quantity = measured(summary, settings.variants), settings.axis.column("stripe-sparsity")
    if quantity == "stripe_sparsity":
        return points
    values, found = active_atoms(summary, settings.axis.layer, each=True)[quantity], []
    for row in points.itertuples():
        curve = values.sel(cascade=row.cascade, replicate=row.replicate, variant=row.variant).dropna("active")
        logs = np.log(curve["active"].to_numpy()), np.log(curve.to_numpy())
        found.append(float(np.exp(np.interp(np.log(row.active), *logs))))
    return points.assign(**{quantity: found})


def certified_on_axis(table: pd.DataFrame, results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Add to certificates the quantity that the axis asks for.

    Parameters
    ----------
    table : pandas.DataFrame
        Certificates, told apart by cascade, pursuit, variant and rung.
    results : Results
        Its summary and certificates are used.
    settings : FigureSettings
        Its axis.

    Returns
    -------
    pandas.DataFrame
        With the mean `count` or `density` of the layer of the axis when whole paths are certified, 0 for nothing.
    """
    quantity = settings.axis.column("stripe-sparsity")
    if quantity == "stripe_sparsity":
        return table
    told = []
    for cascade, of in results.certificates.items():
        chosen = of.sel(part=of["part"][0], layer=settings.axis.layer or int(of["layer"][-1]))
        atoms = float(results.summary["atoms"].sel(cascade=cascade, layer=chosen["layer"]))
        values = chosen["density"].fillna(0.0) * (atoms if quantity == "count" else 1.0)
        named = values.rename(quantity).to_dataframe().reset_index()
        told.append(named[["pursuit", "variant", "rung", quantity]].assign(cascade=cascade))
    return table.merge(pd.concat(told), on=["cascade", "pursuit", "variant", "rung"], how="left")


def on_axis(table: pd.DataFrame, results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Add to transitions and certificates the quantity that the axis asks for.

    Parameters
    ----------
    table : pandas.DataFrame
        From `measured_and_certified` or `along_series`.
    results : Results
        Its summary and certificates are used.
    settings : FigureSettings
        Its confidence, variants and axis.

    Returns
    -------
    pandas.DataFrame
        The same rows; where the axis is by `count` or `density`, with a column of that name, and for what was measured
        with its interval.
    """
    quantity = settings.axis.column("stripe-sparsity")
    if quantity == "stripe_sparsity":
        return table
    curve = ["pursuit", "variant", "level"]
    means = summarized(measured_on_axis(results.summary, settings), curve, settings.confidence, y=quantity)
    kept = [*curve, "cascade", quantity, f"{quantity}_lower", f"{quantity}_upper"]
    parts = [
        select(table, kind="measured").merge(means[kept], how="left"),
        certified_on_axis(select(table, kind="certified"), results, settings),
        table[~table["kind"].isin(["measured", "certified"])],
    ]
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def _crossing(table: pd.DataFrame) -> pd.DataFrame:
    """Where the statistical coherence form meets the uniform limit, in one row or none, interpolated."""
    rungs = ("statistical-coherence", "uniform-coherence")
    certified = [
        select(table, rung=rung).set_index("mutual_coherence")["stripe_sparsity"].sort_index() for rung in rungs
    ]
    # A form that certifies no atom has no logarithm, and where it stops is no crossing.
    forms = [np.log(sizes[sizes > 0].sort_index()) for sizes in certified]
    lead = (forms[0] - forms[1]).dropna()
    forms = [form[lead.index] for form in forms]
    coherence, leads = np.log(lead.index.to_numpy()), lead.to_numpy()
    changes = np.flatnonzero((leads[:-1] >= 0) & (leads[1:] < 0))
    if not len(changes):
        return pd.DataFrame()
    first = changes[0]
    part = leads[first] / (leads[first] - leads[first + 1])
    place, height = (
        float(np.exp((1 - part) * values[first] + part * values[first + 1]))
        for values in (coherence, forms[1].to_numpy())
    )
    return pd.DataFrame([{"kind": "crossing", "mutual_coherence": place, "stripe_sparsity": height}])


def of_pursuit(certificates: pd.DataFrame, pursuit: str) -> pd.DataFrame:
    """
    Choose the certificates to draw beside a pursuit: each rung once, of at least one atom.

    Parameters
    ----------
    certificates : pandas.DataFrame
        Rows of kind "certified".
    pursuit : str
        The pursuit, whose thresholds they are for.

    Returns
    -------
    pandas.DataFrame
        Rungs for all signs are those of the first variant: variants that differ in their signs share them.
    """
    part = certificates[(certificates["pursuit"] == pursuit) & (certificates["stripe_sparsity"] >= 1)]
    return part.drop_duplicates(["cascade", "rung"])


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
        A row per curve: the mean of the replicates' least squares slopes, its Student interval over
        them, the number of cascades fitted, and the range of coherence.
    """
    rows = []
    for labels, group in uncensored(points[points[y] > 0], curve).groupby(curve, sort=False):
        fitted = _replicate_slopes(group, x, y)
        rows.append(
            {
                **dict(zip(curve, labels, strict=True)),
                **mean_of(fitted, confidence, "slope"),
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
            replicate: np.polyfit(np.log(part[x]), np.log(part[y]), 1)[0]
            for replicate, part in points.groupby("replicate")
            if len(part) > 1
        },
        dtype=np.float64,
    )


def slope_difference(
    first: pd.DataFrame, second: pd.DataFrame, confidence: float = 0.95, y: str = "stripe_sparsity"
) -> dict[str, float]:
    """
    Compare the slopes of two curves on the same dictionaries and the same cascades.

    Parameters
    ----------
    first, second : pandas.DataFrame
        Rows of `measured`, one curve each; cascades that are censored or missing in either are left out of both.
    confidence : float
        Level of the interval.
    y : str
        The column whose logarithm is fitted.

    Returns
    -------
    dict of str to float
        `slope`, first minus second: mean over the replicates, its Student interval `slope_lower` and `slope_upper`,
        and the number of `replicates`.
    """
    curves = (first, second)
    bad = {cascade for part in curves for cascade in part.loc[part["censored"] != "", "cascade"]}
    common = set(first["cascade"]) & set(second["cascade"]) - bad
    fitted = [_replicate_slopes(part[part["cascade"].isin(common)], "mutual_coherence", y) for part in curves]
    difference = (fitted[0] - fitted[1]).dropna()
    return {**mean_of(difference, confidence, "slope"), "replicates": len(difference)}


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
        A row per curve and cascade: mean coherence, mean sparsity with its Student interval, the number of
        replicates and how many of them are censored.
    """
    rows = []
    for labels, group in points.groupby([*curve, "cascade"], sort=False):
        rows.append(
            {
                **dict(zip([*curve, "cascade"], labels, strict=True)),
                "mutual_coherence": group["mutual_coherence"].mean(),
                **mean_of(group[y], confidence, y),
                "replicates": len(group),
                "censored": int((group["censored"] != "").sum()) if "censored" in group else 0,
            }
        )
    return pd.DataFrame(rows)
