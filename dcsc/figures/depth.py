"""
Recovery of whole paths against density, coherence and number of layers, with what is certified.

When to take it: for the phase diagram of whole paths: cascades of several depths and coherences over a density.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from dcsc import guarantees, statistics
from dcsc.figures import exact, style
from dcsc.figures.inputs import Axis, FigureSettings, Results, measured_cells
from dcsc.figures.panels import Panel
from dcsc.figures.tables import bound_tests, select, with_shares
from dcsc.guarantees.certified_size import failure_limit

PANEL = Panel(
    needs=("beside",),
    reads_trials=True,
    columns="cascade depth mutual_coherence pursuit variant density active recovered rate trials certified covered "
    "violations assured failure_bound bounded bounded_failures rate_lower rate_upper bound_tested bound_exceeded "
    "replicates kind rule threshold_over_x blocks failures exact inside count stripe_sparsity",
    takes_axis=True,
)

LEVEL = 0.95
"""Share of paths at which the contours are drawn."""

CONTOURS = {
    "assured": ("certified with high probability", "#000000", "-", 2.2),
    "rate": ("measured", "#d55e00", "-", 1.3),
    "certified": ("certified for all signs", "#f0c000", (0, (2, 1.5)), 1.3),
}
"""Columns whose contours are drawn: label, colour, line and its width; the last are narrow and lie on top."""

ROWS_OF_TABLE = 1.9
"""Height of the table below the maps, in rows of maps."""


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Pool the draws of every cell that hold any active atom.

    Parameters
    ----------
    results : Results
        Its trials, dictionaries and the tables beside are used.
    settings : FigureSettings
        Its confidence and variants.

    Returns
    -------
    pandas.DataFrame
        With `kind` "map", a row for each cascade, pursuit, variant and number of active atoms: the mean `density`
        and `count` of the layer that the axis names, else the deepest, recovered paths, the share
        `certified` for all signs and `assured`, one less the bound on the failure rate, both as run and as lower
        confidence limits; then, with `kind` the figure's name, the rows of the tables beside.
    """
    rows = []
    for cascade, trials in results.trials.items():
        first = results.cascade(cascade)
        coherence = float(results.dictionaries[cascade]["layer_1"]["mutual_coherence"].mean())
        here = {"cascade": cascade, "depth": first.depth, "mutual_coherence": coherence}
        for place, cell in measured_cells(trials, settings.variants):
            active = place.pop("active")
            # Where no two atoms meet, the path is determined, and a draw's part is a bound on its own failure.
            determined = settings.variants[place["variant"]].constraint == "no-overlap"
            layer = settings.axis.layer or first.depth
            counted = _counted(cell, layer, settings.confidence, 1.0 if determined else first.depth + 1.0)
            if counted["trials"]:
                density = counted["count"] / first.dictionaries[layer - 1].n_atoms
                rows.append({**here, **place, "density": density, "active": active, **counted})
    table = pd.DataFrame(rows)
    table.insert(table.columns.get_loc("recovered") + 1, "rate", np.nan)
    table = with_shares(table, "recovered", settings.confidence)
    table[["bound_tested", "bound_exceeded"]] = bound_tests(table, settings.confidence)
    table["replicates"] = max(trials.sizes["replicate"] for trials in results.trials.values())
    beside = [numbers.assign(kind=name) for name, numbers in results.beside.items()]
    return pd.concat([table.assign(kind="map"), *beside], ignore_index=True)


def _counted(cell: xr.Dataset, layer: int, confidence: float, largest: float) -> dict[str, Any]:
    """
    Count one cell; an empty code, all of whose atoms were refused, is no trial.

    What is certified is a lower confidence limit over its draws, which add at most `largest` to a mean each.
    """
    nonzeros, stripes = cell["nonzeros"].sel(layer=layer).to_numpy(), cell["stripe_sparsity"].sel(layer=1).to_numpy()
    there = cell["nonzeros"].isel(layer=-1).to_numpy() > 0
    recovered = cell["path_recovered"].to_numpy().astype(bool)
    covered, bound = (cell[name].to_numpy() for name in ("covered_as_run", "failure_bound_as_run"))
    bounded = there & ~np.isnan(bound)
    known = there & ~np.isnan(covered)
    failing = guarantees.failure_rate_bound(covered[bounded], bound[bounded]) if bounded.any() else np.nan
    certified = assured = np.nan
    if known.any():
        certified = float(statistics.proportion_lower_limit(np.sum(covered[known] == 1), known.sum(), confidence))
    if bounded.any():
        assured = max(certified, 1 - failure_limit(bound[bounded], confidence, largest))
    return {
        "count": float(nonzeros[there].mean()) if there.any() else 0.0,
        "stripe_sparsity": float(stripes[there].mean()) if there.any() else 0.0,
        "recovered": int((recovered & there).sum()),
        "trials": int(there.sum()),
        "certified": certified,
        "covered": int((covered[known] == 1).sum()),
        "violations": int(((covered == 1) & known & ~recovered).sum()),
        "assured": assured,
        "failure_bound": failing,
        "bounded": int(bounded.sum()),
        "bounded_failures": int((bounded & ~recovered).sum()),
    }


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw a map for each number of layers (columns), signs and pursuit (rows), and the tables beside below them.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : FigureSettings
        Its style, confidence and delta.

    Returns
    -------
    Figure
        Colour is the measured share of recovered paths; lines are where a share falls below LEVEL.
    """
    maps = select(table, kind="map")
    beside = [part.dropna(axis=1, how="all") for name, part in table.groupby("kind") if name != "map"]
    kinds = list(maps[["variant", "pursuit"]].drop_duplicates().itertuples(index=False))
    depths = sorted(maps["depth"].unique())
    heights = [1.0] * len(kinds) + [ROWS_OF_TABLE] * len(beside)
    figure, axes = style.canvas(settings.style, len(heights), len(depths), 0.78, height_ratios=heights)
    rows = axes[: len(kinds)]
    for row, kind in zip(rows, kinds, strict=True):
        for panel, first, depth in zip(row, axes[0], depths, strict=True):
            _draw_map(panel, select(maps, depth=depth, **kind._asdict()), settings.axis.column("density"))
            panel.sharex(first)
            panel.tick_params(labelbottom=False)
        for panel in row[1:]:
            panel.set_yticklabels([])
        row[0].set_ylabel(f"{kind.pursuit}\n{kind.variant}", fontsize="small")
    label = "deepest density" if settings.axis == Axis() else settings.axis.label("density").removeprefix("mean ")
    for panel, below, depth in zip(axes[0], rows[-1], depths, strict=True):
        panel.set_title(style.plural(depth, "layer"))
        below.set_xlabel(label, fontsize="small")
        below.tick_params(labelbottom=True)
    figure.supylabel("coherence $\\mu$ of layer 1", fontsize="small")
    image = axes[0, 0].collections[0]  # all maps have the same colours
    figure.colorbar(image, ax=rows.ravel().tolist(), label="paths recovered (share)", aspect=40, pad=0.01)
    for row, numbers in zip(axes[len(kinds) :], beside, strict=True):
        _draw_beside(figure, row, numbers)
    style.common_legend(figure, axes[0, :1], 3, title=f"{LEVEL:.0%} of paths, up to")
    text = (
        f"maps: {style.plural(maps['trials'], 'trial')} a cell, pooled over "
        f"{style.plural(maps['replicates'], 'cascade')} of a depth; certificates of the same pursuit as run, of "
        f"{style.count(maps['bounded'])} of them, delta = {settings.delta:g}"
    )
    style.footnote(figure, "; ".join([text, *(f"table: {exact.note(part, settings)}" for part in beside)]))
    return figure


def _draw_map(panel: Axes, cells: pd.DataFrame, axis: str) -> None:
    """Draw a map, a row of cells for each coherence with edges of its own."""
    crossings: dict[str, list[float]] = {name: [] for name in CONTOURS}
    coherences = sorted(cells["mutual_coherence"].unique())
    for row, coherence in enumerate(coherences):
        line = select(cells, mutual_coherence=coherence).groupby("active").mean(numeric_only=True)
        line = line.sort_values(axis)
        density, rate = line[axis].to_numpy(), line["rate"].to_numpy()
        edges = _edges(density)
        look: style.Look = {"cmap": "Blues", "vmin": 0, "vmax": 1, "rasterized": True}
        panel.pcolormesh(edges, [row - 0.5, row + 0.5], rate[None], **look)
        for name, falls in crossings.items():
            falls.append(_falls(density, line[name].to_numpy(), edges, name == "rate"))
    heights = np.arange(len(coherences) + 1) - 0.5
    for (label, colour, dashes, width), falls in zip(CONTOURS.values(), crossings.values(), strict=True):
        panel.stairs(falls, heights, orientation="horizontal", baseline=None, color=colour, ls=dashes, lw=width)
        panel.plot([], [], color=colour, linestyle=dashes, linewidth=width, label=label)
    panel.set_yticks(range(len(coherences)), [f"{coherence:.2f}" for coherence in coherences])
    panel.grid(visible=False)
    style.logarithmic(panel.xaxis, cells[axis])
    if cells[axis].max() > 10 * cells[axis].min():
        panel.xaxis.set_major_locator(LogLocator())  # a map is too narrow for more
    panel.tick_params(labelsize="x-small")


def _edges(centres: NDArray) -> NDArray:
    """Borders between cells, halfway on a logarithmic axis."""
    logs = np.log(centres)
    if len(logs) == 1:
        return np.exp([logs[0] - 0.3, logs[0] + 0.3])
    middle = (logs[1:] + logs[:-1]) / 2
    return np.exp([2 * logs[0] - middle[0], *middle, 2 * logs[-1] - middle[-1]])


def _falls(density: NDArray, share: NDArray, edges: NDArray, interpolated: bool) -> float:
    """
    Density at which a share first falls below LEVEL; the outer edge where it never or always does.

    What is measured is interpolated; what is certified ends at the last density for which it was computed and holds.
    """
    low = ~(share >= LEVEL)
    if not low.any():
        return float(edges[-1])
    first = int(np.argmax(low))
    if first == 0:
        return float(edges[0])
    if np.isnan(share[first]) or not interpolated:
        return float(density[first - 1])
    part = (share[first - 1] - LEVEL) / (share[first - 1] - share[first])
    return float(density[first - 1] * (density[first] / density[first - 1]) ** part)


def _draw_beside(figure: Figure, row: NDArray, numbers: pd.DataFrame) -> None:
    """Write a table over the whole width of a row of panels."""
    place = row[0].get_gridspec()[row[0].get_subplotspec().rowspan.start, :]
    for panel in row:
        panel.remove()
    panel = figure.add_subplot(place)
    panel.set_title("The aligned cascade: failed paths in per cent", loc="left")
    exact.draw_table(panel, numbers.astype({"blocks": int}), 6)
