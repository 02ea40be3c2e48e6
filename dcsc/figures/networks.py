"""Planted codes in the layers of networks: the pictures, and the tables behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dcsc.figures import style
from dcsc.figures.inputs import Style
from dcsc.figures.tables import select
from dcsc.statistics import mean_interval

CONDITIONS = {
    ("measured", "as they are"): "natural supports, positive",
    ("measured", "random"): "natural supports, random signs",
    ("uniform", "as they are"): "uniform supports, positive",
    ("uniform", "random"): "uniform supports, random signs",
}
"""Supports and signs that are planted, in words."""
_COLUMNS = 3
_COMPARED = {
    "cooperation": "positive over random signs",
    "layout": "natural over uniform supports",
    "training": "trained over random filters",
}
"""Differences of F1 on the same signals: of trained filters, natural supports and positive codes where not said."""


def tidy(planted: Mapping[str, xr.Dataset], confidence: float) -> pd.DataFrame:
    """
    Average the F1 of every condition over the signals.

    Parameters
    ----------
    planted : mapping of str to Dataset
        Of `schemas.PLANTED`, by network.
    confidence : float
        Level of the intervals.

    Returns
    -------
    pandas.DataFrame
        A row for each layer, kind of filters, support, signs, threshold, magnitudes and share.
    """
    rows = []
    for network, data in planted.items():
        for place, layer in enumerate(data["layer"].to_numpy()):
            of_layer = data.isel(layer=place)
            stripes = of_layer["stripe_sparsity"].mean("trial")
            table = of_layer["f1"].stack(row=("filters", "support", "signs", "threshold", "magnitudes", "share"))  # noqa: PD013
            for values, key in zip(table.transpose("row", "trial").to_numpy(), table["row"].to_numpy(), strict=True):
                filters, support, signs, threshold, magnitudes, share = key
                if np.isnan(values).all():
                    continue
                mean, lower, upper = mean_interval(values, confidence)
                rows.append(
                    {
                        "network": network, "layer": layer, "depth": place + 1, "filters": filters, "support": support,
                        "signs": signs, "threshold": threshold, "magnitudes": magnitudes, "share": share, "f1": mean,
                        "f1_lower": max(lower, 0.0), "f1_upper": min(upper, 1.0),
                        "stripe_sparsity": float(stripes.sel(support=support, share=share)),
                        "trials": int(np.isfinite(values).sum()),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def by_layer(planted: Mapping[str, xr.Dataset], confidence: float) -> pd.DataFrame:
    """
    Put what is told of every layer in a row.

    Parameters
    ----------
    planted : mapping of str to Dataset
        Of `schemas.PLANTED`, by network.
    confidence : float
        Level of the intervals.

    Returns
    -------
    pandas.DataFrame
        Sizes, coherences, density, what is unexplained, and differences of F1 at the best thresholds with intervals:
        `..._above` and `..._below` are 1 where the whole interval lies there, else 0.
    """
    rows = []
    for network, data in planted.items():
        for place, layer in enumerate(data["layer"].to_numpy()):
            of_layer = data.isel(layer=place)
            row = {"network": network, "layer": layer, "depth": place + 1, "layers": 1}
            row |= {name: of_layer[name].item() for name in ("activation", "n_filters", "n_channels", "taps", "stride")}
            coherences = {f"mu_{name}": float(of_layer["mutual_coherence"].sel(filters=name)) for name in _kinds(data)}
            row |= coherences | {"welch_bound": float(of_layer["welch_bound"])}
            row["trained_above_random"] = int(coherences["mu_trained"] > coherences["mu_random"])
            row["density"] = float(of_layer["active"].mean("trial") / of_layer["n_atoms"])
            row |= _told("unexplained", of_layer["unexplained"], confidence)
            for name in _kinds(data):
                at_best = of_layer["unexplained_at_best"].sel(filters=name).to_numpy()
                row[f"unexplained_at_best_{name}"] = mean_interval(at_best, confidence)[0]
            whole = of_layer["f1"].isel(magnitudes=0, share=0)
            for name, difference in _differences(whole).items():
                if name in _COMPARED:
                    told = _told("", difference, confidence)
                    row |= {f"{name}{part}": value for part, value in (told | _sure(told)).items()}
            rows.append(row)
    return pd.DataFrame(rows)


def differences(planted: Mapping[str, xr.Dataset], confidence: float) -> pd.DataFrame:
    """
    Tell differences of F1 on the same signals, of whole codes and of thinned ones, by their magnitudes.

    Parameters
    ----------
    planted : mapping of str to Dataset
        Of `schemas.PLANTED`, by network.
    confidence : float
        Level of the intervals.

    Returns
    -------
    pandas.DataFrame
        A row for each layer, magnitudes, share and comparison: those of `by_layer`, and `optimisation`, trained over
        optimised filters, of layers that have these. `above` and `below` are 1 where the whole interval lies there.
    """
    rows = []
    for network, data in planted.items():
        for place, layer in enumerate(data["layer"].to_numpy()):
            f1 = data["f1"].isel(layer=place)
            for magnitudes in data["magnitudes"].to_numpy():
                for share in data["share"].to_numpy():
                    key = {"network": network, "layer": layer, "depth": place + 1, "layers": 1}
                    key |= {"magnitudes": magnitudes, "share": share}
                    for name, difference in _differences(f1.sel(magnitudes=magnitudes, share=share)).items():
                        if np.isnan(difference).all():
                            continue
                        told = {f"difference{part}": value for part, value in _told("", difference, confidence).items()}
                        sure = {part[1:]: value for part, value in _sure(told, "difference").items()}
                        rows.append(key | {"compared": name} | told | sure)
    return pd.DataFrame(rows)


def _sure(told: Mapping[str, float], name: str = "") -> dict[str, int]:
    """Whether the whole interval of a difference lies above, or below, 0."""
    return {"_above": int(told[f"{name}_lower"] > 0), "_below": int(told[f"{name}_upper"] < 0)}


def _kinds(data: xr.Dataset) -> list[str]:
    return [str(name) for name in data["filters"].to_numpy()]


def _told(name: str, values: xr.DataArray, confidence: float) -> dict[str, float]:
    return dict(
        zip((name, f"{name}_lower", f"{name}_upper"), mean_interval(values.to_numpy(), confidence), strict=True)
    )


def _differences(f1: xr.DataArray) -> dict[str, xr.DataArray]:
    """Signal by signal, at the best thresholds; of codes of one share and kind of magnitudes."""
    best = f1.sel(threshold="best by filter")
    natural = best.sel(filters="trained", support="measured", signs="as they are")
    return {
        "cooperation": natural - best.sel(filters="trained", support="measured", signs="random"),
        "layout": natural - best.sel(filters="trained", support="uniform", signs="as they are"),
        "training": natural - best.sel(filters="random", support="measured", signs="as they are"),
        "optimisation": natural - best.sel(filters="optimised", support="measured", signs="as they are"),
    }


def by_network(layers: pd.DataFrame) -> pd.DataFrame:
    """
    Sum the layers of each network up.

    Parameters
    ----------
    layers : pandas.DataFrame
        From `by_layer`.

    Returns
    -------
    pandas.DataFrame
        Medians over layers, and numbers of layers in which a difference of F1 lies above, or below, 0.
    """
    rows = []
    for network, part in layers.groupby("network", sort=False):
        row = {"network": network, "layers": len(part)}
        medians = [*(name for name in part if str(name).startswith("mu_")), "welch_bound", "density", "unexplained"]
        row |= {name: part[name].median() for name in medians}
        for name in _COMPARED:
            row |= {name: part[name].median()}
            row |= {f"{name}_{side}": int(part[f"{name}_{side}"].sum()) for side in ("above", "below")}
        rows.append(row)
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, layers: pd.DataFrame, look: Style) -> Figure:
    """
    Draw F1 by depth for trained and random filters, and the coherences below it.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    layers : pandas.DataFrame
        From `by_layer`.
    look : Style
        The style.

    Returns
    -------
    Figure
        Two panels a network.
    """
    networks = list(layers["network"].unique())
    columns, bands = min(_COLUMNS, len(networks)), math.ceil(len(networks) / _COLUMNS)
    figure, axes = style.canvas(look, 2 * bands, columns, 0.72, sharey="row")
    colours = dict(zip(CONDITIONS, style.colours(look, len(CONDITIONS)), strict=True))
    whole = table["share"].max()
    best = select(_first(table), threshold="best by filter", share=whole)
    for number, network in enumerate(networks):
        upper, lower = axes[2 * (number // columns) : 2 * (number // columns) + 2, number % columns]
        for index, (key, label) in enumerate(CONDITIONS.items()):
            for filters, line, face in (("trained", "-", colours[key]), ("random", ":", "white")):
                part = select(best, network=network, filters=filters, support=key[0], signs=key[1])
                options = {"linestyle": line, "markerfacecolor": face, "markersize": 3.2, "linewidth": 1.0}
                name = f"{filters}, {label}"
                style.bars(upper, part, "depth", "f1", colours[key], index, label=name, elinewidth=0.7, **options)
        upper.set(ylim=(0, 1.03), title=network)
        _coherences(lower, layers[layers["network"] == network])
        for panel in (upper, lower):
            panel.set_xlim(0.6, max(layers["depth"][layers["network"] == network].max(), 2) + 0.4)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        lower.set_xlabel("layer, in order")
    for row in range(2 * bands):
        axes[row, 0].set_ylabel("coherence" if row % 2 else "F1 of the support")
    for unused in range(len(networks), bands * columns):
        for panel in axes[2 * (unused // columns) : 2 * (unused // columns) + 2, unused % columns]:
            panel.set_axis_off()
    style.common_legend(figure, [axes[0, 0], axes[1, 0]], 3, fontsize="x-small")
    style.footnote(
        figure,
        "One ReLU step (random signs: of both signs) at the best threshold of each filter, on codes with as many "
        f"non-zeros as the network's own; bars are intervals over {style.plural(table['trials'], 'signal')}.",
    )
    return figure


def _first(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the magnitudes that figures show."""
    return select(table, magnitudes=table["magnitudes"].iloc[0])


_LOOKS = {
    "mu_trained": ("trained", "black", "o", "-"),
    "mu_shuffled": ("shuffled", "0.45", "s", "--"),
    "mu_random": ("random", "0.45", "^", ":"),
    "mu_optimised": ("optimised", "0.65", "D", "-."),
    "welch_bound": ("Welch bound", "black", "_", "none"),
}


def _coherences(panel: Axes, layers: pd.DataFrame) -> None:
    for name, (label, colour, marker, line) in _LOOKS.items():
        panel.plot(
            layers["depth"], layers[name], color=colour, marker=marker, linestyle=line, markersize=3.2, linewidth=1.0,
            label=f"coherence, {label}" if name != "welch_bound" else label,
        )  # fmt: skip
    panel.set_ylim(0, 1.03)


def draw_sparsity(table: pd.DataFrame, look: Style) -> Figure:
    """
    Draw F1 against stripe-sparsity, a panel for each kind of filters.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    look : Style
        The style.

    Returns
    -------
    Figure
        A point for each layer and share.
    """
    kinds = list(table["filters"].unique())
    figure, axes = style.canvas(look, math.ceil(len(kinds) / 2), 2, 0.62, sharex=True, sharey=True)
    colours = style.colours(look, len(CONDITIONS))
    best = select(_first(table), threshold="best by filter")
    for panel, filters in zip(axes.flat, kinds, strict=False):
        for index, ((support, signs), label) in enumerate(CONDITIONS.items()):
            part = select(best, filters=filters, support=support, signs=signs)
            options = {"linestyle": "none", "markersize": 3.0, "elinewidth": 0.6, "capsize": 0, "alpha": 0.8}
            style.bars(panel, part, "stripe_sparsity", "f1", colours[index], index, label=label, **options)
        panel.set(ylim=(0, 1.03), title=f"{filters} filters")
        style.logarithmic(panel.xaxis, table["stripe_sparsity"])
        panel.tick_params(labelbottom=True)
    for row in axes:
        row[0].set_ylabel("F1 of the support")
    for panel in axes[-1]:
        panel.set_xlabel("stripe-sparsity")
    style.common_legend(figure, [axes[0, 0]], 2, fontsize="x-small")
    shares = ", ".join(f"{share:g}" for share in sorted(table["share"].unique(), reverse=True))
    style.footnote(
        figure,
        f"A point is a layer, of whose non-zeros the shares {shares} are planted;"
        f" at the best threshold of each filter; "
        f"bars are intervals over {style.plural(table['trials'], 'signal')}.",
    )
    return figure
