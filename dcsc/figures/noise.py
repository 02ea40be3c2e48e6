"""Recovery and error at every layer against the noise, with the bounds of the theorems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dcsc import statistics
from dcsc.figures import style as styles
from dcsc.figures.results import Results


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    Pool all draws of a noise level.

    Parameters
    ----------
    results : Results
        Its trials are used.
    settings : mapping
        `confidence` and `variants`, whose `noise_db` is the abscissa; variants without noise are left out.

    Returns
    -------
    pandas.DataFrame
        A row for each cascade, pursuit, variant and layer: the share of supports recovered up to this
        layer, quantiles of the relative error, the share of draws that a theorem covers, the median of its
        bound over them, and how many of them have an error above it.
    """
    rows = []
    for cascade, trials in results.trials.items():
        for variant, draw in settings["variants"].items():
            if draw["noise_db"] is None:
                continue
            for pursuit in trials["pursuit"].to_numpy():
                chosen = trials.sel(variant=variant, pursuit=pursuit)
                ran = chosen["measured"].to_numpy().astype(bool)
                exact = chosen["support_recovered"].astype(bool).cumulative("layer").reduce(np.all)
                for layer in trials["layer"].to_numpy():
                    one = chosen.sel(layer=layer).isel(active=np.flatnonzero(ran))
                    upto = exact.sel(layer=layer).isel(active=np.flatnonzero(ran)).to_numpy().astype(bool).ravel()
                    magnitude = one["magnitude"].to_numpy().ravel()
                    error = one["error"].to_numpy().ravel() / magnitude
                    covered = one["covered"].to_numpy().astype(bool).ravel()
                    bound = one["error_bound"].to_numpy().ravel() / magnitude
                    rows.append(
                        {
                            "cascade": cascade,
                            "pursuit": pursuit,
                            "noise_db": draw["noise_db"],
                            "layer": int(layer),
                            "recovered": int(upto.sum()),
                            "trials": len(upto),
                            **dict(zip(("error_lower", "error", "error_upper"), _quantiles(error), strict=True)),
                            "covered": int(covered.sum()),
                            "bound": float(np.median(bound[covered])) if covered.any() else np.nan,
                            "violations": int(np.count_nonzero(covered & ~(error <= bound * (1 + 1e-9)))),
                        }
                    )
    table = pd.DataFrame(rows)
    table["rate"] = table["recovered"] / table["trials"]
    table["rate_lower"], table["rate_upper"] = statistics.proportion_interval(
        table["recovered"], table["trials"], settings["confidence"]
    )
    return table


def _quantiles(values: np.ndarray) -> np.ndarray:
    return np.quantile(values, (0.1, 0.5, 0.9))


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw recovery (upper row) and relative error (lower row), a column a layer.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`, of one cascade or several.
    settings : mapping
        `style` and `confidence`.

    Returns
    -------
    Figure
        Dashed lines are the bounds, drawn where a theorem covers at least half of the draws.
    """
    style = settings["style"]
    layers = sorted(table["layer"].unique())
    curves = table[["cascade", "pursuit"]].drop_duplicates()
    colour = styles.colours(style, len(curves))
    figure, axes = styles.canvas(style, 2, len(layers), 0.8 if len(layers) > 1 else 0.5, sharex=True, sharey="row")
    for column, layer in enumerate(layers):
        for index, curve in enumerate(curves.itertuples(index=False)):
            same = (table["cascade"] == curve.cascade) & (table["pursuit"] == curve.pursuit)
            part = table[same & (table["layer"] == layer)].sort_values("noise_db")
            label = curve.pursuit if len(curves["cascade"].unique()) == 1 else f"{curve.cascade}, {curve.pursuit}"
            size = styles.nested(index, len(curves))
            styles.curve_with_band(axes[0, column], part, "noise_db", "rate", colour[index], index, label=label, **size)
            styles.curve_with_band(axes[1, column], part, "noise_db", "error", colour[index], index, **size)
            bounded = part[2 * part["covered"] >= part["trials"]]
            bound = {"color": colour[index], "linestyle": "--", "linewidth": 1, "zorder": 3}
            axes[1, column].plot(bounded["noise_db"], bounded["bound"], **bound)
        axes[0, column].set_title(f"layer {layer}", fontsize="medium")
        axes[0, column].set_ylim(-0.03, 1.03)
        axes[1, column].set_yscale("log")
    axes[0, 0].set_ylabel("supports recovered\nup to the layer (share)")
    axes[1, 0].set_ylabel("error of the code, relative\n(largest patch norm)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    handles.append(axes[1, 0].plot([], [], color="0.3", linestyle="--", lw=1)[0])
    figure.legend(handles, [*labels, "bound of its theorem"], loc="outside upper center", ncols=4, fontsize="small")
    styles.footnote(
        figure,
        style,
        f"{styles.plural(table['trials'], 'draw')} a point; bands: Clopper-Pearson {settings['confidence']:.0%} "
        "(above), 10 % to 90 % of the draws (below); bounds: median where half of the draws are covered; "
        f"errors above their bound: {int(table['violations'].sum())} of {int(table['covered'].sum()):,}",
        label="signal-to-noise ratio (dB)",
    )
    return figure
