"""
Windows of real signals: how sparse their codes are, what is guaranteed for them, and what pursuits recover.

When to take it: for signals given by `windows_of`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dcsc.figures import style
from dcsc.figures.inputs import FigureSettings, Results, ran
from dcsc.figures.panels import Panel
from dcsc.figures.tables import bar_lengths, quantiles, select, share
from dcsc.model.coherence import babel, mutual_coherence
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.store.readers import codes_of_replicate, noise_of_replicate

PANEL = Panel(
    needs=("signals", "errors"),
    reads_trials=True,
    columns="cascade variant active kind layer value_lower value value_upper limit contrast trials pursuit successes "
    "recall precision error place synthesis",
)

GUARANTEES = (("--", "0.1", 1), (":", "0.1", 1.3), ("-", "0.65", 1.8), ("-.", "0.45", 1))
"""Line, shade and width of each guarantee; the first lie on top of those that they may coincide with."""


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Gather what concerns the windows, layer by layer.

    Parameters
    ----------
    results : Results
        Its trials, signals and dictionaries are used; cascades of one replicate.
    settings : FigureSettings
        Its confidence, variants and pursuits.

    Returns
    -------
    pandas.DataFrame
        Rows of kind `sparsity` (quantiles of the stripe-sparsity of a layer, the limit that Theorem 11 sets it, and
        the median contrast), `guarantee` (share of the windows that a rung covers, by `pursuit`), `ratio`
        (signal-to-noise ratio of the approximation), `recovered` (share of the windows whose supports are exact up to
        a layer), `agreement` (of found and true supports: F1, the harmonic mean of the shares `recall` of the active
        atoms that are found and `precision` of those found that are active) and `window` (the window whose ratio is
        the median at the largest number of atoms, and its approximation, point by point).
    """
    rows = []
    for cascade, trials in results.trials.items():
        dictionaries = results.cascade(cascade).dictionaries
        for variant, drawn in settings.variants.items():
            cells = trials.sel(variant=variant)
            for active in trials["active"].to_numpy():
                cell = cells.sel(active=[active])
                key = {"cascade": cascade, "variant": variant, "active": int(active)}
                if drawn.residual:
                    ratios = cell["signal_to_noise"]
                    rows.append(key | {"kind": "ratio", **quantiles(ratios, "value"), "trials": ratios.size})
                else:
                    rows += [key | row for row in _of_codes(cell, dictionaries, settings.confidence)]
                rows += [key | row for row in _of_pursuits(cell, settings)]
        rows += [{"kind": "window", "cascade": cascade} | row for row in _window(results, cascade, settings)]
    return pd.DataFrame(rows)


def _share(truths: NDArray, confidence: float) -> dict[str, Any]:
    counts = {"successes": int(truths.sum()), "trials": truths.size}
    return counts | share(counts["successes"], truths.size, confidence, "value")


def _of_codes(
    cell: xr.Dataset, dictionaries: tuple[ConvolutionalDictionary, ...], confidence: float
) -> Iterator[dict[str, Any]]:
    """Sparsity of every layer, and the rungs that cover the path; those for random signs do not speak of it."""
    by_layer: dict[str, list[Any]] = {"Theorem 11": [], "Theorem 11, Babel form": []}
    for layer, dictionary in enumerate(dictionaries, start=1):
        stripes = cell["stripe_sparsity"].sel(layer=layer)
        mu, k = mutual_coherence(dictionary), stripes.to_numpy().astype(int)
        by_layer["Theorem 11"].append((2 * k - 1) * mu < 1)
        by_layer["Theorem 11, Babel form"].append(babel(dictionary, k) + babel(dictionary, k - 1) < 1)
        yield {
            "kind": "sparsity",
            "layer": layer,
            **quantiles(stripes, "value"),
            "limit": (1 + 1 / mu) / 2 if mu else np.inf,
            "contrast": float(cell["contrast"].sel(layer=layer).median()),
            "trials": k.size,
        }
    held = {
        "Theorem 8": cell["uniform_guarantee"].astype(bool).all("layer").to_numpy(),
        "Theorem 8, instance form": cell["instance_covered"].to_numpy() == 1,
        **{rung: np.all(covered, axis=0) for rung, covered in by_layer.items()},
    }
    for rung, covered in held.items():
        yield {"kind": "guarantee", "pursuit": rung, **_share(covered, confidence)}


def _of_pursuits(cell: xr.Dataset, settings: FigureSettings) -> Iterator[dict[str, Any]]:
    for name in [name for name in settings.pursuits if ran(cell, name)]:
        chosen = cell.sel(pursuit=name)
        exact = np.minimum.accumulate(chosen["support_recovered"].transpose("layer", ...).to_numpy().astype(bool))
        for layer, up_to_layer in zip(chosen["layer"].to_numpy().tolist(), exact, strict=True):
            counts = chosen.sel(layer=layer)
            place = {"pursuit": name, "layer": layer}
            yield {"kind": "recovered", **place, **_share(up_to_layer, settings.confidence)}
            active = int(counts["nonzeros"].sum())
            hits = active - int(counts["misses"].sum())
            estimated = hits + int(counts["false_alarms"].sum())
            yield {
                "kind": "agreement",
                **place,
                "value": 2 * hits / (active + estimated),
                "recall": hits / active,
                "precision": hits / estimated if estimated else np.nan,
                "error": float((counts["error"] / counts["magnitude"]).median()),
                "trials": up_to_layer.size,
            }


def _window(results: Results, cascade: str, settings: FigureSettings) -> Iterator[dict[str, Any]]:
    """A typical window at the largest number of atoms, flat, beside its approximation."""
    variant = next((row for row, draw in enumerate(settings.variants.values()) if draw.residual), None)
    signals = results.signals[cascade][0]
    residual = noise_of_replicate(signals, 0)
    if variant is None or residual is None:
        return
    codes = codes_of_replicate(signals, 1, 0)[variant]
    cells, trials = codes.batch_shape
    ratios = results.trials[cascade]["signal_to_noise"].isel(replicate=0, variant=variant, active=-1)
    typical = int(np.argsort(ratios.to_numpy()[:trials], kind="stable")[trials // 2])
    first = results.cascade(cascade).dictionaries[0]
    row = (cells - 1) * trials + typical
    synthesis = first.synthesize(codes.rows(slice(row, row + 1)).to_dense())[0]
    window = synthesis + residual[variant, -1, typical]
    active = int(signals["layer_1"]["active"].to_numpy()[-1])
    for index in np.ndindex(window.shape):
        place = "/".join(str(number) for number in index)
        yield {"active": active, "place": place, "value": float(window[index]), "synthesis": float(synthesis[index])}


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw four panels a cascade: a window; sparsity; guarantees and recovery of the synthesis; atoms found in the window.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : FigureSettings
        Its style, confidence, variants and pursuits.

    Returns
    -------
    Figure
        Two rows of panels a cascade.
    """
    cascades = list(table["cascade"].unique())
    figure, axes = style.canvas(settings.style, 2 * len(cascades), 2, 0.62)
    for (window, sparsity), (synthesis, observed), cascade in zip(axes[::2], axes[1::2], cascades, strict=True):
        part = select(table, cascade=cascade)
        _draw_window(window, part, settings)
        _draw_sparsity(sparsity, select(part, kind="sparsity"), settings)
        _draw_shares(synthesis, part, settings, "recovered", residual=False)
        for index, (rung, curve) in enumerate(select(part, kind="guarantee").groupby("pursuit", sort=False)):
            dashes, shade, width = GUARANTEES[index]
            look: style.Look = {"color": shade, "linestyle": dashes, "linewidth": width, "zorder": 4 - index / 4}
            curve = curve.sort_values("active")
            synthesis.plot(curve["active"], curve["value"], label=rung, **look)
        synthesis.set_title("the synthesis is observed", fontsize="small")
        synthesis.set_ylabel("exact paths (share)")
        _draw_shares(observed, part, settings, "agreement", residual=True)
        observed.set_title("the window is observed", fontsize="small")
        observed.set_ylabel("F1 of the\ndeepest support")
        for panel in (sparsity, synthesis, observed):
            panel.set_xscale("log", base=2)
            panel.xaxis.set_major_formatter("{x:g}")
    style.common_legend(figure, axes[1::2].flat, 4)
    counts = select(table, kind="recovered")["trials"]
    style.footnote(
        figure,
        f"{style.plural(counts, 'window')} a point, which may overlap; bands: 10 % to 90 % of the windows; bars: "
        f"Clopper-Pearson {settings.confidence:.0%}; grey: share of the windows that a guarantee covers",
        "active atoms of the deepest code",
    )
    return figure


def _draw_window(panel: Axes, part: pd.DataFrame, settings: FigureSettings) -> None:
    """A window and its approximation."""
    points, colour = select(part, kind="window"), style.colours(settings.style, 2)[1]
    if not len(points):
        panel.axis("off")
        return
    places = np.array([[int(number) for number in place.split("/")] for place in points["place"]])
    shape = places.max(axis=0) + 1
    window, synthesis = (points[name].to_numpy().reshape(shape)[0] for name in ("value", "synthesis"))
    if window.ndim == 1:
        panel.plot(window, color="0.1", lw=1.2)
        panel.plot(synthesis, color=colour, lw=1)
    else:
        limits = {"vmin": window.min(), "vmax": window.max()}
        panel.imshow(np.concatenate([window, synthesis], axis=1), cmap="gray", **limits)
        panel.axvline(window.shape[1] - 0.5, color=colour, lw=1)
    ratios = select(part, kind="ratio").sort_values("active")
    title = f"a window and its code of {int(points['active'].iloc[0])} atoms"
    if len(ratios):
        title += f" (median {ratios['value'].iloc[-1]:.1f} dB)"
    panel.set_title(title, fontsize="small")
    panel.set(xticks=[], yticks=[])
    panel.grid(False)


def _draw_sparsity(panel: Axes, table: pd.DataFrame, settings: FigureSettings) -> None:
    """Stripe-sparsity of every layer, and what Theorem 11 admits."""
    colours = style.colours(settings.style, 10)
    for index, (layer, curve) in enumerate(table.groupby("layer")):
        style.curve_with_band(panel, curve, "active", "value", colours[index], index, label=f"layer {layer:.0f}")
        panel.axhline(curve["limit"].iloc[0], color=colours[index], ls="--", lw=1)
    panel.plot([], [], color="0.3", ls="--", lw=1, label="limit of Theorem 11")
    panel.legend(fontsize="small")
    panel.set_ylabel("stripe-sparsity")
    panel.set_yscale("log", base=2)
    panel.yaxis.set_major_formatter("{x:g}")


def _draw_shares(panel: Axes, part: pd.DataFrame, settings: FigureSettings, kind: str, *, residual: bool) -> None:
    """What pursuits recover of the deepest layer."""
    colours = style.colours(settings.style, 10)
    variants = [name for name, draw in settings.variants.items() if draw.residual == residual]
    rows = select(part, kind=kind, layer=part["layer"].max())
    rows = rows[rows["variant"].isin(variants)]
    for index, name in enumerate(settings.pursuits):
        curve = select(rows, pursuit=name).sort_values("active")
        if len(curve):
            look: style.Look = style.nested(min(index, 3), 4)  # the first, which are forward passes, coincide
            look |= {"color": colours[index], "marker": style.MARKERS[index], "elinewidth": 0.6, "label": name}
            bars = bar_lengths(curve, "value") if kind == "recovered" else None
            panel.errorbar(curve["active"], curve["value"], bars, **look)
    panel.set_ylim(-0.05, 1.05)
