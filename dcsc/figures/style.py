"""How all figures look, and how they are saved with their provenance inside."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.table import Table
from matplotlib.ticker import LogLocator, NullFormatter

from dcsc.errors import UserError
from dcsc.figures.inputs import FigureSettings, Style
from dcsc.figures.tables import bar_lengths, select
from dcsc.store import dataset, provenance, seals
from dcsc.store.dataset import replacing

FORMATS = ("pdf", "svg", "png")
CHARACTERS_PER_INCH = 17.8
"""Of the smallest print, a little fewer than fit."""
BESIDE = 26
"""Characters of a line of a label that stands upright beside a panel."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
"""Beside the colours, so that series are told apart in grey too."""

Look = dict[str, Any]
"""Options of a drawing function of matplotlib."""

_FIXED = {
    "svg.hashsalt": "dcsc",  # otherwise identifiers are random
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "figure.constrained_layout.use": True,
    "legend.frameon": False,
    "axes.grid": True,
    "grid.linewidth": 0.5,
    "grid.alpha": 0.5,
}


@contextmanager
def applied(style: Style) -> Iterator[None]:
    """
    Draw in the style of the configuration.

    Parameters
    ----------
    style : Style
        Its context.

    Yields
    ------
    None
        While the style holds.
    """
    rc = {**sns.axes_style("ticks"), **sns.plotting_context(style.context), **_FIXED}
    with mpl.rc_context(rc):
        yield


def colours(style: Style, count: int) -> list[tuple[float, float, float]]:
    """
    Take colours of the configured palette.

    Parameters
    ----------
    style : Style
        The style.
    count : int
        How many.

    Returns
    -------
    list of tuple of float
        Red, green and blue.

    Raises
    ------
    UserError
        When the palette is unknown.
    """
    try:
        return list(sns.color_palette(style.palette, count))
    except ValueError:
        raise UserError(
            f"style.palette = {style.palette!r} is unknown: use a name of seaborn or matplotlib, such as 'colorblind'."
        ) from None


def sequence(count: int) -> list[tuple[float, float, float]]:
    """
    Take colours for an ordered series, dark to light, readable in grey.

    Parameters
    ----------
    count : int
        How many.

    Returns
    -------
    list of tuple of float
        Red, green and blue.
    """
    return list(sns.color_palette("viridis", count + 1))[:count]  # the lightest is too pale on white


def canvas(style: Style, rows: int, columns: int, aspect: float, **options: Any) -> tuple[Figure, Any]:
    """
    Open a figure of the configured width.

    Parameters
    ----------
    style : Style
        The style.
    rows, columns : int
        Panels.
    aspect : float
        Height of a panel over its width.
    **options
        For `Figure.subplots`.

    Returns
    -------
    figure : Figure
        Without a window.
    axes : ndarray of Axes, shape (rows, columns)
        The panels.
    """
    width = style.width / 2.54
    figure = Figure(figsize=(width, width / columns * aspect * rows + 0.5))
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def logarithmic(axis: Axis, values: Iterable[float]) -> None:
    """
    Make an axis logarithmic, labelled with plain numbers, at 1, 2 and 5 where it spans less than two decades.

    Parameters
    ----------
    axis : matplotlib.axis.Axis
        The x or y axis of a panel.
    values : iterable of float
        What is drawn along it.
    """
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})  # type: ignore[attr-defined] # of XAxis and YAxis
    positive = [value for value in values if np.isfinite(value) and value > 0]
    if positive and max(positive) < 100 * min(positive):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def curve_with_band(
    panel: Axes, table: pd.DataFrame, x: str, y: str, colour: Any, index: int = 0, **options: Any
) -> None:
    """
    Draw a curve with the band of its interval.

    Parameters
    ----------
    panel : Axes
        Where.
    table : pandas.DataFrame
        With columns x, y, and y with "_lower" and "_upper".
    x, y : str
        Columns.
    colour : colour
        Of curve and band.
    index : int
        Chooses the marker.
    **options
        For `Axes.plot`.
    """
    table = table.sort_values(x)
    panel.fill_between(table[x], table[f"{y}_lower"], table[f"{y}_upper"], color=colour, alpha=0.25, lw=0)
    marker = MARKERS[index % len(MARKERS)]
    panel.plot(table[x], table[y], color=colour, **{"marker": marker, "markersize": 3, "linewidth": 1.2, **options})


def bars(panel: Axes, table: pd.DataFrame, x: str, y: str, colour: Any, index: int = 0, **options: Any) -> None:
    """
    Draw a curve with the bars of its intervals.

    Parameters
    ----------
    panel : Axes
        Where.
    table : pandas.DataFrame
        With columns x, y, and y, or else x, with "_lower" and "_upper".
    x, y : str
        Columns.
    colour : colour
        Of curve and bars.
    index : int
        Chooses the marker.
    **options
        For `Axes.errorbar`.
    """
    table = table.sort_values(x)
    look = {"color": colour, "marker": MARKERS[index % len(MARKERS)], "markersize": 4.0, "capsize": 2, **options}
    upright = f"{y}_lower" in table
    lengths = bar_lengths(table, y if upright else x)
    panel.errorbar(table[x], table[y], lengths if upright else None, None if upright else lengths, **look)


def common_legend(
    figure: Figure,
    panels: Iterable[Axes],
    ncols: int = 1,
    loc: Any = "outside upper center",
    extra: Mapping[str, Artist] | None = None,
    **options: Any,
) -> None:
    """
    Explain the lines of several panels once, in the order in which they are drawn.

    Parameters
    ----------
    figure : Figure
        The figure.
    panels : iterable of Axes
        The panels, whose lines may differ.
    ncols : int
        Columns.
    loc : str
        Beside the panels.
    extra : mapping of str to Artist
        What is explained after them, by label.
    **options
        For `Figure.legend`.
    """
    named: dict[str, Artist] = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        named |= zip(labels, handles, strict=True)
    named |= extra or {}
    figure.legend(list(named.values()), list(named), loc=loc, ncols=ncols, **{"fontsize": "small", **options})


def legend_below(panel: Axes, distance: float, ncols: int = 1) -> None:
    """
    Explain the lines of a panel below it.

    Parameters
    ----------
    panel : Axes
        The panel.
    distance : float
        From its lower edge, in its heights.
    ncols : int
        Columns.
    """
    panel.legend(fontsize="xx-small", loc="upper center", bbox_to_anchor=(0.5, -distance), ncols=ncols)


RUNGS = {
    "uniform-coherence": "all signs, coherence",
    "uniform-instance": "all signs, instance",
    "statistical-coherence": "random signs, coherence",
    "statistical-instance": "random signs, instance",
    "top-k-statistical-instance": "random signs, pairs",
    "basis-pursuit-uniform-coherence": "all signs, coherence",
    "basis-pursuit-uniform-instance": "all signs, instance",
    "basis-pursuit-statistical-instance": "random signs, instance",
}
"""
Rungs that are drawn and what they are called, those of thresholding and those for all signs first.

Of either kind the closed form of the source and the sharpest one; those between them stand in the tables. Those of
basis pursuit are called as those of thresholding: panels or curves name the pursuit.
"""

_DASHES = ((0, (5, 2)), (0, (3, 1, 1, 1)))
RUNG_LOOKS: dict[str, Look] = {
    rung: {"color": "0.1" if "statistical" in rung else "0.55", "linestyle": _DASHES[rung.endswith("instance")]}
    for rung in RUNGS
}
"""Colours and dashes of the rungs: grey for all signs, black for random ones."""


def draw_rungs(panel: Axes, certified: pd.DataFrame, x: str, y: str = "stripe_sparsity") -> None:
    """
    Draw what every rung certifies as a line.

    Parameters
    ----------
    panel : Axes
        Where.
    certified : pandas.DataFrame
        Certificates, told apart by `rung`.
    x, y : str
        Columns.
    """
    for rung, label in RUNGS.items():
        line = select(certified, rung=rung).sort_values(x)
        if len(line):
            panel.plot(line[x], line[y], label=label, linewidth=1.1, **RUNG_LOOKS[rung])


def certified_note(certified: pd.DataFrame, settings: FigureSettings) -> str:
    """
    Say what the certificates of a figure are.

    Parameters
    ----------
    certified : pandas.DataFrame
        With the `draws` behind each, if any.
    settings : FigureSettings
        Its delta and confidence.

    Returns
    -------
    str
        For a foot line.
    """
    note = f"certified at {1 - settings.delta:.0%} for these thresholds and supports"
    draws = certified.loc[certified["draws"] > 0, "draws"]
    return note + (f", by {settings.confidence:.0%} limits over {plural(draws, 'draw')}" if len(draws) else "")


def transitions_note(table: pd.DataFrame, settings: FigureSettings, intervals: str = "bars") -> str:
    """
    Tell the sample sizes of transitions, the meaning of their intervals, and what certificates beside them are.

    Parameters
    ----------
    table : pandas.DataFrame
        With rows of the kinds "measured" and "certified".
    settings : FigureSettings
        Its delta and confidence.
    intervals : str
        What shows the intervals.

    Returns
    -------
    str
        For a foot line.
    """
    measured = select(table, kind="measured")
    return (
        f"means over {plural(measured['replicates'].max(), 'dictionary')}, {count(measured['trials'])} trials a cell; "
        f"{intervals}: Student {settings.confidence:.0%}; {certified_note(select(table, kind='certified'), settings)}"
    )


def write_table(
    panel: Axes,
    labels: Sequence[str],
    cells: Sequence[Sequence[str]],
    widths: Sequence[float],
    size: float,
    lines: tuple[float, float],
    padding: float,
    **options: Any,
) -> Table:
    """
    Write a table in place of a panel, its columns aligned left and its header bold.

    Parameters
    ----------
    panel : Axes
        Its axes are switched off.
    labels : sequence of str
        Header.
    cells : sequence of sequence of str
        Row by row.
    widths : sequence of float
        Of the columns, as shares of the panel.
    size : float, in points
        Of the letters.
    lines : tuple of float, in points
        Widths of the line below the header and of the others.
    padding : float
        Beside the text of a cell, as a share of its width.
    **options
        For `Axes.table`.

    Returns
    -------
    Table
        For further touches.
    """
    panel.axis("off")
    table = panel.table(cells, colLabels=labels, colWidths=widths, cellLoc="left", colLoc="left", **options)
    table.auto_set_font_size(False)
    table.set_fontsize(size)
    for (row, _), cell in table.get_celld().items():
        cell.visible_edges = "B"
        cell.set_linewidth(lines[0] if row == 0 else lines[1])
        cell.PAD = padding
        if row == 0:
            cell.set_text_props(weight="bold")
    return table


def footnote(figure: Figure, text: str, label: str = "") -> None:
    """
    Write sample sizes and the meaning of bands under a figure, broken into lines that fit its width.

    Parameters
    ----------
    figure : Figure
        The figure.
    text : str
        The note.
    label : str
        A common label of the abscissae, on a line of its own before it.
    """
    lines = balanced(text, int(CHARACTERS_PER_INCH * figure.get_figwidth()))
    figure.supxlabel("\n".join([label] * bool(label) + lines), fontsize="x-small")


def balanced(text: str, longest: int) -> list[str]:
    """
    Break a text into the fewest lines that fit, of about equal lengths, so that none is left with a word.

    Parameters
    ----------
    text : str
        The text; a formula between dollar signs counts by what is seen of it.
    longest : int
        Characters that a line holds.

    Returns
    -------
    list of str
        The lines.
    """
    formulas = re.findall(r"\$[^$]*\$", text)
    # A formula is seen as about as many characters as it has letters, digits and signs, and is never broken.
    standing = [
        chr(0xE000 + index) + "\u2007" * max(len(re.sub(r"\\[a-zA-Z]+|\\.", "x", formula).translate(_UNSEEN)) - 1, 0)
        for index, formula in enumerate(formulas)
    ]
    for formula, mark in zip(formulas, standing, strict=True):
        text = text.replace(formula, mark, 1)

    def broken(width: int) -> list[str]:
        return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)

    number = len(broken(longest))
    narrowest = next((width for width in range(1, longest) if len(broken(width)) <= number), longest)
    lines = broken(narrowest)
    for formula, mark in zip(formulas, standing, strict=True):
        lines = [line.replace(mark, formula) for line in lines]
    return lines


_UNSEEN = str.maketrans("", "", "$^_{}")


def nested(index: int, count: int) -> dict[str, float]:
    """
    Choose the widths of one of several curves that may coincide, so that the ones below show around the ones above.

    Parameters
    ----------
    index : int
        Which curve, in the order of drawing.
    count : int
        How many there are.

    Returns
    -------
    dict of str to float
        `linewidth` and `markersize`; those of the last are the usual ones.
    """
    below, step = min(count - 1 - index, 3), 1.6 if count == 2 else 0.9
    return {"linewidth": 1.0 + step * below, "markersize": 3.0 + 1.6 * step * below}


def count(numbers: Iterable[float]) -> str:
    """
    Tell the range of some counts.

    Parameters
    ----------
    numbers : iterable of int
        The counts.

    Returns
    -------
    str
        "96", or "96 to 192".
    """
    distinct = sorted({int(number) for number in numbers})
    return f"{distinct[0]:,}" if len(distinct) == 1 else f"{distinct[0]:,} to {distinct[-1]:,}"


def plural(numbers: Iterable[float] | float, singular: str) -> str:
    """
    Tell the range of some counts with what is counted.

    Parameters
    ----------
    numbers : number or iterable of numbers
        The counts.
    singular : str
        What is counted, a noun.

    Returns
    -------
    str
        "1 dictionary", "96 trials" or "96 to 192 trials".
    """
    numbers = np.atleast_1d(np.asarray(list(numbers) if isinstance(numbers, Iterable) else numbers))
    if np.all(numbers == 1):
        return f"1 {singular}"
    several = f"{singular[:-1]}ies" if singular.endswith("y") else f"{singular}s"
    return f"{count(numbers)} {several}"


def save(figure: Figure, paths: Sequence[str], style: Style, record: Mapping[str, Any]) -> None:
    """
    Save a figure in every format, byte for byte the same for the same content, with its record inside.

    Parameters
    ----------
    figure : Figure
        The figure.
    paths : sequence of str
        Files ending in .pdf, .svg or .png.
    style : Style
        The style.
    record : mapping
        From `provenance.record`; stands in Keywords, Description or a text chunk, with a seal of the whole file.
    """
    text = provenance.canonical({**record, "seal": seals.BLANK})
    metadata = {
        ".pdf": {"Keywords": text, "Creator": "dcsc", "Producer": "matplotlib", "CreationDate": None},
        ".svg": {"Description": text, "Creator": "dcsc", "Date": None},
        ".png": {"Description": text, "Software": "dcsc"},
    }
    with applied(style):
        for path in map(Path, paths):
            with replacing(path) as temporary:
                figure.savefig(temporary, dpi=style.dpi, metadata=metadata[path.suffix])
                seals.seal_file(temporary)


def save_table(table: pd.DataFrame, path: str | Path, record: Mapping[str, Any]) -> None:
    """
    Save the numbers of a figure as CSV, and their provenance beside it as CSV on the Web metadata.

    Parameters
    ----------
    table : pandas.DataFrame
        The numbers.
    path : str or Path
        The CSV file; the metadata goes to the same name with "-metadata.json" appended.
    record : mapping
        From `provenance.record`.
    """
    columns = {"tableSchema": {"columns": [{"name": name} for name in table.columns]}}
    dataset.write_text(table.to_csv(index=False, lineterminator="\n"), path, record, **columns)
