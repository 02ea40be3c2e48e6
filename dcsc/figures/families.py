"""
Dictionaries side by side: sizes, coherence against the Welch bound, Babel functions, what each rung certifies.

When to take it: before a study, to choose dictionaries; it needs no signals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dcsc import guarantees, sampling, seeds
from dcsc.figures import style
from dcsc.figures.inputs import FigureSettings, Results
from dcsc.figures.panels import Panel
from dcsc.figures.tables import mean_of, select
from dcsc.model import coherence, sparsity
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.ragged import RaggedCodes
from dcsc.store.readers import cascades_of

PANEL = Panel(
    needs=("dictionaries",),
    columns="cascade mutual_coherence welch_bound kind rung stripe_sparsity k mu_1 mu_2 mutual_coherence_lower "
    "mutual_coherence_upper welch_ratio rank filters taps stride channels atoms stripe_size replicates",
)

DRAWS, PILOT = 768, 64
"""Supports drawn for each number of active atoms that the instance rungs look at."""

COLUMNS = {
    "certified for all signs": {"uniform-coherence": "coher.", "uniform-babel": "Babel", "uniform-instance": "inst."},
    "for random signs": {"statistical-coherence": "coher.", "statistical-instance": "inst."},
}
"""Rungs of thresholding in the table, under the signs that they are about; basis pursuit has its own experiment."""

ORTHOGONAL = 1e-9
"""Coherence that is rounding alone."""

DRAWN = 0.01
"""Babel functions are drawn from this coherence on; below it they would stretch the axis over decades."""

GLYPHS = dict(zip(style.MARKERS, "●■▲◆▼✚✖★◀▶", strict=True))
"""The markers of the curves as text."""

_POINTS = 40


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    Describe the first layer of every cascade.

    Parameters
    ----------
    results : Results
        Its dictionaries are used.
    settings : FigureSettings
        Its seed, confidence and delta.

    Returns
    -------
    pandas.DataFrame
        Rows of kind "certified", one per rung, with the mean stripe-sparsity over the replicates, and of kind
        "babel", one per number k of atoms, with mu_1(k) and mu_2(k). Sizes and coherence stand in all rows.
    """
    tables = []
    for name, trees in results.dictionaries.items():
        replicates = [cascade.dictionaries[0] for cascade in cascades_of(trees)]
        parts = [_certified(name, replicates, settings), _babel(replicates)]
        tables.append(pd.concat(parts, ignore_index=True).assign(cascade=name, **_sizes(replicates, settings)))
    table = pd.concat(tables, ignore_index=True)
    first = ["cascade", "mutual_coherence", "welch_bound", "kind", "rung", "stripe_sparsity", "k", "mu_1", "mu_2"]
    return table[first + [column for column in table if column not in first]]


def _sizes(replicates: list[ConvolutionalDictionary], settings: FigureSettings) -> dict[str, Any]:
    first = replicates[0]
    values = [coherence.mutual_coherence(dictionary) for dictionary in replicates]
    means = mean_of(values, settings.confidence, "mutual_coherence")
    bound = coherence.welch_bound(first)
    return {
        **means,
        "welch_bound": bound,
        "welch_ratio": means["mutual_coherence"] / bound if bound else np.nan,
        "rank": first.rank,
        "filters": first.n_filters,
        "taps": "x".join(map(str, first.taps)),
        "stride": "x".join(map(str, first.stride)),
        "channels": first.n_channels,
        "atoms": first.n_atoms,
        "stripe_size": first.stripe_size,
        "replicates": len(replicates),
    }


def _certified(name: str, replicates: list[ConvolutionalDictionary], settings: FigureSettings) -> pd.DataFrame:
    """What every rung certifies of uniform supports at its best threshold, pooled over the replicates."""
    rows = []
    for rung in (rung for rungs in COLUMNS.values() for rung in rungs):
        limit = min(_pooled(name, replicates, rung, settings), replicates[0].stripe_size)
        rows.append({"kind": "certified", "rung": rung, "stripe_sparsity": limit})
    return pd.DataFrame(rows)


def _pooled(name: str, replicates: list[ConvolutionalDictionary], rung: str, settings: FigureSettings) -> float:
    """Mean stripe-sparsity of the largest number of uniform activations whose confidence limit holds."""

    def codes(size: int, purpose: str) -> Iterator[tuple[ConvolutionalDictionary, RaggedCodes]]:
        trials = -(-(PILOT if purpose == "pilot" else DRAWS) // len(replicates))
        for number, dictionary in enumerate(replicates):
            key = {"cascade": name, "replicate": number, "active": size}
            stream = seeds.stream(settings.seed, purpose=f"families, {purpose}", **key)
            support = {"name": "uniform", "size": size}
            yield dictionary, sampling.sample_codes(stream, dictionary, trials, support=support)

    def failures(size: int, purpose: str) -> guarantees.Failures:
        atoms = seeds.stream(settings.seed, purpose=f"families, {purpose}, sharp tails", cascade=name, active=size)
        found = guarantees.Failures(
            np.concatenate(
                [
                    guarantees.draw_failures(Cascade([dictionary]), drawn, None, rung=rung, rng=atoms, room=1.0)
                    for dictionary, drawn in codes(size, purpose)
                ]
            )
        )
        return found.repeated(DRAWS, 0) if purpose == "pilot" else found

    sizes = guarantees.candidate_sizes(replicates[0].n_atoms)
    size = guarantees.largest_certified_size(failures, sizes, settings.delta, settings.confidence).size
    return float(np.mean([np.mean(sparsity.stripe_norm(x, d)) for d, x in codes(size, "draws")])) if size else 0.0


def _babel(replicates: list[ConvolutionalDictionary]) -> pd.DataFrame:
    """Babel functions averaged over the replicates, at numbers spread evenly on a logarithmic axis."""
    others = replicates[0].stripe_size - 1
    counts = np.unique(np.rint(np.geomspace(1, max(others, 1), _POINTS)).astype(int))
    values = {
        name: np.mean(np.stack([function(dictionary, counts) for dictionary in replicates]), axis=0)
        for name, function in (("mu_1", coherence.babel), ("mu_2", coherence.babel2))
    }
    return pd.DataFrame({"kind": "babel", "k": counts, **values})


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw the table above the Babel functions; its first column is the key to the curves.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : FigureSettings
        Its style, confidence and delta.

    Returns
    -------
    Figure
        Nearly orthogonal dictionaries have no curve.
    """
    first = table.drop_duplicates("cascade").sort_values(["mutual_coherence", "cascade"])
    order = first["cascade"].tolist()
    curved = first.loc[first["mutual_coherence"] >= DRAWN, "cascade"].tolist()
    looks = {
        name: (colour, style.MARKERS[index % len(style.MARKERS)])
        for index, (name, colour) in enumerate(zip(curved, style.sequence(len(curved)), strict=True))
    }
    width = settings.style.width / 2.54
    heights = [0.23 * (len(order) + 2), 0.42 * width]
    figure = Figure(figsize=(width, sum(heights) + 0.6))
    grid = figure.add_gridspec(2, 2, height_ratios=heights)
    _draw_table(figure.add_subplot(grid[0, :]), table, order, looks)
    functions = {"mu_1": "Babel function $\\mu_1(k)$", "mu_2": "2-Babel function $\\mu_2(k)$"}
    for column, (name, label) in enumerate(functions.items()):
        panel = figure.add_subplot(grid[1, column])
        for cascade in curved:
            colour, marker = looks[cascade]
            curve = select(table, cascade=cascade, kind="babel")
            dashed = "--" if curve["rank"].iloc[0] > 1 else "-"
            look: style.Look = {"color": colour, "marker": marker, "markevery": (curved.index(cascade) % 4, 8)}
            panel.plot(curve["k"], curve[name], dashed, markersize=3, linewidth=1, **look)
        panel.set(xlabel="number of other atoms $k$", ylabel=label)
        style.logarithmic(panel.xaxis, table["k"])
        style.logarithmic(panel.yaxis, table.loc[table["cascade"].isin(curved), name])
    style.footnote(
        figure,
        f"means over {style.plural(table['replicates'].max(), 'dictionary')} where they are random, with half the "
        f"length of the Student {settings.confidence:.0%} interval; certified stripe-sparsity at contrast 1, "
        f"at {1 - settings.delta:.0%}, by {settings.confidence:.0%} limits over {DRAWS} uniform supports; all: "
        f"every code is certified. Curves of coherences below {DRAWN:g} lie below the panels; dashed: two dimensions",
    )
    return figure


def _draw_table(panel: Axes, table: pd.DataFrame, order: list[str], looks: Mapping[str, Any]) -> None:
    columns = ["", "dictionary", "filters", "taps", "stride", "stripe", "coherence", "Welch", "ratio"]
    rungs = {rung: label for of in COLUMNS.values() for rung, label in of.items()}
    columns += rungs.values()
    cells = []
    for name in order:
        rows = select(table, cascade=name)
        first = rows.iloc[0]
        certified = select(rows, kind="certified").set_index("rung")["stripe_sparsity"]
        cells.append(
            [
                GLYPHS[looks[name][1]] if name in looks else "",
                name,
                *(str(first[size]) for size in ("filters", "taps", "stride", "stripe_size")),
                _coherence(first),
                f"{first['welch_bound']:.3f}" if first["welch_bound"] else "-",
                f"{first['welch_ratio']:.2f}" if first["welch_bound"] else "-",
                *(_limit(certified[rung], first["stripe_size"]) for rung in rungs),
            ]
        )
    widths = [0.025, 0.165, 0.062, 0.052, 0.062, 0.058, 0.13, 0.062, 0.055, 0.06, 0.06, 0.05, 0.07, 0.07]
    drawn = style.write_table(panel, columns, cells, widths, 6.5, (0.8, 0.2), 0.04, bbox=(0, 0, 1, 0.95))
    for row, name in enumerate(order, start=1):
        if name in looks:
            drawn[row, 0].set_text_props(color=looks[name][0])
    starts = np.cumsum([0, *widths]) / sum(widths)
    start = len(widths) - len(rungs)
    for text, of in COLUMNS.items():
        end = start + len(of)
        place = (starts[start:end].mean(), 0.96)
        panel.text(*place, text, fontsize=6.5, ha="center", va="bottom", transform=panel.transAxes)
        start = end


def _coherence(row: pd.Series) -> str:
    if row["mutual_coherence"] <= ORTHOGONAL:
        return "0"
    text = f"{row['mutual_coherence']:.3f}" if row["mutual_coherence"] >= DRAWN else f"{row['mutual_coherence']:.2g}"
    half = (row["mutual_coherence_upper"] - row["mutual_coherence_lower"]) / 2
    return f"{text} ± {half:.1g}" if half > ORTHOGONAL else text


def _limit(value: float, stripe_size: int) -> str:
    return "all" if value >= stripe_size else f"{value:.1f}"
