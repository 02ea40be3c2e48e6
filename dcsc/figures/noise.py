"""
Recovery and error at every layer against the noise, with the bounds of the theorems.

When to take it: for a sweep over the noise.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dcsc.figures import style
from dcsc.figures.inputs import FigureSettings, Results
from dcsc.figures.panels import Panel
from dcsc.figures.tables import quantiles, select, with_shares

PANEL = Panel(
    needs=("errors",),
    reads_trials=True,
    columns="cascade pursuit noise_db layer recovered trials error_lower error error_upper covered bound violations "
    "rate rate_lower rate_upper",
)


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Pool all draws of a noise level.

    Parameters
    ----------
    results : Results
        Its trials are used.
    settings : FigureSettings
        Its confidence and variants, whose noise is the abscissa; variants without noise are left out.

    Returns
    -------
    pandas.DataFrame
        A row for each cascade, pursuit, variant and layer: the share of supports recovered up to this
        layer, quantiles of the relative error, the share of draws that a theorem covers, the median of its
        bound over them, and how many of them have an error above it.
    """
    noisy = {name: draw.noise_db for name, draw in settings.variants.items() if draw.noise_db is not None}
    rows = []
    for cascade, trials in results.trials.items():
        for variant, noise in noisy.items():
            for pursuit in trials["pursuit"].to_numpy():
                chosen = trials.sel(variant=variant, pursuit=pursuit)
                chosen = chosen.isel(active=chosen["measured"].to_numpy().astype(bool))
                exact = chosen["support_recovered"].astype(bool).cumulative("layer").reduce(np.all)
                for layer in trials["layer"].to_numpy():
                    values = {name: array.to_numpy().ravel() for name, array in chosen.sel(layer=layer).items()}
                    error, bound = (values[name] / values["magnitude"] for name in ("error", "error_bound"))
                    recovered, covered = exact.sel(layer=layer).to_numpy().astype(bool), values["covered"].astype(bool)
                    rows.append(
                        {
                            "cascade": cascade,
                            "pursuit": pursuit,
                            "noise_db": noise,
                            "layer": int(layer),
                            "recovered": int(recovered.sum()),
                            "trials": recovered.size,
                            **quantiles(error, "error"),
                            "covered": int(covered.sum()),
                            "bound": float(np.median(bound[covered])) if covered.any() else np.nan,
                            "violations": int(np.count_nonzero(covered & ~(error <= bound * (1 + 1e-9)))),
                        }
                    )
    return with_shares(pd.DataFrame(rows), "recovered", settings.confidence)


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw recovery (upper row) and relative error (lower row), a column per layer.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`, of one cascade or several.
    settings : FigureSettings
        Its style and confidence.

    Returns
    -------
    Figure
        Dashed lines are the bounds, drawn where a theorem covers at least half of the draws.
    """
    layers = sorted(table["layer"].unique())
    curves = list(table[["cascade", "pursuit"]].drop_duplicates().itertuples(index=False))
    aspect = 0.8 if len(layers) > 1 else 0.5
    figure, axes = style.canvas(settings.style, 2, len(layers), aspect, sharex=True, sharey="row")
    colours = style.colours(settings.style, len(curves))
    for (upper, lower), layer in zip(axes.T, layers, strict=True):
        for index, (curve, colour) in enumerate(zip(curves, colours, strict=True)):
            part = select(table, layer=layer, **curve._asdict()).sort_values("noise_db")
            label = (
                curve.pursuit if len({curve.cascade for curve in curves}) == 1 else f"{curve.cascade}, {curve.pursuit}"
            )
            size: style.Look = style.nested(index, len(curves))
            style.curve_with_band(upper, part, "noise_db", "rate", colour, index, label=label, **size)
            style.curve_with_band(lower, part, "noise_db", "error", colour, index, **size)
            bounded = part[2 * part["covered"] >= part["trials"]]
            lower.plot(bounded["noise_db"], bounded["bound"], color=colour, linestyle="--", linewidth=1, zorder=3)
        upper.set_title(f"layer {layer}")
        upper.set_ylim(-0.03, 1.03)
        lower.set_yscale("log")
    axes[0, 0].set_ylabel("supports recovered\nup to the layer (share)")
    axes[1, 0].set_ylabel("error of the code, relative\n(largest patch norm)")
    (dashed,) = axes[1, 0].plot([], [], color="0.3", linestyle="--", lw=1)
    style.common_legend(figure, axes[0, :1], 4, extra={"bound of its theorem": dashed})
    style.footnote(
        figure,
        f"{style.plural(table['trials'], 'draw')} a point; bands: Clopper-Pearson {settings.confidence:.0%} "
        "(above), 10 % to 90 % of the draws (below); bounds: median where half of the draws are covered; "
        f"errors above their bound: {int(table['violations'].sum())} of {int(table['covered'].sum()):,}",
        "signal-to-noise ratio (dB)",
    )
    return figure
