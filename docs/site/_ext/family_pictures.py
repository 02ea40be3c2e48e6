"""A call and a picture of every family of filters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

import dcsc

SMALL: dict[str, dict[str, Any]] = {
    "aligned": {"grid": 4, "size": 8, "columns": (0, 1, 2, 4), "target": 5},
    "daubechies": {"grid": 64, "order": 4, "levels": 2},
    "dct": {"grid": 64, "taps": 16},
    "gabor": {"grid": 64, "n_filters": 8, "taps": 16, "stride": 4},
    "gaussian": {"grid": 64, "seed": 0, "n_filters": 8, "taps": 16, "stride": 4},
    "hadamard-dirac": {"grid": 64, "taps": 8},
    "integer": {"grid": 120},
    "lapped": {"grid": 64, "n_filters": 8},
    "low-coherence-sparse": {"grid": 64, "seed": 0, "n_filters": 6, "taps": 16, "n_nonzeros": 3, "stride": 4},
    "meyer": {"grid": 120},
    "optimised": {"grid": 64, "seed": 0, "n_filters": 8, "taps": 16, "stride": 4, "iterations": 500},
    "perturbed": {"grid": 64, "seed": 0, "base": "lapped", "n_filters": 8, "perturbation": 0.2},
    "rademacher": {"grid": 64, "seed": 0, "n_filters": 8, "taps": 16, "stride": 4},
    "sparse-random": {"grid": 64, "seed": 0, "n_filters": 8, "taps": 16, "n_nonzeros": 4, "stride": 4},
}
"""Parameters that give a small dictionary of each family; that of a file has none."""

SHOWN = 8
"""Filters on a picture, at most."""


def call(name: str) -> str:
    """Write the call that makes the dictionary of the picture."""
    arguments = ", ".join([repr(name), *(f"{key}={value!r}" for key, value in SMALL[name].items())])
    return f"dcsc.families.create({arguments})".replace("'", '"')


def draw(name: str, folder: Path) -> tuple[Path, str]:
    """
    Draw the first filters of a small dictionary.

    Parameters
    ----------
    name : str
        A family of `SMALL`.
    folder : Path
        Where the picture goes.

    Returns
    -------
    path : Path
        The picture.
    caption : str
        What is on it.
    """
    dictionary = dcsc.families.create(name, **SMALL[name])
    filters = dictionary.filters.reshape(dictionary.n_filters, -1)[:SHOWN]
    columns = min(4, len(filters))
    rows = -(-len(filters) // columns)
    figure = Figure(figsize=(8, 1.1 * rows + 0.2), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for panel, taps in zip(panels, filters):
        panel.vlines(range(len(taps)), 0, taps, color="tab:blue", linewidth=2)
        panel.axhline(0, color="grey", linewidth=0.5)
    for panel in panels:
        panel.set(xticks=[], yticks=[], frame_on=False)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    figure.savefig(path, dpi=110, metadata={"Software": None})
    kept = "" if len(filters) == dictionary.n_filters else f"The first {len(filters)} of "
    counted = f"{dictionary.n_filters} filter" + ("s" if dictionary.n_filters > 1 else "")
    channels = f" with {dictionary.n_channels} channels, one after another" if dictionary.n_channels > 1 else ""
    coherence = (
        f"mutual coherence {dcsc.mutual_coherence(dictionary):.3f}, Welch bound {dcsc.welch_bound(dictionary):.3f}"
    )
    return path, f"{kept}{counted}{channels}; {coherence}."
