"""Recovery of whole paths against deepest density, coherence and number of layers, with what is certified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from dcsc import guarantees, statistics
from dcsc.figures import exact
from dcsc.figures import style as styles
from dcsc.figures.recovery import bound_tests
from dcsc.figures.results import Results
from dcsc.guarantees.certified_size import failure_limit
from dcsc.store.readers import cascade_of

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


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    Pool the draws of every cell that hold any active atom.

    Parameters
    ----------
    results : Results
        Its trials, dictionaries and the tables beside are used.
    settings : mapping
        `confidence`, `variants`, `pursuits` and `delta`.

    Returns
    -------
    pandas.DataFrame
        With `kind` "map", a row for each cascade, pursuit, variant and number of active atoms: the mean density
        of the deepest code, recovered paths, the share `certified` for all signs and `assured`, one less the
        bound on the failure rate, both as run and as lower confidence limits; then, with `kind` the figure's name,
        the rows of the tables beside.
    """
    rows = []
    for cascade, trials in results.trials.items():
        first = cascade_of(results.dictionaries[cascade], 0)
        depth, n_atoms = first.depth, first.dictionaries[-1].n_atoms
        coherence = float(results.dictionaries[cascade]["layer_1"]["mutual_coherence"].mean())
        for pursuit in trials["pursuit"].to_numpy():
            for variant in settings["variants"]:
                chosen = trials.sel(pursuit=pursuit, variant=variant)
                for active in chosen["active"].to_numpy()[chosen["measured"].to_numpy().astype(bool)]:
                    # Where no two atoms meet, the path is determined, and a draw's part is a bound on its own failure.
                    largest = 1.0 if settings["variants"][variant]["constraint"] == "no-overlap" else depth + 1.0
                    counted = _counted(chosen.sel(active=active), depth, settings["confidence"], largest)
                    if counted["trials"]:
                        sizes = {"density": counted.pop("nonzeros") / n_atoms, "active": int(active)}
                        place = {"cascade": cascade, "depth": depth, "mutual_coherence": coherence}
                        rows.append({**place, "pursuit": pursuit, "variant": variant, **sizes, **counted})
    table = pd.DataFrame(rows)
    table.insert(table.columns.get_loc("recovered") + 1, "rate", table["recovered"] / table["trials"])
    table["rate_lower"], table["rate_upper"] = statistics.proportion_interval(
        table["recovered"], table["trials"], settings["confidence"]
    )
    table[["bound_tested", "bound_exceeded"]] = bound_tests(table, settings["confidence"])
    table["replicates"] = max(trials.sizes["replicate"] for trials in results.trials.values())
    beside = [numbers.assign(kind=name) for name, numbers in results.beside.items()]
    return pd.concat([table.assign(kind="map"), *beside], ignore_index=True)


def _counted(cell: Any, depth: int, confidence: float, largest: float) -> dict[str, Any]:
    """
    Count one cell; an empty code, all of whose atoms were refused, is no trial.

    What is certified is a lower confidence limit over its draws, which add at most `largest` to a mean each.
    """
    deepest = cell["nonzeros"].sel(layer=depth).to_numpy()
    there = deepest > 0
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
        "nonzeros": float(deepest[there].mean()) if there.any() else 0.0,
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


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw a map for each number of layers (columns), signs and pursuit (rows), and the tables beside below them.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : mapping
        `style`, `confidence` and `delta`.

    Returns
    -------
    Figure
        Colour is the measured share of recovered paths; lines are where a share falls below LEVEL.
    """
    style = settings["style"]
    maps = table[table["kind"] == "map"]
    beside = {name: part.dropna(axis=1, how="all") for name, part in table.groupby("kind") if name != "map"}
    kinds = list(maps[["variant", "pursuit"]].drop_duplicates().itertuples(index=False, name=None))
    depths = sorted(maps["depth"].unique())
    heights = [1.0] * len(kinds) + [ROWS_OF_TABLE] * len(beside)
    rows = len(heights)
    figure, axes = styles.canvas(style, rows, len(depths), 0.78, height_ratios=heights)
    image = None
    for row, (variant, pursuit) in enumerate(kinds):
        for column, depth in enumerate(depths):
            panel = axes[row, column]
            same = (maps["variant"] == variant) & (maps["pursuit"] == pursuit) & (maps["depth"] == depth)
            image = _draw_map(panel, maps[same])
            panel.sharex(axes[0, column])
            panel.tick_params(labelbottom=row == len(kinds) - 1)
            if row == 0:
                panel.set_title(styles.plural(depth, "layer"), fontsize="medium")
            if row == len(kinds) - 1:
                panel.set_xlabel("deepest density", fontsize="small")
            if column:
                panel.set_yticklabels([])
            else:
                panel.set_ylabel(f"{pursuit}\n{variant}", fontsize="small")
    figure.supylabel("coherence $\\mu$ of layer 1", fontsize="small")
    figure.colorbar(image, ax=axes[: len(kinds)].ravel().tolist(), label="paths recovered (share)", aspect=40, pad=0.01)
    for row, numbers in enumerate(beside.values(), start=len(kinds)):
        _draw_beside(figure, axes[row], numbers)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=3, fontsize="small", title=f"{LEVEL:.0%} of paths, up to"
    )
    notes = [exact.note(part, settings) for part in beside.values()]
    text = (
        f"maps: {styles.plural(maps['trials'], 'trial')} a cell, pooled over "
        f"{styles.plural(maps['replicates'], 'cascade')} of a depth; certificates of the same pursuit as run, of "
        f"{styles.count(maps['bounded'])} of them, delta = {settings['delta']:g}"
    )
    styles.footnote(figure, style, "; ".join([text, *(f"table: {note}" for note in notes)]))
    return figure


def _draw_map(panel: Axes, cells: pd.DataFrame) -> Any:
    """Draw one map, a row of cells for each coherence with edges of its own."""
    image = None
    crossings: dict[str, list[float]] = {name: [] for name in CONTOURS}
    coherences = sorted(cells["mutual_coherence"].unique())
    for row, coherence in enumerate(coherences):
        line = cells[cells["mutual_coherence"] == coherence].groupby("active").mean(numeric_only=True)
        line = line.sort_values("density")
        edges = _edges(line["density"].to_numpy())
        image = panel.pcolormesh(
            edges, [row - 0.5, row + 0.5], line["rate"].to_numpy()[None], cmap="Blues", vmin=0, vmax=1, rasterized=True
        )
        for name, found in crossings.items():
            found.append(_falls(line["density"].to_numpy(), line[name].to_numpy(), edges, name == "rate"))
    heights = np.arange(len(coherences) + 1) - 0.5
    for (label, colour, dashes, width), found in zip(CONTOURS.values(), crossings.values(), strict=True):
        panel.stairs(found, heights, orientation="horizontal", baseline=None, color=colour, ls=dashes, lw=width)
        panel.plot([], [], color=colour, linestyle=dashes, linewidth=width, label=label)
    panel.set_yticks(range(len(coherences)), [f"{coherence:.2f}" for coherence in coherences])
    panel.grid(visible=False)
    styles.logarithmic(panel.xaxis, cells["density"])
    if cells["density"].max() > 10 * cells["density"].min():
        panel.xaxis.set_major_locator(LogLocator())  # a map is too narrow for more
    panel.tick_params(labelsize="x-small")
    return image


def _edges(centres: NDArray) -> NDArray:
    """Borders between cells, halfway on a logarithmic axis."""
    logs = np.log(centres)
    if len(logs) == 1:
        return np.exp([logs[0] - 0.3, logs[0] + 0.3])
    middle = (logs[1:] + logs[:-1]) / 2
    return np.exp([2 * logs[0] - middle[0], *middle, 2 * logs[-1] - middle[-1]])


def _falls(density: NDArray, share: NDArray, edges: Sequence[float], interpolated: bool) -> float:
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
    grid = row[0].get_gridspec()
    place = grid[row[0].get_subplotspec().rowspan.start, :]
    for panel in row:
        panel.remove()
    panel = figure.add_subplot(place)
    panel.set_title("The aligned cascade: failed paths in per cent", fontsize="medium", loc="left")
    exact.draw_table(panel, numbers.astype({"blocks": int})).set_fontsize(6)
