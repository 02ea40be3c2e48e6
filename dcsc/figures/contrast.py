"""Stripe-sparsity of the transitions against the contrast of the code, with what every rung certifies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from dcsc.figures import style as styles
from dcsc.figures import transitions
from dcsc.figures.results import Results
from dcsc.figures.thresholds import LEVELS, RUNGS, certified_note, line_of


def contrast_of(draw: Mapping[str, Any]) -> float:
    """
    Read the contrast X_min / X_max that a variant prescribes.

    Parameters
    ----------
    draw : mapping
        How it is drawn; constant magnitudes have contrast 1.

    Returns
    -------
    float
        In (0, 1].
    """
    magnitudes = draw["magnitudes"]
    return 1.0 if isinstance(magnitudes, str) else float(magnitudes.get("contrast", 1.0))


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    Average transitions and certified sparsities over the replicates.

    Parameters
    ----------
    results : Results
        Its summary is used.
    settings : mapping
        `confidence`, `variants` and `delta`.

    Returns
    -------
    pandas.DataFrame
        A row a cascade, contrast and curve; `signs` tells random from worst-case ones.
    """
    variants, confidence = settings["variants"], settings["confidence"]
    points = transitions.measured(results.summary, variants, LEVELS)
    measured = transitions.summarized(points, ["pursuit", "variant", "level"], confidence).assign(kind="measured")
    certified = transitions.certified_beside(
        transitions.certified(results.certificates), results.summary, variants, confidence, settings["delta"]
    ).assign(kind="certified")
    table = pd.concat([measured, certified], ignore_index=True)
    worst = [name for name, draw in variants.items() if transitions.is_adversarial(draw)]
    table["signs"] = table["variant"].isin(worst).map({True: "worst-case signs", False: "random signs"})
    table["contrast"] = table["variant"].map({name: contrast_of(draw) for name, draw in variants.items()})
    return table.assign(trials=int(results.summary["trials"].max()))


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw a panel for each cascade and pursuit, on logarithmic axes.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : mapping
        `style`, `confidence` and `delta`.

    Returns
    -------
    Figure
        Measured curves coloured, rungs grey and black.
    """
    style = settings["style"]
    measured, certified = (table[table["kind"] == kind] for kind in ("measured", "certified"))
    cascades, pursuits = list(table["cascade"].unique()), list(measured["pursuit"].unique())
    colour = styles.colours(style, 2)
    figure, axes = styles.canvas(style, len(cascades), len(pursuits), 0.8, sharex=True, sharey=True)
    for row, cascade in zip(axes, cascades, strict=True):
        for panel, pursuit in zip(row, pursuits, strict=True):
            chosen = (certified["cascade"] == cascade) & (certified["pursuit"] == pursuit)
            chosen &= (certified["signs"] == "random signs") & (certified["stripe_sparsity"] >= 1)
            for rung in [rung for rung in RUNGS if rung in set(certified.loc[chosen, "rung"])]:
                part = certified[chosen & (certified["rung"] == rung)].sort_values("contrast")
                panel.plot(part["contrast"], part["stripe_sparsity"], **line_of(rung))
            for index, signs in enumerate(("random signs", "worst-case signs")):
                for level, line in zip(LEVELS, ("-", "--"), strict=True):
                    chosen = (measured["cascade"] == cascade) & (measured["pursuit"] == pursuit)
                    part = measured[chosen & (measured["signs"] == signs) & (measured["level"] == level)]
                    name = f"{level:.0%} recovery, {signs}"
                    styles.curve_with_band(
                        panel, part, "contrast", "stripe_sparsity", colour[index], index, linestyle=line, label=name
                    )
            coherence = measured.loc[measured["cascade"] == cascade, "mutual_coherence"].mean()
            panel.set_title(f"{cascade} ($\\mu$ = {coherence:.3f}): {pursuit}", fontsize="medium")
            styles.logarithmic(panel.xaxis, table["contrast"])
            styles.logarithmic(panel.yaxis, table["stripe_sparsity"])
        row[0].set_ylabel("stripe-sparsity (atoms)")
    styles.common_legend(figure, axes.flat, loc="outside right center", fontsize="small")
    styles.footnote(
        figure,
        style,
        f"means over {styles.plural(measured['replicates'].max(), 'dictionary')}, "
        f"{styles.count(table['trials'])} trials a cell; "
        f"bands: Student {settings['confidence']:.0%}; {certified_note(certified, settings)}",
        label="contrast $X_{min}/X_{max}$ of the law of magnitudes",
    )
    return figure
