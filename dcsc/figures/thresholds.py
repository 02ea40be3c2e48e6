"""Stripe-sparsity of 50 % and 99 % recovery against coherence, with what every rung of the ladder certifies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dcsc.figures import style as styles
from dcsc.figures import transitions
from dcsc.figures.results import Results

LEVELS = (0.5, 0.99)
RUNGS = {
    "uniform-coherence": "all signs, coherence",
    "uniform-babel": "all signs, Babel",
    "uniform-instance": "all signs, instance",
    "statistical-coherence": "random signs, coherence",
    "statistical-babel2": "random signs, 2-Babel",
    "statistical-instance": "random signs, instance",
}
DASHES = ((0, (5, 2)), (0, (1, 1)), (0, (3, 1, 1, 1)))


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    Average transitions and certified sparsities over the replicates.

    Parameters
    ----------
    results : Results
        Its summary is used.
    settings : mapping
        `confidence`, `variants`, `series` and `delta`.

    Returns
    -------
    pandas.DataFrame
        A row a curve and cascade. `kind` is "measured" (pursuit, variant, level), "certified" (pursuit, variant, rung;
        see `dcsc.figures.transitions.certified_beside`) or "crossing".
    """
    confidence = settings["confidence"]
    points = transitions.measured(results.summary, settings["variants"], LEVELS)
    measured = transitions.summarized(points, ["pursuit", "variant", "level"], confidence)
    measured = measured.assign(kind="measured", trials=int(results.summary["trials"].max()))
    certified = transitions.certified_beside(
        transitions.certified(results.certificates),
        results.summary,
        settings["variants"],
        confidence,
        settings["delta"],
    ).assign(kind="certified")
    table = pd.concat([measured, certified], ignore_index=True)
    table.insert(0, "series", table["cascade"].map(settings["series"]))
    certified = table[table["kind"] == "certified"]
    crossings = [
        _crossing(one).assign(series=series, pursuit=pursuit, variant=variant)
        for (series, pursuit, variant), one in certified.groupby(["series", "pursuit", "variant"], sort=False)
    ]
    return pd.concat([table, *crossings], ignore_index=True)


def _crossing(table: pd.DataFrame) -> pd.DataFrame:
    """Where the statistical coherence form meets the uniform limit, in one row or none, interpolated."""
    forms = [
        table[table["rung"] == rung].set_index("mutual_coherence")["stripe_sparsity"].sort_index()
        for rung in ("statistical-coherence", "uniform-coherence")
    ]
    lead = np.log(forms[0]) - np.log(forms[1])
    coherence = np.log(lead.index.to_numpy())
    changes = np.flatnonzero((lead.to_numpy()[:-1] >= 0) & (lead.to_numpy()[1:] < 0))
    if not len(changes):
        return pd.DataFrame()
    first = changes[0]
    share = lead.iloc[first] / (lead.iloc[first] - lead.iloc[first + 1])
    place, height = (
        float(np.exp((1 - share) * values[first] + share * values[first + 1]))
        for values in (coherence, np.log(forms[1].to_numpy()))
    )
    return pd.DataFrame([{"kind": "crossing", "mutual_coherence": place, "stripe_sparsity": height}])


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw a panel for each pursuit and series, on logarithmic axes.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : mapping
        `style`, `confidence`, `variants` and `delta`.

    Returns
    -------
    Figure
        Open markers where some replicate's transition lies beyond the cells.
    """
    style = settings["style"]
    measured, certified = (table[table["kind"] == kind] for kind in ("measured", "certified"))
    pursuits, series = list(measured["pursuit"].unique()), list(table["series"].unique())
    figure, axes = styles.canvas(
        style, len(series), len(pursuits), 0.8 if len(pursuits) > 1 else 0.5, sharex="row", sharey="row"
    )
    for row, name in zip(axes, series, strict=True):
        for panel, pursuit in zip(row, pursuits, strict=True):
            _draw_certified(panel, of_pursuit(certified[certified["series"] == name], pursuit))
            chosen = (measured["series"] == name) & (measured["pursuit"] == pursuit)
            _draw_measured(panel, measured[chosen], list(settings["variants"]), style)
            crossing = table[(table["series"] == name) & (table["kind"] == "crossing") & (table["pursuit"] == pursuit)]
            _draw_crossing(panel, crossing)
            panel.set_title(f"{name}: {pursuit}", fontsize="medium")
            panel.set_xlabel("mutual coherence $\\mu$")
            part = table[(table["series"] == name) & (table["stripe_sparsity"] >= 1)]
            styles.logarithmic(panel.xaxis, part["mutual_coherence"])
            styles.logarithmic(panel.yaxis, part["stripe_sparsity"])
        row[0].set_ylabel("stripe-sparsity (atoms)")
    styles.common_legend(figure, axes.flat, loc="outside right center", fontsize="small")
    note = (
        f"means over {styles.plural(measured['replicates'].max(), 'dictionary')}, "
        f"{int(measured['trials'].max())} trials a cell; "
        f"bars: Student {settings['confidence']:.0%}; {certified_note(certified, settings)}"
    )
    if (measured["censored"] > 0).any():
        note += "; open: some transitions lie beyond the cells"
    styles.footnote(
        figure,
        style,
        note,
    )
    return figure


def _draw_crossing(panel: Axes, table: pd.DataFrame) -> None:
    for row in table.itertuples():
        panel.plot(row.mutual_coherence, row.stripe_sparsity, "o", color="0.1", markerfacecolor="none", markersize=9)
        panel.annotate(
            f"statistical coherence form\ncrosses the uniform limit\nat $\\mu$ = {row.mutual_coherence:.4f}",
            (row.mutual_coherence, row.stripe_sparsity),
            (0, -14),
            textcoords="offset points",
            fontsize="xx-small",
            ha="center",
            va="top",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1},
        )


def _draw_measured(panel: Axes, table: pd.DataFrame, variants: list[str], style: Mapping[str, Any]) -> None:
    colour = styles.colours(style, len(variants))
    for index, variant in enumerate(variants):
        for level, line in zip(LEVELS, ("-", "--"), strict=True):
            curve = table[(table["variant"] == variant) & (table["level"] == level)].sort_values("mutual_coherence")
            ends = curve[["stripe_sparsity_lower", "stripe_sparsity_upper"]].to_numpy().T
            lengths = np.nan_to_num(np.abs(ends - curve["stripe_sparsity"].to_numpy()))
            x, y = curve["mutual_coherence"], curve["stripe_sparsity"]
            panel.errorbar(x, y, lengths, color=colour[index], linestyle=line, linewidth=1.2, capsize=2)
            for beyond in (False, True):
                part = (curve["censored"] > 0) == beyond
                panel.plot(
                    x[part],
                    y[part],
                    styles.MARKERS[index],
                    color=colour[index],
                    markerfacecolor="white" if beyond else colour[index],
                    markersize=4.5,
                )
            panel.plot(
                [],
                [],
                color=colour[index],
                marker=styles.MARKERS[index],
                linestyle=line,
                markersize=4.5,
                label=f"{level:.0%} recovery, {variant}",
            )


def certified_note(certified: pd.DataFrame, settings: Mapping[str, Any]) -> str:
    """
    Say what the certificates of a figure are.

    Parameters
    ----------
    certified : pandas.DataFrame
        Rows of kind "certified".
    settings : mapping
        `delta` and `confidence`.

    Returns
    -------
    str
        For a foot line.
    """
    note = f"certified at {1 - settings['delta']:.0%} for these thresholds and supports"
    draws = certified.loc[certified["draws"] > 0, "draws"]
    limits = f", by {settings['confidence']:.0%} limits over {styles.plural(draws, 'draw')}" if len(draws) else ""
    return note + limits


def of_pursuit(certified: pd.DataFrame, pursuit: str) -> pd.DataFrame:
    """
    Choose the certificates to draw beside a pursuit: each rung once, of at least one atom.

    Parameters
    ----------
    certified : pandas.DataFrame
        Rows of kind "certified".
    pursuit : str
        The pursuit, whose thresholds they are for.

    Returns
    -------
    pandas.DataFrame
        Rungs for all signs are those of the first variant: variants that differ in their signs share them.
    """
    part = certified[(certified["pursuit"] == pursuit) & (certified["stripe_sparsity"] >= 1)]
    return part.drop_duplicates(["cascade", "rung"])


def line_of(rung: str) -> dict[str, Any]:
    """
    Choose how the line of a rung looks.

    Parameters
    ----------
    rung : str
        One of `RUNGS`.

    Returns
    -------
    dict
        Colour, dashes, width and label: grey for all signs, black for random ones.
    """
    alike = [name for name in RUNGS if name.split("-")[0] == rung.split("-")[0]]
    shade = "0.1" if rung.startswith("statistical") else "0.55"
    return {"color": shade, "linestyle": DASHES[alike.index(rung)], "linewidth": 1.1, "label": RUNGS[rung]}


def _draw_certified(panel: Axes, table: pd.DataFrame) -> None:
    for rung in [rung for rung in RUNGS if rung in set(table["rung"])]:
        curve = table[table["rung"] == rung].sort_values("mutual_coherence")
        panel.plot(curve["mutual_coherence"], curve["stripe_sparsity"], **line_of(rung))
