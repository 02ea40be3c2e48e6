"""
What a threshold for each filter gains over a common one, certified and measured, dictionary by dictionary.

When to take it: for experiments that run the same pursuit with a common threshold and with one per filter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dcsc.figures import style, transitions
from dcsc.figures.inputs import FigureSettings, Results
from dcsc.figures.panels import Panel
from dcsc.figures.tables import mean_of, select
from dcsc.figures.transitions import LEVELS
from dcsc.pursuit.thresholding import BY_FILTER, is_by_filter

PANEL = Panel(
    needs=("certificates",),
    columns="pursuit variant level cascade mutual_coherence stripe_sparsity stripe_sparsity_lower "
    "stripe_sparsity_upper replicates censored kind rung next_stripe_sparsity draws measured_upper "
    "above_measured of_measured of_measured_lower of_measured_upper of gain gain_lower gain_upper below "
    "trials",
)

RUNG = "statistical-instance"
"""What is certified for random signs."""
KINDS = {("measured", LEVELS[0]): "o", ("measured", LEVELS[1]): "D", ("certified", None): "s"}
"""Markers of what is shown."""


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Put what is certified and measured with a threshold for each filter beside the same with a common threshold.

    Parameters
    ----------
    results : Results
        Its summary and certificates are used.
    settings : FigureSettings
        Its confidence, variants, pursuits and delta.

    Returns
    -------
    pandas.DataFrame
        Rows as from `transitions.measured_and_certified`, and rows of the kind "gain" for each pair of pursuits that
        differ in this alone, named by that with a threshold for each filter: `gain`, the ratio of stripe-sparsities,
        `of` what is "measured" (at a `level`; the geometric mean over the dictionaries, paired, with its Student
        interval) or "certified" (its ends over or under the next size that is not certified), and `below`, whether less
        is certified.
    """
    table = transitions.measured_and_certified(results, settings)
    points = transitions.measured(results.summary, settings.variants)
    pairs = pairs_of(settings.pursuits)
    gains = []
    for by_filter, common in pairs.items():
        gains += _measured_gains(points, by_filter, common, settings.confidence)
        gains += _certified_gains(select(table, kind="certified", rung=RUNG), by_filter, common)
    found = pd.concat([table, pd.DataFrame(gains)], ignore_index=True)
    return found.assign(trials=int(results.summary["trials"].max()))


def pairs_of(pursuits: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """
    Find the pursuits that differ in nothing but that every filter has a threshold of its own.

    Parameters
    ----------
    pursuits : mapping of str to mapping
        Options by name.

    Returns
    -------
    dict of str to str
        The name of the pursuit with a common threshold, by that of the other.
    """
    common = {name: options for name, options in pursuits.items() if not is_by_filter(options["threshold"])}
    pairs = {}
    for one, options in pursuits.items():
        alike = {
            name: other
            for name, other in common.items()
            if other["threshold"] is not None
            and all(other[key] == options[key] for key in ("method", "rule", "debias"))
        }
        if name := _partner(options["threshold"], alike):
            pairs[one] = name
    return pairs


def _partner(threshold: Any, common: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The pursuit whose threshold is the same choice for all filters; beside given numbers, the first there is."""
    if not is_by_filter(threshold):
        return None
    wanted = threshold.removesuffix(BY_FILTER) if isinstance(threshold, str) else None
    return next((name for name, other in common.items() if wanted in (None, other["threshold"])), None)


def _measured_gains(points: pd.DataFrame, by_filter: str, common: str, confidence: float) -> list[dict[str, Any]]:
    """Ratios of the transitions of the same dictionaries and signals."""
    place = ["cascade", "variant", "level"]
    one, other = (select(points, pursuit=name) for name in (by_filter, common))
    both = one.merge(other, on=[*place, "replicate"], suffixes=("", "_common"))
    rows = []
    for labels, group in both.groupby(place, sort=False):
        ratio = mean_of(np.log(group["stripe_sparsity"] / group["stripe_sparsity_common"]), confidence, "gain")
        rows.append(
            {
                **dict(zip(place, labels, strict=True)),
                "kind": "gain",
                "of": "measured",
                "pursuit": by_filter,
                **{name: float(np.exp(value)) for name, value in ratio.items()},
                "replicates": len(group),
                "censored": int(((group["censored"] != "") | (group["censored_common"] != "")).sum()),
            }
        )
    return rows


def _certified_gains(certified: pd.DataFrame, by_filter: str, common: str) -> list[dict[str, Any]]:
    place = ["cascade", "variant"]
    one, other = (select(certified, pursuit=name) for name in (by_filter, common))
    both = one.merge(other, on=place, suffixes=("", "_common"))
    rows = []
    for row in both.to_dict("records"):
        mine, theirs = row["stripe_sparsity"], row["stripe_sparsity_common"]
        rows.append(
            {
                **{name: row[name] for name in place},
                "kind": "gain",
                "of": "certified",
                "pursuit": by_filter,
                "gain": mine / theirs if theirs else np.nan,
                "gain_lower": mine / row["next_stripe_sparsity_common"],
                "gain_upper": row["next_stripe_sparsity"] / theirs if theirs else np.nan,
                "below": int(mine < theirs),
                "draws": min(row["draws"], row["draws_common"]),
            }
        )
    return rows


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw a column for each dictionary: stripe-sparsities above, their ratios below.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : FigureSettings
        Its style, variants, pursuits, confidence and delta.

    Returns
    -------
    Figure
        Colours tell the pursuits apart, markers what is measured from what is certified.
    """
    cascades, variants, pursuits = list(table["cascade"].unique()), list(settings.variants), list(settings.pursuits)
    shown = table[(table["kind"] != "certified") | (table["rung"] == RUNG)]
    figure, axes = style.canvas(settings.style, 2, len(cascades), 0.8, sharex=True, sharey="row")
    for (upper, lower), cascade in zip(axes.T, cascades, strict=True):
        here = select(shown, cascade=cascade)
        upper.set_title(f"{cascade} ($\\mu$ = {here['mutual_coherence'].mean():.3f})", fontsize="small")
        for index, (pursuit, colour) in enumerate(
            zip(pursuits, style.colours(settings.style, len(pursuits)), strict=True)
        ):
            part = select(here, pursuit=pursuit)
            place = part["variant"].map(variants.index) + 0.24 * (index - (len(pursuits) - 1) / 2)
            part = part.assign(place=place.astype(float))
            sparsities = part[(part["kind"] != "gain") & (part["stripe_sparsity"] >= 1)]
            _draw_kinds(upper, sparsities, "kind", "stripe_sparsity", colour, pursuit, settings.delta)
            gains = select(part, kind="gain").dropna(subset=["gain"])
            _draw_kinds(lower, gains, "of", "gain", colour, pursuit, settings.delta)
        lower.axhline(1, color="0.6", linewidth=0.8, zorder=0)
        lower.set_xticks(range(len(variants)), variants, fontsize="x-small")
        lower.set_xlim(-0.5, len(variants) - 0.5)
        style.logarithmic(upper.yaxis, shown["stripe_sparsity"])
        style.logarithmic(lower.yaxis, shown[["gain_lower", "gain", "gain_upper"]].to_numpy(np.float64).ravel())
    axes[0, 0].set_ylabel("stripe-sparsity (atoms)")
    axes[1, 0].set_ylabel("gain (ratio)")
    style.common_legend(figure, axes[0], 3, fontsize="x-small")
    note = (
        f"{style.transitions_note(table, settings)}; gains over the common threshold, of the same draws, measured ones"
    )
    note += " paired by dictionary, certified ones from the next size without a certificate"
    if (select(table, kind="measured")["censored"] > 0).any():
        note += "; open: some transitions lie beyond the cells"
    style.footnote(figure, note)
    return figure


def _draw_kinds(panel: Axes, table: pd.DataFrame, kinds: str, y: str, colour: Any, pursuit: str, delta: float) -> None:
    """Draw measured and certified numbers beside one another, each with a marker of its own."""
    for step, ((kind, level), marker) in enumerate(KINDS.items()):
        part = table[table[kinds] == kind]
        part = select(part, level=level) if level else part
        part = part.assign(place=part["place"] + 0.06 * (step - 1))
        beyond = part["censored"].fillna(0) > 0
        words = f"{level:.0%} recovered" if level else f"certified at {1 - delta:.0%}"
        for censored in (False, True):
            rows = part[beyond == censored]
            face, label = ("white", None) if censored else (colour, f"{words}, {pursuit}")
            if len(rows):
                look = {"linestyle": "none", "markersize": 4.5, "markerfacecolor": face, "label": label}
                style.bars(panel, rows, "place", y, colour, 0, marker=marker, **look)
