"""A certificate as one HTML page with pictures, without other files."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dcsc.certification.certificate import Certificate, LayerCertificate
from dcsc.certification.report import overview_heading, overview_row, sharpest, verdict
from dcsc.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_PANELS = 8
"""Layers of which pairs and Babel functions are drawn, the most coherent ones."""
# A palette that colour-blind readers tell apart (Okabe and Ito).
_TRAINED, _ALONE, _RANDOM, _WELCH, _OTHER = "#0072b2", "#56b4e9", "#e69f00", "#999999", "#d55e00"
_STYLE: Any = {
    "svg.hashsalt": "dcsc", "svg.fonttype": "none", "font.size": 9.0, "axes.spines.top": False,
    "axes.spines.right": False, "axes.titlesize": 9.0, "legend.frameon": False, "font.family": "sans-serif",
}  # fmt: skip

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; overflow-wrap: anywhere; }} h2 {{ font-size: 1.15rem; margin-top: 2.2rem; }}
table {{ border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #e3e3e3; white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 9rem; }}
th.group {{ text-align: center; }}
.wide {{ overflow-x: auto; }} figure {{ margin: 1rem 0; }}
figcaption {{ color: #444; font-size: 13px; max-width: 50rem; }}
svg {{ max-width: 100%; height: auto; }} .note {{ color: #444; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def write(certificate: Certificate, path: str | Path) -> None:
    """
    Write a certificate as a self-contained page.

    Parameters
    ----------
    certificate : Certificate
        From `certify`.
    path : str or Path
        The target, a .html file.

    Raises
    ------
    UserError
        When it cannot be written.
    """
    text = as_page(certificate)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"the page {path} can't be written ({error.strerror}): name another place.") from None


def pictures(certificate: Certificate) -> dict[str, tuple[str, str]]:
    """
    Draw the pictures of the page.

    Parameters
    ----------
    certificate : Certificate
        From `certify`.

    Returns
    -------
    dict of str to (str, str)
        By title, in the order of the page: an SVG element, the same for the same certificate, and a caption.
    """
    with _style():
        return {
            "Ladder by depth": (_ladder(certificate), "What the sharpest rungs certify, and what was measured."),
            "Coherence by depth": (
                _coherence(certificate),
                "Each layer in its segment, on its own input, random filters of the same shape, and the Welch bound.",
            ),
            "Where it comes from": (
                _split(certificate),
                "The largest inner product of different atoms at one position, of a filter with its own shift, and of "
                "different filters at different positions.",
            ),
            "The most coherent pairs": (
                _pairs(certificate),
                "The two filters of each layer whose atoms are most alike, in the channel that adds most to their "
                "inner product, laid over one another at the lag at which they meet; of a layer of one tap, its "
                "channels.",
            ),
            "Babel functions": (
                _babel(certificate),
                "The largest sum of k inner products of one atom, beside that of random filters; no guarantee for all "
                "signs reaches beyond the line at 1.",
            ),
            "Thresholds": (
                _thresholds(certificate),
                "What the biases are to the unit-norm atoms, one dot a filter; below 0 a filter keeps what does not "
                "correlate with it.",
            ),
        }


def as_page(certificate: Certificate) -> str:
    """
    Lay a certificate out as HTML.

    Parameters
    ----------
    certificate : Certificate
        From `certify`.

    Returns
    -------
    str
        The same for the same certificate; pictures are in it as SVG.
    """
    parts = ["".join(f"<p>{html.escape(line)}</p>" for line in verdict(certificate))]
    parts.append(_table(certificate))
    for title, (picture, caption) in pictures(certificate).items():
        parts.append(f"<h2>{title}</h2><figure>{picture}<figcaption>{html.escape(caption)}</figcaption></figure>")
    notes = [*certificate.notes, *(f"Not done: {why}" for why in certificate.refused.values())]
    if notes:
        listed = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
        parts.append(f'<h2>Notes</h2><ul class="note">{listed}</ul>')
    return _PAGE.format(title=html.escape(certificate.name or "certificate"), body="\n".join(parts))


def _style() -> AbstractContextManager[None]:
    import matplotlib

    return matplotlib.rc_context(_STYLE)


def _table(certificate: Certificate) -> str:
    names, groups = overview_heading()
    cells, column = "", 0
    for group, (first, last) in groups.items():
        cells += "<th></th>" * (first - column) + f'<th class="group" colspan="{last - first + 1}">{group}</th>'
        column = last + 1
    head = f"<tr>{cells}</tr>{_row(names, 'th')}"
    rows = "".join(_row(overview_row(certificate, [layer]), "td") for layer in certificate.layers)
    said = (
        f"Certified for all / random signs, contrast {certificate.contrast:g}, delta {certificate.delta:g}; &gt; "
        "follows the layer above."
    )
    return f'<h2>Layers</h2><div class="wide"><table>{head}{rows}</table></div><p class="note">{said}</p>'


def _row(cells: Iterable[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _figure(height: float, width: float = 9.0) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Figure, prefix: str) -> str:
    """The picture as an element of the page, with identifiers of its own."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    return re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{prefix}-", text)


def _by_depth(axes: Axes, layers: Sequence[LayerCertificate]) -> NDArray:
    """Put the layers along the axis, named where there is room."""
    places = np.arange(len(layers))
    step = max(1, -(-len(layers) // 40))
    labels = [layer.name if len(layer.name) <= 24 else ".." + layer.name[-22:] for layer in layers]
    axes.set_xticks(places[::step], [_plain(label) for label in labels[::step]], rotation=90, fontsize=7)
    axes.set_xlim(-0.6, len(layers) - 0.4)
    return places


def _plain(text: str) -> str:
    """Names are no formulas."""
    return text.replace("$", r"\$")


def _ladder(certificate: Certificate) -> str:
    figure = _figure(3.8)
    axes, layers = figure.subplots(), certificate.layers
    places = _by_depth(axes, layers)
    lines = {
        "thresholding, all signs": ("uniform", _TRAINED, "o", "-"),
        "thresholding, random signs": ("statistical", _TRAINED, "s", ":"),
        "basis pursuit, all signs": ("basis-pursuit-uniform", _OTHER, "o", "-"),
        "basis pursuit, random signs": ("basis-pursuit-statistical", _OTHER, "s", ":"),
    }
    for label, (kind, colour, marker, line) in lines.items():
        found = [sharpest(layer.certified, kind) for layer in layers]
        values = np.array([np.nan if value is None else value for value in found], dtype=float)
        if np.isfinite(values).any():
            axes.plot(places, values, line, marker=marker, color=colour, label=label, markersize=4)
    by_name = {layer.name: place for layer, place in zip(layers, places, strict=True)}
    for number, of in enumerate(certificate.measured):
        if of.name in by_name:
            low, middle, high = np.quantile(of.stripe_sparsity, [0, 0.5, 1])
            place = by_name[of.name]
            axes.plot([place, place], [low, high], color="black", linewidth=3, alpha=0.4)
            axes.plot(place, middle, "k_", markersize=12, label="measured" if number == 0 else None)
    _whole_numbers(axes)
    axes.set_ylabel("non-zeros in a stripe")
    figure.legend(loc="outside upper center", ncols=3)
    return _svg(figure, "ladder")


def _whole_numbers(axes: Axes) -> None:
    """Label 0, 1, 2, 5, 10, ... as such on an axis that grows by factors."""
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    axes.set_yscale("symlog", linthresh=1)
    top = max(axes.get_ylim()[1], 2.0)
    ticks = [0, *(n * 10**power for power in range(9) for n in (1, 2, 5) if n * 10**power <= 2 * top)]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    axes.set_ylim(0, 1.2 * top)


def _coherence(certificate: Certificate) -> str:
    figure = _figure(3.4)
    axes, layers = figure.subplots(), certificate.layers
    places = _by_depth(axes, layers)
    kinds = {
        "in its segment": ("mutual_coherence", _TRAINED, "o"),
        "alone": ("coherence_alone", _ALONE, "x"),
        "random filters": ("random_coherence", _RANDOM, "s"),
        "Welch bound": ("welch_bound", _WELCH, "_"),
    }
    for label, (name, colour, marker) in kinds.items():
        values = [getattr(layer, name) for layer in layers]
        axes.plot(places, values, marker, color=colour, label=label, markersize=5)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("mutual coherence")
    figure.legend(loc="outside upper center", ncols=4)
    return _svg(figure, "coherence")


def _split(certificate: Certificate) -> str:
    figure = _figure(3.4)
    axes, layers = figure.subplots(), certificate.layers
    places = _by_depth(axes, layers)
    kinds = (("same position", _TRAINED), ("own shift", _RANDOM), ("across", _OTHER))
    for number, (label, colour) in enumerate(kinds):
        values = [layer.split[number] for layer in layers]
        axes.bar(places + (number - 1) * 0.27, values, 0.27, color=colour, label=label)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("largest inner product")
    figure.legend(loc="outside upper center", ncols=3)
    return _svg(figure, "split")


def _worst(certificate: Certificate) -> list[LayerCertificate]:
    """The most coherent layers, in their order."""
    ranked = sorted(certificate.layers, key=lambda layer: -layer.mutual_coherence)[:_MOST_PANELS]
    return [layer for layer in certificate.layers if layer in ranked]


def _panels(certificate: Certificate, height: float) -> tuple[Figure, list[tuple[LayerCertificate, Any]]]:
    """A panel for each of the most coherent layers."""
    layers = _worst(certificate)
    columns = min(4, len(layers))
    rows = -(-len(layers) // columns)
    figure = _figure(height * rows, 9.0 if columns > 2 else 5.5)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.ravel()[len(layers) :]:
        axes.set_axis_off()
    return figure, list(zip(layers, grid.ravel(), strict=False))


def _title(layer: LayerCertificate) -> str:
    name = layer.name if len(layer.name) <= 26 else ".." + layer.name[-24:]
    return _plain(name)


def _pairs(certificate: Certificate) -> str:
    figure, panels = _panels(certificate, 2.4)
    for layer, axes in panels:
        pair, made = layer.pair, layer.dictionary
        shift = [lag * step for lag, step in zip(pair.lag, made.stride, strict=True)]
        first, second = _laid_over(made.filters[pair.first], made.filters[pair.second], shift)
        if first[0].size == 1:  # what a layer of one tap has is its channels
            first, second = first.reshape(1, -1), second.reshape(1, -1)
        channel = int(np.argmax((first * second * np.sign(pair.inner)).reshape(len(first), -1).sum(axis=1)))
        first, second = first[channel], second[channel]
        lag = ", ".join(map(str, pair.lag))
        axes.set_title(f"{_title(layer)}\n{pair.first} and {pair.second}, lag {lag}: {pair.inner:.2f}")
        if first.ndim == 2 and min(first.shape) > 1:
            _images(axes, first, second)
        else:
            _curves(axes, first.ravel(), second.ravel())
    return _svg(figure, "pairs")


def _laid_over(first: NDArray, second: NDArray, shift: Sequence[int]) -> tuple[NDArray, NDArray]:
    """Put two filters on the points that both reach, the second shifted."""
    low = [min(0, by) for by in shift]
    size = [taps + abs(by) for taps, by in zip(first.shape[1:], shift, strict=True)]
    placed = []
    for of, starts in ((first, [0] * len(shift)), (second, list(shift))):
        empty = np.zeros((len(of), *size))
        target = [slice(s - b, s - b + n) for s, b, n in zip(starts, low, of.shape[1:], strict=True)]
        empty[(slice(None), *target)] = of
        placed.append(empty)
    return placed[0], placed[1]


def _images(axes: Axes, first: NDArray, second: NDArray) -> None:
    gap = np.full((first.shape[0], 1), np.nan)
    limit = max(np.abs(first).max(), np.abs(second).max(), 1e-300)
    both = np.concatenate([first, gap, second], axis=1)
    axes.imshow(both, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    axes.set_axis_off()


def _curves(axes: Axes, first: NDArray, second: NDArray) -> None:
    if len(first) <= 16:
        axes.stem(np.arange(len(first)) - 0.1, first, linefmt=_TRAINED, markerfmt="o", basefmt=" ")
        axes.stem(np.arange(len(second)) + 0.1, second, linefmt=_OTHER, markerfmt="s", basefmt=" ")
    else:
        axes.plot(first, color=_TRAINED, linewidth=1)
        axes.plot(second, color=_OTHER, linewidth=1)
    axes.axhline(0, color=_WELCH, linewidth=0.5)
    axes.set_yticks([])


def _babel(certificate: Certificate) -> str:
    figure, panels = _panels(certificate, 2.2)
    for layer, axes in panels:
        k = np.unique(np.geomspace(1, max(len(layer.babel) - 1, 1), 200).astype(int))
        k = k[k < len(layer.babel)]
        if len(k):
            axes.plot(k, layer.babel[k], color=_TRAINED, label="trained")
            axes.plot(k, layer.random_babel[k], color=_RANDOM, label="random")
        axes.axhline(1, color="black", linewidth=0.6, linestyle="--")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.minorticks_off()
        axes.set_ylim(
            bottom=max(min(layer.random_babel[1:2].min(initial=1), layer.babel[1:2].min(initial=1)), 1e-3) / 2
        )
        axes.set_title(_title(layer))
    handles, labels = panels[0][1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    figure.supxlabel("k", fontsize=9)
    figure.supylabel("Babel function", fontsize=9)
    return _svg(figure, "babel")


def _thresholds(certificate: Certificate) -> str:
    figure = _figure(3.4)
    axes, layers = figure.subplots(), certificate.layers
    for place, layer in zip(_by_depth(axes, layers), layers, strict=True):
        spread = np.linspace(-0.3, 0.3, len(layer.thresholds)) if len(layer.thresholds) > 1 else np.zeros(1)
        axes.plot(place + spread, np.sort(layer.thresholds), ".", color=_TRAINED, markersize=3)
    axes.axhline(0, color="black", linewidth=0.6)
    largest = max(float(np.abs(layer.thresholds).max(initial=0.0)) for layer in layers)
    if largest > 10:
        axes.set_yscale("symlog", linthresh=1)
    axes.set_ylabel("threshold")
    return _svg(figure, "thresholds")
