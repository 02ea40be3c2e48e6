"""Dictionaries side by side: sizes, coherence against the Welch bound, Babel functions, what each rung certifies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dcsc import guarantees, sampling, seeds, statistics
from dcsc.figures import style as styles
from dcsc.figures.results import Results
from dcsc.model import coherence, sparsity
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.ragged import RaggedCodes
from dcsc.store.readers import cascade_of

DRAWS, PILOT = 768, 64
"""Supports drawn for each number of active atoms that the instance rungs look at."""

ORTHOGONAL = 1e-9
"""Coherence that is rounding alone."""

DRAWN = 0.01
"""Babel functions are drawn from this coherence on; below it they would stretch the axis over decades."""

GLYPHS = dict(zip(styles.MARKERS, "●■▲◆▼✚✖★◀▶", strict=True))
"""The markers of the curves as text."""

_POINTS = 40


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    Describe the first layer of every cascade.

    Parameters
    ----------
    results : Results
        Its dictionaries are used.
    settings : mapping
        `seed`, `confidence` and `delta`.

    Returns
    -------
    pandas.DataFrame
        Rows of kind "certified", one a rung, with the mean stripe-sparsity over the replicates, and of kind
        "babel", one a number k of atoms, with mu_1(k) and mu_2(k). Sizes and coherence stand in all rows.
    """
    tables = []
    for name, trees in results.dictionaries.items():
        replicates = [
            cascade_of(trees, number).dictionaries[0] for number in range(trees["layer_1"].sizes["replicate"])
        ]
        parts = [_certified(name, replicates, settings), _babel(replicates)]
        tables.append(pd.concat(parts, ignore_index=True).assign(cascade=name, **_sizes(replicates, settings)))
    table = pd.concat(tables, ignore_index=True)
    first = ["cascade", "mutual_coherence", "welch_bound", "kind", "rung", "stripe_sparsity", "k", "mu_1", "mu_2"]
    return table[first + [column for column in table if column not in first]]


def _sizes(replicates: list[ConvolutionalDictionary], settings: Mapping[str, Any]) -> dict[str, Any]:
    one = replicates[0]
    values = [coherence.mutual_coherence(dictionary) for dictionary in replicates]
    mean, lower, upper = statistics.mean_interval(values, settings["confidence"])
    bound = coherence.welch_bound(one)
    return {
        "mutual_coherence": mean,
        "mutual_coherence_lower": lower,
        "mutual_coherence_upper": upper,
        "welch_bound": bound,
        "welch_ratio": mean / bound if bound else np.nan,
        "rank": one.rank,
        "filters": one.n_filters,
        "taps": "x".join(map(str, one.taps)),
        "stride": "x".join(map(str, one.stride)),
        "channels": one.n_channels,
        "atoms": one.n_atoms,
        "stripe_size": one.stripe_size,
        "replicates": len(replicates),
    }


def _certified(name: str, replicates: list[ConvolutionalDictionary], settings: Mapping[str, Any]) -> pd.DataFrame:
    """What every rung certifies of uniform supports at its best threshold, pooled over the replicates."""
    rows = []
    for rung in guarantees.RUNGS:
        limit = min(_pooled(name, replicates, rung, settings), replicates[0].stripe_size)
        rows.append({"kind": "certified", "rung": rung, "stripe_sparsity": limit})
    return pd.DataFrame(rows)


def _pooled(name: str, replicates: list[ConvolutionalDictionary], rung: str, settings: Mapping[str, Any]) -> float:
    """Mean stripe-sparsity of the largest number of uniform activations whose confidence limit holds."""

    def codes(size: int, purpose: str) -> Iterator[tuple[ConvolutionalDictionary, RaggedCodes]]:
        trials = -(-(PILOT if purpose == "pilot" else DRAWS) // len(replicates))
        for number, dictionary in enumerate(replicates):
            key = {"cascade": name, "replicate": number, "active": size}
            stream = seeds.stream(settings["seed"], purpose=f"families, {purpose}", **key)
            support = {"name": "uniform", "size": size}
            yield dictionary, sampling.sample_codes(stream, dictionary, trials, support=support)

    def failures(size: int, purpose: str) -> NDArray:
        drawn = codes(size, purpose)
        return np.concatenate([guarantees.draw_failures(Cascade([d]), x, None, rung=rung) for d, x in drawn])

    sizes = guarantees.candidate_sizes(replicates[0].n_atoms)
    found = guarantees.largest_certified_size(failures, sizes, settings["delta"], settings["confidence"])
    if not found.size:
        return 0.0
    return float(np.mean([np.mean(sparsity.stripe_norm(x, d)) for d, x in codes(found.size, "draws")]))


def _babel(replicates: list[ConvolutionalDictionary]) -> pd.DataFrame:
    """Babel functions averaged over the replicates, at numbers spread evenly on a logarithmic axis."""
    others = replicates[0].stripe_size - 1
    counts = np.unique(np.rint(np.geomspace(1, max(others, 1), _POINTS)).astype(int))
    values = {
        "mu_1": np.mean([coherence.babel(dictionary, counts) for dictionary in replicates], axis=0),
        "mu_2": np.mean([coherence.babel2(dictionary, counts) for dictionary in replicates], axis=0),
    }
    return pd.DataFrame({"kind": "babel", "k": counts, **values})


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw the table above the Babel functions; its first column is the key to the curves.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : mapping
        `style`, `confidence` and `delta`.

    Returns
    -------
    Figure
        Nearly orthogonal dictionaries have no curve.
    """
    style = settings["style"]
    order = table.drop_duplicates("cascade").sort_values(["mutual_coherence", "cascade"])["cascade"].tolist()
    curved = [name for name in order if table.loc[table["cascade"] == name, "mutual_coherence"].iloc[0] >= DRAWN]
    looks = {
        name: (colour, styles.MARKERS[index % len(styles.MARKERS)])
        for index, (name, colour) in enumerate(zip(curved, styles.sequence(style, len(curved)), strict=True))
    }
    width = style["width"] / 2.54
    heights = [0.23 * (len(order) + 2), 0.42 * width]
    figure = Figure(figsize=(width, sum(heights) + 0.6))
    grid = figure.add_gridspec(2, 2, height_ratios=heights)
    _draw_table(figure.add_subplot(grid[0, :]), table, order, looks)
    for column, (name, label) in enumerate((("mu_1", "$\\mu_1(k)$"), ("mu_2", "$\\mu_2(k)$"))):
        panel = figure.add_subplot(grid[1, column])
        for cascade in curved:
            colour, marker = looks[cascade]
            curve = table[(table["cascade"] == cascade) & (table["kind"] == "babel")]
            dashed = "--" if curve["rank"].iloc[0] > 1 else "-"
            every = (curved.index(cascade) % 4, 8)
            panel.plot(
                curve["k"], curve[name], dashed, color=colour, marker=marker, markevery=every, markersize=3, linewidth=1
            )
        panel.set_xlabel("number of other atoms $k$")
        panel.set_ylabel(f"Babel function {label}" if name == "mu_1" else f"2-Babel function {label}")
        styles.logarithmic(panel.xaxis, table["k"])
        styles.logarithmic(panel.yaxis, table.loc[table["cascade"].isin(curved), name])
    styles.footnote(
        figure,
        style,
        f"means over {styles.plural(table['replicates'].max(), 'dictionary')} where they are random, with half the "
        f"length of the Student {settings['confidence']:.0%} interval; certified stripe-sparsity at contrast 1, "
        f"at {1 - settings['delta']:.0%}, by {settings['confidence']:.0%} limits over {DRAWS} uniform supports; all: "
        f"every code is certified. Curves of coherences below {DRAWN:g} lie below the panels; dashed: two dimensions",
    )
    return figure


def _draw_table(panel: Axes, table: pd.DataFrame, order: list[str], looks: Mapping[str, Any]) -> None:
    panel.axis("off")
    columns = ["", "dictionary", "filters", "taps", "stride", "stripe", "coherence", "Welch", "ratio"]
    columns += ["coher.", "Babel", "inst.", "coher.", "2-Babel", "inst."]
    cells = []
    for name in order:
        rows = table[table["cascade"] == name]
        one = rows.iloc[0]
        certified = rows[rows["kind"] == "certified"].set_index("rung")["stripe_sparsity"]
        marker = GLYPHS[looks[name][1]] if name in looks else ""
        cells.append(
            [
                marker,
                name,
                *(str(one[size]) for size in ("filters", "taps", "stride", "stripe_size")),
                _coherence(one),
                f"{one['welch_bound']:.3f}" if one["welch_bound"] else "-",
                f"{one['welch_ratio']:.2f}" if one["welch_bound"] else "-",
                *(_limit(certified[rung], one["stripe_size"]) for rung in guarantees.RUNGS),
            ]
        )
    widths = [0.025, 0.165, 0.062, 0.052, 0.062, 0.058, 0.13, 0.062, 0.055, 0.06, 0.06, 0.05, 0.06, 0.07, 0.05]
    drawn = panel.table(cells, colLabels=columns, colWidths=widths, cellLoc="left", colLoc="left", bbox=(0, 0, 1, 0.95))
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(6.5)
    starts = np.cumsum([0, *widths]) / sum(widths)
    for first, last, text in ((9, 12, "certified for all signs"), (12, 15, "for random signs")):
        panel.text(
            starts[first:last].mean(), 0.96, text, fontsize=6.5, ha="center", va="bottom", transform=panel.transAxes
        )
    for (row, column), cell in drawn.get_celld().items():
        cell.visible_edges = "B"
        cell.set_linewidth(0.8 if row == 0 else 0.2)
        cell.PAD = 0.04
        if row == 0:
            cell.set_text_props(weight="bold")
        elif column == 0 and order[row - 1] in looks:
            cell.set_text_props(color=looks[order[row - 1]][0])


def _coherence(one: pd.Series) -> str:
    if one["mutual_coherence"] <= ORTHOGONAL:
        return "0"
    text = f"{one['mutual_coherence']:.3f}" if one["mutual_coherence"] >= DRAWN else f"{one['mutual_coherence']:.2g}"
    half = (one["mutual_coherence_upper"] - one["mutual_coherence_lower"]) / 2
    return f"{text} ± {half:.1g}" if half > ORTHOGONAL else text


def _limit(value: float, stripe_size: int) -> str:
    if value >= stripe_size:
        return "all"
    return f"{value:.1f}"
