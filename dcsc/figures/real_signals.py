"""Windows of real signals: how sparse their codes are, what is guaranteed for them, and what pursuits recover."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dcsc import statistics
from dcsc.figures import style as styles
from dcsc.figures.comparison import ran
from dcsc.figures.results import Results
from dcsc.model.coherence import babel, mutual_coherence
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.ragged import RaggedCodes
from dcsc.store.readers import cascade_of, codes_of_replicate, noise_of_replicate

GUARANTEES = (("--", "0.1", 1), (":", "0.1", 1.3), ("-", "0.65", 1.8), ("-.", "0.45", 1))
"""Line, shade and width of each guarantee; the first lie on top of those that they may coincide with."""


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    Gather what concerns the windows, layer by layer.

    Parameters
    ----------
    results : Results
        Its trials, signals and dictionaries are used; cascades of one replicate.
    settings : mapping
        `confidence`, `variants` and `pursuits`.

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
        dictionaries = cascade_of(results.dictionaries[cascade], 0).dictionaries
        for variant, drawn in settings["variants"].items():
            cells = trials.sel(variant=variant)
            for active in trials["active"].to_numpy():
                cell = cells.sel(active=[active])
                key = {"cascade": cascade, "variant": variant, "active": int(active)}
                if drawn["residual"]:
                    quantiles = _quantiles(cell["signal_to_noise"])
                    rows.append(key | {"kind": "ratio", **quantiles, "trials": cell["signal_to_noise"].size})
                else:
                    rows += [key | row for row in _of_codes(cell, dictionaries, settings["confidence"])]
                rows += [key | row for row in _of_pursuits(cell, settings)]
        rows += [{"kind": "window", "cascade": cascade} | row for row in _window(results, cascade, settings)]
    return pd.DataFrame(rows)


def _quantiles(values: xr.DataArray) -> dict[str, float]:
    found = np.quantile(values.to_numpy(), (0.1, 0.5, 0.9))
    return dict(zip(("value_lower", "value", "value_upper"), found.tolist(), strict=True))


def _share(successes: int, trials: int, confidence: float) -> dict[str, Any]:
    lower, upper = statistics.proportion_interval(successes, trials, confidence)
    counted = {"successes": successes, "trials": trials}
    return counted | {"value": successes / trials, "value_lower": float(lower), "value_upper": float(upper)}


def _of_codes(
    cell: xr.Dataset, dictionaries: tuple[ConvolutionalDictionary, ...], confidence: float
) -> Iterator[dict[str, Any]]:
    """Sparsity of every layer, and the rungs that cover the path; those for random signs do not speak of it."""
    coherent, by_babel = [], []
    for layer, dictionary in enumerate(dictionaries, start=1):
        stripes = cell["stripe_sparsity"].sel(layer=layer)
        mu, k = mutual_coherence(dictionary), stripes.to_numpy().astype(int)
        coherent.append((2 * k - 1) * mu < 1)
        by_babel.append(babel(dictionary, k) + babel(dictionary, k - 1) < 1)
        yield {
            "kind": "sparsity",
            "layer": layer,
            **_quantiles(stripes),
            "limit": (1 + 1 / mu) / 2 if mu else np.inf,
            "contrast": float(cell["contrast"].sel(layer=layer).median()),
            "trials": k.size,
        }
    held = {
        "Theorem 8": cell["uniform_guarantee"].astype(bool).all("layer").to_numpy(),
        "Theorem 8, instance form": cell["instance_covered"].to_numpy() == 1,
        "Theorem 11": np.logical_and.reduce(coherent),
        "Theorem 11, Babel form": np.logical_and.reduce(by_babel),
    }
    for rung, covered in held.items():
        yield {"kind": "guarantee", "pursuit": rung, **_share(int(covered.sum()), covered.size, confidence)}


def _of_pursuits(cell: xr.Dataset, settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in settings["pursuits"]:
        if not ran(cell, name):
            continue
        one = cell.sel(pursuit=name)
        exact = one["support_recovered"].astype(bool).transpose("layer", ...).to_numpy().reshape(one.sizes["layer"], -1)
        for layer in one["layer"].to_numpy():
            counts = one.sel(layer=layer)
            upto = exact[:layer].all(axis=0)
            share = _share(int(upto.sum()), upto.size, settings["confidence"])
            yield {"kind": "recovered", "pursuit": name, "layer": int(layer), **share}
            hits = int((counts["nonzeros"] - counts["misses"]).sum())
            found = hits + int(counts["false_alarms"].sum())
            yield {
                "kind": "agreement",
                "pursuit": name,
                "layer": int(layer),
                "value": 2 * hits / (int(counts["nonzeros"].sum()) + found),
                "recall": hits / int(counts["nonzeros"].sum()),
                "precision": hits / found if found else np.nan,
                "error": float((counts["error"] / counts["magnitude"]).median()),
                "trials": upto.size,
            }


def _window(results: Results, cascade: str, settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A typical window at the largest number of atoms, flat, beside its approximation."""
    seen = [row for row, draw in enumerate(settings["variants"].values()) if draw["residual"]]
    if not seen:
        return
    signals = results.signals[cascade][0]
    codes, added = codes_of_replicate(signals, 1, 0), noise_of_replicate(signals, 0)
    cells, trials = codes.batch_shape[1:]
    ratios = results.trials[cascade]["signal_to_noise"].isel(
        replicate=0, variant=seen[0], active=-1, trial=slice(trials)
    )
    typical = int(np.argsort(ratios.to_numpy(), kind="stable")[trials // 2])
    flat = (seen[0] * cells + cells - 1) * trials + typical
    first = cascade_of(results.dictionaries[cascade], 0).dictionaries[0]
    synthesis = first.synthesize(_row(codes, flat).to_dense())[0]
    window = synthesis + added[seen[0], cells - 1, typical]
    active = int(signals["layer_1"]["active"].to_numpy()[-1])
    for index in np.ndindex(window.shape):
        place = "/".join(str(number) for number in index)
        yield {"active": active, "place": place, "value": float(window[index]), "synthesis": float(synthesis[index])}


def _row(codes: RaggedCodes, row: int) -> RaggedCodes:
    return codes.reshape((codes.row_size.size,)).rows(slice(row, row + 1))


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw four panels a cascade: a window; sparsity; guarantees and recovery of the synthesis; atoms found in the window.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : mapping
        `style`, `confidence`, `variants` and `pursuits`.

    Returns
    -------
    Figure
        Two rows of panels a cascade.
    """
    style = settings["style"]
    cascades = list(table["cascade"].unique())
    figure, axes = styles.canvas(style, 2 * len(cascades), 2, 0.62)
    for row, cascade in enumerate(cascades):
        part = table[table["cascade"] == cascade]
        panels = axes[2 * row : 2 * row + 2].ravel()
        _draw_window(panels[0], part, style)
        _draw_sparsity(panels[1], part, style)
        _draw_shares(panels[2], part, settings, "recovered", residual=False)
        panels[2].set_title("the synthesis is observed", fontsize="small")
        panels[2].set_ylabel("exact paths (share)")
        _draw_shares(panels[3], part, settings, "agreement", residual=True)
        panels[3].set_title("the window is observed", fontsize="small")
        panels[3].set_ylabel("F1 of the\ndeepest support")
        for panel in panels[1:]:
            panel.set_xscale("log", base=2)
            panel.xaxis.set_major_formatter("{x:g}")
        handles = {}
        for panel in panels[2:]:
            handles |= dict(zip(*panel.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, fontsize="small")
    counts = table.loc[table["kind"] == "recovered", "trials"]
    styles.footnote(
        figure,
        style,
        f"{styles.plural(counts, 'window')} a point, which may overlap; bands: 10 % to 90 % of the windows; bars: "
        f"Clopper-Pearson {settings['confidence']:.0%}; grey: share of the windows that a guarantee covers",
        label="active atoms of the deepest code",
    )
    return figure


def _draw_window(panel: Axes, part: pd.DataFrame, style: Mapping[str, Any]) -> None:
    """A window and its approximation."""
    points, colour = part[part["kind"] == "window"], styles.colours(style, 2)[1]
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
    ratios = part[part["kind"] == "ratio"].sort_values("active")
    title = f"a window and its code of {int(points['active'].iloc[0])} atoms"
    if len(ratios):
        title += f" (median {ratios['value'].iloc[-1]:.1f} dB)"
    panel.set_title(title, fontsize="small")
    panel.set_xticks([])
    panel.set_yticks([])
    panel.grid(False)


def _draw_sparsity(panel: Axes, part: pd.DataFrame, style: Mapping[str, Any]) -> None:
    """Stripe-sparsity of every layer, and what Theorem 11 admits."""
    colour = styles.colours(style, 10)
    for index, (layer, one) in enumerate(part[part["kind"] == "sparsity"].groupby("layer")):
        styles.curve_with_band(panel, one, "active", "value", colour[index], index, label=f"layer {int(layer)}")
        panel.axhline(one["limit"].iloc[0], color=colour[index], ls="--", lw=1)
    panel.plot([], [], color="0.3", ls="--", lw=1, label="limit of Theorem 11")
    panel.legend(fontsize="small")
    panel.set_ylabel("stripe-sparsity")
    panel.set_yscale("log", base=2)
    panel.yaxis.set_major_formatter("{x:g}")


def _draw_shares(panel: Axes, part: pd.DataFrame, settings: Mapping[str, Any], kind: str, *, residual: bool) -> None:
    """What pursuits recover of the deepest layer, and what is guaranteed where that can be."""
    names, colour = list(settings["pursuits"]), styles.colours(settings["style"], 10)
    chosen = [variant for variant, draw in settings["variants"].items() if draw["residual"] == residual]
    rows = part[(part["kind"] == kind) & (part["layer"] == part["layer"].max()) & part["variant"].isin(chosen)]
    for name in [name for name in names if name in set(rows["pursuit"])]:
        index, curve = names.index(name), rows[rows["pursuit"] == name].sort_values("active")
        ends = np.abs(curve[["value_lower", "value_upper"]].to_numpy().T - curve["value"].to_numpy())
        widths = styles.nested(min(index, 3), 4)  # those that coincide are the forward passes, which come first
        look = {"color": colour[index], "marker": styles.MARKERS[index], "elinewidth": 0.6, **widths}
        panel.errorbar(curve["active"], curve["value"], ends if kind == "recovered" else None, label=name, **look)
    for index, (rung, one) in enumerate(part[part["kind"] == "guarantee"].groupby("pursuit", sort=False)):
        if not residual:
            one = one.sort_values("active")
            dashes, shade, width = GUARANTEES[index]
            look = {"color": shade, "linestyle": dashes, "linewidth": width, "zorder": 4 - index / 4}
            panel.plot(one["active"], one["value"], label=rung, **look)
    panel.set_ylim(-0.05, 1.05)
