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
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from dcsc.errors import UserError
from dcsc.store import dataset, provenance
from dcsc.store.dataset import replacing

FORMATS = ("pdf", "svg", "png")
CHARACTERS_PER_CM = 7.0
"""Of the smallest print, a little fewer than fit."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
"""Beside the colours, so that series are told apart in grey too."""

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
def applied(style: Mapping[str, Any]) -> Iterator[None]:
    """
    Draw in the style of the configuration.

    Parameters
    ----------
    style : mapping
        `context`, `palette`, `width` in centimetres and `dpi`.

    Yields
    ------
    None
        While the style holds.
    """
    rc = {**sns.axes_style("ticks"), **sns.plotting_context(style["context"]), **_FIXED}
    with mpl.rc_context(rc):
        yield


def colours(style: Mapping[str, Any], count: int) -> list[tuple[float, float, float]]:
    """
    Take colours of the configured palette.

    Parameters
    ----------
    style : mapping
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
        return list(sns.color_palette(style["palette"], count))
    except ValueError:
        raise UserError(
            f"style.palette = {style['palette']!r} is unknown: use a name of seaborn or matplotlib, "
            "such as 'colorblind'."
        ) from None


def sequence(style: Mapping[str, Any], count: int) -> list[tuple[float, float, float]]:
    """
    Take colours for an ordered series, dark to light, readable in grey.

    Parameters
    ----------
    style : mapping
        The style.
    count : int
        How many.

    Returns
    -------
    list of tuple of float
        Red, green and blue.
    """
    return list(sns.color_palette("viridis", count + 1))[:count]  # the lightest is too pale on white


def canvas(style: Mapping[str, Any], rows: int, columns: int, aspect: float, **options: Any) -> tuple[Figure, Any]:
    """
    Open a figure of the configured width.

    Parameters
    ----------
    style : mapping
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
    width = style["width"] / 2.54
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
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
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


def common_legend(figure: Figure, panels: Iterable[Axes], **options: Any) -> None:
    """
    Explain the lines of several panels once, in the order in which they are drawn.

    Parameters
    ----------
    figure : Figure
        The figure.
    panels : iterable of Axes
        The panels, whose lines may differ.
    **options
        For `Figure.legend`.
    """
    named = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    figure.legend(list(named.values()), list(named), **options)


def footnote(figure: Figure, style: Mapping[str, Any], text: str, label: str = "") -> None:
    """
    Write sample sizes and the meaning of bands under a figure, broken into lines that fit its width.

    Parameters
    ----------
    figure : Figure
        The figure.
    style : mapping
        The style.
    text : str
        The note.
    label : str
        A common label of the abscissae, on a line of its own before it.
    """
    lines = balanced(text, int(CHARACTERS_PER_CM * style["width"]))
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


def save(figure: Figure, paths: Sequence[str], style: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """
    Save a figure in every format, byte for byte the same for the same content, with its record inside.

    Parameters
    ----------
    figure : Figure
        The figure.
    paths : sequence of str
        Files ending in .pdf, .svg or .png.
    style : mapping
        The style.
    record : mapping
        From `provenance.record`; stands in Keywords, Description or a text chunk.
    """
    text = provenance.canonical(dict(record))
    metadata = {
        ".pdf": {"Keywords": text, "Creator": "dcsc", "Producer": "matplotlib", "CreationDate": None},
        ".svg": {"Description": text, "Creator": "dcsc", "Date": None},
        ".png": {"Description": text, "Software": "dcsc"},
    }
    with applied(style):
        for path in map(Path, paths):
            with replacing(path) as temporary:
                figure.savefig(temporary, dpi=style["dpi"], metadata=metadata[path.suffix])


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
